"""A push that is killed, at any of its steps, goes on where it was."""

from __future__ import annotations

import json
import signal

import pytest
from tests.helpers.opened_stores import PACKAGES, STORES

from patchrerank.testing.made_galleries import made_gallery
from prepared import python

STEPS = (0, 1, 3, 6)
"""Before what a store says of itself, among its notes, among its images, …"""

CHILD = """
import itertools, json, os, signal, sys
from pathlib import Path
from patchrerank import Gallery
from patchrerank.integrations.stores import records, store as _
from tests.helpers.opened_stores import PACKAGES, STORES

root, gallery, names, steps = sys.argv[1], sys.argv[2], *map(json.loads, sys.argv[3:])
records.BATCH_BYTES = 200
opened = Gallery(gallery)
list(records.records_of(opened, opened.live, local=True))  # what is imported is imported once
for name in names:
    for package in PACKAGES[name]:
        __import__(package)

def push(name, folder, step):
    counted = itertools.count()

    def counting(method):
        def run(*given):
            if next(counted) == step:
                os.kill(os.getpid(), signal.SIGKILL)
            return method(*given)
        return run

    with STORES[name](folder) as store:
        for method in ("_keep", "_keep_texts", "_write", "_create_one"):
            if hasattr(store, method):
                setattr(store, method, counting(getattr(store, method)))
        store.push(opened, local=store.holds_local, progress=False)

found = {}
for name in names:
    for step in steps:
        folder = Path(root, name, str(step))
        folder.mkdir(parents=True)
        if not (pid := os.fork()):
            code = 1
            try:
                push(name, folder, step)
                code = 0
            finally:
                os._exit(code)
        found[f"{name} {step}"] = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
print(json.dumps(found))
"""


def installed(name):
    """Tell whether a store can be opened in a folder alone."""
    try:
        for package in PACKAGES[name]:
            __import__(package)
    except ImportError:
        return False
    return name != "pgvector"  # a transaction of its server's


@pytest.fixture(
    scope="module", params=[STEPS[::2], pytest.param(STEPS, marks=pytest.mark.slow)], ids=len
)
def killed(request, tmp_path_factory):
    """What became of a process for each store and step; it forks before any store's threads."""
    root = tmp_path_factory.mktemp("killed")
    gallery = made_gallery(root / "gallery", local="float16")
    names = [name for name in STORES if installed(name)]
    given = [str(root), str(gallery.folder), json.dumps(names), json.dumps(request.param)]
    done = python("-c", CHILD, *given)
    assert done.returncode == 0, done.stderr
    return root, gallery, request.param, json.loads(done.stdout)


@pytest.mark.parametrize("name", [name for name in STORES if name != "pgvector"])
def test_it_goes_on(killed, name):
    root, gallery, steps, codes = killed
    if f"{name} 0" not in codes:
        pytest.skip("its package is absent")
    assert codes[f"{name} 0"] == -signal.SIGKILL
    for step in steps:
        assert (code := codes[f"{name} {step}"]) in (0, -signal.SIGKILL)
        with STORES[name](root / name / str(step)) as store:
            pushed = store.push(gallery, local=store.holds_local, progress=False)
            assert pushed.written + pushed.unchanged == 5
            assert (code == 0) == (pushed.written == 0)
            assert store.push(gallery, progress=False).unchanged == 5
            keys = list(map(str, gallery.ids))
            assert store.evidence(keys).patch_ends.tolist() == gallery.patch_ends.tolist()
