"""Pool, neighbours, windows, batches, stored descriptors."""

from __future__ import annotations

import os
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchrerank.encoders import Selection, load_dense_encoder
from patchrerank.errors import SettingError
from patchrerank.gallery import encode_local_queries
from patchrerank.training import descriptors
from patchrerank.training.batches import TripletBatches, padded
from patchrerank.training.descriptors import QueryView, encode_dataset, mean_descriptors
from patchrerank.training.neighbours import CandidateSettings, find_neighbours
from patchrerank.training.pool import NO_OBJECT, Pool
from patchrerank.training.sampling import Counts
from patchrerank.training.views import Windows, inside, window
from patchrerank.types import LocalDescriptors

EVERYTHING = 10**6


def test_items_are_numbered_queries_first_and_objects_never_mix(parts):
    pool = Pool(parts)
    assert len(pool) == (8 + 30) + (5 + 16)
    assert pool.queries.tolist() == [*range(8), *range(38, 43)]
    assert set(pool.labels[:8]).isdisjoint(pool.labels[38:43])
    for place, (one, first) in enumerate(zip(parts, (0, 38), strict=True)):
        assert pool.first_query(place) == first
        behind = pool.first_image(place)
        for row, image in enumerate(one.dataset.images):
            label = pool.labels[behind + row]
            known = image.instance is not None
            assert label == (pool.labels[first + image.instance] if known else NO_OBJECT)
            assert pool.part_of(np.array([behind + row])).tolist() == [place]
            found = pool.vectors(behind + row, EVERYTHING)
            assert (found == one.images.descriptors_of(row).vectors).all()
            assert (pool.vectors(behind + row, 3) == found[:3]).all()
        assert (pool.vectors(first, 99) == one.queries.descriptors_of(0).vectors).all()


def test_a_box_keeps_what_lies_inside(part):
    pool = Pool([part])
    item = pool.first_image(0)
    local = part.images.descriptors_of(0)
    kept = local.vectors[local.positions[:, 1] <= 0.2]
    assert (pool.vectors(item, EVERYTHING, pool.box(item)) == kept).all() and len(kept) == 5
    assert pool.box(len(pool) - 1) is None
    far = np.array([2, 2, 3, 3], np.float32)
    assert len(pool.vectors(item, EVERYTHING, far)) == 1, "the nearest stays"


def test_other_encoders_do_not_mix_and_nothing_is_no_pool(part):
    with pytest.raises(SettingError, match="at least one"):
        Pool([])


def test_neighbours_are_those_of_the_same_data_set_with_every_positive(parts):
    pool = Pool(parts)
    means = pool.means()
    found = find_neighbours(pool, means, CandidateSettings("both", count=4))
    slow = means @ means.T
    for item, rows, similarities, same in zip(
        found.items, found.candidates.rows, found.candidates.similarities,
        found.candidates.same, strict=True,
    ):  # fmt: skip
        own = [
            other for other in pool.images
            if pool.part_of(np.array([other])) == pool.part_of(np.array([item])) and other != item
        ]  # fmt: skip
        wanted = {int(row) for row in own if pool.labels[row] == pool.labels[item]}
        listed = rows[(rows >= 0) & (similarities > 0)]
        assert wanted <= set(listed.tolist())
        best = sorted((float(slow[item, other]) for other in own), reverse=True)[:4]
        np.testing.assert_allclose(
            similarities[:4][rows[:4] != item], best[: (rows[:4] != item).sum()], atol=1e-5
        )
        assert {int(row) for row in rows[same]} == wanted


def test_held_out_objects_are_nowhere(part):
    pool = Pool([part])
    held = np.array([2, 5])
    found = find_neighbours(pool, pool.means(), CandidateSettings("both"), held)
    assert not np.isin(pool.labels[found.items], held).any()
    for triplets in (found.candidates.draw(np.random.default_rng(n)) for n in range(5)):
        assert not np.isin(pool.labels[triplets[:, 1:]], held).any()
    with pytest.raises(SettingError, match="no anchors"):
        find_neighbours(pool, pool.means(), CandidateSettings(), np.arange(8))


