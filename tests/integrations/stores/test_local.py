"""Local descriptors as pieces of bytes, and together again."""

from __future__ import annotations

import numpy as np
import pytest

from patchrerank.errors import GalleryError
from patchrerank.gallery.local_rows import LOCAL_STORES
from patchrerank.integrations.stores.local import (
    FetchedLocal,
    local_text,
    packed,
    read_local_text,
)
from patchrerank.testing.made_galleries import made_gallery


@pytest.mark.parametrize("kind", LOCAL_STORES)
def test_they_come_back_as_they_are_stored(tmp_path, kind):
    local = made_gallery(tmp_path / "gallery", local=kind).local
    order = [3, 1, 2, 0, 4]
    pieces = [packed(local, row) for row in order]
    found = FetchedLocal("store", read_local_text(local_text(local), "store"), pieces, local.sample)
    assert (found.dim, found.identity, found.cells) == (local.dim, local.identity, local.cells)
    assert len(found) == 5
    assert len(found.store) == len(local.store)
    for place, row in enumerate(order):
        ours, theirs = found.descriptors_of(place), local.descriptors_of(row)
        for name in ("vectors", "positions", "scales", "weights"):
            np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))
    assert (found.sample() == local.sample()).all()
    assert found.nbytes() == local.nbytes()


def test_none_and_damaged_ones(tmp_path):
    local = made_gallery(tmp_path / "gallery", local="int8").local
    made = read_local_text(local_text(local), "store")
    found = FetchedLocal("store", made, [None, packed(local, 0), b""], local.sample)
    assert found.ends.tolist() == [0, 5, 5]
    with pytest.raises(GalleryError, match="store: local descriptors are damaged"):
        FetchedLocal("store", made, [packed(local, 0)[:-1]], local.sample)


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"grids": 3}', '{"grids": [[1, 2]], "a": 1}'])
def test_what_says_nothing_of_them(text):
    with pytest.raises(GalleryError, match="cannot be read"):
        read_local_text(text, "store")
