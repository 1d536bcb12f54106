"""numpy files from anybody: nothing is unpickled, and what is declared must be there."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

import patchrerank
from patchrerank.errors import EncoderError, TableError
from patchrerank.numpy_files import map_npy, read_npy, read_npz


def header(dtype, shape):
    """The first bytes of a .npy file that declares an array, without the array."""
    buffer = io.BytesIO()
    description = {"descr": dtype, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(buffer, description)
    return buffer.getvalue()


DECLARED = [
    (header("<f4", (10**12,)), "declares 4,000,000,000,000 bytes, but the file holds"),
    (header("<f4", (2**40, 2**40)), "declares"),
    (header("<f4", (-5, -5)), "shape"),
    (header("|O", (4,)), "holds object; numbers or text are needed"),
    (header("<M8[s]", (1,)) + b"\0" * 8, "numbers or text are needed"),
    (b"\x93NUMPY\x07\x00" + b"\0" * 80, "damaged|format"),
    (b"\x93NUMPY", "damaged|archive"),
    (b"", "damaged|archive"),
]


@pytest.mark.parametrize(("content", "why"), DECLARED)
def test_npy_files_that_declare_what_is_not_there(tmp_path, content, why):
    path = tmp_path / "a.npy"
    path.write_bytes(content)
    with pytest.raises(TableError, match=rf"a\.npy: .*({why})"):
        read_npy(path, TableError)
    with pytest.raises(TableError, match=r"a\.npy: "):
        map_npy(path, TableError)


@pytest.mark.parametrize(("content", "why"), DECLARED)
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_npz_files_that_declare_what_is_not_there(tmp_path, content, why, method):
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("x.npy", content)
    with pytest.raises(EncoderError, match=rf"a\.npz: .*({why})"):
        read_npz(path, EncoderError)


def test_npz_files_are_read_and_bounded(tmp_path, monkeypatch):
    path = tmp_path / "a.npz"
    zeros = np.zeros(1 << 20, np.float32)
    np.savez_compressed(path, zeros=zeros, names=np.array(["a", "ü"]))
    read = read_npz(path, EncoderError)
    assert np.array_equal(read["zeros"], zeros) and read["names"].tolist() == ["a", "ü"]
    whole = path.read_bytes()
    flipped = whole[:200] + bytes([whole[200] ^ 255]) + whole[201:]
    for damaged in (whole[: len(whole) // 2], b"", b"PK\x03\x04", flipped):
        path.write_bytes(damaged)
        with pytest.raises(EncoderError, match=r"a\.npz"):
            read_npz(path, EncoderError)
    path.write_bytes(whole)
    monkeypatch.setattr("patchrerank.file_bounds.free_memory", lambda: 1 << 20)
    with pytest.raises(EncoderError, match=r"a\.npz: needs .* of memory"):
        read_npz(path, EncoderError)
    with pytest.raises(EncoderError, match="cannot be read"):
        read_npz(tmp_path / "none.npz", EncoderError)


def test_mapped_files(tmp_path):
    path = tmp_path / "a.npy"
    for array in (np.arange(6.0).reshape(2, 3), np.zeros((0, 3))):
        np.save(path, array)
        mapped = map_npy(path, TableError)
        assert np.array_equal(mapped, array) and mapped.shape == array.shape
        assert isinstance(mapped, np.memmap) is bool(array.size)
        assert np.array_equal(read_npy(path, TableError), array)


def test_nothing_in_the_library_unpickles_arrays():
    for file in Path(patchrerank.__path__[0]).rglob("*.py"):
        assert "allow_pickle=True" not in file.read_text(encoding="utf-8"), file
        assert "weights_only=False" not in file.read_text(encoding="utf-8"), file
