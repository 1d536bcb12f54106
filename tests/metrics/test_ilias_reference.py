"""The recorded numbers of the ILIAS evaluation, in percent."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from patchrerank.errors import DatasetError, SettingError, ShortlistError
from patchrerank.metrics import evaluate_ilias, oracles, positives_by_instance

REFERENCE = Path(__file__).parents[1] / "reference" / "ilias_eval"
EXPECTED = json.loads((REFERENCE / "expected.json").read_text())
FILES = {"image": "similarities.json", "text": "similarities_text.json"}
CASES = [(k, kind) for k in EXPECTED for kind in EXPECTED[k]]


def dataset():
    lines = (REFERENCE / "dataset/image_ids/positive_ids.txt").read_text().split()
    entries = [line.split(",") for line in lines]
    return {
        "positives": positives_by_instance(name for name, _, _ in entries),
        "scale": {name: float(scale) for name, scale, _ in entries},
        "clutter": {name: int(clutter) for name, _, clutter in entries},
        "taxonomy": json.loads((REFERENCE / "dataset/misc/taxonomy.json").read_text()),
    }


def similarities(kind):
    return json.loads((REFERENCE / FILES[kind]).read_text())


def percent(values):
    return 100 * np.array(values, dtype=np.float64)


def close(ours, theirs):
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-9)


def close_groups(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        close(100 * ours[name], value)


@pytest.mark.parametrize(("k", "kind"), CASES)
def test_every_recorded_number(k, kind):
    expected = EXPECTED[k][kind]
    given = similarities(kind)
    given = {query: given[query] for query in expected["queries"]}
    result = evaluate_ilias(given, k=int(k), **dataset())
    assert str(result.convention) == f"ilias@{k}"
    assert list(result.queries) == expected["queries"]
    close(percent(result.average_precisions), expected["aps"])
    close(100 * result.mean_average_precision, expected["map"])
    close(100 * result.mean_oracle, expected["oracle"])
    for name in ("scale", "clutter", "categories", "subcategories"):
        close_groups(getattr(result, name), expected[name])
    for query, pair in expected.get("per_query_ap_and_oracle", {}).items():
        place = result.queries.index(query)
        ours = [result.average_precisions[place], result.oracles[place]]
        close(percent(ours), pair)


def test_all_submitted_queries_are_expected_and_order_does_not_matter():
    given = similarities("image")
    assert sorted(given) == sorted(EXPECTED["5"]["image"]["queries"])
    backwards = {
        query: dict(reversed(list(row.items()))) for query, row in reversed(list(given.items()))
    }
    first, second = (evaluate_ilias(rows, k=1000, **dataset()) for rows in (given, backwards))
    close(second.average_precisions[::-1], first.average_precisions)
    close_groups({n: v / 100 for n, v in second.scale.items()}, first.scale)


def test_groups_and_categories_are_optional():
    result = evaluate_ilias(similarities("text"), dataset()["positives"])
    assert (result.scale, result.clutter, result.categories) == ({}, {}, {})
    assert str(result.convention) == "ilias@1000"


def test_an_empty_submission_has_no_value():
    result = evaluate_ilias({}, k=5, **dataset())
    assert np.isnan(result.mean_average_precision)
    assert np.isnan(result.scale["0-0.06880213760855043"])


def test_the_oracle_is_recall_where_enough_was_submitted_and_more_where_not():
    relevant = [[True, False, True, False], [False] * 4]
    values = oracles(relevant, [4, 0], 4)
    assert values[0] == 0.5
    assert np.isnan(values[1])
    valid = [[True, True, False, False]]
    assert oracles([[True, False, False, False]], [1], 4, valid=valid)[0] == 2.0
    assert oracles([[False, False]], [1], 4)[0] == 0.0


@pytest.mark.parametrize(
    ("change", "error", "hint"),
    [
        ({"similarities": {"amber_itm_000/q": {}}}, DatasetError, "did you mean amber_item_000"),
        (
            {"similarities": {"amber_item_000/q": {"x": float("nan")}}},
            ShortlistError,
            "similarity of 'x' is nan",
        ),
        ({"scale": {}}, DatasetError, "has no scale or clutter"),
        ({"k": 0}, SettingError, "cutoff must be at least 1"),
    ],
)
def test_bad_arguments_are_refused(change, error, hint):
    with pytest.raises(error, match=hint):
        evaluate_ilias(**({"similarities": similarities("image")} | dataset() | change))
