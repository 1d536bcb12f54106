"""A gallery of shards is, bit for bit, one folder of all: whatever is asked of it."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from drawn_galleries import draw_gallery
from drawn_shards import COUNTS, draw_local, draw_shards
from local_twins import make_queries
from patchrerank.encoders import Preprocessing, load_dense_encoder
from patchrerank.errors import GalleryError, SettingError, ShortlistError
from patchrerank.first_stage import FaissFile, GlobalSearch, PatchSearch, build_patch_index
from patchrerank.fusion import Fusion
from patchrerank.gallery import (
    CompressOptions,
    Gallery,
    LocalOptions,
    build_gallery,
    build_local,
    compact,
    compress,
    export_gallery,
    merge,
    remove,
    sync,
    verify,
)
from patchrerank.gallery import replace as replace_images
from patchrerank.images import list_images
from patchrerank.regions import GridPyramid
from patchrerank.rerankers import (
    Chamfer,
    ChamferSettings,
    DenseCorrelation,
    Patchify,
    QueryExpansion,
    RefineBoxes,
    SuperGlobal,
)
from patchrerank.types import Shortlist

STORES = ("float32", "float16", "int8", "pq", "rabitq2", "rabitq1+int8")
IMAGES = sum(COUNTS)
QUIET = {"progress": False}
RERANKERS = {
    "patchify": Patchify,
    "chamfer": Chamfer,
    "symmetric": lambda g: Chamfer(g, settings=ChamferSettings("symmetric", best=3)),
    "dense_correlation": DenseCorrelation,
    "refine": lambda g: RefineBoxes(Patchify(g), evidence="local"),
    "refine by patches": lambda g: RefineBoxes(Patchify(g), evidence="patches"),
    "query expansion": QueryExpansion,
    "superglobal": SuperGlobal,
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Both galleries of each store: of shards, and one folder."""
    folder, found = tmp_path_factory.mktemp("made"), {}
    local = {"float32": "float32", "float16": "float16", "int8": "int8", "pq": "binary"}
    local |= {"rabitq2": "binary", "rabitq1+int8": "binary"}
    for store in STORES:
        parts = draw_shards(folder / store, store if store != "pq" else "float32", local[store])
        joined = merge(folder / store / "set", parts)
        if store == "pq":
            compress(joined, folder / store / "small", CompressOptions("pq", m=4, nbits=4, **QUIET))
            joined = Gallery(folder / store / "small")
        found[store] = joined, merge(folder / store / "one", [joined], copy=True, **QUIET)
    return found


@pytest.fixture
def parts(tmp_path):
    return draw_shards(tmp_path)


