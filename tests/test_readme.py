"""README and docs keep their promises: commands and options exist, links lead somewhere."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").rglob("*.md"))]
NAMES = [page.relative_to(ROOT).as_posix() for page in PAGES]

FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```", flags=re.M | re.S)
IN_LINE = re.compile(r"`(patchrerank [^`]+)`")
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", flags=re.M)
OPTION = re.compile(r"--?[a-z][a-z0-9-]*")
MACHINE_PATH = re.compile(r"(?<![\w.:/-])/(?:home|root|tmp|work|usr|mnt|Users)/|[A-Z]:\\")


def read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def command_lines(text: str) -> list[str]:
    """Every ``patchrerank …`` of a page, in code blocks and between backticks, one line each."""
    blocks = [body for _, _, body in FENCE.findall(text)]
    lines = [line for body in blocks for line in body.replace("\\\n", " ").splitlines()]
    found = [line.strip() for line in lines if line.lstrip().startswith("patchrerank ")]
    found += [line.split("&&")[-1].strip() for line in lines if "&& patchrerank " in line]
    return found + [" ".join(shown.split()) for shown in IN_LINE.findall(FENCE.sub("", text))]


def words_of(line: str) -> list[str]:
    return shlex.split(line.replace("'", '"'), comments=True)[1:]


def anchors(text: str) -> set[str]:
    """Headings as their links name them."""
    plain = (re.sub(r"[^\w\- ]", "", title.lower()) for title in HEADING.findall(text))
    return {title.strip().replace(" ", "-") for title in plain}


@pytest.fixture(scope="module")
def options():
    """The options of each command, by its name."""
    import typer

    from patchrerank.cli.main import app

    commands = typer.main.get_command(app).commands
    return {
        name: {"--help"}.union(*(p.opts + p.secondary_opts for p in command.params))
        for name, command in commands.items()
    }


@pytest.fixture(params=PAGES, ids=NAMES)
def page(request):
    return request.param


def test_the_two_commands():
    assert re.findall(r"^pip install .*$", read(README), flags=re.M) == [
        'pip install ".[demo]" && patchrerank demo',
        'pip install ".[test]" && pytest -n auto',
    ]


def test_it_is_short_enough_to_be_read():
    assert len(read(README).splitlines()) <= 160


def test_it_names_every_command_once_in_its_table(options):
    table = read(README).partition("## Commands")[2].partition("\n## ")[0]
    first = [line.split("|")[1] for line in table.splitlines() if line.startswith("|")]
    named = re.findall(r"`([a-z-]+)`", " ".join(first))
    assert sorted(named) == sorted(options)


def test_it_leads_to_every_page():
    linked = {target.partition("#")[0] for target in LINK.findall(read(README))}
    assert set(NAMES[1:]) <= linked


def test_no_gaps_are_left(page):
    text = read(page)
    assert "@@" not in text
    assert "TODO" not in text


def test_every_command_exists_with_its_options(page, options):
    for line in command_lines(read(page)):
        name, *words = words_of(line)
        known = [options[each] for each in name.split("|") if each in options]
        assert len(known) == name.count("|") + 1, f"{line}: there is no such command"
        for word in filter(OPTION.match, words):
            assert all(word.partition("=")[0] in each for each in known), f"{line}: no {word}"


def test_commands_are_found_in_blocks_and_between_backticks():
    text = "```\npatchrerank a b \\\n    --c 1  # d\n```\n`patchrerank e\n--f` and `g`\n"
    assert [words_of(line) for line in command_lines(text)] == [
        ["a", "b", "--c", "1"],
        ["e", "--f"],
    ]


def test_every_link_and_picture_is_there(page):
    for target in LINK.findall(read(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.is_relative_to(ROOT.resolve()), target
        assert there.exists(), target
        assert not anchor or anchor in anchors(read(there)), target


def test_no_path_of_somebodys_machine(page):
    assert not MACHINE_PATH.search(read(page))


def test_python_in_the_pages_is_python(page):
    for indent, language, body in FENCE.findall(read(page)):
        if language == "python":
            compile(re.sub(rf"^{indent}", "", body, flags=re.M), page.name, "exec")


def test_files_that_the_pages_name_exist(page):
    """Of the repository's own folders; a path in ``src`` stands without ``src/patchrerank/``."""
    rooms = {path.name for path in (ROOT / "src/patchrerank").iterdir() if path.is_dir()}
    for shown in re.findall(r"`([\w./]+\.(?:py|toml|json|csv|md))`", read(page)):
        first, slash, _ = shown.partition("/")
        if slash and "NAME" not in shown and first in {*rooms, "tests", "baselines", "docs", "src"}:
            places = (ROOT / shown, ROOT / "src/patchrerank" / shown)
            assert any(place.exists() for place in places), shown
