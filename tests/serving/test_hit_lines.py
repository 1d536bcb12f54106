"""Hits written column by column are those that the library makes one by one."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
import pytest

from patchrerank.calibration import Calibration
from patchrerank.rerankers.hits import hits_of
from patchrerank.serving.hit_lines import lines_of
from patchrerank.testing.made_galleries import KINDS, made_gallery
from patchrerank.types import Ranking, Shortlist


def ranking_of(gallery, missing="error", strangers=()):
    ids = list(gallery.ids)
    scores = [0.9, 0.8, 0.8, 0.1, -0.5][: len(ids)]
    lists = [[*ids, *strangers], ids[:3], []]
    given = [[*scores, *([-0.6] * len(strangers))], scores[:3], []]
    found = Ranking.of(Shortlist.from_ids(gallery, lists, given, missing=missing))
    local = np.linspace(-1, 1, found.rows.size, dtype=np.float32).reshape(found.rows.shape)
    local[0, 1], local[0, 2] = np.nan, -np.inf
    boxes = np.random.default_rng(0).random((*found.rows.shape, 4)).astype(np.float32)
    boxes[0, 3], boxes[1, 0, 2] = np.nan, np.nan
    probabilities = np.full(found.rows.shape, np.nan, dtype=np.float32)
    probabilities[:, 0] = 0.25
    return replace(found, local_scores=local, boxes=boxes, probabilities=probabilities)


def plain(hit):
    """A hit as JSON has it: what is infinite is no number there."""
    found = json.loads(json.dumps(asdict(hit), default=str))
    if found["local_score"] is not None and not np.isfinite(found["local_score"]):
        found["local_score"] = None
    return found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tops", [(None, None, None), (2, 10, 0), (0, 1, 5)])
@pytest.mark.parametrize("failed", [(), ("", "late", "")])
@pytest.mark.parametrize("strangers", [(), ["new"]])
def test_they_say_what_hits_say(tmp_path, kind, tops, failed, strangers):
    gallery = made_gallery(tmp_path / "g", kind)
    if strangers and kind != "text":
        pytest.skip("a stranger of another kind is refused")
    how = "keep" if strangers else "error"
    ranking = replace(ranking_of(gallery, how, strangers), failed=failed, crops=("box",) * 3)
    expected = hits_of(ranking, gallery)
    for query, (lines, hits, top) in enumerate(
        zip(lines_of(ranking, gallery, tops), expected, tops, strict=True)
    ):
        made = [json.loads(f"{{{line}}}") for line in lines.lines]
        assert lines.ids == [hit.id for hit in hits[:top]]
        assert [json.loads(score) for score in lines.scores] == [line["score"] for line in made]
        assert len(made) == len(hits[:top])
        for line, hit in zip(made, hits, strict=False):
            twin = plain(hit)
            assert list(line) == list(twin)
            for key, value in twin.items():
                close = isinstance(value, float | list)
                assert line[key] == (pytest.approx(value, rel=1e-6) if close else value), key
            assert np.float32(line["score"]) == np.float32(hit.score)
        assert lines.fallback is (bool(failed) and bool(failed[query]) and bool(made or not hits))


@pytest.mark.parametrize("how", ["keep", "drop"])
def test_whether_there_is_nothing_does_not_depend_on_how_many_hits_are_wanted(tmp_path, how):
    gallery = made_gallery(tmp_path / "g", "text")
    ids = list(gallery.ids)[:2]
    lists, scores = [["new", *ids], ids, []], [[0.9, 0.4, 0.3], [0.8, 0.1], []]
    found = Ranking.of(Shortlist.from_ids(gallery, lists, scores, missing=how))
    chances = np.full(found.rows.shape, 0.5, dtype=np.float32)
    ranking = replace(found, local_scores=chances, probabilities=chances)
    poor = Calibration(1.0, 1.0, 0.0, nothing_below=0.5)
    for top in (None, 5, 1, 0):
        lines = lines_of(ranking, gallery, [top] * 3, poor)
        assert [line.nothing for line in lines] == [True, False, True]
        assert len(lines[1].lines) == min(2, 2 if top is None else top)
