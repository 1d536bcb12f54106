import dataclasses
import hashlib
import os
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from patchrerank.boxes import to_pixels
from patchrerank.datasets import load_dataset
from patchrerank.datasets.composite import CompositeConfig, build_composite
from patchrerank.datasets.composite import build as build_module
from patchrerank.datasets.composite.pictures import Studio
from patchrerank.datasets.composite.scene import _background, positive_scene, query_scene
from patchrerank.errors import DatasetError, ImageError, SettingError
from prepared import start

SMALL = CompositeConfig(positives=3, distractors=8, long_side=160, query_side=96)
STILL = CompositeConfig(
    positives=1, distractors=0, long_side=200, query_side=96, rotation=0, perspective=0,
    lighting=0, occlusion=0, max_clutter=0,
)  # fmt: skip

DEFAULTS = {
    "builder": "composite",
    "format": 1,
    "seed": 0,
    "positives": 5,
    "distractors": 600,
    "long_side": 512,
    "query_side": 384,
    "area": [0.03, 0.6],
    "rotation": 25.0,
    "perspective": 0.1,
    "lighting": 0.25,
    "occlusion": 0.35,
    "max_clutter": 3,
    "clutter_share": 0.25,
    "max_instances": None,
    "pieces_per_photo": 4,
    "jpeg_quality": 90,
}


@pytest.fixture(scope="module")
def built(tmp_path_factory, objects, photos):
    out = tmp_path_factory.mktemp("out") / "set"
    return build_composite(SMALL, objects, photos, out)


def digests(folder):
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def studio_of(data, objects, photos, config=SMALL):
    """The studio that made ``data`` (its clutter pool is what no query is made of)."""
    from patchrerank.images import list_images

    sources = [query.source for query in data.queries]
    named = [(source, objects / source) for source in sources]
    pool = [path for path in list_images(objects) if path not in dict(named).values()]
    return Studio(config, data.root, named, pool, list_images(photos))


def test_what_is_written(built):
    assert len(built.queries) == 5, "one of six cut-outs is held back as clutter"
    assert len(built.images) == 5 * 3 + 8
    assert [rows.size for rows in built.positives] == [3] * 5
    for query in built.queries:
        with Image.open(query.file) as picture:
            assert (picture.format, picture.size, picture.mode) == ("PNG", (96, 96), "RGB")
    for image in built.images:
        with Image.open(image.file) as picture:
            assert (picture.format, max(picture.size), picture.mode) == ("JPEG", 160, "RGB")
        assert (image.instance is None) == (len(image.boxes) == 0) == (image.area is None)
        assert image.id.startswith("d") == (image.instance is None)
    files = {path.relative_to(built.root).as_posix() for path in built.root.rglob("*.*")}
    listed = {entry.file.relative_to(built.root).as_posix() for entry in built.queries}
    listed |= {entry.file.relative_to(built.root).as_posix() for entry in built.images}
    assert files == listed | {"index.json"}
    assert [image.id for image in built.images] != sorted(image.id for image in built.images)


def test_all_settings_are_recorded(built):
    for field in dataclasses.fields(CompositeConfig):
        value = getattr(SMALL, field.name)
        assert built.args[field.name] == (list(value) if isinstance(value, tuple) else value)
    assert built.args["inputs"]["objects"]["files"] == 6
    assert built.args["inputs"]["backgrounds"]["files"] == 5


def test_boxes_are_tight_and_sizes_right(built, objects, photos):
    studio = studio_of(built, objects, photos)
    images = {image.id: image for image in built.images}
    seen = set()
    for job in studio.jobs():
        scene = studio.scene(job)
        if job.kind == "query":
            entry = built.queries[job.instance]
            boxes = entry.box[None]
        else:
            entry = images[job.id]
            boxes = entry.boxes
        height, width = scene.mask.shape
        if job.kind == "distractor":
            assert not scene.mask.any()
            continue
        x0, y0, x1, y1 = to_pixels(boxes[0], width, height)
        assert np.abs(boxes[0] * [width, height, width, height] - [x0, y0, x1, y1]).max() < 1e-3
        solid = scene.mask >= 0.5
        assert solid.sum() == solid[y0:y1, x0:x1].sum(), "nothing outside"
        assert solid[y0, x0:x1].any() and solid[y1 - 1, x0:x1].any()
        assert solid[y0:y1, x0].any() and solid[y0:y1, x1 - 1].any()
        seen.add(job.kind)
        with Image.open(built.root / job.file) as picture:
            assert picture.size == (width, height)
            difference = np.abs(np.asarray(picture).astype(int) - scene.picture)
            assert difference.mean() < 6 if job.kind == "positive" else not difference.any()
        if job.kind == "positive":
            assert entry.area == pytest.approx((x1 - x0) * (y1 - y0) / (width * height))
            assert 0.03 <= entry.area <= 0.6
            assert 1 - SMALL.occlusion <= entry.visible == scene.visible <= 1
    assert seen == {"query", "positive"}


