"""Option values that nobody meant end in a sentence, or are taken; never in a traceback or a hang.

All of them: ``pytest -m slow -s tests/cli/test_odd_options.py``.
"""

from __future__ import annotations

import contextlib
import io
import shutil
import sys
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from PIL import Image

from alone import only_alone, run_alone
from command_line import run
from forked import outcomes
from odd_options import odd_calls
from patchrerank.cli.main import main
from small_datasets import write_dataset

SECONDS = 60
LONGEST = 12_000
"""Characters of a message: some repeat what was typed."""


@pytest.fixture(scope="module")
def calls(tmp_path_factory):
    root = tmp_path_factory.mktemp("odd")
    photos = root / "photos"
    photos.mkdir()
    for number in range(12):
        colour = (20 * number, 255 - 20 * number, 90)
        Image.new("RGB", (80, 60), colour).save(photos / f"{number}.png")
    encoder = ["--encoder", "timm:test_resnet", "--random-weights", "--image-size", 64]
    run("index", photos, root / "g", *encoder, "--regions", "grid:1", "--quiet")
    (root / "list.txt").write_text("3.png\t0.9\n1.png\t0.8\n")
    data = root / "data"
    shutil.copytree(photos, data)
    images = [{"id": f"{n}", "instance": "a" if n < 3 else None, "boxes": []} for n in range(1, 6)]
    write_dataset(data, [{"id": "q", "file": "0.png", "instance": "a"}], images)
    made = odd_calls(root / "g", photos / "1.png", root / "list.txt", data, root / "out")
    return [[str(word) for word in words] for words in made], root / "out"


def outcome(words: list[str]) -> str:
    """Run a command in this process."""
    errors = io.StringIO()
    sys.argv = ["patchrerank", *words]
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(errors):
            main()
    except SystemExit as stop:
        if stop.code in (0, None):
            return "taken"
        said = errors.getvalue()
        if stop.code != 2 or not said.strip() or "Traceback" in said or len(said) > LONGEST:
            return f"exit {stop.code}: {said[-200:]}"
        return "refused"
    except BaseException as error:
        return f"raised {type(error).__name__}: {error}"[:200]
    return "taken"


def answer_all(out: Any, calls: list[list[str]], tell: Callable) -> None:
    for words in calls:
        shutil.rmtree(out, ignore_errors=True)
        tell(outcome(words))


def check(calls: list[list[str]], out: Any) -> Counter:
    found = outcomes(partial(answer_all, out), calls, SECONDS)
    wrong = [
        f"{' '.join(words)[-120:]!r}: {what}"
        for words, what in zip(calls, found, strict=True)
        if what not in ("taken", "refused")
    ]
    assert not wrong, f"{len(wrong)} of {len(calls)}:\n" + "\n".join(wrong)
    return Counter(found)


@pytest.mark.slow
def test_a_sample_of_odd_options():
    run_alone(__file__, "test_the_sample_itself")


@only_alone
def test_the_sample_itself(calls):
    listed, out = calls
    quick = [w for w in listed if w[0] in ("storage", "info") or "--first-stage" in w]
    assert check(quick[::8], out)["refused"] > 10


@pytest.mark.slow
def test_all_odd_options(calls):
    listed, out = calls
    found = check(listed, out)
    print(f"\n{len(listed)} calls: {dict(found)}")
    assert found["refused"] > 300
