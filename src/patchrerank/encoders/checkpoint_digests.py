"""Digests of what a checkpoint file holds, so that changed bytes do not pass for other weights."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from patchrerank.errors import EncoderError

if TYPE_CHECKING:
    from hashlib import _Hash


def content_digest(content: Any) -> str:
    """Return the sha256 (hex) of tensors, numbers and texts in lists and dictionaries.

    Order, names, dtypes, shapes and bits count.
    """
    digest = hashlib.sha256()
    _add(content, digest)
    return digest.hexdigest()


def check_archive(path: Path) -> None:
    """Compare the parts of a torch file with the checksums that torch wrote beside them.

    torch itself does not. Files that are no archives (older torch) have none, and parts whose
    checksum is 0 were written without.

    Raises:
        EncoderError: names the file and the damaged part.
    """
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            try:
                with archive.open(entry) as part:
                    while part.read(1 << 20):
                        pass
            except zipfile.BadZipFile as error:
                if entry.CRC:
                    raise EncoderError(
                        f"{path}: {entry.filename} differs from its checksum; the file is "
                        "damaged, fetch it again"
                    ) from error


def _add(value: Any, digest: _Hash) -> None:
    import torch

    if isinstance(value, torch.Tensor):
        plain = value.detach().cpu().contiguous()
        digest.update(f"tensor {plain.dtype} {tuple(plain.shape)};".encode())
        digest.update(plain.reshape(-1).view(torch.uint8).numpy().tobytes())
    elif isinstance(value, Mapping):
        digest.update(f"dictionary {len(value)};".encode())
        for key, item in value.items():
            digest.update(f"{key!r};".encode())
            _add(item, digest)
    elif isinstance(value, list | tuple):
        digest.update(f"list {len(value)};".encode())
        for item in value:
            _add(item, digest)
    else:
        digest.update(f"{type(value).__name__} {value!r};".encode())
