"""Pictures at addresses: what is built of them is what is built of a folder, bit for bit."""

from __future__ import annotations

import json
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from packed_pictures import encoded, write_parquet, write_shards
from patchrerank.addresses import Address
from patchrerank.errors import GalleryError, ImageError, MissingExtraError
from patchrerank.gallery import (
    BuildOptions,
    Gallery,
    SyncOptions,
    build_gallery,
    sync,
    verify,
)
from patchrerank.images import read_image
from patchrerank.remote_files import errors_of, file_system
from s3_server import s3_server, upload

pytest.importorskip("pyarrow")
QUIET = BuildOptions(progress=False, backgrounds=4)
FOLLOW = SyncOptions(progress=False)


@pytest.fixture(scope="module")
def s3():
    with s3_server() as files:
        yield files


@pytest.fixture(scope="module")
def photos(tmp_path_factory, photo_folder):
    """Twelve of the drawn photographs: each costs the server a request."""
    few = tmp_path_factory.mktemp("few")
    (few / "sub").mkdir()
    for path in (*sorted(photo_folder.glob("*.png"))[:9], *sorted(photo_folder.glob("sub/*"))[:3]):
        os.link(path, few / path.relative_to(photo_folder))
    return few


def same(found: Gallery, local: Gallery) -> None:
    """Compare two galleries; the times of files alone differ."""
    assert list(found.ids) == list(local.ids) and verify(found) == []
    assert found.manifest.skipped == local.manifest.skipped
    for name in local.manifest.arrays.keys() - {"stamps"}:
        assert found.files()[name].read_bytes() == local.files()[name].read_bytes(), name
    ours, theirs = (np.asarray(one.array("stamps")) for one in (found, local))
    assert np.array_equal(ours[:, [0, 2, 3]], theirs[:, [0, 2, 3]])
    assert found.has_backgrounds == local.has_backgrounds
    if local.has_backgrounds:
        assert found.backgrounds.jpegs == local.backgrounds.jpegs


def test_a_folder_and_again(tmp_path, s3, photos, tiny_encoder):
    upload(s3, photos, "photos/a set/of photos")
    local = build_gallery(tmp_path / "local", photos, tiny_encoder, "grid:2", QUIET)
    address = "s3://photos/a set/of photos/"
    made = build_gallery(tmp_path / "s3", address, tiny_encoder, "grid:2", QUIET)
    same(made, local)
    assert made.manifest.root == address.rstrip("/")
    again = build_gallery(tmp_path / "s3", address, tiny_encoder, "grid:2", QUIET)
    assert again.manifest == made.manifest
    for row in (0, len(local) - 1):
        assert made.pictures[row] == Path(local.pictures[row]).read_bytes()
        assert str(made.pictures.path(row)) == f"s3://photos/a set/of photos/{made.ids[row]}"
        assert made.pictures.nbytes(row) == local.pictures.nbytes(row)
        assert read_image(made.pictures[row]) == read_image(local.pictures[row])
    moved = Gallery(tmp_path / "local", root=address)
    assert moved.pictures[3] == made.pictures[3]
    s3.delete_file(f"photos/a set/of photos/{made.ids[0]}")
    with pytest.raises(ImageError, match=r"s3://photos/a set/of photos/.*no such file \(row 0"):
        made.pictures[0]


def test_an_interrupted_build_goes_on(tmp_path, s3, photos, tiny_encoder):
    upload(s3, photos, "photos/broken")
    name = sorted(path.relative_to(photos).as_posix() for path in photos.rglob("*.png"))
    with s3.open_output_stream(f"photos/broken/{name[-3]}") as out:
        out.write(b"broken")
    address = "s3://photos/broken"
    with pytest.raises(ImageError, match="s3://photos/broken/"):
        build_gallery(tmp_path / "s3", address, tiny_encoder, "grid:2", QUIET)
    how = replace(QUIET, on_error="skip")
    made = build_gallery(tmp_path / "s3", address, tiny_encoder, "grid:2", how)
    assert [skipped for skipped, _ in made.manifest.skipped] == [name[-3]]
    local = tmp_path / "copy"
    shutil.copytree(photos, local)
    (local / name[-3]).unlink()
    whole = build_gallery(tmp_path / "whole", local, tiny_encoder, "grid:2", QUIET)
    assert list(made.ids) == list(whole.ids)
    assert np.array_equal(np.asarray(made.patches), whole.patches)