@given(st.integers(0, 10**6), st.floats(0.05, 1), st.booleans())
def test_windows_show_as_much_of_the_box_as_fits(seed, side, known):
    rng = np.random.default_rng(seed)
    ends = np.sort(rng.random((2, 2)), axis=0)
    box = np.concatenate(ends).astype(np.float32) if known else None
    x0, y0, x1, y1 = window(side, box, rng)
    assert min(x0, y0) >= 0 and max(x1, y1) <= 1 + 1e-9
    assert x1 - x0 == pytest.approx(side) and y1 - y0 == pytest.approx(side)
    if known:
        shared = np.minimum(ends[1], [x1, y1]) - np.maximum(ends[0], [x0, y0])
        np.testing.assert_allclose(shared, np.minimum(ends[1] - ends[0], side), atol=1e-6)


def test_inside_counts_edges_and_keeps_the_nearest():
    places = np.array([[0.1, 0.1], [0.5, 0.5], [0.9, 0.2]], np.float32)
    assert inside(places, [0, 0, 0.5, 0.5]).tolist() == [0, 1]
    assert inside(places, [0.5, 0.6, 0.6, 0.7]).tolist() == [1]
    with pytest.raises(SettingError):
        Windows(0.5, 0.2)


def batches_of(part, **settings):
    pool = Pool([part])
    return TripletBatches(
        pool, find_neighbours(pool, pool.means(), CandidateSettings()), **settings
    )


def test_batches_are_functions_of_seed_epoch_and_step(part):
    how = {"batch_size": 9, "counts": Counts(2, 5, 20), "windows": Windows(0.3, 0.9), "seed": 4}
    one, other = batches_of(part, **how), batches_of(part, **how)
    for epoch in (3, 0):
        plans, again = one.epoch(epoch), other.epoch(epoch)
        assert len(plans) == len(one) == 3
        for plan, same in zip(plans, again, strict=True):
            first, second = one.load(plan), other.load(same)
            for a, b in zip(first[:3], second[:3], strict=True):
                assert (a.vectors == b.vectors).all() and (a.mask == b.mask).all()
    assert (one.epoch(0)[0].triplets != one.epoch(1)[0].triplets).any()


def test_batches_hold_the_drawn_numbers(part):
    made = batches_of(part, batch_size=9, counts=Counts(2, 5, 20))
    seen = set()
    for epoch in range(6):
        for plan in made.epoch(epoch):
            batch = made.load(plan)
            assert batch.anchors.mask.shape[1] == plan.counts[0]
            assert batch.positives.mask.shape == batch.negatives.mask.shape
            assert batch.positives.mask.shape[1] == plan.counts[1] and batch.trim is None
            seen.add(plan.counts)
    assert len(seen) > 5


def test_a_teacher_sees_all_and_elvis_its_padding(part):
    full = batches_of(part, batch_size=9, counts=Counts(2, 5, 20), distilled=True)
    plan = full.epoch(0)[0]
    batch = full.load(plan)
    assert batch.positives.mask.shape[1] == 20 and batch.trim == plan.counts
    slots = batches_of(part, batch_size=9, counts=Counts(400), padded=True)
    batch = slots.load(slots.epoch(0)[0])
    assert batch.anchors.mask.shape[1] == 400 and int((~batch.anchors.mask).sum(1).max()) == 5
    slots = batches_of(part, batch_size=9, counts=Counts(400, 30, 40), padded=True)
    batch = slots.load(slots.epoch(0)[0])
    assert (batch.anchors.mask.shape[1], batch.positives.mask.shape[1]) == (30, 40)


