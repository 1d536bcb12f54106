"""Reading a pickle of numpy arrays and builtin containers without running anything from it.

What a pickle names is never imported: the few names that numpy arrays need are answered by
stand-ins that only record their arguments, everything else is refused.
"""

from __future__ import annotations

import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from patchrerank.errors import DatasetError

NUMBER_KINDS = "fiub"
TEXT_KINDS = "US"
ORDERS = "<>=|"
DEEPEST = 4


class _Recorded:
    """A call found in the pickle; it is not made."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Array(_Recorded):
    """``_reconstruct(ndarray, (0,), b'b')`` with the state (version, shape, dtype, order, data)."""


class _Buffer(_Recorded):
    """``_frombuffer(data, dtype, shape, order)``."""


class _Scalar(_Recorded):
    """``scalar(dtype, data)``."""


class _Dtype(_Recorded):
    """``dtype(code, align, copy)`` with the state (version, byte order, …)."""


class _Type(_Recorded):
    """The class ``numpy.ndarray`` itself."""


class _Bytes(_Recorded):
    """``_codecs.encode(text, 'latin1')``: bytes in old protocols; ``bytes()`` where empty."""


STAND_INS: dict[tuple[str, str], type[_Recorded]] = {
    ("numpy", "ndarray"): _Type,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _Bytes,
    ("__builtin__", "bytes"): _Bytes,
    **{
        (f"numpy.{core}.{module}", name): stand_in
        for core in ("core", "_core")
        for module, name, stand_in in (
            ("multiarray", "_reconstruct", _Array),
            ("multiarray", "scalar", _Scalar),
            ("numeric", "_frombuffer", _Buffer),
        )
    },
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in STAND_INS:
            raise pickle.UnpicklingError(
                f"it asks for {module}.{name}, which such a file does not need"
            )
        return STAND_INS[module, name]


def read_plain_pickle(path: Path) -> Any:
    """Return what a pickle holds: builtin containers, numbers, text and numpy arrays.

    Arrays hold numbers or text; arrays of objects become nested lists.

    Raises:
        DatasetError: the file cannot be read, or asks for anything else.
    """
    try:
        with path.open("rb") as stream:
            return _plain(_Unpickler(stream).load())
    except FileNotFoundError as error:
        raise DatasetError(f"{path}: no such file") from error
    except Exception as error:
        raise DatasetError(
            f"{path}: not a pickle of plain containers and numpy arrays ({error}); nothing in it "
            "was run. Save arrays, or use JSON"
        ) from error


def _plain(value: Any, depth: int = 0) -> Any:
    """Return ``value`` with recorded calls replaced by the arrays that they describe."""
    if depth > DEEPEST:  # containers that hold themselves, or one another many times
        raise pickle.UnpicklingError("containers are nested too deeply")
    if isinstance(value, dict):
        return {key: _plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, depth + 1) for item in value]
    if isinstance(value, _Array):
        _, shape, dtype, fortran, data = value.state
        return _array(data, dtype, shape, "F" if fortran else "C", depth)
    if isinstance(value, _Buffer):
        data, dtype, shape, order = value.arguments[:4]
        return _array(data, dtype, shape, order, depth)
    if isinstance(value, _Scalar):
        dtype, data = value.arguments
        return _array(data, dtype, (1,), "C", depth)[0]
    if isinstance(value, _Bytes):
        return _raw(value)
    if value is None or type(value) in (str, bytes, bytearray, int, float, bool):
        return value
    raise pickle.UnpicklingError(f"unexpected {type(value).__name__}")


def _array(data: Any, dtype: Any, shape: Any, order: str, depth: int) -> Any:
    if not all(type(size) is int and size >= 0 for size in shape) or order not in ("C", "F"):
        raise pickle.UnpicklingError(f"impossible array of shape {shape}")
    if isinstance(data, list):
        values = [_plain(item, depth + 1) for item in data]
        if len(shape) != 1 or shape[0] != len(values):
            raise pickle.UnpicklingError("an array of objects must have one axis")
        return values
    kind = _dtype(dtype)
    raw = _raw(data)
    if len(raw) != kind.itemsize * math.prod(shape):
        raise pickle.UnpicklingError(f"{len(raw)} bytes for an array {tuple(shape)} of {kind}")
    return np.ndarray(tuple(shape), kind, buffer=bytearray(raw), order="F" if order == "F" else "C")


def _dtype(recorded: Any) -> np.dtype[Any]:
    if not isinstance(recorded, _Dtype):
        raise pickle.UnpicklingError("an array without a dtype")
    code = recorded.arguments[0]
    order = recorded.state[1] if recorded.state is not None else "="
    known = type(code) is str and code[:1] in NUMBER_KINDS + TEXT_KINDS and code[1:].isdigit()
    if not known or type(order) is not str or order not in ORDERS:
        raise pickle.UnpicklingError(f"an array of dtype {code!r}; numbers or text are expected")
    dtype: np.dtype[Any] = np.dtype(order + code)
    return dtype


def _raw(data: Any) -> bytes:
    if isinstance(data, _Bytes):
        if not data.arguments:
            return b""
        text, encoding = data.arguments
        if type(text) is not str or encoding != "latin1":
            raise pickle.UnpicklingError(f"bytes in the encoding {encoding!r}")
        return text.encode("latin1")
    if not isinstance(data, bytes | bytearray):
        raise pickle.UnpicklingError(f"array data of type {type(data).__name__}")
    return bytes(data)
