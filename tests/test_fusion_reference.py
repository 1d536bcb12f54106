"""The reranking procedure of AMES and ELViS: junk last, fuse, sort, evaluate."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from patchrerank.fusion import fuse
from patchrerank.metrics import (
    ames_convention,
    average_precisions,
    evaluate_revisited,
    mean_over_queries,
    membership,
    positives_and_junk,
    recall_at,
)

REFERENCE = Path(__file__).parent / "reference" / "fusion"


def load(case):
    folder = REFERENCE / case
    expected = json.loads((folder / "expected.json").read_text())
    with np.load(folder / "data.npz") as data:
        arrays = {name: data[name] for name in data.files}
    return arrays, json.loads((folder / "gnd.json").read_text()), expected


def junk_last(arrays, truths, mode):
    """Stably partition each shortlist, rows and similarities together, into the rest and junk."""
    _, junk_rows = positives_and_junk(truths, mode)
    junk = membership(arrays["shortlist"], junk_rows)
    order = np.argsort(junk, axis=1, kind="stable")
    return (
        np.take_along_axis(arrays["shortlist"], order, axis=1),
        np.take_along_axis(arrays["global_sims"], order, axis=1),
    )


def rerank(rows, global_scores, raw, k, lam, gamma):
    """After junk was moved the scores are no longer sorted, so only ``fuse`` is used here."""
    local = np.take_along_axis(raw, rows, axis=1)
    fused = fuse(global_scores[:, :k], local[:, :k], lam, gamma).astype(np.float32)
    order = np.argsort(-fused, axis=1, kind="stable")
    return np.concatenate([np.take_along_axis(rows[:, :k], order, axis=1), rows[:, k:]], axis=1)


def rankings(case, mode):
    """Yield (our ranking, recorded ranking, recorded metrics) for each combination."""
    arrays, truths, expected = load(case)
    rows, scores = junk_last(arrays, truths, mode)
    recorded = [result for result in expected["results"] if result["mode"] == mode]
    deepest = max(expected["num_rerank"])
    on_shortlist = np.take_along_axis(arrays["raw"], rows, axis=1)[:, :deepest]
    np.testing.assert_array_equal(on_shortlist, arrays[f"{mode}_raw_on_shortlist"])
    grid = itertools.product(expected["num_rerank"], expected["lamb"], expected["temp"])
    for (k, lam, gamma), ranks, result in zip(grid, arrays[f"{mode}_ranks"], recorded, strict=True):
        assert (result["k"], result["lamb"], result["temp"]) == (k, lam, gamma)
        yield rerank(rows, scores, arrays["raw"], k, lam, gamma), ranks, result


@pytest.mark.parametrize("mode", ["medium", "hard"])
def test_ames_on_revisited(mode):
    _, truths, _ = load("ames_revisited")
    for ours, recorded, expected in rankings("ames_revisited", mode):
        np.testing.assert_array_equal(ours, recorded)
        means = {}
        for letter, protocol in {"E": "easy", "M": "medium", "H": "hard"}.items():
            result = evaluate_revisited(ours, truths, protocol, ames_convention())
            means[letter] = result.mean_average_precision
            np.testing.assert_allclose(
                result.average_precisions,
                np.array(expected[f"aps{letter}"], dtype=np.float64),
                rtol=0,
                atol=1e-12,
            )
            assert round(100 * means[letter], 3) == expected[f"{letter}_map"]
            precisions = [round(100 * value, 3) for value in result.mean_precisions]
            assert precisions == expected[f"{letter}_mp"]
        assert (means["M"] + means["H"]) / 2 == pytest.approx(expected["score"], rel=0, abs=1e-12)


def test_elvis_on_sets_with_ok_and_junk():
    _, truths, settings = load("elvis_ok_junk")
    positives, junk_rows = positives_and_junk(truths, "plain")
    counts = [len(members) for members in positives]
    convention = ames_convention("rectangular", settings["map_k"])
    for ours, recorded, expected in rankings("elvis_ok_junk", "plain"):
        np.testing.assert_array_equal(ours, recorded)
        relevant, junk = membership(ours, positives), membership(ours, junk_rows)
        values = average_precisions(relevant, counts, convention, junk=junk)
        theirs = np.array(expected["aps"], dtype=np.float64)
        np.testing.assert_allclose(values, theirs, rtol=0, atol=1e-12)
        assert mean_over_queries(values) == pytest.approx(expected["map"], rel=0, abs=1e-12)
        for k in (1, 10, 100):
            found = recall_at(relevant, k, n_positives=counts, junk=junk)
            assert found == pytest.approx(expected[f"r@{k}"], rel=0, abs=1e-12)


def test_lam_one_is_the_global_order_after_junk_was_moved():
    arrays, truths, _ = load("ames_revisited")
    rows, scores = junk_last(arrays, truths, "medium")
    np.testing.assert_array_equal(rerank(rows, scores, arrays["raw"], 20, 1.0, 0.3), rows)
