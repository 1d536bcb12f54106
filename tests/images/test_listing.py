"""Which files of a folder are pictures, and what is said of the others."""

from __future__ import annotations

import os

import pytest
from PIL import Image

from patchrerank.errors import GalleryError, ImageError
from patchrerank.gallery import BuildOptions
from patchrerank.gallery.sources import open_source
from patchrerank.images import find_images, listing, read_image


def picture(path, color="red"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 6), color).save(path, format="PNG" if path.suffix != ".jpg" else "JPEG")


def names(root):
    return [path.relative_to(root).as_posix() for path in find_images(root).files]


def test_companions_of_macos_are_left_out_and_counted(tmp_path):
    picture(tmp_path / "a.jpg")
    for name in ("._a.jpg", "sub/._b.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"\x00\x05\x16\x07")
    assert names(tmp_path) == ["a.jpg"]
    assert str(find_images(tmp_path)) == "left out 2 files: 2 ._* (companions of macOS)"


def test_other_files_are_counted_by_suffix_and_those_of_the_system_are_not(tmp_path):
    picture(tmp_path / "a.png")
    for name in ("x.txt", "y.TXT", "z.cr2", "LICENSE", ".DS_Store", "Thumbs.db"):
        (tmp_path / name).write_text("x")
    (tmp_path / "empty").mkdir()
    found = find_images(tmp_path)
    assert found.left_out == {".txt": 2, ".cr2": 1, "without a suffix": 1}
    assert str(found) == "left out 4 files: 2 .txt, 1 .cr2, 1 without a suffix"
    for number in range(12):
        (tmp_path / f"f.x{number}").write_text("x")
    assert str(find_images(tmp_path)).endswith("7 other kinds")


def test_links_to_folders_are_followed_and_loops_are_cut(tmp_path):
    photos, elsewhere = tmp_path / "photos", tmp_path / "elsewhere"
    picture(photos / "sub" / "a.png")
    picture(elsewhere / "deep" / "b.png")
    (photos / "linked").symlink_to(elsewhere, target_is_directory=True)
    (photos / "again").symlink_to(photos / "sub", target_is_directory=True)
    (photos / "sub" / "loop").symlink_to(photos, target_is_directory=True)
    (elsewhere / "up").symlink_to(tmp_path, target_is_directory=True)
    (photos / "nowhere.png").symlink_to(tmp_path / "gone.png")
    assert names(photos) == ["linked/deep/b.png", "sub/a.png"]
    assert list(find_images(photos).left_out.values()) == [1]


def test_a_folder_keeps_its_ids_beside_a_link_to_it_that_comes_first(tmp_path):
    picture(tmp_path / "sub" / "a.png")
    (tmp_path / "alias").symlink_to(tmp_path / "sub", target_is_directory=True)
    assert names(tmp_path) == ["sub/a.png"]


@pytest.mark.timeout(20)
def test_a_pipe_named_like_a_picture_is_passed_over(tmp_path):
    picture(tmp_path / "a.png")
    os.mkfifo(tmp_path / "b.png")
    assert names(tmp_path) == ["a.png"]
    assert "no regular files" in str(find_images(tmp_path))
    with pytest.raises(ImageError, match=r"b\.png"):
        read_image(tmp_path / "b.png")


def test_a_folder_that_cannot_be_read_is_counted(tmp_path, monkeypatch):
    picture(tmp_path / "a.png")
    picture(tmp_path / "locked" / "b.png")
    scan = os.scandir

    def refuse(path):
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(listing.os, "scandir", refuse)
    assert names(tmp_path) == ["a.png"]
    assert find_images(tmp_path).left_out == {"folders that cannot be read": 1}
    with pytest.raises(ImageError, match="locked"):
        find_images(tmp_path / "locked")


def test_a_folder_that_may_be_listed_but_not_entered_is_counted_too(tmp_path, monkeypatch):
    picture(tmp_path / "a.png")
    picture(tmp_path / "locked" / "b.png")
    monkeypatch.setattr(listing.os, "access", lambda path, mode: path.name != "locked")
    assert names(tmp_path) == ["a.png"]
    assert find_images(tmp_path).unread == (tmp_path / "locked",)


def test_a_picture_behind_a_folder_that_may_not_be_entered_says_so(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(type(tmp_path), "is_dir", refuse)
    with pytest.raises(ImageError, match=r"b\.png: cannot be read \(Permission denied\)"):
        read_image(tmp_path / "locked" / "b.png")


def test_a_folder_without_pictures_says_what_it_holds(tmp_path, monkeypatch):
    (tmp_path / "a.heic").write_bytes(b"x")
    monkeypatch.setattr(listing, "can_read_heic", lambda: False)
    with pytest.raises(GalleryError, match=r"no images.*1 \.heic.*patchrerank\[heic\]"):
        open_source(tmp_path, BuildOptions())


def test_the_stream_says_what_was_left_out(tmp_path, caplog):
    picture(tmp_path / "a.png")
    (tmp_path / "b.pdf").write_bytes(b"x")
    source = open_source(tmp_path, BuildOptions())
    assert [name for name, _ in source.items(None)] == ["a.png"]
    assert "left out 1 file: 1 .pdf" in caplog.text
