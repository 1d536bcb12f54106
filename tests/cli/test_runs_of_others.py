"""Runs from the command line, read by ranx, and ranx's own, read by the command line."""

from __future__ import annotations

import json

import numpy as np
import pytest
from tests.helpers.command_line import run

from later import later
from prepared import python

later("ranx")

RANX = """
import json, sys
import numba
numba.config.DISABLE_JIT = True
import ranx
made = ranx.Run.from_file(sys.argv[1], kind="trec").to_dict()
first = {query: {doc: 1.0 - n / 10 for n, doc in enumerate(reversed(docs))}
         for query, docs in made.items()}
ranx.Run({**first, "another": {"x.png": 1.0}}).save(sys.argv[2], kind="trec")
qrels = ranx.Qrels({query: {list(docs)[1]: 1} for query, docs in made.items()})
print(json.dumps([made, ranx.evaluate(qrels, ranx.Run(made), "mrr")]))
"""


def by_ranx(*paths):
    """What ranx reads and measures; in a process where numba need not compile it."""
    done = python("-c", RANX, *paths)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


@pytest.mark.slow
def test_ranx_reads_a_run_and_writes_one_that_is_reranked(tiny_gallery, tmp_path):
    row = int(tiny_gallery.rows_of(["07.png"])[0])
    np.save(tmp_path / "7.npy", tiny_gallery.global_vectors[row])
    words = [tiny_gallery.folder, tmp_path / "7.npy"]
    told = [
        "--lam",
        "0",
        "--top-k",
        "6",
        "--run",
        tmp_path / "ours.trec",
        "--query-id",
        "q7",
        "--json",
    ]
    found = json.loads(run("search", *words, *told).stdout)["hits"]
    theirs = tmp_path / "theirs.trec"
    made, reciprocal = by_ranx(tmp_path / "ours.trec", theirs)
    assert list(made) == ["q7"]
    ids = [hit["id"] for hit in found]
    assert sorted(made["q7"], key=made["q7"].get, reverse=True) == ids
    assert reciprocal == 0.5
    told = ["--query-id", "q7", "--lam", "0", "--json"]
    again = json.loads(run("rerank", *words, theirs, *told).stdout)["hits"]
    assert [hit["id"] for hit in again] == ids
