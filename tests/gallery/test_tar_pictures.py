"""Galleries of pictures in tar shards."""

from __future__ import annotations

import io
import json
import os
import shutil
import tarfile
from dataclasses import replace

import pytest
from PIL import Image

from packed_pictures import encoded, sample, write_shards, write_tar
from patchrerank.errors import GalleryError, ImageError, SettingError
from patchrerank.gallery import (
    Gallery,
    build_gallery,
    compact,
    compress,
    derive_gallery,
    remove,
    replace_vectors,
    sync,
    verify,
)
from patchrerank.gallery import replace as change
from patchrerank.gallery.compress import CompressOptions
from patchrerank.gallery.tar_pictures import TarPictures
from patchrerank.gallery.writer import GalleryWriter
from patchrerank.regions import GridPyramid


@pytest.fixture
def shards(tmp_path):
    """A folder of three shards, and ids and bytes of their pictures."""
    return tmp_path / "shards", write_shards(tmp_path / "shards", [20, 25, 15])


@pytest.fixture
def build(tmp_path, tiny_encoder, quiet):
    def made(name, images, regions="grid:1", **how):
        return build_gallery(tmp_path / name, images, tiny_encoder, regions, replace(quiet, **how))

    return made


def equal(first, second):
    """Tell whether two galleries hold the same bits under the same ids."""
    names = set(first.files()) & set(second.files())
    assert names >= {"ids", "globals", "patches", "boxes", "sizes"}
    return all(
        first.files()[name].read_bytes() == second.files()[name].read_bytes() for name in names
    )


def test_shards_are_as_good_as_files(shards, build, tmp_path):
    folder, pictures = shards
    gallery = build("g", folder)
    assert list(gallery.ids) == [key for key, _ in pictures]
    assert equal(gallery, build("files", pictures))
    assert verify(gallery) == []
    for row, (key, content) in enumerate(pictures):
        found = gallery.pictures[row]
        assert found == content
        assert found.name.endswith(f".tar: {key}.jpg")
    again = build("g", folder)
    assert len(again) == 60, "there is nothing to do"
    assert build("plain", write(tmp_path / "u.tar", pax=False)).ids[0] == "000000000"


def write(path, numbers=range(3), **how):
    write_tar(path, [sample(number) for number in numbers], **how)
    return path


@pytest.mark.parametrize("commits", [2, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 3))])
def test_a_build_goes_on_where_it_was_killed(shards, build, monkeypatch, commits):
    """The commit after the last is lost; what was read before is not read again."""
    folder, pictures = shards
    commit, walk, calls, starts = GalleryWriter.commit, TarPictures.walk, [], []

    def dies(self, *given):
        calls.append(given)
        if len(calls) > commits:
            raise KeyboardInterrupt
        commit(self, *given)

    def watched(self, name, path, start=0):
        starts.append((name, start))
        yield from walk(self, name, path, start)

    monkeypatch.setattr(GalleryWriter, "commit", dies)
    with pytest.raises(KeyboardInterrupt):
        build("g", folder)
    monkeypatch.setattr(GalleryWriter, "commit", commit)
    monkeypatch.setattr(TarPictures, "walk", watched)
    gallery = build("g", folder)
    begun = dict(starts[-3:])
    assert begun["00000.tar"] > 0 and (begun["00002.tar"] > 0) == (16 * commits > 45)
    assert (begun["00001.tar"] > 0) == (16 * commits > 20)
    if commits > 1:
        assert begun["00000.tar"] == (folder / "00000.tar").stat().st_size
    assert equal(gallery, build("files", pictures))
    assert verify(gallery) == []


def test_new_shards_are_appended(shards, build, tmp_path):
    folder, pictures = shards
    gallery = build("g", f"{folder}/{{00000..00001}}.tar")
    assert len(gallery) == 45
    with pytest.raises(GalleryError, match="'000000045' is not in it; pass append=True"):
        build("g", folder)
    grown = build("g", folder, append=True)
    assert list(grown.ids) == [key for key, _ in pictures]
    assert grown.pictures[59] == pictures[59][1]
    assert len(build("g", [folder / "00000.tar", folder / "00002.tar"])) == 60


def test_patterns_and_lists(shards, build):
    folder, pictures = shards
    keys = [key for key, _ in pictures]
    assert list(build("a", f"{folder}/0000{{2,0}}.tar").ids) == keys[45:] + keys[:20]
    assert list(build("b", f"{folder}/*[12].tar").ids) == keys[20:]
    assert list(build("c", [folder / "00001.tar"]).ids) == keys[20:45]
    for wrong, why in (
        (f"{folder}/x*.tar", "no file fits"),
        (f"{folder}/{{0..2}}.tar", r"0\.tar: no such"),
    ):
        with pytest.raises(GalleryError, match=why):
            build("d", wrong)
    with pytest.raises(GalleryError, match="several kinds"):
        build("d", [folder / "00000.tar", folder / "00000.parquet"])