def test_a_list(tmp_path, s3, photos, tiny_encoder):
    upload(s3, photos, "photos/list")
    files = sorted(photos.rglob("*.png"))[:5]
    listed = [f"s3://photos/list/{path.relative_to(photos).as_posix()}" for path in files]
    made = build_gallery(tmp_path / "s3", listed, tiny_encoder, "grid:2", QUIET)
    local = build_gallery(tmp_path / "local", list(map(str, files)), tiny_encoder, "grid:2", QUIET)
    assert list(made.ids) == listed and made.manifest.root is None
    assert np.array_equal(np.asarray(made.patches), local.patches)
    assert made.pictures[4] == files[4].read_bytes()
    gone = [*listed, "s3://photos/list/gone.png"]
    with pytest.raises(ImageError, match=r"list/gone.png: no such file"):
        build_gallery(tmp_path / "gone", gone, tiny_encoder, "grid:2", QUIET)
    skip = replace(QUIET, on_error="skip")
    found = build_gallery(tmp_path / "skip", gone, tiny_encoder, "grid:2", skip)
    assert [name for name, _ in found.manifest.skipped] == [gone[-1]]


def packed(folder, kind):
    if kind == "tar":
        write_shards(folder, [10, 3, 17])
        return
    folder.mkdir()
    rows = [(f"{number:04d}", encoded(number)) for number in range(30)]
    for number in range(3):
        write_parquet(folder / f"{number:05d}.parquet", rows[10 * number :][:10], group=5)


@pytest.mark.parametrize("kind", ["tar", "parquet"])
def test_files_of_pictures(tmp_path, s3, tiny_encoder, kind):
    packed(tmp_path / "photos", kind)
    upload(s3, tmp_path / "photos", f"photos/{kind}")
    names = sorted(path.name for path in (tmp_path / "photos").glob(f"*.{kind}"))
    first, last = (name.removesuffix(f".{kind}") for name in (names[0], names[-1]))
    pattern = f"{{{first}..{last}}}.{kind}" if first.isdigit() else f"*.{kind}"
    given = {"whole": "", "pattern": f"/{pattern}", "star": f"/*.{kind}", "one": f"/{names[0]}"}
    for name, behind in given.items():
        local = build_gallery(
            tmp_path / f"local-{name}",
            f"{tmp_path / 'photos'}{behind}",
            tiny_encoder,
            "grid:1",
            QUIET,
        )
        address = f"s3://photos/{kind}{behind}"
        made = build_gallery(tmp_path / name, address, tiny_encoder, "grid:1", QUIET)
        same(made, local)
        assert [bytes(made.pictures[row]) for row in (0, 7)] == [
            bytes(local.pictures[row]) for row in (0, 7)
        ]
    again = build_gallery(tmp_path / "whole", f"s3://photos/{kind}", tiny_encoder, "grid:1", QUIET)
    assert len(again) == 30


def test_following_an_address(tmp_path, s3, photos, tiny_encoder):
    upload(s3, photos, "photos/followed")
    address = "s3://photos/followed"
    made = build_gallery(tmp_path / "s3", address, tiny_encoder, "grid:2", QUIET)
    names = list(made.ids)
    follow = {"encoder": tiny_encoder, "options": FOLLOW}
    found = sync(address, tmp_path / "s3", **follow)
    assert (found.unchanged, found.changed, found.removed) == (len(names), (), ())
    s3.delete_file(f"photos/followed/{names[1]}")
    s3.copy_file(f"photos/followed/{names[2]}", f"photos/followed/new/{names[2]}")
    with s3.open_output_stream(f"photos/followed/{names[3]}") as out:
        out.write((photos / names[4]).read_bytes())
    found = sync(address, tmp_path / "s3", **follow)
    assert found.added == (f"new/{names[2]}",) and found.removed == (names[1],)
    assert found.changed == (names[3],)
    found = sync(
        address, tmp_path / "s3", encoder=tiny_encoder, options=replace(FOLLOW, checksum=True)
    )
    assert found.unchanged == len(names)


