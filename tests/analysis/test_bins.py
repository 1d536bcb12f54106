from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from tests.helpers.synthetic import NamedGallery

from patchrerank.analysis.bins import centre_distance, equal_bins, measure_bins, object_size
from patchrerank.analysis.relevance import positive_areas, relevance_of
from patchrerank.datasets import Dataset, DatasetImage, DatasetQuery
from patchrerank.errors import SettingError
from patchrerank.types import Ranking


def image(name, instance, *boxes, area=None, shows=None):
    array = np.array(boxes, np.float32).reshape(-1, 4)
    if area is None and len(array):
        area = float(((array[:, 2] - array[:, 0]) * (array[:, 3] - array[:, 1])).max())
    return DatasetImage(name, Path(name), instance, array, area, box_instances=shows)


def square(side, x=0.0, y=0.0):
    return (x, y, x + side, y + side)


def make(images, *queries):
    asked = [DatasetQuery(f"q{n}", Path(f"q{n}"), *given) for n, given in enumerate(queries)]
    return Dataset(Path("hand"), tuple(asked), tuple(images))


def kept(bins):
    return [[rows.tolist() for rows in part.kept] for part in bins]


@pytest.fixture
def seven():
    """Seven positives of A and B, one box each, and an image of an object nobody asks for."""
    sides = {"a0": 0.7, "a1": 0.1, "a2": 0.4, "a3": 0.2, "b0": 0.3, "b1": 0.6, "b2": 0.5}
    images = [image(name, name[0], square(side)) for name, side in sides.items()]
    return make([*images, image("c0", "c", square(0.9)), image("d", None)], ("a",), ("b",))


def test_seven_positives_in_five_bins(seven):
    bins = equal_bins(seven, object_size)
    assert [part.positives for part in bins] == [2, 2, 1, 1, 1], "the first bins hold one more"
    # by area: a1 a3 | b0 a2 | b2 | b1 | a0
    assert kept(bins) == [[[1, 3], []], [[2], [4]], [[], [6]], [[], [5]], [[0], []]]
    assert [part.queries for part in bins] == [1, 2, 1, 1, 1]
    assert [part.low for part in bins] == pytest.approx([0.01, 0.09, 0.25, 0.36, 0.49])
    assert [part.high for part in bins] == pytest.approx([0.04, 0.16, 0.25, 0.36, 0.49])


def test_ties_keep_the_order_of_the_data_set():
    data = make([image(f"a{n}", "a", square(0.5)) for n in range(6)], ("a",))
    assert kept(equal_bins(data, object_size, 3)) == [[[0, 1]], [[2, 3]], [[4, 5]]]


def test_fewer_positives_than_bins_and_unknown_sizes():
    data = make([image("a0", "a", square(0.5)), image("a1", "a"), image("d", None)], ("a",))
    bins = equal_bins(data, object_size)
    assert [part.positives for part in bins] == [1, 0, 0, 0, 0]
    assert np.isnan(bins[1].low)
    assert kept(bins)[0] == [[0]], "a1 has no box, so it is in no bin"
    with pytest.raises(SettingError, match="at least 1"):
        equal_bins(data, object_size, 0)


def test_two_queries_for_one_object_count_its_images_once():
    data = make([image(f"a{n}", "a", square(0.1 * (n + 1))) for n in range(5)], ("a",), ("a",))
    assert [part.positives for part in equal_bins(data, object_size)] == [1] * 5
    assert kept(equal_bins(data, object_size))[2] == [[2], [2]]


def test_several_boxes_follow_positive_areas():
    images = [
        image("a0", "a", square(0.2), square(0.5, 0.4, 0.4)),
        image("a1", "a", square(0.3), area=0.25),
    ]
    data = make(images, ("a",))
    assert [object_size(one, "a") for one in images] == pytest.approx(positive_areas(data)[0])
    marked = image("m", "m", square(0.2), square(0.5), shows=("a", "b"))
    assert object_size(marked, "a") == pytest.approx(0.04)
    assert object_size(marked, "b") == pytest.approx(0.25)


def test_distance_from_the_centre():
    assert centre_distance(image("a", "a", (0.25, 0.25, 0.75, 0.75)), "a") == 0
    assert centre_distance(image("a", "a", (0, 0, 0.2, 0.4)), "a") == pytest.approx(0.5)
    both = image("a", "a", (0.25, 0.25, 0.75, 0.75), (0, 0, 0.1, 0.1))
    assert centre_distance(both, "a") == 0, "the largest box decides"
    assert np.isnan(centre_distance(image("a", "a"), "a"))


def run_of(data, order):
    rows = np.array(order)
    flat = np.zeros(rows.shape, np.float32)
    boxes = np.tile(np.array([0, 0, 1, 1], np.float32), (*rows.shape, 1))
    gallery = NamedGallery([one.id for one in data.images])
    ranking = Ranking(rows, flat, flat, flat, boxes)
    relevance = relevance_of(ranking, gallery, data)
    return SimpleNamespace(ranking=ranking, gallery=gallery, relevance=relevance)


def test_metrics_by_hand(seven):
    run = run_of(seven, [[7, 0, 1, 8, 3, 2, -1], [4, 7, 8, 6, 5, -1, -1]])
    first, second, third, _, last = measure_bins(run, seven, equal_bins(seven, object_size))
    # bin 1, query a: c0 (wrong), [a0 junk], a1 at 2, d (wrong), a3 at 4; query b is left out
    assert first.metrics["mAP"] == pytest.approx(100 * (1 / 2 + 2 / 4) / 2)
    assert first.metrics["LocScore"] == pytest.approx(100 * (0.01 / 2 + 0.04 * 2 / 4) / 2)
    # bin 2: a2 behind c0, d with a0, a1, a3 gone: rank 3; b0 at rank 1
    assert second.metrics["mAP"] == pytest.approx(100 * (1 / 3 + 1) / 2)
    # bin 3: b2 behind c0 and d, b0 gone
    assert third.metrics["mAP"] == pytest.approx(100 / 3)
    assert last.metrics["mAP"] == pytest.approx(100 / 2)
    assert (first.positives, first.queries) == (2, 1)


def test_a_positive_that_is_not_ranked_is_missed(seven):
    run = run_of(seven, [[1, 7], [4, 7]])
    first = measure_bins(run, seven, equal_bins(seven, object_size))[0]
    assert first.metrics["mAP"] == pytest.approx(50), "a3 counts though it was not found"


def test_an_empty_bin_has_no_figures():
    data = make([image("a0", "a", square(0.5)), image("d", None)], ("a",))
    found = measure_bins(run_of(data, [[1, 0]]), data, equal_bins(data, object_size, 2))
    assert found[0].metrics["mAP"] == pytest.approx(50)
    assert np.isnan(found[1].metrics["mAP"])
    assert found[1].queries == 0