def test_ids_of_the_json(shards, build, tmp_path):
    folder, _ = shards
    assert build("a", folder, id_key="uid").ids[33] == "uid-33"
    numbers = build("b", folder, id_key="number")
    assert numbers.ids[33] == 33 and numbers.rows_of([59, 0]).tolist() == [59, 0]
    assert build("b", folder, append=True).manifest.pictures.ids == "number", "as before"
    with pytest.raises(ImageError, match=r"000000000\.json: 'name' is missing.*it has uid, number"):
        build("c", folder, id_key="name")
    with pytest.raises(GalleryError, match=r"its ids are whole numbers, pictures .* under text"):
        build("b", folder, id_key="uid", append=True)
    with pytest.raises(GalleryError, match=r"with ids of 'uid', these .* ids of 'key'"):
        build("a", folder, id_key="key", append=True)
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (9, 9)).save(tmp_path / "photos" / "a.png")
    with pytest.raises(SettingError, match="--id-key"):
        build("d", tmp_path / "photos", id_key="uid")


def test_an_id_type_that_changes_is_refused(build, tmp_path):
    write_tar(tmp_path / "a.tar", [sample(0), sample(1, number="one")])
    with pytest.raises(
        GalleryError, match=r"a\.tar: the id 'one' is text, those before it are whole"
    ):
        build("g", tmp_path / "a.tar", id_key="number")


def test_keys_that_begin_anew_in_each_shard(build, tmp_path):
    for shard in ("x", "y"):
        write_tar(tmp_path / f"{shard}.tar", [sample(n + (shard == "y"), n) for n in range(3)])
    gallery = build("g", f"{tmp_path}/?.tar")
    assert gallery.ids[:4] == ["x/000000000", "x/000000001", "x/000000002", "y/000000000"]
    with pytest.raises(GalleryError, match=r"'000000000' comes twice, the second time in y\.tar"):
        build("h", f"{tmp_path}/?.tar", id_key="key")
    first = build("i", f"{tmp_path}/x.tar", id_key="key")
    with pytest.raises(GalleryError, match=r"comes twice, the second time in y\.tar \(--id-key"):
        build("i", f"{tmp_path}/?.tar", append=True)
    assert len(Gallery(first.folder)) == 3


def test_samples_of_several_pictures_and_of_none(build, tmp_path, caplog):
    samples = [
        ("a", {"jpg": encoded(0), "json": b"{}"}),
        ("gone", {"json": b"{}", "txt": b"failed"}),
        ("b", {"left.png": encoded(1, "PNG"), "right.png": encoded(2, "PNG")}),
        ("__meta__/x", {"jpg": encoded(9)}),
        ("c", {"JPG": encoded(3)}),
        ("d/e", {"webp": encoded(4, "WEBP"), "cls": b"1"}),
    ]
    write_tar(tmp_path / "a.tar", samples)
    gallery = build("g", tmp_path / "a.tar")
    assert list(gallery.ids) == ["a", "b.left", "b.right", "c", "d/e"]
    assert "left out 1 samples without a picture" in caplog.text
    one = build("h", tmp_path / "a.tar", image_column="right.png")
    assert list(one.ids) == ["b"]


def test_a_kill_between_two_pictures_of_a_sample(build, tmp_path, monkeypatch):
    samples = [sample(n) for n in range(15)]
    samples += [("p", {"a.jpg": encoded(20), "b.jpg": encoded(21)}), sample(16)]
    write_tar(tmp_path / "a.tar", samples)
    commit = GalleryWriter.commit
    calls = []

    def dies(self, *given):
        calls.append(given)
        if len(calls) == 2:
            raise KeyboardInterrupt
        commit(self, *given)

    monkeypatch.setattr(GalleryWriter, "commit", dies)
    with pytest.raises(KeyboardInterrupt):
        build("g", tmp_path / "a.tar")
    monkeypatch.setattr(GalleryWriter, "commit", commit)
    assert build("g", tmp_path / "a.tar").ids[14:] == ["000000014", "p.a", "p.b", "000000016"]