def asked(seed=0, queries=3):
    rng = np.random.default_rng(seed)
    found = make_queries(rng, [5, 1, 8][:queries])
    vectors = rng.standard_normal((queries, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    rows = np.array([rng.permutation(IMAGES) for _ in range(queries)])[:, :20]
    rows[0, 15:] = -1
    scores = np.where(rows >= 0, np.linspace(1, 0, 20, dtype=np.float32), -np.inf)
    return replace(found, vectors=vectors), Shortlist(rows, scores)


def files_in(folder):
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("name", RERANKERS)
def test_every_reranker_answers_as_on_one_folder(made, store, name):
    answers = [RERANKERS[name](gallery).score(*asked()) for gallery in made[store]]
    np.testing.assert_array_equal(answers[0].scores, answers[1].scores)
    assert (answers[0].boxes is None) is (answers[1].boxes is None)
    if answers[0].boxes is not None:
        np.testing.assert_array_equal(answers[0].boxes, answers[1].boxes)


@pytest.mark.parametrize("store", STORES)
def test_arrays_manifests_and_hits_are_those_of_one_folder(made, store):
    shards, one = made[store]
    assert len(shards) == len(one) == IMAGES and list(shards.ids) == list(one.ids)
    assert verify(shards) == verify(one) == []
    for name, record in one.manifest.arrays.items():
        held, array = shards.array(name), one.array(name)
        assert (held.shape, held.dtype, shards.manifest.arrays[name]) == (
            array.shape,
            array.dtype,
            record,
        )
        np.testing.assert_array_equal(np.asarray(held), array)
    assert shards.nbytes().items() >= one.nbytes().items()
    assert shards.local.nbytes() == one.local.nbytes() and len(shards.local) == IMAGES
    for row in (0, 6, 7, 8, 24):
        mine, theirs = shards.local.descriptors_of(row), one.local.descriptors_of(row)
        np.testing.assert_array_equal(mine.vectors, theirs.vectors)
    ids = [one.ids[row] for row in (24, 0, 7, 8, 19)]
    query = asked()[0].vectors[0]
    hits = [Patchify(gallery, fusion=Fusion(0.3, 4)).rank(query, ids) for gallery in made[store]]
    assert hits[0] == hits[1]


def test_the_copy_holds_what_the_shards_hold(tmp_path, parts):
    one, opened = merge(tmp_path / "one", parts, copy=True, **QUIET), [Gallery(p) for p in parts]
    for name in ("globals", "patches", "boxes", "sizes", "ids"):
        joined = np.concatenate([part.array(name) for part in opened])
        np.testing.assert_array_equal(one.array(name), joined)
    counts = [np.diff(part.patch_ends, prepend=0) for part in opened]
    np.testing.assert_array_equal(np.diff(one.patch_ends, prepend=0), np.concatenate(counts))
    names = {path.name for path in parts[0].iterdir()} | {"build.lock"}
    assert {path.name for path in one.folder.iterdir()} == names


def test_first_stages_and_exports_work_on_shards(tmp_path, made):
    shards, one = made["float16"]
    queries, _ = asked()
    for factory in ("Flat", "IVF2,Flat"):
        found = [GlobalSearch(gallery, factory).search(queries, 9) for gallery in (shards, one)]
        np.testing.assert_array_equal(found[0].rows, found[1].rows)
    build_patch_index(shards, tmp_path / "index", "IVF2,Flat", **QUIET)
    found = [PatchSearch(g, tmp_path / "index", nprobe=2).search(queries, 5) for g in (shards, one)]
    np.testing.assert_array_equal(found[0].shortlist.rows, found[1].shortlist.rows)
    np.testing.assert_array_equal(found[0].boxes, found[1].boxes)
    for gallery, name in ((shards, "a"), (one, "b")):
        export_gallery(gallery, tmp_path / name, **QUIET)
        export_gallery(gallery, tmp_path / f"{name}.h5", "hdf5", **QUIET)
        export_gallery(gallery, tmp_path / f"{name}.parquet", "parquet", **QUIET)
    assert files_in(tmp_path / "a") == files_in(tmp_path / "b")
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


@pytest.mark.parametrize("store", ["float16", "int8", "pq"])
def test_compressed_shards_have_one_quantiser(tmp_path, made, store):
    options = CompressOptions(store, whiten=12, m=4, nbits=4, **QUIET)
    for gallery, name in zip(made["float32"], "ab", strict=True):
        compress(gallery, tmp_path / name, options)
    shards, one = Gallery(tmp_path / "a"), Gallery(tmp_path / "b")
    assert len(shards.shards) == len(COUNTS) and verify(shards) == []
    assert shards.manifest.identity == one.manifest.identity
    for name, record in one.manifest.arrays.items():
        assert shards.manifest.arrays[name] == record, name
    assert len(shards.local) == IMAGES
    shutil.move(tmp_path / "a", tmp_path / "moved")  # they lie within
    assert verify(Gallery(tmp_path / "moved")) == []


def test_opening_opens_no_shard_and_a_request_those_it_needs(tmp_path, parts):
    joined = merge(tmp_path / "set", parts)
    shutil.move(parts[1], tmp_path / "away")
    gallery = Gallery(joined.folder)
    query = asked()[0].vectors[0]
    ids = ["0/0.jpg", "2/0.jpg", "3/4.jpg", "2/11.jpg"]
    assert len(Patchify(gallery).rank(query, ids)) == 4  # the ones behind the missing, too
    assert gallery.ids[8] == "2/0.jpg" and gallery.rows_of(["2/0.jpg"]).tolist() == [8]
    assert gallery.local.descriptors_of(8) is not None
    for use in (
        lambda: Patchify(gallery).rank(query, ["1/0.jpg"]),
        lambda: gallery.ids[7],
        lambda: np.asarray(gallery.global_vectors),
        lambda: GlobalSearch(gallery),
    ):
        with pytest.raises(GalleryError, match=r"set: its shard .*part-1 is missing; restore it"):
            use()
    assert any("part-1 is missing" in problem for problem in verify(gallery))


def test_a_shard_that_was_changed_is_refused_until_it_is_joined_anew(tmp_path, parts):
    merge(tmp_path / "set", parts)
    remove(parts[2], ["2/3.jpg"])
    gallery = Gallery(tmp_path / "set")
    assert gallery.ids[0] == "0/0.jpg"
    with pytest.raises(GalleryError, match=r"part-2 was changed since the shards were joined"):
        _ = gallery.ids[8]
    again = merge(tmp_path / "set", [], append=True)
    assert again.live_count == IMAGES - 1 and "2/3.jpg" not in again.ids
    with pytest.raises(ShortlistError, match="1 of 1 ids are not in the gallery"):
        again.rows_of(["2/3.jpg"])


def test_images_are_removed_from_a_gallery_of_shards_or_from_a_shard(tmp_path, parts):
    remove(parts[0], ["0/2.jpg"])
    joined = merge(tmp_path / "set", parts)
    assert joined.live_count == IMAGES - 1 and verify(joined) == []
    gone = remove(joined.folder, ["3/1.jpg", "1/0.jpg"])
    assert gone.live_count == IMAGES - 3 and verify(gone) == []
    assert len(gone) == IMAGES and "1/0.jpg" not in gone.ids and "3/1.jpg" in Gallery(parts[3]).ids
    found = GlobalSearch(gone).search(asked()[0])
    assert not np.isin(found.rows, np.flatnonzero(gone.removed)).any()
    more = draw_gallery(tmp_path / "more", ["more.jpg", "3/1.jpg"], 2, 16, "float32")
    draw_local(more, "float16")
    with_more = merge(joined.folder, [more], append=True)
    assert with_more.live_count == IMAGES - 1  # 3/1.jpg again, in another shard
    assert with_more.rows_of(["3/1.jpg"]).tolist() == [IMAGES + 1] and verify(with_more) == []
    one = merge(tmp_path / "one", [with_more], copy=True, **QUIET)
    assert list(one.ids) == list(with_more.ids.living()) and verify(one) == []
    assert len(one) == IMAGES - 1 and one.manifest.arrays.keys() == more.manifest.arrays.keys()
    rows = with_more.live
    np.testing.assert_array_equal(one.global_vectors, with_more.global_vectors[rows])
    export_gallery(one, tmp_path / "a", **QUIET)
    export_gallery(with_more, tmp_path / "b", **QUIET)
    assert files_in(tmp_path / "a") == files_in(tmp_path / "b")
    with pytest.raises(GalleryError, match=r"is a gallery of shards; join them into one folder"):
        compact(joined.folder)


def test_a_compressed_copy_leaves_out_what_was_removed_from_all(tmp_path, parts):
    joined = merge(tmp_path / "set", parts)
    gone = [joined.ids[row] for row in (0, len(joined) - 1)]
    remove(tmp_path / "set", gone)
    one = merge(tmp_path / "one", [tmp_path / "set"], copy=True, **QUIET)
    compress(Gallery(tmp_path / "set"), tmp_path / "small", CompressOptions("int8", **QUIET))
    compress(one, tmp_path / "one-small", CompressOptions("int8", **QUIET))
    small, same = Gallery(tmp_path / "small"), Gallery(tmp_path / "one-small")
    assert list(small.ids) == list(same.ids) and not {*gone} & {*small.ids}
    assert np.array_equal(np.asarray(small.patches), same.patches) and verify(small) == []
    for name in same.local.manifest.arrays:
        assert np.array_equal(np.asarray(small.local.array(name)), same.local.array(name)), name


def test_local_descriptors_follow_removed_rows(tmp_path, parts):
    joined = merge(tmp_path / "set", parts)
    remove(joined.folder, ["0/1.jpg", "2/5.jpg"])
    one = merge(tmp_path / "one", [joined.folder], copy=True, **QUIET)
    shards = Gallery(joined.folder)
    assert verify(one) == [] and len(one.local) == IMAGES - 2
    for row, kept in enumerate(shards.live):
        mine, theirs = one.local.descriptors_of(row), shards.local.descriptors_of(int(kept))
        np.testing.assert_array_equal(mine.vectors, theirs.vectors)
        np.testing.assert_array_equal(mine.positions, theirs.positions)


def test_removed_rows_are_not_guessed_when_a_shard_has_others(tmp_path, parts):
    joined = merge(tmp_path / "set", parts)
    remove(joined.folder, ["2/5.jpg"])
    remove(parts[2], ["2/0.jpg"])
    compact(parts[2])
    with pytest.raises(GalleryError, match=r"part-2 has other rows than when images of it were"):
        merge(joined.folder, [], append=True)
    remove(parts[1], ["1/0.jpg"])  # its rows keep their numbers
    with pytest.raises(GalleryError, match="part-2"):
        merge(joined.folder, [], append=True)


def test_a_reader_keeps_what_it_has_while_shards_are_added(tmp_path, parts):
    before = merge(tmp_path / "set", parts[:2])
    pickled = pickle.dumps(before)
    after = merge(tmp_path / "set", parts[2:], append=True)
    assert list(before.ids) == [f"0/{n}.jpg" for n in range(7)] + ["1/0.jpg"]
    assert before.rows_of(["1/0.jpg"]).tolist() == [7] and len(after) == IMAGES
    assert len(pickle.loads(pickled)) == IMAGES and after.manifest.numbering == 0
    again = merge(tmp_path / "set", parts, append=True)
    assert again.shards.table == after.shards.table and verify(again) == []
    files = {path.name for path in (tmp_path / "set").glob("*.bin")}
    assert len(files) == 1, files


def test_rows_that_move_are_numbered_anew(tmp_path, parts):
    joined = merge(tmp_path / "set", parts)
    pickled = pickle.dumps(joined)
    remove(parts[0], ["0/0.jpg"])
    compact(parts[0])
    again = merge(tmp_path / "set", [], append=True)
    assert again.manifest.numbering == 1 and len(again.local) == len(again) == IMAGES - 1
    with pytest.raises(GalleryError, match="rows have other numbers"):
        pickle.loads(pickled)


def test_galleries_of_shards_are_taken_apart(tmp_path, parts):
    first, second = merge(tmp_path / "a", parts[:2]), merge(tmp_path / "b", parts[1:])
    both = merge(tmp_path / "both", [first, second, parts[0]])
    assert len(both) == IMAGES and len(both.shards) == 4


def test_shards_may_lie_in_the_folder_and_move_with_it(tmp_path):
    parts = draw_shards(tmp_path / "all")
    joined = merge(tmp_path / "all", parts)
    assert joined.shards.table.folders == tuple(part.name for part in parts)
    shutil.move(tmp_path / "all", tmp_path / "moved")
    assert verify(Gallery(tmp_path / "moved")) == []
    os.symlink(tmp_path / "moved", tmp_path / "link")
    assert verify(Gallery(tmp_path / "link")) == []


def test_a_shard_is_not_where_local_descriptors_are(tmp_path, parts):
    (tmp_path / "all").mkdir()
    shutil.copytree(parts[0], tmp_path / "all/local")
    with pytest.raises(GalleryError, match="is the place of local descriptors; give this gallery"):
        merge(tmp_path / "all", [tmp_path / "all/local", parts[1]])
    assert len(Gallery(tmp_path / "all/local")) == COUNTS[0]


def test_another_working_directory_and_another_process(tmp_path, parts, monkeypatch):
    merge(tmp_path / "set", parts)
    monkeypatch.chdir(tmp_path)
    gallery = Gallery("set")
    copy = pickle.loads(pickle.dumps(gallery))
    monkeypatch.chdir("/")
    assert list(gallery.ids) == list(copy.ids) and verify(copy) == []


def test_pictures_are_where_each_shard_says(tmp_path, photo_folder, tiny_encoder, quiet):
    paths = list_images(photo_folder)
    for name in ("a", "b"):
        (tmp_path / f"photos-{name}").mkdir()
    for number, path in enumerate(paths[:6]):
        folder = tmp_path / f"photos-{'ab'[number % 2]}"
        shutil.copy(path, folder / f"{number}.png")
    parts = [
        build_gallery(
            tmp_path / name, tmp_path / f"photos-{name}", tiny_encoder, GridPyramid(1), quiet
        )
        for name in ("a", "b")
    ]
    joined = merge(tmp_path / "set", parts)
    assert joined.manifest.root is None
    assert all(joined.pictures.path(row).is_file() for row in range(6))
    for append in (False, True):
        with pytest.raises(GalleryError, match="is a gallery of shards; change one of these, or"):
            build_gallery(
                tmp_path / "set",
                tmp_path / "photos-a",
                tiny_encoder,
                GridPyramid(1),
                replace(quiet, append=append),
            )


def test_ids_of_other_kinds(tmp_path):
    parts = [
        draw_gallery(tmp_path / f"p{n}", [10 * n, 10 * n + 1], 1, 8, id_type="int").folder
        for n in range(3)
    ]
    joined = merge(tmp_path / "set", parts)
    assert list(joined.ids) == [0, 1, 10, 11, 20, 21] and joined.rows_of([20, 1]).tolist() == [4, 1]
    assert joined.ids.at(np.array([5, 0])) == [21, 0]


DIFFERENT = {
    "store": ({"store": "float16"}, "'float32' and 'float16'; index .* --store of the other"),
    "dim": ({"dim": 8}, "16 and 8; make one again as the other was"),
    "id_type": ({"id_type": "int", "ids": [1, 2]}, "'text' and 'int'"),
}


@pytest.mark.parametrize("key", DIFFERENT)
@pytest.mark.parametrize("copy", [False, True])
def test_galleries_that_were_made_otherwise_are_refused_by_name(tmp_path, parts, key, copy):
    how, told = {"store": "float32", "dim": 16, "ids": ["x", "y"], **DIFFERENT[key][0]}, None
    told = DIFFERENT[key][1]
    ids = how.pop("ids")
    draw_gallery(tmp_path / "other", ids, 2, **how)
    message = rf"part-0 and .*other cannot be one gallery: they differ in {key}, {told}"
    with pytest.raises(GalleryError, match=message):
        merge(tmp_path / "set", [*parts, tmp_path / "other"], copy=copy, **QUIET)
    assert not (tmp_path / "set").exists()


def changed(folder, **values):
    content = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**content, **values}))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"identity": "another"}, "differ in identity, other weights, image size"),
        ({"regions": "grid:2"}, "differ in regions, 'grid:3' and 'grid:2'; .*--regions"),
    ],
)
def test_other_encoders_and_regions_are_refused(tmp_path, parts, values, message):
    changed(parts[2], **values)
    with pytest.raises(GalleryError, match=f"part-0 and .*part-2 cannot be one gallery.*{message}"):
        merge(tmp_path / "set", parts)


