"""A merge that is killed at any moment leaves no gallery, or a whole one; the next run ends it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from drawn_shards import draw_shards
from patchrerank.gallery import Gallery, verify
from prepared import python


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("killed")
    draw_shards(folder, counts=(40, 30, 50), dim=16)
    return folder


SLOW = [pytest.param(how, "12", marks=pytest.mark.slow) for how in ("shards", "append")]


@pytest.mark.parametrize(("how", "kills"), [("copy", "7"), *SLOW])
def test_a_merge_killed_at_random_moments_is_whole_or_none(folder, how, kills):
    script = Path(__file__).parents[1] / "helpers" / "killing_merges.py"
    done = python(script, str(folder), how, kills)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 3, "it must really have been killed"
    out, whole = Gallery(folder / f"out-{how}"), Gallery(folder / f"whole-{how}")
    assert verify(out) == [] and len(out.local) == len(out) == 120
    assert list(out.ids) == list(whole.ids)
    assert replace(out.manifest, arrays={}) == replace(whole.manifest, arrays={})
    mine, theirs = (sorted(one.folder.rglob("*")) for one in (out, whole))
    if how != "append":  # whose table of ids was written more than once
        assert [path.name for path in mine] == [path.name for path in theirs]
    if how == "copy":
        for path, other in zip(mine, theirs, strict=True):
            assert path.is_dir() or path.read_bytes() == other.read_bytes(), path.name
