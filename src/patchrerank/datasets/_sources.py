"""What readers of other people's layouts share: checks of pictures, names and contents."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from patchrerank.datasets.dataset import DatasetImage, DatasetQuery
from patchrerank.errors import DatasetError


def check_pictures(path: Path, files: Iterable[Path]) -> None:
    """Check that all pictures which the file ``path`` names exist.

    Raises:
        DatasetError: some do not; the first three are named.
    """
    missing = [file for file in files if not file.is_file()]
    if missing:
        first = ", ".join(_shown(file, path.parent) for file in missing[:3])
        more = ", …" if len(missing) > 3 else ""
        raise DatasetError(
            f"{path}: {len(missing)} of its pictures are missing ({first}{more}); copy them into "
            f"{path.parent} or remove their entries"
        )


def contents_fingerprint(queries: Sequence[DatasetQuery], images: Sequence[DatasetImage]) -> str:
    """Return the SHA-256 of ids, objects and boxes, hexadecimal.

    Which images are positives and which are junk is left out: it is the set-up's choice, and the
    same gallery serves all set-ups.
    """
    digest = hashlib.sha256()
    for query in queries:
        box = None if query.box is None else query.box.tolist()
        digest.update(json.dumps(["query", query.id, query.instance, box]).encode())
    for image in images:
        digest.update(json.dumps([image.id, image.instance, image.boxes.tolist()]).encode())
    return digest.hexdigest()


def read_lines(path: Path, holds: str) -> list[str]:
    """Return a text file's lines that are not blank, stripped.

    Args:
        path: the file; one that ends in ``.gz`` is decompressed.
        holds: what the file should hold, for the message.

    Raises:
        DatasetError: it is missing, cannot be read, or is no UTF-8.
    """
    import gzip
    import zlib

    try:
        content = path.read_bytes()
        text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode("utf-8-sig")
    except FileNotFoundError as error:
        raise DatasetError(f"{path}: no such file; it should hold {holds}") from error
    except UnicodeDecodeError as error:
        raise DatasetError(
            f"{path}: byte {error.start} is not UTF-8; it should hold {holds}"
        ) from error
    except (OSError, EOFError, zlib.error) as error:
        raise DatasetError(
            f"{path}: cannot be read ({error}); it should hold {holds}. Is it complete?"
        ) from error
    return [line.strip() for line in text.splitlines() if line.strip()]


def check_unique(names: Sequence[str], where: str) -> None:
    """Raise a DatasetError if a name occurs twice."""
    if len(set(names)) == len(names):
        return
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise DatasetError(f"{where}: {name!r} stands there twice; ids must be unique")
        seen.add(name)


def _shown(file: Path, folder: Path) -> str:
    return str(file.relative_to(folder) if file.is_relative_to(folder) else file)