def test_quantisers_that_were_trained_apart_are_refused(tmp_path, parts):
    small = []
    for part in (parts[0], parts[2]):
        options = CompressOptions("pq", m=4, nbits=2, **QUIET)
        compress(Gallery(part), tmp_path / f"{part.name}-pq", options)
        small.append(tmp_path / f"{part.name}-pq")
    with pytest.raises(GalleryError, match="differ in pq_centroids, product quantisers that were"):
        merge(tmp_path / "set", small)


@pytest.mark.parametrize("copy", [False, True])
def test_an_id_in_two_shards_is_refused_by_name(tmp_path, parts, copy):
    draw_gallery(tmp_path / "other", ["new.jpg", "2/3.jpg"], 2, 16, "float32")
    message = r"the id '2/3.jpg' stands in .*part-2 and again in .*other; leave the image out"
    with pytest.raises(GalleryError, match=message):
        merge(tmp_path / "set", [*parts, tmp_path / "other"], copy=copy, **QUIET)
    assert not (tmp_path / "set").exists()
    merge(tmp_path / "set", parts)
    before = sorted((p.name, p.read_bytes()) for p in (tmp_path / "set").iterdir() if p.is_file())
    with pytest.raises(GalleryError, match=message):
        merge(tmp_path / "set", [tmp_path / "other"], append=True)
    after = sorted((p.name, p.read_bytes()) for p in (tmp_path / "set").iterdir() if p.is_file())
    assert before == after


