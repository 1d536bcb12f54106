"""Arrays in and out are the same ranking as lists of hits."""

from __future__ import annotations

from uuid import UUID

import numpy as np
import pytest

from drawn_galleries import draw_gallery
from patchrerank.errors import QueryError, SettingError, ShortlistError
from patchrerank.fusion import Fusion
from patchrerank.rerankers import Patchify

IDS = {
    "text": [f"p/{number}.jpg" for number in range(30)],
    "int": [7 * number - 3 for number in range(30)],
    "uuid": [UUID(int=5**number) for number in range(30)],
}


@pytest.mark.parametrize("kind", IDS)
def test_arrays_equal_hits_for_ids_of_every_kind(tmp_path, kind):
    ids = IDS[kind]
    gallery = draw_gallery(tmp_path / "g", ids, np.arange(30) % 4, 16, id_type=kind)
    reranker = Patchify(gallery, fusion=Fusion(0.3, 4.0, 9))
    rng = np.random.default_rng(0)
    queries = rng.standard_normal((3, 16)).astype(np.float32)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    rows = np.stack([rng.permutation(30)[:12] for _ in queries])
    scores = -np.sort(-rng.uniform(0, 1, (3, 12)).astype(np.float32), axis=1)
    asked = [[ids[row] for row in line] for line in rows]
    hits = reranker.rank_batch(list(queries), asked, list(scores))
    for found in (
        reranker.rank_arrays(queries, rows=rows, scores=scores),
        reranker.rank_arrays(queries, ids=asked, scores=scores),
    ):
        for number, expected in enumerate(hits):
            assert gallery.ids.at(found.rows[number]) == [hit.id for hit in expected]
            assert found.hit_scores()[number].tolist() == [hit.score for hit in expected]
            boxes = [hit.box or (np.nan,) * 4 for hit in expected]
            np.testing.assert_array_equal(found.boxes[number], np.float32(boxes))
    assert {type(hit.id) for hit in hits[0]} == {type(ids[0])}
    ordered = reranker.rank_arrays(queries, rows=rows)
    assert ordered.global_scores.max() == 1.0


def test_arrays_that_cannot_be_are_refused(tmp_path):
    gallery = draw_gallery(tmp_path / "g", IDS["int"], 2, 16, id_type="int")
    reranker, query = Patchify(gallery), np.eye(1, 16, dtype=np.float32)
    with pytest.raises(SettingError, match="one of them"):
        reranker.rank_arrays(query)
    with pytest.raises(ShortlistError, match="row 30 is not in"):
        reranker.rank_arrays(query, rows=[[1, 30]], scores=[[0.5, 0.4]])
    with pytest.raises(ShortlistError, match="higher than"):
        reranker.rank_arrays(query, rows=[[1, 2]], scores=[[0.4, 0.5]])
    for norm in (0.98992, 1.0101, 2):
        with pytest.raises(QueryError, match=f"norm {norm:.4g}"):
            reranker.rank_arrays(np.float32(norm) * query, rows=[[1]])
    for size in (2e19, 3e38):  # their squares are beyond float32
        with pytest.raises(QueryError, match=f"norm {size:.0e}".replace("+", r"\+")):
            reranker.rank_arrays(np.float32(size) * query, rows=[[1]])
        with pytest.raises(QueryError, match="pass it L2-normalised"):
            reranker.rank(np.float32(size) * query[0], [4])
    assert len(reranker.rank_arrays(np.float32(1.0099) * query, rows=[[1]])) == 1
    with pytest.raises(ShortlistError, match=r"'4' is a str.*whole numbers"):
        reranker.rank(query[0], [-3, "4"])
    with pytest.raises(ShortlistError, match=r"1 of 2 ids are not in .* 999.*look like -3, 4, 11"):
        reranker.rank(query[0], [4, 999])
