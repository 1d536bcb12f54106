from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from patchrerank.analysis import (
    EvaluationSettings,
    Method,
    StoreSettings,
    evaluate,
    evaluate_methods,
    measure,
    parse_method,
    relevance_of,
)
from patchrerank.analysis.exhaustive import evaluate_exhaustive
from patchrerank.analysis.relevance import positive_areas
from patchrerank.analysis.workbench import Workbench
from patchrerank.datasets import DatasetImage, DatasetQuery, load_dataset, write_index
from patchrerank.errors import DatasetError
from patchrerank.gallery import BuildOptions
from patchrerank.gallery.manifest import MANIFEST
from patchrerank.gallery.named_files import FILES
from patchrerank.metrics import FULL
from patchrerank.pipeline import Cascade
from patchrerank.regions import GridPyramid
from patchrerank.report.findings import find
from patchrerank.types import Ranking

QUIET = BuildOptions(progress=False, backgrounds=4)


def settings(**changes):
    return EvaluationSettings(**{"regions": GridPyramid(1), "build": QUIET, **changes})


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Two objects; each is a noise tile pasted into a quarter of a grey picture, or into half."""
    root = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    queries, images = [], []
    for number in range(2):
        tile = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)).resize((64, 64))
        tile.save(root / f"q{number}.png")
        queries.append(DatasetQuery(f"q{number}", root / f"q{number}.png", number))
        for place, box in enumerate([(0.5, 0.5, 1, 1), (0, 0, 1, 1)]):
            picture = Image.new("RGB", (128, 128), (120, 130, 140))
            side = 64 if place == 0 else 128
            picture.paste(tile.resize((side, side)), (128 - side, 128 - side))
            name = f"p{number}{place}"
            picture.save(root / f"{name}.png")
            images.append(
                DatasetImage(name, root / f"{name}.png", number, np.array([box], np.float32))
            )
    for number in range(5):
        noise = Image.fromarray(rng.integers(0, 256, (3, 3, 3), dtype=np.uint8)).resize((128, 96))
        noise.save(root / f"d{number}.png")
        images.append(
            DatasetImage(f"d{number}", root / f"d{number}.png", None, np.zeros((0, 4), np.float32))
        )
    write_index(root, queries, images, {})
    return load_dataset(root)


def test_patches_find_what_global_vectors_miss(dataset, tiny_encoder, tmp_path):
    local = evaluate(dataset, tiny_encoder, settings(), tmp_path).measured
    whole = evaluate(dataset, tiny_encoder, settings(regions=GridPyramid(0)), tmp_path).measured
    assert local.metrics["mAP"] == pytest.approx(100)
    assert local.metrics["LocScore"] == pytest.approx(100, abs=1e-3), "both boxes are patches"
    assert whole.metrics["mAP"] < 100
    assert local.areas["25-70%"]["mAP"] == pytest.approx(100)
    assert np.isnan(local.areas["<10%"]["mAP"]), "no positive is that small"
    assert local.settings["AP"] == "full"
    assert len(local.per_query) == 2
    assert local.bytes_per_image["patches"] == 5 * 16 * 4
    assert local.bytes_per_query == {"vector": 64, "patches_read": 9 * 5 * 16 * 4}


def test_lam_one_is_the_first_stage(dataset, tiny_encoder, tmp_path):
    first = evaluate(dataset, tiny_encoder, settings(), tmp_path, "patchify:all:1")
    none = evaluate(dataset, tiny_encoder, settings(), tmp_path, "patchify:0")
    assert np.array_equal(first.ranking.rows, none.ranking.rows)
    assert first.measured.metrics["mAP"] == none.measured.metrics["mAP"]


def test_what_is_read_where_the_best_are_scored_again(dataset, tiny_encoder, tmp_path):
    read, found = {}, {}
    both = "store=rabitq1+int8 rescore="
    for word in ("store=rabitq1", "store=int8", f"{both}0", f"{both}2"):
        run = evaluate(dataset, tiny_encoder, settings(), tmp_path, f"patchify {word}")
        read[word], found[word] = run.measured.bytes_per_query["patches_read"], run.ranking
        assert run.measured.settings["store"] == parse_method(f"patchify {word}").store.label
    codes, exact, none, two = read.values()
    images = len(dataset.images)
    assert none == pytest.approx(codes)
    assert two == pytest.approx(codes + 2 / images * exact)
    assert len(list(tmp_path.glob("*rabitq1+int8*"))) == 1, "one folder, whatever is rescored"
    many = evaluate(dataset, tiny_encoder, settings(), tmp_path, "patchify store=rabitq1+int8")
    assert many.measured.bytes_per_query["patches_read"] == pytest.approx(exact)
    assert np.array_equal(many.ranking.scores, found["store=int8"].scores)


@pytest.mark.parametrize(
    "store",
    [StoreSettings("int8"), StoreSettings("pq", m=4, nbits=4), StoreSettings("float32", whiten=6)],
)
def test_stores(dataset, tiny_encoder, tmp_path, store):
    run = evaluate(dataset, tiny_encoder, settings(), tmp_path, Method("patchify", store))
    assert run.measured.metrics["mAP"] > 60
    assert run.measured.settings["store"] == store.label
    again = evaluate(dataset, tiny_encoder, settings(), tmp_path, Method("patchify", store))
    assert again.measured.metrics == run.measured.metrics


@pytest.mark.parametrize("text", ["global", "patchify:5:0.3:4", "patchify store=int8 label=x"])
def test_a_method_is_measured_the_same_in_any_company(dataset, tiny_encoder, tmp_path, text):
    alone = evaluate(dataset, tiny_encoder, settings(), tmp_path, text).measured
    some = ["patchify", text, "patchify:3:0.5:1,patchify:2"]
    compared = evaluate_methods(dataset, tiny_encoder, some, settings(), one_by_one=True)
    label = parse_method(text).label
    methods = list(map(parse_method, some))
    reported = find(dataset, tiny_encoder, methods, tmp_path, settings()).runs[label]
    for other in (compared[1].measured, reported.measured):
        for name in ("metrics", "bytes_per_image", "bytes_per_query", "settings", "ties"):
            assert getattr(other, name) == getattr(alone, name)
        assert other.per_query == alone.per_query and other.localises
        assert repr(other.areas) == repr(alone.areas), "NaN where there is no positive"
    times = compared[1].measured.milliseconds
    assert set(times) == set(alone.milliseconds) and alone.milliseconds["rerank_one_by_one"] is None
    for name in ("rerank_per_query", "rerank_one_by_one"):
        assert (times[name] is None) == (text == "global")


def test_the_first_stage_is_any_faiss_index(dataset, tiny_encoder, tmp_path):
    few = settings(first_stage="IVF4,Flat")
    for run in evaluate_methods(dataset, tiny_encoder, ["global", "patchify"], few, tmp_path):
        assert run.measured.settings["first_stage"] == "IVF4,Flat"
        assert (run.ranking.rows < 0).any(), "one list of four is visited"


def test_what_methods_share_is_made_once(dataset, tiny_encoder, tmp_path):
    plain, cut, int8 = (parse_method(f"patchify{rest}") for rest in ("", ":3", " store=int8"))
    bench = Workbench(dataset, tiny_encoder, [plain, cut, int8], settings(), tmp_path)
    assert bench.gallery(plain) is bench.gallery(cut) is not bench.gallery(int8)
    assert bench.queries(plain) is bench.queries(cut) is bench.queries(int8)
    assert bench.shortlist(plain) is bench.shortlist(cut)
    assert bench.dense is None, "nobody compares local descriptors"


def test_kernels_are_warmed_for_one_query_and_for_two_that_share_a_candidate(
    dataset, tiny_encoder, tmp_path, monkeypatch
):
    seen = []
    real = Cascade.rerank
    monkeypatch.setattr(
        Cascade, "rerank", lambda *given: seen.append(given[2].rows) or real(*given)
    )
    evaluate(dataset, tiny_encoder, settings(), tmp_path)
    one, two, whole = seen
    assert one.shape == (1, 2) and whole.shape == (2, 9)
    assert np.array_equal(two, np.repeat(one, 2, axis=0))


def test_without_a_cache(dataset, tiny_encoder):
    assert evaluate(dataset, tiny_encoder, settings()).measured.metrics["mAP"] > 99


def test_exhaustive_flat_equals_patchify(dataset, tiny_encoder, tmp_path):
    local = evaluate(dataset, tiny_encoder, settings(), tmp_path).measured
    flat, few = evaluate_exhaustive(
        dataset, tiny_encoder, GridPyramid(1), tmp_path, ["Flat", "IVF4,Flat"], 1, build=QUIET
    )
    assert flat.metrics["mAP"] == pytest.approx(local.metrics["mAP"])
    assert flat.metrics["LocScore"] == pytest.approx(local.metrics["LocScore"])
    assert flat.fewest_found == 9
    assert few.fewest_found < 9


def ranking_of(rows):
    rows = np.asarray(rows)
    flat = np.zeros(rows.shape, np.float32)
    boxes = np.tile(np.array([0, 0, 1, 1], np.float32), (*rows.shape, 1))
    return Ranking(rows, flat, flat, flat, boxes)


def test_a_kept_gallery_knows_its_pictures_whatever_their_ids_are(dataset, tiny_encoder, tmp_path):
    """One that was kept before that was recorded is told, and not built again."""
    files = {image.id: image.file for image in dataset.images}
    stored = [parse_method("patchify store=int8"), parse_method("patchify")]
    bench = Workbench(dataset, tiny_encoder, stored, settings(), tmp_path)
    kept = []
    for method in stored:
        gallery = bench.gallery(method)
        assert {str(name): gallery.pictures[row] for row, name in enumerate(gallery.ids)} == files
        kept.append((gallery.folder, (gallery.folder / MANIFEST).read_bytes()))
        (gallery.folder / FILES).unlink()
    again = Workbench(dataset, tiny_encoder, stored, settings(), tmp_path)
    for method, (folder, manifest) in zip(stored, kept, strict=True):
        gallery = again.gallery(method)
        assert (gallery.folder, again.index_ms(method)) == (folder, None)
        assert (folder / MANIFEST).read_bytes() == manifest
        assert gallery.pictures[0] == files[str(gallery.ids[0])]


def test_relevance_by_hand(dataset, tiny_encoder, tmp_path):
    gallery = evaluate(dataset, tiny_encoder, settings(), tmp_path).gallery
    ranking = ranking_of([[4, 0, 1, 2], [3, 5, -1, -1]])
    seen = relevance_of(ranking, gallery, dataset)
    assert seen.relevant.tolist() == [[False, True, True, False], [True, False, False, False]]
    assert seen.iou.tolist() == [[0, 0.25, 1, 0], [1, 0, 0, 0]]
    assert seen.n_positives.tolist() == [2, 2]
    assert seen.valid.tolist() == [[True] * 4, [True, True, False, False]]
    metrics, precisions = measure(seen, ranking, FULL)
    assert precisions == pytest.approx([(1 / 2 + 2 / 3) / 2, 1 / 2])
    expected = ((0.25 / 2 + 2 / 3) / 2 + 1 / 2) / 2
    assert metrics["LocScore"] == pytest.approx(100 * expected)
    small = seen.within(0.2, 0.7, positive_areas(dataset))
    assert small.n_positives.tolist() == [1, 1]
    binned, per_query = measure(small, ranking, FULL)
    assert per_query == pytest.approx([1 / 2, 0]), "the larger positive is junk, not a miss"
    assert binned["mAP"] == pytest.approx(25)


def test_a_gallery_of_other_images(dataset, tiny_gallery):
    with pytest.raises(DatasetError, match="not in this data set"):
        relevance_of(ranking_of([[0], [1]]), tiny_gallery, dataset)