def test_calls_that_make_no_gallery_are_refused(tmp_path, parts):
    joined = merge(tmp_path / "set", parts)
    for call, message in [
        (lambda: merge(tmp_path / "x", []), "there are no galleries to join"),
        (lambda: merge(tmp_path / "x", str(parts[0])), "pass a list of folders"),
        (lambda: merge(tmp_path / "x", [tmp_path / "none"]), "no such file"),
        (lambda: merge(joined.folder, parts), "there is a gallery already"),
        (lambda: merge(joined.folder, [joined], append=True), "cannot be joined into itself"),
        (lambda: merge(parts[0], parts[1:], append=True), "is one folder, not a gallery of shards"),
    ]:
        with pytest.raises(GalleryError, match=message):
            call()
    with pytest.raises(SettingError, match="use one of append=True"):
        merge(joined.folder, parts, append=True, copy=True)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").write_text("mine")
    with pytest.raises(GalleryError, match=r"holds 'notes.txt'"):
        merge(tmp_path / "mine", parts)
    assert not (tmp_path / "x").exists()


def test_local_descriptors_need_all_shards_alike(tmp_path, caplog):
    parts = draw_shards(tmp_path, local=None)
    draw_local(Gallery(parts[0]))
    joined = merge(tmp_path / "a", parts)
    assert not joined.has_local and "part-1 has no local descriptors" in caplog.text
    for part in parts[1:]:
        draw_local(Gallery(part), fingerprint="other")
    assert not merge(tmp_path / "b", parts, copy=True, **QUIET).has_local
    assert "were made with other settings" in caplog.text
    with pytest.raises(GalleryError, match="has no local descriptors; make them with"):
        _ = joined.local