def test_what_a_batch_shows_of_whom(part, monkeypatch):
    pool, asked = Pool([part]), []
    neighbours = find_neighbours(pool, pool.means(), CandidateSettings("both"))
    made = TripletBatches(pool, neighbours, 900, Counts(2, 5, 20), Windows(0.3, 0.3))

    def vectors(self, item, count, box=None, known=Pool.vectors):
        asked.append((item, count, box))
        return known(self, item, count, box)

    monkeypatch.setattr(Pool, "vectors", vectors)
    (plan,) = made.epoch(0)
    made.load(plan)
    assert [item for item, *_ in asked] == plan.triplets.T.ravel().tolist()
    third = len(plan.triplets)
    anchors, positives, negatives = asked[:third], asked[third : 2 * third], asked[2 * third :]
    assert {count for _, count, _ in anchors} == {plan.counts[0]}
    assert {count for _, count, _ in positives + negatives} == {plan.counts[1]}
    for item, _, box in anchors:  # of queries all, of pictures their object
        assert (box is None) == (item in pool.queries)
    assert all(box[1] == 0 for *_, box in positives), "objects lie at the top"
    assert any(box[1] > 0.1 for *_, box in negatives)


def test_no_two_batches_draw_the_same(part):
    made = batches_of(part, batch_size=9)
    seeds = [plan.seed for epoch in range(3) for plan in made.epoch(epoch)]
    assert len(set(seeds)) == len(seeds) == 9


def test_a_batch_of_one_descriptor_each_is_no_wider(part):
    made = batches_of(part, batch_size=9, counts=Counts(1, 1, 1))
    batch = made.load(made.epoch(0)[0])
    for side in (batch.anchors, batch.positives, batch.negatives):
        assert side.mask.shape == (3, 1) and not side.mask.any()
    nothing = padded([np.zeros((0, 3), np.float32)])
    assert nothing.vectors.shape == (1, 1, 3) and bool(nothing.mask.all())


def test_padding_is_zero_and_masked():
    side = padded([np.ones((2, 3), np.float32), np.ones((4, 3), np.float32)], least=5)
    assert side.vectors.shape == (2, 5, 3)
    assert (~side.mask).sum(dim=1).tolist() == [2, 4]
    assert float(side.vectors.sum()) == 18


@pytest.fixture(scope="module")
def pictures(tmp_path_factory, photo_folder):
    from patchrerank.datasets import Dataset, DatasetImage, DatasetQuery

    files = sorted(photo_folder.glob("*.png"))[:9]
    box = np.array([[0.2, 0.2, 0.7, 0.8]], np.float32)
    queries = tuple(DatasetQuery(f"q{n}", f, n, box[0]) for n, f in enumerate(files[:2]))
    images = tuple(DatasetImage(f.name, f, n % 3, box) for n, f in enumerate(files))
    return Dataset(photo_folder, queries, images, fingerprint="pictures")


def test_descriptors_are_made_once_and_are_the_encoders(tmp_path, pictures):
    encoder = load_dense_encoder(
        "timm:test_resnet", image_size=96, pretrained=False, selection=Selection(20)
    )
    view = QueryView(64, "box")
    made = encode_dataset(pictures, encoder, view, tmp_path, progress=False)
    wanted = encoder.encode_images([image.file for image in pictures.images])
    for row, local in enumerate(wanted):
        found = made.images.descriptors_of(row)
        np.testing.assert_allclose(found.vectors, local.vectors, atol=1e-3)
        assert (found.positions == local.positions).all()
    asked = encode_local_queries(
        encoder, [q.file for q in pictures.queries], [q.box for q in pictures.queries],
        image_size=64, count=EVERYTHING, part="box",
    )  # fmt: skip
    for row, local in enumerate(asked):
        np.testing.assert_allclose(
            made.queries.descriptors_of(row).vectors, local.vectors, atol=1e-3
        )
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.bin")}
    again = encode_dataset(pictures, encoder, view, tmp_path, progress=False)
    assert again.images.folder == made.images.folder and len(before) == 10
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.bin")}
    other = encode_dataset(pictures, encoder, QueryView(64, "all"), tmp_path, progress=False)
    assert other.images.folder == made.images.folder
    assert other.queries.folder != made.queries.folder
    whole = encoder.encode_images([query.file for query in pictures.queries])
    large = encode_dataset(pictures, encoder, QueryView(None, "all"), tmp_path, progress=False)
    kept = [len(large.queries.descriptors_of(row)) for row in range(2)]
    assert kept == [len(local) for local in whole] and min(kept) > 3


