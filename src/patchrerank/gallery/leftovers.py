"""Whose files lie in a folder that a gallery is to be written to."""

from __future__ import annotations

import re
from pathlib import Path

from patchrerank.files import json_with

LOCK = "build.lock"
ARRAYS = (
    *("ids", "id_ends", "id_table", "sizes", "globals", "patches", "patch_scales", "pq_centroids"),
    *(
        "patch_ends",
        "exact_patches",
        "exact_scales",
        "boxes",
        "places",
        "removed",
        "stamps",
        "descriptors",
        "descriptor_scales",
        "ends",
    ),
    *("positions", "scales", "weights"),
)
"""What array files are called."""
PARTS = "parts.tmp"
"""Folder of shards that are being written."""
OURS = re.compile(
    r"(manifest|building|building\.synced|compacted|local|parts)\.tmp"
    r"|backgrounds\.npz(\.partial)?|pictures\.json(\.partial)?|whitening\.(npz(\.partial)?|sample(\.json)?)|\.[0-9a-f]+\.part"
)
"""Other files and folders that a killed run may leave behind."""
MANIFEST = json_with("a manifest", "format", "arrays")


def has_manifest(folder: Path) -> bool:
    """Tell a gallery's folder by its manifest; many other programs write files of that name."""
    path = folder / "manifest.json"
    return path.is_file() and MANIFEST.made(path)


def is_leftover(path: Path) -> bool:
    """Tell the files that a killed run leaves behind, by name; a manifest is none of them."""
    return is_array(path) or path.name == LOCK or OURS.fullmatch(path.name) is not None


def is_array(path: Path) -> bool:
    """Tell an array's file, of any generation, by its name."""
    name, _, generation = path.stem.partition(".")
    return path.suffix == ".bin" and name in ARRAYS and (not generation or generation.isdigit())