def test_a_copy_reads_every_byte(tmp_path, parts):
    file = parts[1] / "globals.bin"
    file.write_bytes(bytes(file.stat().st_size))
    with pytest.raises(GalleryError, match="globals: what was read of the galleries is not what"):
        merge(tmp_path / "one", parts, copy=True, **QUIET)
    assert not (tmp_path / "one").exists()
    problems = verify(merge(tmp_path / "set", parts))
    assert any("part-1: globals.bin: checksum differs" in problem for problem in problems)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t["images"].append(3), r"shards\.images: 4 counts are needed"),
        (lambda t: t["images"].__setitem__(0, 8), r"shards\.images: do not add up to 25"),
        (lambda t: t["vectors"].__setitem__(0, -1), r"shards\.vectors"),
        (lambda t: t["folders"].__setitem__(0, ""), r"shards\.folders: one is no path"),
        (lambda t: t["folders"].__setitem__(0, "x\0y"), r"shards\.folders: one is no path"),
        (lambda t: t.pop("crc32"), r"shards\.crc32: missing"),
        (lambda t: t["crc32"].__setitem__(0, "x"), r"shards\.crc32\[0\]"),
    ],
)
def test_a_damaged_table_of_shards_is_refused(tmp_path, parts, change, message):
    merge(tmp_path / "set", parts)
    table = json.loads((tmp_path / "set/manifest.json").read_text())["shards"]
    change(table)
    changed(tmp_path / "set", shards=table)
    with pytest.raises(GalleryError, match=message):
        Gallery(tmp_path / "set")


