from __future__ import annotations

import pytest

from patchrerank.errors import SettingError
from patchrerank.metrics import (
    FULL,
    REVISITED,
    APConvention,
    ames_convention,
    at,
    average_precision,
    ilias_at,
    parse_convention,
)


@pytest.mark.parametrize(
    "convention",
    [
        FULL,
        REVISITED,
        at(1),
        at(100),
        ilias_at(),
        ilias_at(5),
        ames_convention(),
        ames_convention("rectangular"),
        ames_convention("rectangular", 100),
        ames_convention("trapezoidal", 7),
    ],
    ids=str,
)
def test_the_name_leads_back_to_the_convention(convention):
    assert parse_convention(str(convention)) == convention


def test_names_are_forgiving_about_case_and_a_missing_ilias_cutoff():
    assert parse_convention(" Full ") == FULL
    assert parse_convention("ilias") == ilias_at(1000)
    assert str(parse_convention("ilias")) == "ilias@1000"


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("revisted", "did you mean revisited"),
        ("illias@1000", "did you mean ilias@k"),
        ("100", "use one of full, @k, revisited"),
        ("full@100", "did you mean full"),
        ("", "use one of full"),
        ("@", "use one of full"),
        ("@0", "cutoff must be at least 1"),
        ("ilias@0", "cutoff must be at least 1"),
        ("@-3", "use one of full"),
    ],
)
def test_unknown_names_are_refused_with_a_hint(text, hint):
    with pytest.raises(SettingError, match=hint):
        parse_convention(text)


@pytest.mark.parametrize(
    ("settings", "hint"),
    [
        ({"interpolation": "trapezoid"}, "did you mean trapezoidal"),
        ({"normaliser": "positive"}, "did you mean positives"),
        ({"ties": "thresholds"}, "did you mean threshold"),
        ({"cutoff": 0}, "at least 1"),
        ({"normaliser": "min_cutoff"}, "needs a cutoff"),
        ({"ties": "threshold", "interpolation": "trapezoidal"}, "rectangular interpolation only"),
    ],
)
def test_impossible_conventions_are_refused(settings, hint):
    with pytest.raises(SettingError, match=hint):
        APConvention("mine", **settings)


def test_the_same_list_has_a_different_ap_in_each_convention():
    """Four positives, hits at ranks 1 and 4 of a long list, then cut at 3."""
    relevant = [True, False, False, True, False, False, False, False]
    assert average_precision(relevant, 4, FULL) == 0.375
    assert average_precision(relevant, 4, REVISITED) == pytest.approx(0.354, abs=5e-4)
    assert average_precision(relevant[:3], 4, REVISITED) == 0.25
    assert average_precision(relevant, 4, at(3)) == 1 / 3
    assert average_precision(relevant[:3], 4, ames_convention("rectangular")) == 1 / 3
    assert average_precision(relevant, 4, ilias_at(3), scores=range(8, 0, -1)) == 1 / 3