def test_query_pictures_have_224_pixels_or_at_least_one():
    assert QueryView() == QueryView(224, "box")
    assert QueryView(1).size == 1 and QueryView(None).size is None
    with pytest.raises(SettingError, match="at least 1 pixel, got 0"):
        QueryView(0)


@pytest.fixture
def two_pictures(tmp_path, photo_folder):
    from patchrerank.datasets import Dataset, DatasetImage

    for number, file in enumerate(sorted(photo_folder.glob("*.png"))[:2]):
        shutil.copy(file, tmp_path / f"{number}.png")
    nowhere = np.zeros((0, 4), np.float32)
    images = [DatasetImage(f.name, f, 0, nowhere) for f in sorted(tmp_path.glob("*.png"))]
    return Dataset(tmp_path, (), tuple(images), fingerprint="two")


def dense(size=64):
    return load_dense_encoder(
        "timm:test_resnet", image_size=size, pretrained=False, selection=Selection(5)
    )


def test_descriptors_of_changed_pictures_or_other_encoders_are_made_anew(tmp_path, two_pictures):
    encoder, seen = dense(), set()

    def folder(encoder):
        made = encode_dataset(two_pictures, encoder, QueryView(), tmp_path / "c", progress=False)
        return made.images.folder

    seen.add(folder(encoder))
    seen.add(folder(dense(96)))
    os.utime(two_pictures.images[0].file, (1, 1))
    assert folder(encoder) in seen, "the same picture, at another time"
    changed = bytearray(two_pictures.images[0].file.read_bytes())
    changed[-1] ^= 1  # of the checksum of an empty chunk
    two_pictures.images[0].file.write_bytes(changed)
    os.utime(two_pictures.images[0].file, (1, 1))
    seen.add(folder(encoder))
    shutil.copy(two_pictures.images[1].file, two_pictures.images[0].file)
    os.utime(two_pictures.images[0].file, (1, 1))
    seen.add(folder(encoder))
    assert len(seen) == 4


def test_a_killed_run_goes_on_where_it_stopped(tmp_path, two_pictures, monkeypatch):
    monkeypatch.setattr(descriptors, "CHUNK", 1)
    encoder, asked = dense(), []
    kind = type(encoder)
    whole = encode_dataset(two_pictures, encoder, QueryView(), tmp_path / "w", progress=False)

    def encode(self, files, known=kind.encode_images):
        asked.append([file.name for file in files])
        if len(asked) == 2:
            raise KeyboardInterrupt
        return known(self, files)

    monkeypatch.setattr(kind, "encode_images", encode)
    with pytest.raises(KeyboardInterrupt):
        encode_dataset(two_pictures, encoder, QueryView(), tmp_path / "c", progress=False)
    made = encode_dataset(two_pictures, encoder, QueryView(), tmp_path / "c", progress=False)
    assert asked == [["0.png"], ["1.png"], ["1.png"]]
    for row in range(2):
        one, other = made.images.descriptors_of(row), whole.images.descriptors_of(row)
        assert (one.vectors == other.vectors).all()


class Pictures(list):
    """Stands in for a store of descriptors."""

    dim = 3
    descriptors_of = list.__getitem__


def test_means_of_pictures_without_weights_or_descriptors():
    vectors = np.array([[3, 0, 0], [0, 4, 0], [0, 0, 1]], np.float32)
    weightless, single, nothing = (
        LocalDescriptors(
            vectors[:count],
            np.zeros((count, 2), np.float32),
            np.zeros(count, np.int16),
            np.full(count, weight, np.float32),
        )
        for count, weight in ((2, 0), (1, 7), (0, 1))
    )
    found = mean_descriptors(Pictures([weightless, single, nothing]))
    np.testing.assert_allclose(found, [[0.6, 0.8, 0], [1, 0, 0], [0, 0, 0]], atol=1e-6)


def test_mean_descriptors_are_the_mean_of_the_map(part):
    found = mean_descriptors(part.images)
    local = part.images.descriptors_of(4)
    mean = (local.weights[:, None] * local.vectors).sum(axis=0)
    np.testing.assert_allclose(found[4], mean / np.linalg.norm(mean), atol=1e-6)