def test_checksums_of_bytes_one_behind_the_other():
    import zlib

    from patchrerank.gallery.checksums import joined_crc

    rng = np.random.default_rng(0)
    pieces = [rng.bytes(size) for size in (0, 1, 5, 0, 4096, 70_001)]
    for first, second in pairwise(pieces):
        crc = joined_crc(zlib.crc32(first), zlib.crc32(second), len(second))
        assert crc == zlib.crc32(first + second)


def test_local_descriptors_are_built_shard_by_shard(tmp_path, photo_folder, tiny_encoder, quiet):
    paths = list_images(photo_folder)[:7]
    pairs = [(path.name, path) for path in paths]
    parts = [
        build_gallery(
            tmp_path / f"{start}", pairs[start : start + 3], tiny_encoder, GridPyramid(0), quiet
        )
        for start in (0, 3, 6)
    ]
    joined, one = merge(tmp_path / "set", parts), merge(tmp_path / "one", parts, copy=True, **QUIET)
    dense = load_dense_encoder(
        torch.nn.Sequential(torch.nn.AvgPool2d(4)),
        preprocessing=Preprocessing((16, 16), (0.5,) * 3, (0.25,) * 3, "area"),
        image_size=16, stride=4, device="cpu", name="cells",
    )  # fmt: skip
    how = LocalOptions(progress=False)
    stores = [build_local(gallery, dense, how, sources=paths) for gallery in (joined, one)]
    assert len(stores[0]) == 7 and stores[0].nbytes() == stores[1].nbytes()
    for name in stores[1].manifest.arrays:
        np.testing.assert_array_equal(np.asarray(stores[0].array(name)), stores[1].array(name))
    assert verify(joined) == [] and len(Gallery(joined.folder).local.shards) == 3


