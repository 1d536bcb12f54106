"""Where compiled kernels are kept on disk: read from any place, written to the first that can be.

numba itself takes one folder, reads nothing from it unless it can write there, and raises where
none can be written. A container or an installation for many users has its kernels compiled once,
into a folder that is read-only afterwards.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from numba.core import caching
from numba.core.caching import NullCache

PLACES = (
    caching.UserProvidedCacheLocator,
    caching.InTreeCacheLocator,
    caching.UserWideCacheLocator,
)
"""In this order: ``NUMBA_CACHE_DIR``, ``__pycache__`` beside the module, the user's own."""

FOLDERS: set[str] = set()
"""What this process has read kernels from, or written them to."""

_IMPORTS = re.compile(r"^\s*from patchrerank\.kernels\.(\w+) import", re.MULTILINE)

logger = logging.getLogger(__name__)


@cache
def source_stamp(source: str) -> str:
    """Return a digest of a module and of what it imports from the modules beside it.

    numba takes the file's time and size: those of a file that is copied into a container, or
    unpacked there once more, are others, and of a kernel that another module's kernel has in
    it they say nothing.
    """
    left, seen = [Path(source)], set[Path]()
    while left:
        path = left.pop()
        if path in seen or not path.is_file():
            continue
        seen.add(path)
        names = _IMPORTS.findall(path.read_text(encoding="utf-8"))
        left += [path.with_name(f"{name}.py") for name in names]
    made = hashlib.sha256()
    for path in sorted(seen):
        made.update(hashlib.sha256(path.read_bytes()).digest())
    return made.hexdigest()


class ReadingLocator(caching._SourceFileBackedLocatorMixin, caching._CacheLocator):  # type: ignore[misc]
    """Stands for a function's source file; claims no folder."""

    def __init__(self, function: Callable[..., Any], source: str) -> None:
        self._py_file = source
        self._lineno = function.__code__.co_firstlineno

    @classmethod
    def from_function(cls, function: Callable[..., Any], source: str) -> ReadingLocator:
        """Return a locator whatever can be written."""
        return cls(function, source)

    def get_cache_path(self) -> str:
        """Return the folder beside the module."""
        return os.path.join(os.path.dirname(self._py_file), "__pycache__")


class KernelNames(caching.CompileResultCacheImpl):  # type: ignore[misc]
    """How numba names and stores a function's compiled forms."""

    _locator_classes: ClassVar[list[Any]] = [ReadingLocator]


class KernelCache(caching.FunctionCache):  # type: ignore[misc]
    """The compiled forms of one function; a fault of the disk costs time, never an error."""

    _impl_class = KernelNames

    @classmethod
    def of(cls, function: Callable[..., Any]) -> Any:
        """Return the cache of a function; one that keeps nothing where its source is no file."""
        try:
            return cls(function) if os.path.isfile(function.__code__.co_filename) else NullCache()
        except RuntimeError:  # NUMBA_CACHE_LOCATOR_CLASSES names what has no place for it
            return NullCache()

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        self._function = function

    def _load_overload(self, sig: Any, target_context: Any) -> Any:
        key = self._index_key(sig, target_context.codegen())
        for place, file in self._files():
            try:
                data = file.load(key)
            except Exception as error:  # a damaged file, or one that may not be read
                logger.debug("kernels of %s not read: %s", self._name, error)
                continue
            if data is not None:
                FOLDERS.add(place.get_cache_path())
                return self._impl.rebuild(target_context, data)
        return None

    def _save_overload(self, sig: Any, data: Any) -> None:
        if not self._impl.check_cachable(data):
            return
        key, reduced = self._index_key(sig, data.codegen), self._impl.reduce(data)
        for place, file in self._files():
            try:
                place.ensure_cache_path()
                _save(file, key, reduced)
                FOLDERS.add(place.get_cache_path())
                return
            except OSError:
                continue
        _say_once()

    def _files(self) -> Iterator[tuple[Any, Any]]:
        """Yield the places, and the files in them that may hold this function's forms."""
        source = self._function.__code__.co_filename
        stamp = source_stamp(source)
        for place in PLACES:
            if place is caching.UserProvidedCacheLocator and not caching.config.CACHE_DIR:
                continue
            own = place(self._function, source)
            name = self._impl.filename_base
            yield own, caching.IndexDataCacheFile(own.get_cache_path(), name, stamp)


def _save(file: Any, key: Any, reduced: Any) -> None:
    try:
        file.save(key, reduced)
    except OSError:
        raise
    except Exception:  # its index is damaged: begin a new one
        file.flush()
        file.save(key, reduced)


@cache
def _say_once() -> None:
    logger.warning(
        "no folder can be written for compiled kernels, so every process compiles them again "
        "(seconds); set NUMBA_CACHE_DIR to a folder that can be written once"
    )