@pytest.mark.parametrize("scheme", ["memory", "file"])
def test_other_addresses(tmp_path, photos, tiny_encoder, scheme):
    address = photos.as_uri()
    if scheme == "memory":
        memory = pytest.importorskip("fsspec").filesystem("memory")
        address = f"memory://{tmp_path.name}/photos"
        for path in photos.rglob("*.png"):
            name = path.relative_to(photos).as_posix()
            memory.pipe(f"/{tmp_path.name}/photos/{name}", path.read_bytes())
    local = build_gallery(tmp_path / "local", photos, tiny_encoder, "grid:2", QUIET)
    made = build_gallery(tmp_path / "made", address, tiny_encoder, "grid:2", QUIET)
    same(made, local)
    assert made.pictures[5] == Path(local.pictures[5]).read_bytes()
    if scheme == "memory":
        with pytest.raises(GalleryError, match="--checksum"):
            sync(address, tmp_path / "made", FOLLOW, encoder=tiny_encoder)
    found = sync(address, tmp_path / "made", replace(FOLLOW, checksum=True), encoder=tiny_encoder)
    assert found.unchanged == len(local)


def test_what_is_not_there(tmp_path, s3, tiny_encoder):
    s3.open_output_stream("photos/a-file.png").close()
    for address, message in (
        ("s3://nobody-has-this/x", "no such bucket"),
        ("s3://nobody-has-this/{0..1}.tar", r"^s3://nobody-has-this: there is no such bucket"),
        ("s3://photos/nothing-here", "nothing below this address"),
        ("s3://photos/nothing/*.tar", "no file fits"),
        ("s3://photos/nothing/{0..1}.tar", r"nothing/0\.tar: no such file"),
        ("s3://photos/a-file.png", "a-file.png: is a file; pass the address of a folder"),
        ("never://photos/x", "never:// addresses are read by fsspec"),
    ):
        with pytest.raises((GalleryError, ImageError), match=message):
            build_gallery(tmp_path / "g", address, tiny_encoder, "grid:1", QUIET)
    assert not (tmp_path / "g").exists()


def test_a_root_whose_bucket_is_not_there_names_it(tmp_path, s3, photos, tiny_encoder):
    made = build_gallery(tmp_path / "g", photos, tiny_encoder, "grid:1", QUIET)
    for root, message in (
        ("s3://nobody-has-this/x", r"^s3://nobody-has-this: there is no such bucket"),
        ("s3://photos/nothing-here", r"is not where the pictures .*: no such file"),
    ):
        with pytest.raises(GalleryError, match=message):
            Gallery(made.folder, root=root)
    listed = ["s3://nobody-has-this/1.jpg"]
    with pytest.raises(GalleryError, match=r"^s3://nobody-has-this: there is no such bucket"):
        build_gallery(tmp_path / "h", listed, tiny_encoder, "grid:1", QUIET)


@pytest.mark.parametrize("kind", [str, Path])
def test_a_gallery_is_no_address(kind, photos, tiny_encoder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(GalleryError, match="written to a folder of this machine"):
        build_gallery(kind("s3://bucket/g"), photos, tiny_encoder, "grid:1", QUIET)
    assert not list(tmp_path.iterdir())


def test_reasons_are_given(monkeypatch):
    told = pytest.raises(GalleryError, match=r"^s3://b/x: cannot be listed: set credentials")
    with told, errors_of("s3://b/x", "listed"):
        raise OSError("AWS Error ACCESS_DENIED during ListObjectsV2 operation: Access Denied")
    file_system.cache_clear()
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"^s3://b: .*patchrerank\[remote\]"):
        Address("s3://b/x").is_file()

    for told, hint in (
        ("AWS Error UNKNOWN (HTTP status 301) during ListObjectsV2", "AWS_DEFAULT_REGION"),
        ("AWS Error NETWORK_CONNECTION for 'photos403'", "nobody answers"),
    ):
        with pytest.raises(GalleryError, match=hint), errors_of("s3://b/x", "listed"):
            raise OSError(told)