def test_an_index_file_finds_images_of_shards(tmp_path, made):
    import faiss

    shards, one = made["float32"]
    index = faiss.IndexFlatIP(16)
    index.add(np.ascontiguousarray(one.global_vectors))
    faiss.write_index(index, str(tmp_path / "x.faiss"))
    found = [FaissFile(g, tmp_path / "x.faiss").search(asked()[0], 5) for g in (shards, one)]
    np.testing.assert_array_equal(found[0].rows, found[1].rows)


def test_changes_of_pictures_are_made_in_a_shard(tmp_path, parts, photo_folder):
    joined = merge(tmp_path / "set", parts)
    for change in (
        lambda: sync(photo_folder, joined.folder),
        lambda: replace_images(joined.folder, list_images(photo_folder)[:1]),
    ):
        with pytest.raises(GalleryError, match="is a gallery of shards; change one of these, or"):
            change()


def test_a_sync_of_shards_names_the_one_that_follows_the_folder(
    tmp_path, photo_folder, tiny_encoder, quiet
):
    photos = [tmp_path / "photos a", tmp_path / "photos b"]
    for number, folder in enumerate(photos):
        folder.mkdir()
        for path in list_images(photo_folder)[3 * number : 3 * number + 3]:
            shutil.copy(path, folder)
        build_gallery(tmp_path / f"part-{number}", folder, tiny_encoder, GridPyramid(0), quiet)
    joined = merge(tmp_path / "set", [tmp_path / "part-0", tmp_path / "part-1"])
    shutil.copy(list_images(photo_folder)[7], photos[1])
    with pytest.raises(GalleryError) as caught:
        sync(photos[1], joined.folder)
    shard = tmp_path / "part-1"
    told = f"patchrerank sync '{photos[1]}' {shard}, and then patchrerank merge {joined.folder} "
    assert told in str(caught.value)
    sync(photos[1], shard, encoder=tiny_encoder)
    after = merge(joined.folder, [], append=True)
    assert len(after) == 7 and verify(after) == []
