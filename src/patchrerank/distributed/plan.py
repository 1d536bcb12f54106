"""Into which blocks a gallery's images are cut; written once, so that a second run cuts alike."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from patchrerank.distributed.options import RayOptions
from patchrerank.errors import GalleryError
from patchrerank.files import written_beside
from patchrerank.gallery.block import Block
from patchrerank.gallery.compress import SHARDS
from patchrerank.gallery.folder import lock_folder
from patchrerank.gallery.manifest import MANIFEST
from patchrerank.json_files import read_json

PLAN = "blocks.json"
FORMAT = "patchrerank-blocks-1"


@dataclass(frozen=True)
class Plan:
    """Into which blocks a gallery's images are cut.

    Attributes:
        block: images of each but the last.
        blocks: how many.
        images: of all; of Parquet files, rows.
        digest: sha256 (hex) over their ids, or over the parts of files that they lie in.
        format: of the file.
    """

    block: int
    blocks: int
    images: int
    digest: str
    format: str = FORMAT

    @classmethod
    def of(cls, blocks: Sequence[Block], size: int) -> Plan:
        """Return the plan of blocks."""
        digest = hashlib.sha256()
        for block in blocks:
            digest.update(repr((block.root, [name for name, _ in block.pairs])).encode())
            digest.update(repr([tuple(span) for span in block.spans]).encode())
        return cls(size, len(blocks), sum(block.length for block in blocks), digest.hexdigest())

    def write(self, folder: Path) -> None:
        """Write it into a folder, which is made."""
        folder.mkdir(parents=True, exist_ok=True)
        with written_beside(folder / PLAN) as scratch:
            scratch.write_text(json.dumps(asdict(self), indent=1))


def read_plan(folder: Path) -> Plan | None:
    """Return the plan that lies in a folder; None: there is none.

    Raises:
        GalleryError: it is damaged.
    """
    path = folder / PLAN
    if not path.exists():
        return None
    try:
        found = Plan(**read_json(path, GalleryError))
        whole = min(found.block, found.blocks, found.images) >= 1 and found.format == FORMAT
    except (TypeError, ValueError):
        whole = False
    if not whole:
        raise GalleryError(f"{path}: is no plan of blocks, or damaged; delete {folder.parent}")
    return found


def check_same(gallery: Path, held: Plan, now: Plan) -> None:
    """Refuse to go on with other images than a gallery was begun with.

    Raises:
        GalleryError: says how many there were, and are.
    """
    if held == now:
        return
    raise GalleryError(
        f"{gallery}: was begun with other pictures ({held.images:,} then, {now.images:,} now); "
        "restore them, or index new ones into a folder of their own and join both (patchrerank "
        f"merge {gallery} FOLDER --append)"
    )


def held_plan(target: Path, ray: RayOptions) -> Plan | None:
    """Return the plan of a gallery that is begun, or complete; None: of one that is new.

    Raises:
        GalleryError: it was not built on Ray, or begun with blocks of another size.
    """
    plan = read_plan(target / SHARDS)
    if plan is None and ((target / MANIFEST).exists() or _holds_any(target / SHARDS)):
        raise GalleryError(f"{target}: was not built on Ray; choose another folder")
    if target.exists():
        lock_folder(target, {SHARDS}).close()  # refuses files of others
    if plan is not None and ray.block is not None and not 0 <= plan.block - ray.block < ray.block:
        raise GalleryError(
            f"{target}: was begun with blocks of {plan.block} images, now they are {ray.block}; "
            "leave the size out, or use another folder"
        )
    return plan


def _holds_any(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())


def agree(target: Path, held: Plan | None, now: Plan, any_blocks: bool) -> None:
    """Write the plan of a new gallery, or refuse another than it was begun with.

    Raises:
        GalleryError: there are no images, or they are others.
    """
    if not any_blocks:
        raise GalleryError(f"{target}: there are no images to index")
    if held is None:
        now.write(target / SHARDS)
    else:
        check_same(target, held, now)
