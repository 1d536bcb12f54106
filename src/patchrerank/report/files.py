"""Files of a report: each appears whole or not at all."""

from __future__ import annotations

import secrets
from contextlib import suppress
from pathlib import Path

from patchrerank.errors import SettingError


def write_whole(target: Path, content: bytes) -> None:
    """Write beside the target and move into place; nothing is left behind on failure.

    Missing folders are made.

    Raises:
        SettingError: it cannot be written.
    """
    partial = target.parent / f".{secrets.token_hex(8)}.partial"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(content)
        partial.replace(target)
    except (OSError, ValueError) as error:
        raise SettingError(
            f"the report cannot be written to {target}: {error}; "
            "choose a file in a folder that you may write to"
        ) from error
    finally:
        with suppress(OSError, ValueError):
            partial.unlink()
