from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from local_twins import drawn_twin
from patchrerank.errors import QueryError
from patchrerank.rerankers._aspects import drawn_to, with_aspects
from patchrerank.types import Queries


def plain_picture(box, size=(120, 80)):
    picture = Image.new("RGB", size, "white")
    ImageDraw.Draw(picture).rectangle(box, fill="navy")
    return picture


def vectors(count):
    return np.eye(4, dtype=np.float32)[:count]


def test_box_then_foreground_then_unknown(photo_folder):
    scene = sorted(photo_folder.glob("*.png"))[0]
    images = [plain_picture((20, 30, 59, 49)), plain_picture((20, 30, 59, 49)), scene]
    boxes = np.full((3, 4), np.nan, dtype=np.float32)
    boxes[0] = 0.0, 0.0, 0.5, 1.0
    found = with_aspects(Queries(vectors(3), boxes=boxes, images=images))
    assert np.allclose(found.aspects, [60 / 80, 40 / 20, np.nan], equal_nan=True)
    assert found.aspects.dtype == np.float32
    assert with_aspects(found) is found
    assert with_aspects(Queries(vectors(3))).aspects is None
    assert np.allclose(with_aspects(Queries(vectors(1), images=images[:1])).aspects, 2.0)
    assert found.take([1]).aspects == [2.0]
    with pytest.raises(QueryError, match="3 query vectors but 1 aspects"):
        Queries(vectors(3), aspects=np.ones(1, np.float32))


def test_rotated_by_exif():
    import io

    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    plain_picture((20, 30, 59, 49)).save(file, "png", exif=exif)
    boxes = np.array([[0.0, 0.0, 1.0, 0.5]], dtype=np.float32)
    for known, wanted in ((boxes, 80 / 60), (None, 0.5)):
        found = with_aspects(Queries(vectors(1), boxes=known, images=[file.getvalue()]))
        assert np.allclose(found.aspects, wanted)


@given(
    seed=st.integers(0, 2**32 - 1),
    aspect=st.floats(0.05, 20),
    share=st.floats(0, 1),
    width=st.integers(1, 5000),
    height=st.integers(1, 5000),
)
def test_drawn_boxes_equal_the_slow_twin(seed, aspect, share, width, height):
    rng = np.random.default_rng(seed)
    corners = np.sort(rng.random((5, 2, 2), dtype=np.float32), axis=1)
    corners[:, 1] += 0.01
    boxes = corners.reshape(5, 4).clip(0, 1)
    boxes[4] = np.nan
    sizes = np.array([(width, height)] * 3 + [(0, 0), (width, height)])
    found = drawn_to(boxes, sizes, aspect, share)
    for box, drawn in zip(boxes[:3], found[:3], strict=True):
        np.testing.assert_allclose(
            drawn, drawn_twin(box, (width, height), aspect, share), atol=1e-5
        )
    assert np.array_equal(found[3], boxes[3])
    assert np.isnan(found[4]).all()
    assert np.array_equal(drawn_to(boxes, sizes, float("nan"), share), boxes, equal_nan=True)
    np.testing.assert_allclose(drawn_to(boxes, sizes, aspect, 0.0)[:4], boxes[:4], atol=1e-6)
