"""What help pages show: commands in groups, options in sections, an example that works."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys

import pytest

from command_line import run
from patchrerank.cli import options, train
from patchrerank.cli.main import GROUPS, command_name
from patchrerank.regions import MOST_REGIONS
from patchrerank.version import __version__

MODULES = {command_name(m): m for group in GROUPS.values() for m in group}
LINE = re.compile(r"^  (--[a-z0-9-]+)", re.MULTILINE)


def sections(*words):
    """Title of each section → the options in it, as the page shows them."""
    parts = re.split(r"^(\S.*):\n", run(*words, "--help").stdout, flags=re.MULTILINE)
    return {title: LINE.findall(text) for title, text in zip(parts[1::2], parts[2::2], strict=True)}


def test_commands_stand_in_groups():
    text = run("--help").stdout
    places = [text.index(f"{title}:\n") for title in GROUPS]
    assert places == sorted(places)
    for number, (title, group) in enumerate(GROUPS.items()):
        part = text[places[number] : [*places[1:], None][number]]
        for module in group:
            name = command_name(module)
            assert re.search(rf"^  {name} ", part, re.MULTILINE), title


def test_the_version_is_told_without_loading_anything_heavy():
    code = (
        "import sys; sys.argv = ['patchrerank', '--version']\n"
        "from patchrerank.cli.main import main\n"
        "try:\n    main()\nfinally:\n    print([m for m in ('torch', 'numba') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines() == [f"patchrerank {__version__}", "[]"], done.stderr


@pytest.mark.parametrize("name", MODULES)
def test_every_page_ends_with_an_example_of_options_that_exist(name):
    page = run(name, "--help").stdout
    title, example = page.rstrip().splitlines()[-2:]
    words = shlex.split(example)
    assert title == "Example:" and words[:2] == ["patchrerank", name]
    known = [option for part in sections(name).values() for option in part]
    asked = [word for word in words if word.startswith("--")]
    assert set(asked) <= set(known)


def test_many_options_stand_in_sections():
    for name in MODULES:
        shown = sections(name)
        assert max(map(len, shown.values())) <= 16, (name, {t: len(o) for t, o in shown.items()})
    assert {"What it learns from", "Local descriptors", "Network", "Training"} <= set(
        sections("train")
    )


def test_choices_are_listed_and_others_refused():
    page = " ".join(run("train", "--help").stdout.split())
    assert "{ames|elvis}" in page or "[ames|elvis]" in page or "<ames|elvis>" in page
    done = run("rerank", "g", "q.jpg", "s.json", "--metric", "cosin", code=2)
    assert "'cosin' is not one of 'cosine-distance'" in done.stderr
    assert set(train.SCHEDULES) == {"ames", "elvis"}


def test_limits_stand_once():
    assert options.MOST_REGIONS == MOST_REGIONS
    for name in MODULES:
        known = {option for part in sections(name).values() for option in part}
        if "--regions" in known and name != "reproduce":
            assert "--max-regions" in known, name
        assert known.isdisjoint({"--query-size", "--rerankers", "--methods"}), name


def test_an_empty_shortlist_file_is_no_shortlist(tmp_path, tiny_gallery):
    (tmp_path / "empty.txt").write_text("")
    words = ("rerank", tiny_gallery.folder, tmp_path / "q.jpg", tmp_path / "empty.txt")
    assert "empty.txt: is empty; a search that found nothing" in run(*words, code=2).stderr


def test_a_missing_folder_is_told_before_the_search(tmp_path):
    for option in ("--out", "--record", "--report"):
        words = ("tune", "--dataset", tmp_path, "--stages", "patchify", option, tmp_path / "no/x")
        assert "no" in run(*words, code=2).stderr
        assert not (tmp_path / "no").exists()
