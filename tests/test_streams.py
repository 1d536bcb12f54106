from __future__ import annotations

import base64
import io
import os
import tempfile
import threading
import zipfile

import numpy as np
import pytest
from PIL import Image

from patchrerank.errors import ImageError
from patchrerank.images import describe_source, read_image, upright_size
from patchrerank.streams import held


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("streams") / "picture.png"
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.mark.parametrize("where", [0, 7, None])
def test_an_open_file_is_read_from_its_beginning_and_left_where_it_stood(file, where):
    memory = io.BytesIO(file.read_bytes())
    with (
        file.open("rb") as plain,
        file.open("rb", buffering=0) as raw,
        tempfile.SpooledTemporaryFile() as spooled,
    ):
        spooled.write(file.read_bytes())
        for stream in (plain, raw, memory, spooled):
            place = stream.seek(0, os.SEEK_END) if where is None else stream.seek(where)
            assert read_image(stream).tobytes() == read_image(file).tobytes()
            assert upright_size(stream) == (30, 20)
            assert stream.tell() == place and not stream.closed
            assert len(stream.read()) == len(file.read_bytes()) - place, "it still reads"


def test_a_pipe_is_read_to_its_end(file):
    end, begin = os.pipe()

    def write():
        with os.fdopen(begin, "wb") as out:
            out.write(file.read_bytes())

    writer = threading.Thread(target=write)
    writer.start()
    with os.fdopen(end, "rb") as stream:
        assert read_image(stream).size == (30, 20)
    writer.join()


def test_a_file_in_an_archive_and_bytes_of_any_kind(file, tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(file, "x.png")
    with zipfile.ZipFile(tmp_path / "a.zip") as archive, archive.open("x.png") as stream:
        assert read_image(stream).size == (30, 20)
    content = file.read_bytes()
    for source in (bytearray(content), memoryview(content)):
        assert held(source) == content and read_image(source).size == (30, 20)
    assert held(file) is file


def test_files_that_cannot_be_read(file):
    with file.open() as text, pytest.raises(ImageError, match=r"picture\.png: is open as text.*rb"):
        read_image(text)
    with pytest.raises(ImageError, match="open as text"):
        read_image(io.StringIO("text"))
    stream = file.open("rb")
    stream.close()
    with pytest.raises(ImageError, match=r"cannot be read .*closed file"):
        read_image(stream)
    with pytest.raises(ImageError, match="no bytes"):
        read_image(io.BytesIO())

    class Upload:
        async def read(self):
            return b""

    with pytest.raises(ImageError, match="gave a coroutine, not bytes; pass its bytes"):
        read_image(Upload())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("http://example.org/a.jpg", "addresses are not fetched; pass the path of a picture"),
        ("https:/example.org/a.jpg", "addresses are not fetched"),  # what a Path leaves of it
        ("s3://bucket/a.jpg", "addresses are not fetched"),
        ("data:image/png;base64," + "iVBO" * 5000, "a data URI is not read.*b64decode"),
        ("a red mug", "no such file; pass the path of a picture, .*, not words"),
        ("a red mug, size 1.5 l.", "no such file"),
        ("absent.jpg", r"^absent\.jpg: no such file$"),
        ("", "no bytes|no such file"),
        ("x\0y.jpg", "no such file"),
        (".", "is a folder"),
        (base64.b64encode(bytes(20_000)).decode(), "too long a name"),
    ],
)
def test_texts_that_are_no_files(text, message):
    with pytest.raises(ImageError, match=message) as caught:
        read_image(text)
    assert len(str(caught.value)) < 500
    assert len(describe_source(text)) < 200


def test_other_things_are_named():
    for wrong in (None, 3, np.zeros((2, 2, 3)), [b"x"]):
        with pytest.raises(ImageError, match="an open binary file or a PIL picture, not"):
            read_image(wrong)
