"""What workers push is what one process pushes, row for row, whatever becomes of a worker."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from opened_stores import STORES
from patchrerank.errors import GalleryError, SettingError
from patchrerank.gallery import Gallery, merge, remove
from patchrerank.integrations.stores.store import Pushed
from patchrerank.types import Queries

pytest.importorskip("ray")

from drawn_shards import COUNTS, draw_shards
from patchrerank.distributed import RayOptions, push_with_ray
from pushed_stores import chroma_store, dying_store, failing_store, postgres_store

TWO = RayOptions(workers=2, block=4, cpus_per_worker=0.5)
TOTAL = sum(COUNTS)


pytestmark = pytest.mark.usefixtures("ray")


@pytest.fixture(scope="module")
def uri():
    from postgres import postgres

    pytest.importorskip("pgvector")
    with postgres() as found:
        yield found


@pytest.fixture
def gallery(tmp_path):
    parts = [Gallery(part) for part in draw_shards(tmp_path, "int8")]
    return merge(tmp_path / "g", parts, progress=False)


def same(found, expected, gallery, local=True):
    """Compare all that two stores hold of a gallery."""
    assert sorted(found._digests()) == sorted(expected._digests())
    keys = [str(name) for name in gallery.ids.at(gallery.live)]
    ours, theirs = found.fetched(keys), expected.fetched(keys)
    for key in keys:
        for name in ("vector", "patches", "boxes", "size", "digest"):
            assert np.array_equal(getattr(ours[key], name), getattr(theirs[key], name)), (key, name)
    if local:
        assert found.fetched_local(keys) == expected.fetched_local(keys)
    queries = Queries(np.eye(2, gallery.dim, dtype=np.float32))
    first, second = (store.search(queries, 9) for store in (found, expected))
    assert np.array_equal(first.scores, second.scores)


def rows_in(store):
    return len(list(store._digests()))


@pytest.mark.slow
def test_workers_push_what_one_process_does(uri, gallery):
    expected = postgres_store(uri, "expected")
    expected.push(gallery, local=True, progress=False)
    push = partial(push_with_ray, gallery, partial(postgres_store, uri, "pushed"), TWO)
    assert push(local=True, progress=False) == Pushed(TOTAL, 0, 0)
    same(postgres_store(uri, "pushed"), expected, gallery)
    assert push(progress=False) == Pushed(0, TOTAL, 0)
    remove(gallery.shards[2].folder, ["2/3.jpg"])
    changed = merge(gallery.folder, [], append=True, progress=False)
    found = push_with_ray(
        changed, partial(postgres_store, uri, "pushed"), TWO, prune=True, progress=False
    )
    assert found == Pushed(0, TOTAL - 1, 1)
    expected.push(changed, prune=True, progress=False)
    same(postgres_store(uri, "pushed"), expected, changed)


def test_a_worker_that_is_killed_costs_its_task(uri, gallery, tmp_path):
    """It is killed behind its first batch of a task: what it wrote is there once."""
    expected = postgres_store(uri, "whole")
    expected.push(gallery, local=True, progress=False)
    (tmp_path / "notes").mkdir()
    opened = partial(dying_store, uri, "killed", tmp_path / "notes", 1)
    pushed = push_with_ray(gallery, opened, TWO, local=True, progress=False)
    assert pushed == Pushed(TOTAL, 0, 0)
    assert len(list((tmp_path / "notes").iterdir())) == 1
    same(postgres_store(uri, "killed"), expected, gallery)


@pytest.mark.slow
def test_what_is_pushed_is_not_pushed_again(uri, gallery, tmp_path):
    """A task that ends its workers stops the push; it goes on where it was."""
    (tmp_path / "notes").mkdir()
    opened = partial(dying_store, uri, "stopped", tmp_path / "notes", 2)
    how = replace(TWO, workers=1, attempts=2)
    with pytest.raises(GalleryError, match=r"part-0: pushing its rows 0 to 3 ended its worker 2 t"):
        push_with_ray(gallery, opened, how, progress=False)
    there = rows_in(postgres_store(uri, "stopped"))
    assert 0 < there < TOTAL
    again = push_with_ray(gallery, opened, how, progress=False)
    assert again == Pushed(TOTAL - there, there, 0)


@pytest.mark.slow
def test_a_store_that_refuses(uri, gallery):
    opened = partial(failing_store, uri, "broken")
    with pytest.raises(GalleryError, match=r"part-0: pushing its rows 0 to 3 failed 1 times \(Ru"):
        push_with_ray(gallery, opened, replace(TWO, workers=1, attempts=1), progress=False)


@pytest.mark.parametrize("name", [name for name in STORES if name != "pgvector"])
def test_stores_of_one_writer_say_so(name, gallery, tmp_path):
    (tmp_path / "store").mkdir()
    refused = pytest.raises(SettingError, match="one writer at a time")
    with STORES[name](tmp_path / "store") as store, refused:
        push_with_ray(gallery, lambda: store, TWO, progress=False)


@pytest.fixture
def chroma_port(tmp_path):
    pytest.importorskip("chromadb")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = Path(sys.executable).with_name("chroma")
    given = ["run", "--path", str(tmp_path / "chroma"), "--host", "127.0.0.1", "--port", str(port)]
    server = subprocess.Popen([command, *given], stdout=subprocess.DEVNULL)
    for _ in range(100):
        with socket.socket() as asked:
            if not asked.connect_ex(("127.0.0.1", port)):
                break
        time.sleep(0.1)
    yield port
    server.terminate()
    server.wait()


@pytest.mark.slow
def test_a_server_of_chroma(chroma_port, gallery):
    expected = chroma_store(chroma_port, "expected")
    expected.push(gallery, progress=False)
    pushed = push_with_ray(gallery, partial(chroma_store, chroma_port, "pushed"), TWO)
    assert pushed == Pushed(TOTAL, 0, 0)
    same(chroma_store(chroma_port, "pushed"), expected, gallery, local=False)
