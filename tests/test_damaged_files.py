"""Hundreds of damaged and hand-edited files of every kind: never a traceback, a crash or a hang.

A file is refused with an error of ours, or gives the answer of the whole file, or another answer
where nobody can know better. What opening a gallery does not read, ``info --verify`` notices.
The table of the long version: ``pytest -m slow -s tests/test_damaged_files.py``.
"""

from __future__ import annotations

import shutil
import warnings
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alone import only_alone, run_alone
from damaging import damages_of
from forked import outcomes
from patchrerank.errors import PatchRerankError
from readable_files import PLAIN, VERIFIED, Kind, kinds

SECONDS = 30
GOOD = ("refused", "same answer", "other answer, seen by --verify", "other answer, another file")


def equal(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray):
        return isinstance(other, np.ndarray) and np.array_equal(one, other, equal_nan=True)
    if isinstance(one, dict):
        same = isinstance(other, dict) and one.keys() == other.keys()
        return same and all(equal(value, other[key]) for key, value in one.items())
    if isinstance(one, list | tuple):
        same = isinstance(other, type(one)) and len(one) == len(other)
        return same and all(map(equal, one, other))
    return type(one) is type(other) and one == other


def outcome(kind: Kind, folder: Path, expected: Any) -> str:
    """Read a damaged file in this process."""
    try:
        problems = kind.problems(folder)
    except Exception as error:
        return f"--verify raised {type(error).__name__}: {error}"[:200]
    try:
        found = kind.read(folder)
    except PatchRerankError as error:
        return "refused" if len(str(error)) < 2000 else "an error of 2000 characters"
    except Exception as error:
        return f"raised {type(error).__name__}: {error}"[:200]
    if equal(found, expected):
        return "same answer"
    if kind.noticed == VERIFIED:
        return "other answer, seen by --verify" if problems else "other answer, unnoticed"
    return "other answer, another file" if kind.noticed == PLAIN else "other answer, unnoticed"


def answer_all(
    kind: Kind, whole: Path, scratch: Path, expected: Any, jobs: list, tell: Callable
) -> None:
    """In a child: damage, read, tell; job after job."""
    warnings.simplefilter("ignore")
    for name, _, damage in jobs:
        shutil.rmtree(scratch, ignore_errors=True)
        shutil.copytree(whole, scratch)
        damage(scratch / name)
        tell(outcome(kind, scratch, expected))


def run_kinds(chosen: list[Kind], folder: Path, flips: int, step: int) -> dict[str, Counter]:
    """Damage every ``step``-th way; return counts of outcomes by kind, and fail on bad ones."""
    table, wrong, number = {}, [], 0
    for kind in chosen:
        whole = folder / kind.name / "whole"
        whole.mkdir(parents=True)
        kind.make(whole)
        assert kind.problems(whole) == []
        jobs = []
        files = sorted({path for pattern in kind.files for path in whole.glob(pattern)})
        assert files, kind
        for path in files:
            for how, damage in damages_of(path, seed=len(path.name), flips=flips):
                number += 1
                if number % step == 0:
                    jobs.append((path.relative_to(whole), how, damage))
        given = (kind, whole, folder / kind.name / "scratch", kind.read(whole))
        found = outcomes(partial(answer_all, *given), jobs, SECONDS)
        table[kind.name] = Counter(found)
        wrong += [
            f"{kind.name}: {name}: {how}: {what}"
            for (name, how, _), what in zip(jobs, found, strict=True)
            if what not in GOOD
        ]
    assert not wrong, f"{len(wrong)} of {number}:\n" + "\n".join(wrong)
    return table


def test_a_sample_of_damaged_files():
    run_alone(__file__, "test_the_sample_itself")


@only_alone
def test_the_sample_itself(tmp_path, tiny_gallery):
    table = run_kinds(kinds(tiny_gallery.folder), tmp_path, flips=2, step=130)
    assert sum(sum(counts.values()) for counts in table.values()) >= 100
    refused = sum(counts["refused"] for counts in table.values())
    assert refused > 50


@pytest.mark.slow
def test_all_damaged_files(tmp_path, tiny_gallery):
    table = run_kinds(kinds(tiny_gallery.folder), tmp_path, flips=12, step=1)
    total: Counter = sum(table.values(), Counter())
    print(f"\n{'':24}" + "".join(f"{name:>34}" for name in GOOD))
    for name, counts in {**table, "all": total}.items():
        print(f"{name:24}" + "".join(f"{counts[what]:>34}" for what in GOOD))
    assert sum(total.values()) >= 1000
