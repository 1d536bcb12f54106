from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from later import later
from patchrerank.calibration import reliability
from patchrerank.calibration.reliability import BINS
from patchrerank.errors import SettingError

sklearn = later("sklearn.metrics")

PROBABILITIES = st.integers(0, 40).map(lambda number: number / 40)


def slow_error(pairs, bins):
    """Equal counts, in Python; a tie that straddles a border goes to the bin above it."""
    ordered = sorted(pairs)
    wanted = [len(ordered) * number // bins for number in range(bins)]
    begins = sorted({next(i for i, p in enumerate(ordered) if p[0] == ordered[w][0])
                     for w in wanted})  # fmt: skip
    error = 0.0
    for begin, end in zip(begins, [*begins[1:], len(ordered)], strict=True):
        part = ordered[begin:end]
        predicted = sum(p for p, _ in part) / len(part)
        observed = sum(t for _, t in part) / len(part)
        error += len(part) / len(ordered) * abs(predicted - observed)
    return error


@given(st.lists(st.tuples(PROBABILITIES, st.booleans()), min_size=1, max_size=80),
       st.integers(1, 12))  # fmt: skip
def test_reliability_equals_its_twins(pairs, bins):
    predicted, relevant = map(np.array, zip(*pairs, strict=True))
    found = reliability(predicted, relevant, bins)
    assert found.brier == pytest.approx(
        sklearn.brier_score_loss(relevant, predicted, pos_label=True)
    )
    rate = np.full(len(relevant), relevant.mean())
    assert found.base_brier == pytest.approx(
        sklearn.brier_score_loss(relevant, rate, pos_label=True)
    )
    assert found.calibration_error == pytest.approx(slow_error(pairs, bins))
    assert sum(row.count for row in found.bins) == found.candidates == len(pairs)
    assert len(found.bins) <= bins
    means = [row.predicted for row in found.bins]
    assert means == sorted(means)


def test_bins_have_equal_counts():
    rng = np.random.default_rng(0)
    found = reliability(rng.random(1000), rng.random(1000) < 0.5)
    assert [row.count for row in found.bins] == [100] * BINS


def test_errors():
    for wrong in (([], []), ([0.5], [True, False]), ([1.5], [True]), ([np.nan], [True])):
        with pytest.raises(SettingError):
            reliability(*wrong)
