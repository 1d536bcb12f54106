"""Which shard of a gallery follows a folder of pictures: it, not the gallery, is synced."""

from __future__ import annotations

import os
import shlex
from contextlib import suppress
from pathlib import Path

from patchrerank.addresses import Place
from patchrerank.errors import GalleryError
from patchrerank.gallery.manifest import MANIFEST, ShardTable
from patchrerank.gallery.manifest_reading import read_manifest


def check_followed(folder: Path, shards: ShardTable | None, pictures: Place) -> None:
    """Refuse to sync a gallery of shards of which one follows the folder.

    Args:
        folder: of the gallery.
        shards: those that it consists of; None: it is one folder.
        pictures: the folder that it was to follow.

    Raises:
        GalleryError: names the shard, and the commands that do what was meant.
    """
    for name in () if shards is None else shards.folders:
        shard = Path(os.path.normpath(folder.resolve() / name))
        root = None
        with suppress(GalleryError):
            root = read_manifest(shard / MANIFEST).root
        if root == str(pictures.resolve()):
            words = [shlex.quote(str(path)) for path in (pictures, shard, folder)]
            raise GalleryError(
                f"{folder}: is a gallery of shards, of which {shard} follows {pictures}: run "
                f"patchrerank sync {words[0]} {words[1]}, and then patchrerank merge {words[2]} "
                "--append"
            )
