"""Vectors of images that are there, replaced by others; all of them in one moment, or none."""

from __future__ import annotations

from uuid import UUID

import numpy as np
import pytest

from drawn_galleries import draw_gallery
from patchrerank.errors import GalleryError, ShortlistError
from patchrerank.gallery import Gallery, arrays, compact, import_gallery, replace_vectors, verify

IDS = {
    "text": [f"{number}" for number in range(9)],
    "int": list(range(9)),
    "uuid": [UUID(int=number) for number in range(9)],
}


def unit(rng, *shape):
    vectors = rng.standard_normal((*shape, 8), dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


@pytest.mark.parametrize("boxes", ["none", "given", "grid:1"])
@pytest.mark.parametrize("kind", IDS)
def test_the_new_ones_are_there_and_the_old_ones_gone(tmp_path, kind, boxes):
    rng, ids = np.random.default_rng(0), IDS[kind]
    where = np.tile(np.float32([0.1, 0.2, 0.6, 0.9]), (9, 5, 1)) if boxes == "given" else None
    how = {"boxes": where, "regions": "grid:1" if boxes == "grid:1" else None, "store": "float32"}
    before = import_gallery(
        tmp_path / "g", ids, unit(rng, 9), unit(rng, 9, 5), encoder="x", progress=False, **how
    )
    chosen = [ids[5], ids[0], ids[8]]
    whole, local = unit(rng, 3), unit(rng, 3, 5)
    given = None if where is None else where[:3]
    after = replace_vectors(tmp_path / "g", chosen, whole, local, boxes=given)
    assert (len(after), after.live_count, len(before)) == (12, 9, 9) and verify(after) == []
    assert after.rows_of(chosen).tolist() == [9, 10, 11]
    again = compact(tmp_path / "g")
    rows = again.rows_of(chosen)
    assert np.array_equal(again.global_vectors[rows], whole) and verify(again) == []
    assert np.array_equal(again.patches.reshape(9, 5, 8)[rows], local)
    assert list(again.ids) == [*(item for item in ids if item not in chosen), *chosen]


def test_what_does_not_fit_changes_nothing(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    draw_gallery(tmp_path / "g", IDS["text"], 3, 8)
    kept = {path.name: path.read_bytes() for path in (tmp_path / "g").iterdir()}
    one, three = unit(rng, 1), unit(rng, 1, 3)
    grid = unit(rng, 1, 30)
    for ids, whole, local, error, message in (
        (["z"], one, grid, ShortlistError, "not in the gallery"),
        (["1", "1"], unit(rng, 2), unit(rng, 2, 30), GalleryError, "twice"),
        (["1"], one, three, GalleryError, "regions grid:3: gives 30 an image"),
        (["1"], one, 3 * grid, GalleryError, "has the norm 3"),
        (["1"], np.nan * one, grid, GalleryError, "NaN"),
        (["1"], one[:, :4], grid, GalleryError, "are floats of 8 dimensions"),
        (["1"], unit(rng, 2), grid, GalleryError, "1 vectors are needed"),
    ):
        with pytest.raises(error, match=message):
            replace_vectors(tmp_path / "g", ids, whole, local)
        found = {path.name: path.read_bytes() for path in (tmp_path / "g").iterdir()}
        assert {**found, "build.lock": b""} == {**kept, "build.lock": b""}
    added = replace_vectors(tmp_path / "g", ["1", "z"], unit(rng, 2), unit(rng, 2, 30), append=True)
    assert added.live_count == 10 and "z" in added.ids and verify(added) == []


def test_one_that_was_killed_begins_anew(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    draw_gallery(tmp_path / "g", IDS["text"], 30, 8)
    with monkeypatch.context() as patched:
        patched.setattr(arrays.ArrayFiles, "__init__", broken)
        with pytest.raises(KeyboardInterrupt):
            replace_vectors(tmp_path / "g", ["1"], unit(rng, 1), unit(rng, 1, 30))
    assert (tmp_path / "g/building.json").exists() and Gallery(tmp_path / "g").live_count == 9
    after = replace_vectors(tmp_path / "g", ["1"], unit(rng, 1), unit(rng, 1, 30))
    assert (len(after), after.live_count) == (10, 9) and verify(after) == []


def broken(*given):
    raise KeyboardInterrupt
