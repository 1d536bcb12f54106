"""What a request reads is asked for ahead where it lies on a disk, and only there."""

from __future__ import annotations

import mmap
import os
import sys

import numpy as np
import pytest

from drawn_galleries import draw_gallery
from drawn_shards import draw_shards
from patchrerank.fusion import Fusion
from patchrerank.gallery import Gallery, merge
from patchrerank.gallery import rows_ahead as module
from patchrerank.rerankers import Patchify
from patchrerank.types import Queries, Shortlist

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="asks Linux")


def asked(monkeypatch, gallery, rows):
    """Return the spans of each file that are asked for, in pages."""
    found = {}

    class Spy:
        def __init__(self, name):
            self.name = name

        def madvise(self, advice, start, length):
            assert advice == mmap.MADV_WILLNEED and start % mmap.PAGESIZE == 0 and length > 0
            found.setdefault(self.name, []).append((start, start + length))

    names = {}

    def mapped(array):
        return Spy(names.setdefault(id(array.base), array.nbytes))

    monkeypatch.setattr(module, "_mapped", mapped)
    gallery.rows_ahead.ask(np.asarray(rows))
    return found


def expected(gallery, rows, width):
    """The bytes of each row's patches."""
    ends = np.asarray(gallery.patch_ends)
    return [((ends[row - 1] if row else 0) * width, ends[row] * width) for row in rows]


def test_all_bytes_of_rows_are_asked_for_and_few_others(monkeypatch, tmp_path):
    ids = [f"{number}.jpg" for number in range(500)]
    gallery = draw_gallery(tmp_path / "g", ids, np.arange(500) % 7, 256)
    rows = [499, 3, 3, 70, 0, -1, 71, 400]
    found = asked(monkeypatch, gallery, [rows])
    spans = found[gallery.patches.nbytes]
    wanted = expected(gallery, sorted({*rows} - {-1}), gallery.patches.strides[0])
    pages = {page for start, stop in spans for page in range(start // 4096, -(-stop // 4096))}
    read = {
        page
        for begin, end in wanted
        if end > begin
        for page in range(begin // 4096, -(-end // 4096))
    }
    assert pages == read
    assert len(spans) < len(rows) and spans == sorted(spans)
    assert all(stop <= gallery.patches.nbytes for _, stop in spans)
    assert gallery.boxes.nbytes in found and gallery.patch_ends.nbytes in found


def test_shards(monkeypatch, tmp_path):
    parts = [Gallery(part) for part in draw_shards(tmp_path, "int8", local=None)]
    gallery = merge(tmp_path / "all", parts, progress=False)
    found = asked(monkeypatch, gallery, np.arange(len(gallery)))
    for part in filter(lambda one: one.patches.nbytes, parts):
        assert any(stop == part.patches.nbytes for spans in found.values() for _, stop in spans)


def test_answers_are_the_same(tmp_path):
    ids = [f"{number}.jpg" for number in range(60)]
    gallery = draw_gallery(tmp_path / "g", ids, 5, 32)
    query = np.eye(1, 32, dtype=np.float32)
    table = Shortlist(np.arange(60)[None], np.linspace(1, 0, 60, dtype=np.float32)[None])
    reranker, answers = Patchify(gallery, fusion=Fusion(0.3, 4.0)), []
    for cold in (True, False):
        gallery.rows_ahead.cold = cold
        hits = reranker.rank(query[0], ids, table.scores[0].tolist())
        gallery.rows_ahead.cold = cold
        answers.append((hits, reranker.score(Queries(query), table).scores.tolist()))
    assert answers[0] == answers[1]


def drop(gallery):
    """Let the system forget the files of a gallery."""
    for path in gallery.files().values():
        handle = os.open(path, os.O_RDONLY)
        os.fdatasync(handle)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(handle)


def test_only_behind_a_request_that_read_from_a_disk(tmp_path, monkeypatch):
    ids = [f"{number}.jpg" for number in range(2000)]
    folder = draw_gallery(tmp_path / "g", ids, 30, 64).folder
    drop(Gallery(folder))
    gallery, table = Gallery(folder), np.arange(0, 2000, 20)[None]
    ahead, calls = gallery.rows_ahead, []
    monkeypatch.setattr(ahead, "ask", lambda rows: calls.append(len(rows)))
    assert ahead.cold
    query, given = np.eye(1, 64, dtype=np.float32), np.linspace(1, 0, 100, dtype=np.float32)[None]
    reranker = Patchify(gallery, fusion=Fusion(0.3, 4.0))
    reranker.rank_arrays(query, rows=table, scores=given)
    if not ahead.cold:
        pytest.skip("what was dropped was not read from a disk")
    for _ in range(3):
        reranker.rank_arrays(query, rows=table, scores=given)
    assert not ahead.cold and len(calls) == 2
