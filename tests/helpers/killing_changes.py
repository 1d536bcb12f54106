"""Change galleries while being killed; run by test_killed_changes.

Arguments: folder to work in, then what is done: ``remove``, ``compact``, ``sync`` or ``replace``;
and ``steps`` (killed before and after every change of the folder's files, one after the other)
or a number of kills at random moments. Prints how often it was killed.
"""

from __future__ import annotations

import os
import shutil
import sys
from functools import partial
from pathlib import Path

import numpy as np
import torch

from children import in_child
from drawings import photo
from patchrerank.encoders import Preprocessing, load_dense_encoder, load_encoder
from patchrerank.errors import GalleryError
from patchrerank.gallery import (
    BuildOptions,
    Gallery,
    LocalOptions,
    SyncOptions,
    build_gallery,
    build_local,
    compact,
    id_table,
    remove,
    replace,
    sync,
    verify,
)
from patchrerank.regions import GridPyramid

PREPROCESSING = Preprocessing((8, 8), (0.5, 0.5, 0.5), (0.25, 0.25, 0.25), "area")
QUIET = BuildOptions(progress=False)
PICTURES = 40
KILLED = 9


def encoder():
    torch.set_num_threads(1)
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 5, stride=2), torch.nn.Flatten())
    return load_encoder(
        module, preprocessing=PREPROCESSING, device="cpu", batch_size=1, name="killed"
    )


def make(out: Path, local: bool) -> None:
    """Write pictures, and a gallery of them with rows that were removed."""
    for number in range(PICTURES):
        (out / "photos").mkdir(exist_ok=True)
        photo(number, 24 + number, 20).save(out / f"photos/{number:02d}.png")
    build_gallery(out / "begun", out / "photos", encoder(), GridPyramid(0), QUIET)
    if local:
        torch.manual_seed(1)
        module = torch.nn.Conv2d(3, 6, 4, stride=4)
        given = {"preprocessing": PREPROCESSING, "image_size": 16, "stride": 4, "device": "cpu"}
        dense = load_dense_encoder(module, name="killed", **given)
        build_local(Gallery(out / "begun"), dense, LocalOptions(progress=False))
    remove(out / "begun", ["00.png", "07.png", "08.png", "39.png"])


def change(photos: Path) -> None:
    """What the folder is when it is synced: two more, two others, two gone, four back."""
    for number, width in ((90, 30), (91, 30), (1, 50), (2, 50)):
        photo(number + 300, width, 20).save(photos / f"{number:02d}.png")
    for number in (3, 4):
        (photos / f"{number:02d}.png").unlink()


def act(what: str, out: Path, folder: Path) -> None:
    id_table.TABLE_FROM = 1
    if what == "remove":
        remove(folder, ["01.png", "38.png"])
    elif what == "compact":
        compact(folder)
    elif what == "sync":
        sync(out / "photos", folder, SyncOptions(progress=False), encoder=encoder())
    else:
        pairs = [(f"{n:02d}.png", out / f"photos/{n + 1:02d}.png") for n in range(1, 6)]
        replace(folder, pairs, encoder(), options=QUIET)


def state(folder: Path):
    """What a reader that opens it now finds: all that is said of each id, or why there is none."""
    gallery = Gallery(folder)
    local = None
    if gallery.has_local:
        try:
            local = gallery.local
        except GalleryError as error:
            local = str(error).partition(folder.name)[2].replace("1.", "")
    ends = np.append(0, np.asarray(gallery.patch_ends))
    found = {}
    for row in gallery.live.tolist():
        span = slice(ends[row], ends[row + 1])
        whole = gallery.global_vectors[row].tobytes(), gallery.patches[span].tobytes()
        own = local if local is None or isinstance(local, str) else local.descriptors_of(row)
        own = own if own is None or isinstance(own, str) else own.vectors.tobytes()
        found[gallery.ids[row]] = (*whole, gallery.boxes[span].tobytes(), own)
    assert gallery.rows_of(list(found)).tolist() == gallery.live.tolist()
    return found


def dying(step: int, after: bool, work) -> None:
    """Do the work until files are changed for the ``step``-th time; die before, or after it."""
    left = [step]

    def counted(real, *given, **named):
        left[0] -= 1
        if left[0] == 0 and not after:
            os._exit(KILLED)
        try:
            return real(*given, **named)
        finally:
            if left[0] == 0:
                os._exit(KILLED)

    for name in ("replace", "rename", "unlink", "fsync", "mkdir", "truncate", "ftruncate"):
        setattr(os, name, partial(counted, getattr(os, name)))
    work()


def tidy(folder: Path) -> None:
    """Nothing lies there that no manifest names."""
    gallery = Gallery(folder)
    assert verify(gallery) == [], verify(gallery)
    named = {path.name for path in gallery.files().values()}
    found = {path.name for path in folder.iterdir() if path.is_file()}
    kept = {"manifest.json", "build.lock"}
    assert found - {"backgrounds.npz"} == {*named, *kept}, (found, named)
    if (folder / "local").is_dir():
        found = {path.name for path in (folder / "local").iterdir()}
        arrays = {path.name for path in gallery.local.files().values()}
        assert found == {*arrays, "manifest.json", "build.lock"}, found


def try_once(what: str, out: Path, before, after, kill) -> bool:
    """Kill it once with ``kill(work)``; a reader finds one of the two; once more, and it is done.

    Returns:
        Whether it was killed.
    """
    folder = out / "g"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(out / "begun", folder)
    opened = Gallery(folder)
    held = np.array(opened.global_vectors[opened.live])
    killed = kill(partial(act, what, out, folder))
    found = state(folder)
    assert found in (before, after), (what, sorted(found), killed)
    if found == before or what in ("sync", "compact"):
        in_child(partial(act, what, out, folder), None)
    assert state(folder) == after, what
    assert np.array_equal(held, opened.global_vectors[opened.live])
    if found == after and what != "compact":  # what was killed has nothing to do any more
        in_child(partial(compact, folder), None)
    tidy(folder)
    return killed


def main() -> None:
    PREPROCESSING.prepare(photo(0), [[0, 0, 1, 1]])  # compile before forking
    out, what, how = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    in_child(partial(make, out, what == "compact"), None)
    before = state(out / "begun")
    if what == "sync":
        change(out / "photos")
    shutil.copytree(out / "begun", out / "done")
    _, seconds = in_child(partial(act, what, out, out / "done"), None)
    after = state(out / "done")
    assert (after == before) is (what == "compact")
    if how == "steps":
        print(steps(what, out, before, after))
        return
    rng, killed = np.random.default_rng(3), 0
    for _ in range(int(how)):
        kill = partial(at_moment, rng.uniform(0, 1.2) * seconds)
        killed += try_once(what, out, before, after, kill)
    print(killed)


def at_moment(moment: float, work) -> bool:
    return in_child(work, moment)[0]


def steps(what: str, out: Path, before, after) -> int:
    killed, step = 0, 0
    while True:
        step += 1
        for late in (False, True):
            if not try_once(what, out, before, after, partial(by_step, step, late)):
                return killed
            killed += 1


def by_step(step: int, late: bool, work) -> bool:
    child = os.fork()
    if child == 0:
        dying(step, late, work)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, KILLED), status
    return status == KILLED


if __name__ == "__main__":
    main()