def test_what_a_hostile_archive_names_touches_nothing(build, tmp_path, caplog):
    path = tmp_path / "in" / "a.tar"
    path.parent.mkdir()
    with tarfile.open(path, "w") as tar:
        for name in ("../../escaped.jpg", "/tmp/absolute-of-patchrerank.jpg", "._a.jpg", "a.jpg"):
            info = tarfile.TarInfo(name)
            info.size = len(encoded(1))
            tar.addfile(info, io.BytesIO(encoded(1)))
        link = tarfile.TarInfo("link.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    before = sorted(tmp_path.rglob("*"))
    gallery = build("g", path)
    assert list(gallery.ids) == ["../../escaped", "/tmp/absolute-of-patchrerank", "a"]
    assert "left out 1 links" in caplog.text
    left = [one for one in sorted(tmp_path.rglob("*")) if tmp_path / "g" not in (one, *one.parents)]
    assert left == before and not os.path.exists("/tmp/absolute-of-patchrerank.jpg")
    assert gallery.pictures[0] == encoded(1)


def test_a_shard_that_is_cut_short(shards, build, tmp_path):
    folder, pictures = shards
    whole = (folder / "00001.tar").read_bytes()
    (folder / "00001.tar").write_bytes(whole[: len(whole) // 2 - 100])
    with pytest.raises(GalleryError, match=r"00001\.tar: is cut short .*--on-error"):
        build("g", folder)
    assert not (tmp_path / "g").exists(), "nothing is written"
    gallery = build("g", folder, on_error="skip")
    assert 20 + 15 < len(gallery) < 60 and verify(gallery) == []
    (name, why), *others = gallery.manifest.skipped
    assert name == "00001.tar" and "is cut short" in why and not others
    assert len(build("g", folder, on_error="skip")) == len(gallery)
    (folder / "00001.tar").write_bytes(whole)
    grown = build("g", folder, append=True)
    assert sorted(grown.ids) == [key for key, _ in pictures] and not grown.manifest.skipped
    rows = grown.rows_of([key for key, _ in pictures]).tolist()
    assert [grown.pictures[row] for row in rows] == [content for _, content in pictures]


def test_a_damaged_header_keeps_what_is_done(shards, build):
    folder, pictures = shards
    content = bytearray((folder / "00002.tar").read_bytes())
    place = content.index(b"000000050.jpg")
    content[place] ^= 1
    (folder / "00002.tar").write_bytes(content)
    with pytest.raises(ImageError, match=r"00002\.tar: the header behind '000000049\.txt'"):
        build("g", folder)
    assert json.loads((folder.parent / "g" / "building.json").read_text())["images"] == 48
    content[place] ^= 1
    (folder / "00002.tar").write_bytes(content)
    assert equal(build("g", folder), build("files", pictures))


def test_broken_pictures_are_skipped_and_tried_again(build, tmp_path):
    broken = ("000000001", {"jpg": b"broken", "json": b'{"uid": "x"}'})
    write_tar(tmp_path / "a.tar", [sample(0), broken, sample(2), ("e", {"png": b""})])
    with pytest.raises(ImageError, match=r"a\.tar: 000000001\.jpg: not an image"):
        build("g", tmp_path / "a.tar")
    gallery = build("g", tmp_path / "a.tar", on_error="skip")
    assert list(gallery.ids) == ["000000000", "000000002"]
    assert [name for name, _ in gallery.manifest.skipped] == ["000000001", "e"]
    write_tar(tmp_path / "a.tar", [sample(0), sample(1), sample(2)])
    with pytest.raises(GalleryError, match="'000000002' comes twice"):
        build("g", tmp_path / "a.tar", append=True)


def test_a_picture_over_the_limit(build, tmp_path, monkeypatch):
    monkeypatch.setattr("patchrerank.gallery.tar_pictures.MOST_BYTES", 2000)
    big = ("big", {"png": encoded(1, "PNG", 200)})
    write_tar(tmp_path / "a.tar", [("s", {"jpg": encoded(0, side=16)}), big])
    with pytest.raises(ImageError, match=r"big\.png: has .* bytes, over the limit of 2,000"):
        build("g", tmp_path / "a.tar")
    assert list(build("g", tmp_path / "a.tar", on_error="skip").ids) == ["s"]


def test_a_sample_without_end(build, tmp_path, monkeypatch):
    monkeypatch.setattr("patchrerank.gallery.tar_pictures.MOST_MEMBERS", 3)
    write_tar(tmp_path / "a.tar", [("a", {f"{n}.jpg": encoded(n) for n in range(5)})])
    with pytest.raises(ImageError, match="more than 3 members of the key 'a' follow"):
        build("g", tmp_path / "a.tar")


@pytest.mark.parametrize("name", ["a.tar.gz", "a.tgz", "shards-{0..3}.tar.zst"])
def test_compressed_shards_are_refused(build, tmp_path, name):
    with pytest.raises(GalleryError, match="is compressed"):
        build("g", tmp_path / name)


def test_shards_that_moved(shards, build, tmp_path):
    folder, pictures = shards
    gallery = build("g", folder)
    folder.rename(tmp_path / "moved")
    with pytest.raises(ImageError, match=r"00000\.tar: no such file \(row 3\).*--root"):
        gallery.pictures[3]
    there = Gallery(gallery.folder, root=tmp_path / "moved")
    assert there.pictures[3] == pictures[3][1]
    with pytest.raises(GalleryError, match=r"is not where the pictures of .*00000\.tar: no such"):
        Gallery(gallery.folder, root=tmp_path)
    with pytest.raises(GalleryError, match="--root"):
        build("g", tmp_path / "moved", append=True)
    build("g", tmp_path / "moved", append=True, root=tmp_path / "moved")
    assert Gallery(gallery.folder).pictures[59] == pictures[59][1]
    write_shards(tmp_path / "moved", [7])
    with pytest.raises(ImageError, match="another file than the one that was indexed"):
        Gallery(gallery.folder).pictures[19]


def test_other_pictures_are_not_mixed_in(shards, build, photo_folder):
    folder, _ = shards
    build("g", folder)
    with pytest.raises(
        GalleryError, match=r"lie in tar shards, with ids of 'key', these are files"
    ):
        build("g", photo_folder, append=True)
    build("h", photo_folder)
    with pytest.raises(GalleryError, match="its pictures are files, these lie in tar shards"):
        build("h", folder, append=True)


def test_copies_know_their_pictures(shards, build, tmp_path, tiny_encoder, quiet):
    folder, pictures = shards
    gallery = build("g", folder)
    compress(gallery, tmp_path / "c", CompressOptions("float16", progress=False))
    assert Gallery(tmp_path / "c").pictures[30] == pictures[30][1]
    small = [("a", {"jpg": encoded(1, side=16)}), ("b", {"jpg": encoded(2, side=16)})]
    write_tar(tmp_path / "small.tar", small)
    source = build("s", tmp_path / "small.tar")
    copy = derive_gallery(source, tmp_path / "d", tiny_encoder, GridPyramid(0), progress=False)
    assert copy.pictures[1] == small[1][1]["jpg"]
    plain = build("d0", tmp_path / "small.tar", "grid:0")
    assert plain.array("places").tolist() == copy.array("places").tolist()
    assert plain.manifest.pictures == copy.manifest.pictures


def test_pictures_are_removed_and_the_rest_found(shards, build):
    folder, pictures = shards
    gallery = build("g", folder)
    remove(gallery.folder, ["000000000", "000000030"])
    compacted = compact(gallery.folder)
    left = [one for one in pictures if one[0] not in ("000000000", "000000030")]
    assert list(compacted.ids) == [key for key, _ in left] and verify(compacted) == []
    assert [compacted.pictures[row] for row in range(58)] == [content for _, content in left]


def test_pictures_of_shards_are_replaced_by_those_of_shards(shards, build, tmp_path, tiny_encoder):
    folder, _ = shards
    gallery = build("g", folder)
    new = [("000000007", {"jpg": encoded(77)})]
    write_tar(folder / "new.tar", new)
    replaced = change(gallery.folder, folder / "new.tar", tiny_encoder, "grid:1")
    assert replaced.live_count == 60 and verify(replaced) == []
    assert replaced.pictures[replaced.rows_of(["000000007"])[0]] == encoded(77)
    with pytest.raises(GalleryError, match=r"lie in tar shards.*, these are files"):
        change(gallery.folder, [("000000008", encoded(1))], tiny_encoder, "grid:1")
    one = replaced.global_vectors[:1], replaced.patches[:5]
    with pytest.raises(GalleryError, match="vectors say nothing of where"):
        replace_vectors(gallery.folder, ["000000000"], *one)
    (folder / "a.png").write_bytes(encoded(1, "PNG"))
    with pytest.raises(GalleryError, match="was not made of a folder of pictures"):
        sync(folder, gallery.folder, encoder=tiny_encoder)


@pytest.mark.parametrize("key", ["key", "number"])
def test_a_gallery_of_shards_is_whitened_while_it_is_built(shards, build, key):
    folder, pictures = shards
    gallery = build("g", folder, whiten=8, id_key=key)
    assert gallery.dim == 8 and len(gallery) == 60 and verify(gallery) == []
    assert gallery.pictures[59] == pictures[59][1]
    assert len(build("g", folder, whiten=8)) == 60


def test_places_that_cannot_be(shards, build):
    folder, _ = shards
    gallery = build("g", folder)
    path = gallery.files()["places"]
    path.write_bytes(b"\xff" * path.stat().st_size)
    damaged = Gallery(gallery.folder)
    with pytest.raises(GalleryError, match=r"places: row 0 names file -1 of 3"):
        damaged.pictures[0]
    assert any("places: row 0 is" in problem for problem in verify(damaged))
    shutil.rmtree(gallery.folder)