@pytest.mark.parametrize(
    "inside",
    [
        "s3://KEY:SECRET@photos/x",
        "s3://KEY:SEC/RET@photos/x",
        "s3://photos?access_key=KEY&secret_key=SECRET",
        "ftp://me:SECRET@host/x",
        "https://host/x.jpg?X-Amz-Signature=SECRET",
    ],
)
def test_credentials_are_refused_unrepeated(inside):
    with pytest.raises(GalleryError, match="takes no credentials") as told:
        Address(inside)
    assert "SEC" not in str(told.value).replace("AWS_ACCESS", "")


def test_a_name_with_an_empty_part_is_left_out(tmp_path, s3, photos, tiny_encoder, caplog):
    upload(s3, photos, "photos/empty-part")
    import boto3

    client = boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
    client.put_object(Bucket="photos", Key="empty-part//a.png", Body=b"x")
    made = build_gallery(tmp_path / "g", "s3://photos/empty-part", tiny_encoder, "grid:1", QUIET)
    assert len(made) == 12 and "left out 1 file: 1 with // in the name" in caplog.text


def test_a_pattern_is_listed_anew(tmp_path, s3, tiny_encoder):
    write_shards(tmp_path / "photos", [3, 2])
    upload(s3, tmp_path / "photos", "photos/anew")
    _, last = sorted((tmp_path / "photos").glob("*.tar"))
    s3.delete_file(f"photos/anew/{last.name}")
    for count in (3, 5):
        made = build_gallery(
            tmp_path / "g", "s3://photos/anew/*.tar", tiny_encoder, "grid:1",
            replace(QUIET, append=count == 5),
        )  # fmt: skip
        assert len(made) == count
        upload(s3, tmp_path / "photos", "photos/anew")


def test_a_hint_where_nobody_answers():
    with pytest.raises(GalleryError, match="nobody answers"), errors_of("s3://b", "reached"):
        raise OSError("When getting information: AWS Error NETWORK_CONNECTION during HeadObject")


@pytest.mark.slow
def test_nobody_answers(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    file_system.cache_clear()
    with pytest.raises(GalleryError, match="nobody answers"):
        Address("s3://b/x").is_file()
    file_system.cache_clear()


def test_names_are_taken_as_they_are():
    file = Address("S3://bucket/a b/c%20d?.tar")
    assert str(file) == "s3://bucket/a b/c%20d?.tar" and file.suffix == ".tar"
    assert str(file.parent / "e.jpg") == "s3://bucket/a b/e.jpg"
    assert file.relative_to(Address("s3://bucket/")).as_posix() == "a b/c%20d?.tar"
    assert not Address("s3://bucket/ab").is_relative_to(Address("s3://bucket/a"))


@pytest.mark.slow
def test_more_than_a_page(tmp_path, s3, tiny_encoder):
    content = encoded(1)
    for number in range(1005):
        with s3.open_output_stream(f"photos/many/{number:04d}.png") as out:
            out.write(content)
    made = build_gallery(tmp_path / "g", "s3://photos/many", tiny_encoder, "grid:1", QUIET)
    assert len(made) == 1005


@pytest.mark.slow
def test_the_command(tmp_path, s3, photos):
    from command_line import run

    upload(s3, photos, "photos/command")
    how = ["--random-weights", "--image-size", "32", "--regions", "grid:1", "--json", "--quiet"]
    names = [path.relative_to(photos).as_posix() for path in photos.rglob("*.png")][:3]
    listed = tmp_path / "list.txt"
    listed.write_text(
        "".join(f"s3://photos/command/{name}\r\n" for name in names), encoding="utf-8-sig"
    )
    for images, count in (("s3://photos/command", 12), (str(listed), 3)):
        done = run("index", images, str(tmp_path / f"{count}"), *how)
        assert json.loads(done.stdout)["images"] == count
