"""The recorded numbers of revisitop, AMES and ELViS."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from patchrerank.errors import DatasetError, SettingError, ShortlistError
from patchrerank.metrics import (
    REVISITED,
    ames_convention,
    at,
    average_precisions,
    evaluate_revisited,
    mean_over_queries,
    membership,
    positives_and_junk,
    precision_at,
    precisions_at,
    recall_at,
    recalls_at,
)

REFERENCE = Path(__file__).parents[1] / "reference" / "revisitop_map"
SITUATIONS = json.loads((REFERENCE / "compute_map.json").read_text())
FUNCTIONS = {
    "revisitop": REVISITED,
    "ames_trapezoidal": ames_convention("trapezoidal"),
    "ames_rectangular": ames_convention("rectangular"),
    "elvis_trapezoidal": ames_convention("trapezoidal"),
    "elvis_rectangular": ames_convention("rectangular"),
}


def numbers(values):
    """null means NaN."""
    return np.array(values, dtype=np.float64)


def close(ours, theirs):
    np.testing.assert_allclose(ours, numbers(theirs), rtol=0, atol=1e-12)


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("name", SITUATIONS)
def test_rankings_with_junk(name, function):
    situation = SITUATIONS[name]
    expected = situation["expected"][function]
    rows, kappas = situation["ranks_per_query"], situation["kappas"]
    result = evaluate_revisited(rows, situation["gnd"], "plain", FUNCTIONS[function], kappas)
    if "error" in expected:  # revisitop fails on a query that finds nothing; here it has 0
        assert np.isfinite(result.average_precisions).all()
        assert (result.precisions >= 0).all()
        return
    close(result.average_precisions, expected["aps"])
    close(result.mean_average_precision, expected["map"])
    close(result.precisions, expected["prs"])
    close(result.mean_precisions, expected["pr"])
    for kappa, recall in zip(kappas, expected.get("recall", []), strict=False):
        positives, junk = positives_and_junk(situation["gnd"], "plain")
        counts = [len(p) for p in positives]
        marks = {"n_positives": counts, "junk": membership(rows, junk)}
        close(recall_at(membership(rows, positives), kappa, **marks), recall)
        close(mean_over_queries(recalls_at(membership(rows, positives), kappa, **marks)), recall)


def test_easy_medium_hard():
    data = json.loads((REFERENCE / "protocol_emh.json").read_text())
    for protocol in ("easy", "medium", "hard"):
        letter = protocol[0].upper()
        expected = data["expected"][letter]
        result = evaluate_revisited(
            data["ranks_per_query"], data["gnd"], protocol, REVISITED, data["kappas"]
        )
        close(result.average_precisions, expected["aps"])
        close(result.mean_average_precision, expected["map"])
        close(result.precisions, expected["prs"])
        close(result.mean_precisions, expected["pr"])
        ames = evaluate_revisited(
            data["ranks_per_query"], data["gnd"], protocol, ames_convention(), data["kappas"]
        )
        rounded = data["ames_compute_metrics"]
        assert round(100 * ames.mean_average_precision, 3) == rounded[f"{letter}_map"]
        assert [round(100 * p, 3) for p in ames.mean_precisions] == rounded[f"{letter}_mp"]


@pytest.mark.parametrize("case", ["all_positives", "minus_self"])
def test_class_labels(case):
    data = json.loads((REFERENCE / "class_labels.json").read_text())
    expected = data["expected"][case]
    ranks, query_class = np.array(data["ranks"]), np.array(data["query_class"])
    relevant = np.array(data["db_class"])[ranks] == query_class[:, None]
    counts = np.array(expected["nres"])
    values = average_precisions(relevant, counts, ames_convention("rectangular"))
    close(values, expected["aps"])
    close(mean_over_queries(values), expected["map"])
    for kappa, ap, recall in zip(
        data["kappas"], expected["ap_at_k"], expected["recall_at_k"], strict=True
    ):
        close(mean_over_queries(average_precisions(relevant, counts, at(kappa))), ap)
        close(recall_at(relevant, kappa), recall)


def test_easy_positives_are_junk_for_hard():
    truth = [{"easy": [1], "hard": [2, 3], "junk": [4]}]
    assert positives_and_junk(truth, "easy") == ([[1]], [[4, 2, 3]])
    assert positives_and_junk(truth, "medium") == ([[1, 2, 3]], [[4]])
    assert positives_and_junk(truth, "hard") == ([[2, 3]], [[4, 1]])
    assert positives_and_junk([{"ok": np.array([7])}], "plain") == ([[7]], [[]])


def test_empty_slots_are_no_entries():
    truth = [{"ok": [1, 2, 3, 4]}]
    short = evaluate_revisited([[1, 2, -1, -1]], truth, "plain", ames_convention())
    assert short.mean_average_precision == 1.0


def test_recall_and_precision_by_hand():
    relevant = [[False, True, True, False], [False, False, False, True]]
    assert recall_at(relevant, 1) == 0.0
    assert recall_at(relevant, 2) == 0.5
    assert recall_at(relevant, 1, junk=[[True, False, False, False], [False] * 4]) == 0.5
    assert recalls_at(relevant, 4).tolist() == [1.0, 1.0]
    assert precisions_at(relevant, 10).tolist() == [2 / 3, 0.25]
    assert precision_at(relevant, 2) == 0.25
    assert np.isnan(recall_at([[False]], 1, n_positives=[0]))


@pytest.mark.parametrize(
    ("call", "error", "hint"),
    [
        (lambda: positives_and_junk([{"ok": []}], "meduim"), SettingError, "did you mean medium"),
        (
            lambda: positives_and_junk([{"ok": []}], "hard"),
            DatasetError,
            "query 0: no entry 'hard'",
        ),
        (lambda: evaluate_revisited([[1]], [], "plain"), ShortlistError, "Q = 0"),
        (lambda: recall_at([[True]], 0), SettingError, "at least 1"),
        (lambda: precision_at([[True]], 0), SettingError, "at least 1"),
    ],
)
def test_bad_arguments_are_refused(call, error, hint):
    with pytest.raises(error, match=hint):
        call()
