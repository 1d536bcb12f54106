"""Open a gallery again and again, and search it, while others change it; run by test_a_day.

Arguments: the gallery, and a file that says "stop" by being there; one of its name that ends in
``.begun`` is made once the gallery was opened. Prints, as JSON, the states
that were seen, in their order, and how often the gallery was opened.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import numpy as np

from patchrerank.first_stage import GlobalSearch
from patchrerank.gallery import Gallery
from patchrerank.types import Queries

QUERIES = np.eye(8, 4096, dtype=np.float32)


def digest(gallery: Gallery) -> str:
    """Return a digest of what is there, in whatever order."""
    ends = np.append(0, np.asarray(gallery.patch_ends))
    lines = []
    for row in gallery.live.tolist():
        span = slice(ends[row], ends[row + 1])
        parts = gallery.global_vectors[row], gallery.patches[span], gallery.boxes[span]
        found = hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest()
        lines.append(f"{gallery.ids[row]} {found} {gallery.sizes[row].tolist()}")
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


def searched(gallery: Gallery) -> set[str]:
    """Return the ids that some searches find."""
    found = GlobalSearch(gallery).search(Queries(QUERIES[:, : gallery.dim]), 25)
    assert found.rows.shape == (8, 25) and found.rows.min() >= 0
    return set(gallery.ids.at(found.rows.ravel()))


def main() -> None:
    folder, stop = Path(sys.argv[1]), Path(sys.argv[2])
    seen: list[str] = []
    opened = 0
    while not stop.exists():
        gallery = Gallery(folder)
        state = digest(gallery)
        assert searched(gallery) <= set(gallery.ids.living())
        assert digest(gallery) == state  # it stays what it was
        if not seen or seen[-1] != state:
            seen.append(state)
        opened += 1
        stop.with_suffix(".begun").touch()
    print(json.dumps({"seen": seen, "opened": opened}))


if __name__ == "__main__":
    main()
