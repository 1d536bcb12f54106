"""Headers of tar files: the members that tarfile finds, and what is damaged said."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile

import pytest

from patchrerank.errors import GalleryError
from patchrerank.gallery.tar_members import MOST_EXTENDED, is_whole, members, read_content

NAMES = ["a.jpg", "folder/b.jpg", "d" * 150 + ".jpg", "e/" * 70 + "f.jpg", "grün.jpg"]
FORMATS = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]


def written(path, kind=tarfile.PAX_FORMAT, names=NAMES, size=700):
    with tarfile.open(path, "w", format=kind) as tar:
        for number, name in enumerate(names):
            content = bytes([65 + number]) * (size + number)
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def listed(path, start=0):
    with path.open("rb") as file:
        return list(members(file, path, start))


@pytest.mark.parametrize("kind", FORMATS)
def test_members_are_those_of_tarfile(tmp_path, kind):
    names = [name for name in NAMES if kind != tarfile.USTAR_FORMAT or len(name) < 100]
    path = written(tmp_path / "a.tar", kind, names)
    found = listed(path)
    with tarfile.open(path) as tar:
        twins = [(one.name, one.offset, one.offset_data, one.size) for one in tar]
    assert [(one.name, one.begin, one.data, one.size) for one in found] == twins
    for number, one in enumerate(found):
        assert read_content(path, one.data, one.size)[0] == bytes([65 + number]) * one.size
        assert listed(path, one.begin) == found[number:], "reading goes on at any member"
    assert is_whole(path)


def test_what_is_no_file_is_passed_over(tmp_path):
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as tar:
        for number, kind in enumerate(
            (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE)
        ):
            info = tarfile.TarInfo(f"{number}.jpg")
            info.type, info.linkname = kind, "/etc/passwd"
            tar.addfile(info)
        info = tarfile.TarInfo("whole.jpg")
        info.size = 3
        tar.addfile(info, io.BytesIO(b"abc"))
    kinds = ["links", "links", "devices and pipes", "devices and pipes", "folders", ""]
    assert [one.kind for one in listed(path)] == kinds


@pytest.mark.parametrize("how", ["gnu", "posix"])
def test_sparse_files_are_passed_over(tmp_path, how):
    (tmp_path / "before.jpg").write_bytes(b"x" * 600)
    with (tmp_path / "holes.jpg").open("wb") as file:
        for number in range(40):  # of more than four, old GNU headers have a second block
            file.seek(number * 1 << 16)
            file.write(b"y" * 4096)
        file.truncate(4 << 20)
    (tmp_path / "next.jpg").write_bytes(b"z" * 600)
    names = ["before.jpg", "holes.jpg", "next.jpg"]
    command = ["tar", "--sparse", f"--format={how}", "-C", str(tmp_path), "-cf"]
    done = subprocess.run([*command, str(tmp_path / "a.tar"), *names], check=False)
    if done.returncode:
        pytest.skip("no GNU tar")
    found = listed(tmp_path / "a.tar")
    if {one.kind for one in found} == {""}:
        pytest.skip("this disk keeps no holes")
    assert [one.kind for one in found] == ["", "sparse files", ""]
    last = found[-1]
    assert read_content(tmp_path / "a.tar", last.data, last.size)[0] == b"z" * 600


def test_archives_one_behind_the_other_are_one(tmp_path):
    first, second = written(tmp_path / "a.tar"), written(tmp_path / "b.tar", names=["z.jpg"])
    both = tmp_path / "both.tar"
    both.write_bytes(first.read_bytes() + second.read_bytes())
    assert [one.name for one in listed(both)] == [*NAMES, "z.jpg"]


def test_wherever_it_is_cut_it_is_said(tmp_path):
    path = written(tmp_path / "a.tar", names=NAMES[:3])
    whole, content = listed(path), path.read_bytes()
    end = whole[-1].data + 1024  # its content, whole blocks
    for length in range(0, end + 1, 97):
        path.write_bytes(content[:length])
        assert not is_whole(path)
        with pytest.raises(GalleryError, match=r"a\.tar: is cut short"):
            listed(path)
    path.write_bytes(content[: whole[1].data + 10])
    with pytest.raises(GalleryError, match=r"cut short within 'folder/b.jpg'.*--on-error skip"):
        listed(path)
    path.write_bytes(content[: whole[2].begin])
    with pytest.raises(GalleryError, match=r"behind 'folder/b.jpg'.*its end is not marked"):
        listed(path)


def test_a_damaged_header_is_said_where_tarfile_stops_silently(tmp_path):
    path = written(tmp_path / "a.tar")
    content, at = bytearray(path.read_bytes()), listed(path)[2].begin
    content[at + 3] ^= 1
    path.write_bytes(content)
    with tarfile.open(path) as tar:
        assert len(tar.getmembers()) == 2, "no error there"
    with pytest.raises(GalleryError, match=rf"header behind 'folder/b.jpg', at byte {at:,}"):
        listed(path)


def extended(raw, kind=tarfile.XHDTYPE, size=None):
    info = tarfile.TarInfo("x")
    info.type, info.size = kind, len(raw) if size is None else size
    whole = tarfile.TarInfo("a.jpg")
    blocks = info.tobuf(tarfile.USTAR_FORMAT) + raw + bytes(-len(raw) % 512)
    return blocks + whole.tobuf(tarfile.USTAR_FORMAT) + bytes(1024)


@pytest.mark.parametrize(
    "raw",
    [
        b"99 path=a\n",
        b"0 a=b\n",
        b"-5 a=b\n",
        b"a b\n",
        b"9 size=x\n",
        b"12 size=-99\n",
        b"\xff" * 30,
    ],
)
def test_hostile_pax_records(tmp_path, raw):
    path = tmp_path / "a.tar"
    path.write_bytes(extended(raw))
    with pytest.raises(GalleryError, match=r"damaged|declares"):
        listed(path)


def test_an_endless_extended_header_is_not_read(tmp_path):
    path = tmp_path / "a.tar"
    path.write_bytes(extended(b"", size=MOST_EXTENDED + 1))
    os.truncate(path, MOST_EXTENDED * 4)
    with pytest.raises(GalleryError, match="declares 1,048,577 bytes"):
        listed(path)


def test_a_member_that_is_another_now(tmp_path):
    path = written(tmp_path / "a.tar")
    one = listed(path)[1]
    written(path, size=701)
    with pytest.raises(GalleryError, match=r"no picture of 701 bytes at byte .* any more"):
        read_content(path, one.data, one.size)