def test_a_box_read_off_the_pixels(drawings):
    """A black object on a white photograph: its box can be seen without the mask."""
    pixels = np.zeros((60, 90, 4), dtype=np.uint8)
    pixels[5:55, 10:80, 3] = 255
    piece, white = Image.fromarray(pixels), Image.new("RGB", (300, 300), "white")
    for seed in range(12):
        rng = np.random.default_rng(seed)
        config = STILL if seed % 2 else dataclasses.replace(STILL, rotation=25, perspective=0.1)
        scene = positive_scene(white, piece, [], config, rng)
        dark = scene.picture[..., 0] < 127.5
        rows, columns = np.flatnonzero(dark.any(axis=1)), np.flatnonzero(dark.any(axis=0))
        assert scene.box == (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
        assert scene.visible == 1.0
        if seed % 2:
            x0, y0, x1, y1 = scene.box
            assert (x1 - x0) / (y1 - y0) == pytest.approx(70 / 50, rel=0.06)


def test_hidden_parts_count_by_pixels(drawings):
    """Black object, white photograph, red clutter: whatever of the object shows is black."""
    object_pixels = np.zeros((60, 60, 4), dtype=np.uint8)
    object_pixels[..., 3] = 255
    red = np.zeros((60, 60, 4), dtype=np.uint8)
    red[...] = (255, 0, 0, 255)
    config = dataclasses.replace(STILL, occlusion=0.5, area=(0.1, 0.3))
    white = Image.new("RGB", (300, 300), "white")
    shares = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        clutter = [Image.fromarray(red)] * 2
        scene = positive_scene(white, Image.fromarray(object_pixels), clutter, config, rng)
        dark = (scene.picture < 127.5).all(axis=2)
        rows, columns = np.flatnonzero(dark.any(axis=1)), np.flatnonzero(dark.any(axis=0))
        assert scene.box == (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
        assert dark.sum() == (scene.mask >= 0.5).sum()
        assert 0.1 <= scene.area <= 0.3 and 0.5 <= scene.visible <= 1
        shares.append(scene.visible)
    assert min(shares) < 0.8 and max(shares) == 1.0, "occlusion happens, and not always"


def test_query_pictures_are_centred_on_a_plain_light_ground(drawings):
    for seed in range(5):
        rng = np.random.default_rng(seed)
        scene = query_scene(drawings.cutout(seed), SMALL, rng)
        x0, y0, x1, y1 = scene.box
        assert abs(x0 + x1 - 96) <= 2 and abs(y0 + y1 - 96) <= 2
        assert max(x1 - x0, y1 - y0) == pytest.approx(0.8 * 96, abs=2)
        ground = scene.picture[scene.mask == 0]
        assert len(np.unique(ground, axis=0)) == 1 and ground.min() > 180
        assert scene.visible == 1.0


def test_area_is_drawn_over_the_whole_range(drawings):
    config = dataclasses.replace(STILL, area=(0.05, 0.5), rotation=25, occlusion=0.3)
    areas = []
    for seed in range(50):
        rng = np.random.default_rng(seed)
        areas.append(positive_scene(drawings.photo(0), drawings.cutout(1), [], config, rng).area)
    assert min(areas) >= 0.05 and max(areas) <= 0.5
    assert min(areas) < 0.08 and max(areas) > 0.33
    assert 0.1 < np.median(areas) < 0.25, "evenly on a logarithmic scale"


def test_same_inputs_same_bytes(tmp_path, built, objects, photos, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    build_composite(SMALL, objects, photos, tmp_path / "again")
    assert digests(tmp_path / "again") == digests(built.root)


def test_another_seed_other_pictures(tmp_path, built, objects, photos):
    config = dataclasses.replace(SMALL, seed=1)
    other = build_composite(config, objects, photos, tmp_path / "other")
    mine, theirs = digests(built.root), digests(other.root)
    assert all(mine[name] != theirs[name] for name in mine.keys() & theirs.keys())


def test_clutter_is_never_an_object(built, objects, photos):
    studio = studio_of(built, objects, photos)
    assert len(studio._pool) == 1
    sources = {query.source for query in built.queries}
    assert {path.relative_to(objects).as_posix() for path in studio._pool}.isdisjoint(sources)


def test_max_instances(tmp_path, objects, photos):
    config = dataclasses.replace(SMALL, max_instances=2, distractors=0)
    assert len(build_composite(config, objects, photos, tmp_path / "two").queries) == 2


def test_a_finished_set_is_only_loaded(built, objects, photos, monkeypatch):
    monkeypatch.setattr(Studio, "render", None)
    before = {path: path.stat().st_mtime_ns for path in built.root.rglob("*")}
    again = build_composite(SMALL, objects, photos, built.root)
    assert again.fingerprint == built.fingerprint
    assert before == {path: path.stat().st_mtime_ns for path in built.root.rglob("*")}


def test_a_finished_set_of_other_settings_is_kept(built, objects, photos):
    config = dataclasses.replace(SMALL, seed=3)
    with pytest.raises(DatasetError, match=r"finished data set made with other.*seed is 0, asked"):
        build_composite(config, objects, photos, built.root)
    with pytest.raises(DatasetError, match=r"finished data set.*inputs is"):
        build_composite(SMALL, objects / "more", photos, built.root)


def test_a_broken_build_goes_on_without_redoing(tmp_path, built, objects, photos, monkeypatch):
    out, render, made = tmp_path / "set", Studio.render, []

    def breaking(self, job):
        if job.id == "p0002_1":
            raise KeyboardInterrupt
        return render(self, job)

    monkeypatch.setattr(Studio, "render", breaking)
    with pytest.raises(KeyboardInterrupt):
        build_composite(SMALL, objects, photos, out)
    assert not (out / "index.json").exists()
    with pytest.raises(DatasetError, match=r"holds no index.json"):
        load_dataset(out)
    with pytest.raises(DatasetError, match=r"unfinished data set with other settings \(seed is 0"):
        build_composite(dataclasses.replace(SMALL, seed=9), objects, photos, out)

    monkeypatch.setattr(
        Studio, "render", lambda self, job: made.append(job.id) or render(self, job)
    )
    journal = out / "building.jsonl"
    kept = journal.read_bytes().splitlines(keepends=True)[:-1]
    (out / "queries/q0001.png").write_bytes(b"torn")
    journal.write_bytes(b"".join(kept) + b'{"file": "db/p00')
    build_composite(SMALL, objects, photos, out)
    assert digests(out) == digests(built.root)
    assert "q0000" not in made and "q0001" in made and "p0002_1" in made
    assert len(made) == len(built.queries) + len(built.images) - (len(kept) - 1) + 1


KILLED = """
import sys
from pathlib import Path
from patchrerank.datasets.composite import CompositeConfig, build_composite
config = CompositeConfig(positives=3, distractors=8, long_side=160, query_side=96)
print("go", flush=True)
photos, out = Path(sys.argv[1]), Path(sys.argv[2])
build_composite(config, None, photos, out, cut_from=photos)
print("done", flush=True)
"""


def test_killed_builds_end_in_the_same_bytes(tmp_path, photos):
    whole = tmp_path / "whole"
    build_composite(SMALL, None, photos, whole, cut_from=photos)
    rng = np.random.default_rng()
    out, kills = tmp_path / "killed", 0
    for _ in range(6):
        process = start("-c", KILLED, photos, out)
        process.stdout.readline()
        time.sleep(rng.uniform(0.0, 0.12))
        if process.poll() is None:
            process.kill()
            kills += 1
        process.communicate()
        if (out / "index.json").exists():
            break
    assert kills > 0
    build_composite(SMALL, None, photos, out, cut_from=photos)
    assert digests(out) == digests(whole)


def test_pieces_from_photographs(tmp_path, photos):
    data = build_composite(SMALL, None, photos, tmp_path / "set", cut_from=photos)
    pieces = sorted((data.root / "objects").iterdir())
    assert 3 <= len(pieces) <= 3 * 4, "three of five photographs are cut, two are backgrounds"
    assert {query.source for query in data.queries} <= {f"objects/{path.name}" for path in pieces}
    assert list((data.root / "clutter").iterdir()), "too few photographs to hold some back"
    assert all(Image.open(path).mode == "RGBA" for path in pieces)
    assert data.args["inputs"].keys() == {"backgrounds", "cut_from"}


def test_no_background_shows_where_an_object_was_cut(tmp_path, photos, monkeypatch):
    used = {}
    cast, studio = build_module._cast, Studio.__init__
    monkeypatch.setattr(
        build_module, "_cast", lambda config, inputs, *rest: used.update(cut=inputs.to_cut)
        or cast(config, inputs, *rest),
    )  # fmt: skip
    monkeypatch.setattr(
        Studio, "__init__", lambda self, *given: used.update(behind=given[-1])
        or studio(self, *given),
    )  # fmt: skip
    copy = tmp_path / "copy"
    copy.mkdir()
    for number, path in enumerate(sorted(photos.rglob("*.jpg"))):
        (copy / f"renamed{number}.jpg").write_bytes(path.read_bytes())
    build_composite(SMALL, None, photos, tmp_path / "set", cut_from=copy)
    cut = {path.read_bytes() for path in used["cut"]}
    behind = {path.read_bytes() for path in used["behind"]}
    assert cut and behind and cut.isdisjoint(behind) and len(cut | behind) == 5


def test_clutter_comes_from_other_photographs_than_objects(drawings, tmp_path):
    named = [(f"objects/{photo:04d}_{n}.png", Path(f"{photo}{n}")) for photo in range(8)
             for n in range(3)]  # fmt: skip
    for limit in (None, 4):
        config = dataclasses.replace(SMALL, max_instances=limit)
        instances, spare = build_module._assign(config, named, by_photo=True)
        assert len(instances) == (limit or 18)
        assert len(spare) >= 6
        photos_of = [{name[:12] for name, _ in items} for items in (instances, spare)]
        assert photos_of[0].isdisjoint(photos_of[1])


def test_real_photographs(tmp_path):
    data = pytest.importorskip("skimage.data")
    for name in ("astronaut", "coffee", "chelsea", "rocket"):
        (tmp_path / "photos").mkdir(exist_ok=True)
        Image.fromarray(getattr(data, name)()).save(tmp_path / "photos" / f"{name}.jpg")
    photos = tmp_path / "photos"
    built = build_composite(SMALL, None, photos, tmp_path / "set", cut_from=photos)
    assert len(built.queries) >= 4
    assert all(0.03 <= image.area <= 0.6 for image in built.images if image.area is not None)


def test_copies_count_once(tmp_path, objects, photos, drawings, caplog):
    folder = drawings.fill(tmp_path / "objects", drawings.cutout, 3)
    (folder / "copy.png").write_bytes((folder / "more/00.png").read_bytes())
    config = dataclasses.replace(SMALL, distractors=0, positives=1, clutter_share=0)
    data = build_composite(config, folder, photos, tmp_path / "set")
    assert len(data.queries) == 3
    assert "is a copy of" in caplog.text


@pytest.mark.parametrize("both", [True, False])
def test_cutouts_or_photographs_to_cut(tmp_path, objects, photos, both):
    with pytest.raises(DatasetError, match=r"either a folder of cut-outs .* not both and not"):
        build_composite(
            SMALL, objects if both else None, photos, tmp_path / "o", photos if both else None
        )


def test_unsuitable_inputs(tmp_path, objects, photos, drawings):
    out, empty = tmp_path / "out", tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DatasetError, match=r"empty holds no pictures"):
        build_composite(SMALL, empty, photos, out)
    with pytest.raises(ImageError, match=r"nowhere: not a folder"):
        build_composite(SMALL, objects, tmp_path / "nowhere", out)
    with pytest.raises(DatasetError, match=r"lies inside the input folder"):
        build_composite(SMALL, objects, photos, photos / "out")
    with pytest.raises(DatasetError, match=r"has no transparent pixels.*--cut-from"):
        build_composite(SMALL, photos, photos, tmp_path / "a")
    (empty / "notes.txt").write_text("mine")
    with pytest.raises(DatasetError, match=r"empty is not empty and holds no data set"):
        build_composite(SMALL, objects, photos, empty)
    assert (empty / "notes.txt").read_text() == "mine"


def test_a_single_photograph_cannot_serve_both_ends(tmp_path, drawings):
    one = tmp_path / "one"
    one.mkdir()
    drawings.photo(0).save(one / "a.jpg")
    with pytest.raises(DatasetError, match=r"share their only photograph"):
        build_composite(SMALL, None, one, tmp_path / "out", cut_from=one)


def test_flat_photographs_cannot_be_cut(tmp_path, photos):
    flat = tmp_path / "flat"
    flat.mkdir()
    Image.new("RGB", (300, 300), "navy").save(flat / "a.png")
    with pytest.raises(DatasetError, match=r"enough texture"):
        build_composite(SMALL, None, photos, tmp_path / "out", cut_from=flat)


def test_flat_backgrounds_give_no_clutter_but_a_warning(tmp_path, objects, caplog):
    flat = tmp_path / "flat"
    flat.mkdir()
    Image.new("RGB", (300, 300), "navy").save(flat / "a.png")
    config = dataclasses.replace(SMALL, clutter_share=0, positives=1, distractors=2)
    assert len(build_composite(config, objects, flat, tmp_path / "out").images) == 8
    assert "too flat to cut clutter from" in caplog.text


def test_broken_pictures_are_named(tmp_path, photos, drawings):
    folder = drawings.fill(tmp_path / "objects", drawings.cutout, 2)
    (folder / "torn.png").write_bytes((folder / "01.png").read_bytes()[:300])
    with pytest.raises(ImageError, match=r"torn.png"):
        build_composite(SMALL, folder, photos, tmp_path / "a")
    (folder / "torn.png").unlink()
    broken = tmp_path / "photos"
    broken.mkdir()
    (broken / "bad.jpg").write_bytes(b"no picture")
    with pytest.raises(ImageError, match=r"bad.jpg"):
        build_composite(SMALL, folder, broken, tmp_path / "b")


def test_an_impossible_cutout_is_named(tmp_path, photos):
    folder = tmp_path / "objects"
    folder.mkdir()
    pixels = np.zeros((20, 900, 4), dtype=np.uint8)
    pixels[1:-1, 1:-1] = 255
    Image.fromarray(pixels).save(folder / "needle.png")
    config = dataclasses.replace(STILL, area=(0.2, 0.6))
    with pytest.raises(DatasetError, match=r"needle.png: .* cannot be pasted with area"):
        build_composite(config, folder, photos, tmp_path / "out")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": -1}, "seed must be a whole number from 0"),
        ({"positives": 0}, "positives must be a whole number from 1"),
        ({"distractors": 2.5}, "distractors must be a whole number"),
        ({"long_side": 8}, "long_side must be a whole number from 64 to 4096, got 8"),
        ({"query_side": True}, "query_side must be a whole number"),
        ({"area": (0.6, 0.03)}, r"area must be \(smallest, largest\).*got \(0.6, 0.03\)"),
        ({"area": (0.3, 0.31)}, "at least 1.2 times"),
        ({"area": (0.03, float("nan"))}, "area must be"),
        ({"area": 0.3}, "area must be two numbers"),
        ({"rotation": -3}, "rotation must be a number from 0.0 to 180.0, got -3"),
        ({"perspective": 0.5}, "perspective must be"),
        ({"lighting": "dim"}, "lighting must be a number from 0.0 to 1.0, got 'dim'"),
        ({"occlusion": 1}, "occlusion must be"),
        ({"max_clutter": -1}, "max_clutter must be"),
        ({"clutter_share": 1}, "clutter_share must be"),
        ({"max_instances": 0}, "max_instances must be"),
        ({"pieces_per_photo": 0}, "pieces_per_photo must be"),
        ({"jpeg_quality": 100}, "jpeg_quality must be a whole number from 1 to 95"),
    ],
)
def test_impossible_settings(change, message):
    with pytest.raises(SettingError, match=message):
        CompositeConfig(**change)


def test_equal_settings_have_equal_records():
    assert repr(CompositeConfig(rotation=25).record()) == repr(CompositeConfig().record())


def test_backgrounds_are_large_undistorted_parts_of_photographs():
    y, x = np.mgrid[0:900, 0:1200]
    ramps = np.stack([x * 255 / 1199, y * 255 / 899, np.zeros_like(x, float)], axis=-1)
    photo = Image.fromarray(ramps.round().astype(np.uint8))
    for seed in range(20):
        ground = _background(photo, CompositeConfig(lighting=0.0), np.random.default_rng(seed))
        shares = np.ptp(ground[..., :2].reshape(-1, 2), axis=0)
        across, down = shares * (1200, 900)
        assert across / down == pytest.approx(ground.shape[1] / ground.shape[0], rel=0.05)
        assert 0.55 < shares.max() <= 1


def test_defaults_stay_for_sets_are_named_by_their_settings():
    """Whoever builds a set from the same inputs gets the set that others measured on."""
    assert CompositeConfig().record() == DEFAULTS
