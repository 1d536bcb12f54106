"""Whatever is typed behind an option: a result, or one sentence and exit code 2."""

from __future__ import annotations

import contextlib
import io
import random
import signal
import sys

import pytest

from patchrerank.cli.main import main
from patchrerank.tuning import save_table
from signal_tables import signal_table

VALUES = (
    *("nan", "inf", "-inf", "-1", "0", "1", "-0.5", "1e308", "1e-320", "2147483648"),
    *("99999999999999999999", "1" * 300, "", "x", "1,2", "0x10", "1_000", "🙂"),
)
TUNE = (
    *("--trials", "--seconds", "--folds", "--seed", "--workers", "--metric", "--constraint"),
    *("--sampler", "--stages", "--behind", "--study-name"),
)
STORAGE = ("--images", "--dim", "--level", "--m", "--nbits", "--nlist", "--unit", "--store")
SECONDS, LONGEST = 30, 2500


@pytest.fixture(scope="module")
def commands(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables") / "t"
    save_table(signal_table(queries=12, names=("a",)), folder)
    tune = ["tune", "--table", str(folder), "--quiet", "--folds", "2", "--trials", "2"]
    storage = ["storage", "--images", "10", "--dim", "64"]
    return {"tune": (tune, TUNE), "storage": (storage, STORAGE)}


def outcome(words):
    """Return exit code and standard error; whatever else comes out is a fault."""
    errors = io.StringIO()
    before = sys.argv, signal.getsignal(signal.SIGINT)
    sys.argv = ["patchrerank", *words]
    signal.signal(signal.SIGALRM, _too_long)
    signal.alarm(SECONDS)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(errors):
            main()
        return 0, errors.getvalue()
    except SystemExit as stop:
        return stop.code or 0, errors.getvalue()
    finally:
        signal.alarm(0)
        sys.argv = before[0]
        signal.signal(signal.SIGINT, before[1])


def _too_long(*_):
    pytest.fail(f"no end after {SECONDS} s: {sys.argv}")


def check(base, option, value):
    code, said = outcome([*base, f"{option}={value}"])
    assert code in (0, 2), (option, value, code, said)
    assert "Traceback" not in said and len(said) < LONGEST, (option, value, said[-800:])


@pytest.mark.parametrize("name", ["tune", "storage"])
def test_some_random_options(commands, name):
    base, options = commands[name]
    pairs = [(option, value) for option in options for value in VALUES]
    for option, value in random.Random(7).sample(pairs, 6):
        check(base, option, value)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tune", "storage"])
def test_all_options(commands, name):
    base, options = commands[name]
    for option in options:
        for value in VALUES:
            check(base, option, value)


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [
        ("tune", "--trials", "1" * 30),
        ("tune", "--seed", "99999999999999999999"),
        ("tune", "--seed", "-1"),
        ("tune", "--sampler", "tpee"),
        ("storage", "--level", "4294967296"),
        ("storage", "--nlist", "1" * 30),
    ],
)
def test_what_had_no_end_or_no_sentence(commands, name, option, value):
    base, _ = commands[name]
    code, said = outcome([*base, option, value])
    assert code == 2 and said.startswith("patchrerank: ") and len(said) < 400
