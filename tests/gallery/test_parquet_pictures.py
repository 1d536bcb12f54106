"""Galleries of pictures in columns of Parquet files."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import numpy as np
import pytest

from packed_pictures import encoded, write_parquet, write_tar
from patchrerank.errors import GalleryError, ImageError
from patchrerank.gallery import BuildOptions, Gallery, build_gallery, verify
from patchrerank.gallery.sources import open_source
from patchrerank.gallery.writer import GalleryWriter

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


@pytest.fixture
def files(tmp_path):
    """A folder of two files with failed downloads among the rows, and what can be had."""
    rows = [(f"{n:09d}", None if n % 10 == 3 else encoded(n)) for n in range(60)]
    folder = tmp_path / "files"
    folder.mkdir()
    write_parquet(folder / "00000.parquet", rows[:45], group=20)
    write_parquet(folder / "00001.parquet", rows[45:], group=20)
    return folder, [(key, content) for key, content in rows if content]


@pytest.fixture
def build(tmp_path, tiny_encoder, quiet):
    def made(name, images, **how):
        return build_gallery(tmp_path / name, images, tiny_encoder, "grid:1", replace(quiet, **how))

    return made


def equal(first, second):
    names = set(first.files()) & set(second.files())
    return all(
        first.files()[name].read_bytes() == second.files()[name].read_bytes() for name in names
    )


def test_rows_are_as_good_as_files(files, build, caplog):
    folder, pictures = files
    gallery = build("g", folder)
    assert "left out 6 rows without a picture" in caplog.text
    assert list(gallery.ids) == [key for key, _ in pictures]
    assert equal(gallery, build("plain", pictures)) and verify(gallery) == []
    order = np.random.default_rng(0).permutation(len(gallery)).tolist()
    for row in [*range(len(gallery)), *order]:
        assert gallery.pictures[row] == pictures[row][1]
    assert gallery.pictures[0].name.endswith("00000.parquet: row 0")
    assert len(build("g", folder)) == 54, "there is nothing to do"


@pytest.mark.parametrize("commits", [1, 2, 3])
def test_a_build_goes_on_where_it_was_killed(files, build, monkeypatch, commits):
    folder, pictures = files
    commit, calls = GalleryWriter.commit, []

    def dies(self, *given):
        calls.append(given)
        if len(calls) > commits:
            raise KeyboardInterrupt
        commit(self, *given)

    monkeypatch.setattr(GalleryWriter, "commit", dies)
    with pytest.raises(KeyboardInterrupt):
        build("g", folder)
    monkeypatch.setattr(GalleryWriter, "commit", commit)
    assert equal(build("g", folder), build("plain", pictures))


def test_struct_columns_as_hugging_face_writes_them(build, tmp_path):
    rows = [(f"k{n}", encoded(n, "PNG")) for n in range(5)]
    write_parquet(tmp_path / "train-00000.parquet", rows, image="image")
    gallery = build("g", tmp_path / "train-00000.parquet")
    assert gallery.manifest.pictures.column == "image.bytes"
    assert gallery.pictures[4] == rows[4][1]
    by_path = build("h", tmp_path / "train-*.parquet", id_key="image.path", image_column="image")
    assert by_path.ids[4] == "4.jpg"
    numbered = build("i", str(tmp_path / "train-*.parquet"), id_key="file/row")
    assert numbered.ids[4] == "train-00000/4"


@pytest.mark.parametrize("kind", ["int", "uuid"])
def test_ids_come_back_as_they_were_given(build, tmp_path, kind):
    keys = [UUID(int=n + 1) if kind == "uuid" else n - 2 for n in range(20)]
    rows = [(key, encoded(n)) for n, key in enumerate(keys)]
    write_parquet(tmp_path / "a.parquet", rows[:18], ids=kind)
    gallery = build("g", tmp_path / "a.parquet")
    assert list(gallery.ids) == keys[:18] and gallery.manifest.id_type == kind
    write_parquet(tmp_path / "b.parquet", rows[18:], ids=kind)
    grown = build("g", str(tmp_path / "?.parquet"), append=True)
    assert list(grown.ids) == keys and verify(grown) == []
    assert grown.rows_of([keys[19], keys[0]]).tolist() == [19, 0]
    write_parquet(tmp_path / "c.parquet", [("text", encoded(1))])
    with pytest.raises(GalleryError, match=rf"c\.parquet: the column 'key' is string .* is {kind}"):
        build("h", tmp_path)
    assert not (tmp_path / "h").exists()
    with pytest.raises(GalleryError, match=r"its ids are .*, pictures are indexed under text"):
        build("g", str(tmp_path / "c.parquet"), append=True)


def test_uuids_of_their_own_type(build, tmp_path):
    if not hasattr(pa, "uuid"):
        pytest.skip("this pyarrow has none")
    keys = [UUID(int=7), UUID(int=3)]
    table = pa.table({"id": pa.array(keys, pa.uuid()), "jpg": [encoded(0), encoded(1)]})
    pq.write_table(table, tmp_path / "a.parquet")
    assert list(build("g", tmp_path / "a.parquet").ids) == keys


WRONG = {
    "no binary": ({"key": ["a"], "jpg": ["text"]}, {}, r"no binary column.*jpg \(string\)"),
    "other type": ({"key": ["a"], "jpg": [b"x"]}, {"image_column": "key"}, "'key' is string"),
    "absent": ({"key": ["a"], "jpg": [b"x"]}, {"image_column": "no"}, "holds no column 'no'"),
    "several": ({"key": ["a"], "x": [b"x"], "y": [b"y"]}, {}, "several binary columns, x, y"),
    "no ids": ({"jpg": [b"x"]}, {}, r"no column of a usual name.*--id-column.*'file/row'"),
    "other ids": ({"jpg": [b"x"], "id": [0.5]}, {}, "'id' is double; ids are text"),
    "absent ids": ({"jpg": [b"x"], "id": [1]}, {"id_key": "uid"}, "no column 'uid'"),
}


@pytest.mark.parametrize("how", WRONG)
def test_columns_of_the_wrong_type_are_named(build, tmp_path, how):
    columns, options, message = WRONG[how]
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    with pytest.raises(GalleryError, match=rf"a\.parquet: .*{message}"):
        build("g", tmp_path / "a.parquet", **options)
    assert not (tmp_path / "g").exists(), "nothing is written"


def test_a_file_that_is_cut_short(files, build, tmp_path):
    folder, _ = files
    whole = (folder / "00001.parquet").read_bytes()
    (folder / "00001.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(GalleryError, match=r"00001\.parquet: is no Parquet file, or cut short"):
        build("g", folder)
    assert not (tmp_path / "g").exists()
    gallery = build("g", folder, on_error="skip")
    assert len(gallery) == 40
    assert [name for name, _ in gallery.manifest.skipped] == ["00001.parquet"]
    (folder / "00001.parquet").write_bytes(whole)
    with pytest.raises(GalleryError, match=r"00001\.parquet: has changed since"):
        build("g", folder, append=True)


def test_damage_within_a_file_keeps_what_is_done(files, build):
    folder, pictures = files
    whole = (folder / "00000.parquet").read_bytes()
    content = bytearray(whole)
    group = pq.ParquetFile(folder / "00000.parquet").metadata.row_group(1)
    column = next(
        group.column(n) for n in range(group.num_columns) if group.column(n).path_in_schema == "jpg"
    )
    begin = column.dictionary_page_offset or column.data_page_offset
    content[begin : begin + 40] = b"\xff" * 40
    (folder / "00000.parquet").write_bytes(content)
    with pytest.raises(ImageError, match=r"00000\.parquet: rows 20 to 39 cannot be read"):
        build("g", folder)
    gallery = build("h", folder, on_error="skip")
    assert [name for name, _ in gallery.manifest.skipped] == ["00000.parquet/20"]
    assert gallery.ids[17:19] == ["000000019", "000000040"]
    (folder / "00000.parquet").write_bytes(whole)
    assert len(build("h", folder, append=True)) == 54
    assert not Gallery(gallery.folder).manifest.skipped
    assert equal(build("g", folder), build("plain", pictures))


def test_new_files_are_appended(files, build, tmp_path):
    folder, pictures = files
    gallery = build("g", folder / "00000.parquet")
    options = BuildOptions(append=True)
    source = open_source([folder / "00001.parquet"], options, gallery.manifest.pictures)
    assert source.count(gallery.manifest.pictures) == 15
    assert equal(build("g", folder, append=True), build("plain", pictures))
    write_tar(folder / "a.tar", [("k", {"jpg": encoded(1)})])
    with pytest.raises(GalleryError, match=r"lie in Parquet files.*, these lie in tar shards"):
        build("g", folder / "a.tar", append=True)


def test_rows_without_an_id_and_broken_ones(build, tmp_path):
    rows = [("a", encoded(0)), (None, encoded(1)), ("c", b"broken"), ("d", encoded(2))]
    write_parquet(tmp_path / "a.parquet", rows)
    with pytest.raises(ImageError, match=r"a\.parquet: row 1 has no id \(column 'key'\)"):
        build("g", tmp_path / "a.parquet")
    gallery = build("g", tmp_path / "a.parquet", on_error="skip")
    assert list(gallery.ids) == ["a", "d"]
    assert [name for name, _ in gallery.manifest.skipped] == ["a.parquet/1", "c"]
    assert "a.parquet: row 2: not an image" in gallery.manifest.skipped[1][1]


def test_numbers_beyond_64_bits(build, tmp_path):
    big = pa.array([1, 1 << 63], pa.uint64())
    pq.write_table(pa.table({"id": big, "jpg": [encoded(0), encoded(1)]}), tmp_path / "a.parquet")
    with pytest.raises(ImageError, match="row 1 has the id 9223372036854775808, over 64 bits"):
        build("g", tmp_path / "a.parquet")


def test_a_file_that_was_written_anew_is_refused(files, build):
    folder, _ = files
    gallery = build("g", folder)
    write_parquet(folder / "00000.parquet", [("x", encoded(70))])
    with pytest.raises(ImageError, match=r"00000\.parquet: row 4 .*changed since it was indexed"):
        Gallery(gallery.folder).pictures[3]
    with pytest.raises(GalleryError, match=r"00000\.parquet: has changed since"):
        build("g", folder, append=True)


def test_pages_larger_than_memory_are_refused(files, build, monkeypatch):
    folder, _ = files
    monkeypatch.setattr("patchrerank.file_bounds.free_memory", lambda: 10_000)
    with pytest.raises(GalleryError, match=r"00000\.parquet: 'jpg' .*row_group_size=100.* needs"):
        build("g", folder)


def test_pyarrow_that_is_missing(files, build, monkeypatch):
    folder, _ = files
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    from patchrerank.errors import MissingExtraError

    with pytest.raises(MissingExtraError, match=r"patchrerank\[arrow\]"):
        build("g", folder)
