"""Join galleries while being killed at random moments; run by test_killed_merges.

Arguments: folder of galleries, how (copy, shards or append), number of kills. Prints how often it
was killed.
"""

from __future__ import annotations

import shutil
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np

from children import in_child
from patchrerank.gallery import Gallery, arrays, manifest, merge, verify

SLOWER = 0.004
"""Seconds for each write, so that there is time to be killed in."""


def slowly() -> None:
    append, write = arrays.ArrayWriter.append, manifest.write_record

    def slow_append(self, rows):
        time.sleep(SLOWER)
        append(self, rows)

    def slow_write(record, path, **how):
        time.sleep(SLOWER)
        write(record, path, **how)
        time.sleep(SLOWER)

    arrays.ArrayWriter.append = slow_append
    manifest.write_record = slow_write


def main() -> None:
    folder, how, kills = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    parts = sorted(folder.glob("part-*"))
    states = [sum(len(Gallery(part)) for part in parts)]
    verify(merge(folder / f"warm-{how}", parts))  # compile before forking
    out = folder / f"out-{how}"
    if how == "append":
        states.append(len(merge(out, parts[:2])))
    slowly()
    whole = partial(merge, folder / f"whole-{how}", parts, progress=False, copy=how == "copy")
    _, seconds = in_child(whole, None)
    options = {"copy": how == "copy", "append": how == "append"}
    again = partial(merge, out, parts, progress=False, **options)
    rng, killed = np.random.default_rng(0), 0
    for _ in range(kills):
        killed += in_child(again, rng.uniform(0.0, 1.0) * seconds)[0]
        if (out / "manifest.json").exists():
            assert len(Gallery(out).ids) in states
            if how != "append":  # from the beginning
                shutil.rmtree(out)
    if how == "append" or not (out / "manifest.json").exists():
        again()
    print(killed)


if __name__ == "__main__":
    main()
