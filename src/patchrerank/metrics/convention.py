"""Which average precision: its conventions differ between projects, so each number names its own.

Four positives, hits at ranks 1 and 4 of a long list: 0.375 by rectangles (``full``), 0.354 by
trapezoids (``revisited``). The same list cut at rank 3: 0.25 by trapezoids over all positives,
0.333 by rectangles over min(3, positives) (``@3``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, get_args

from patchrerank.errors import SettingError, near_matches

Interpolation = Literal["rectangular", "trapezoidal"]
Normaliser = Literal["positives", "min_cutoff", "min_length"]
Ties = Literal["order", "threshold"]
Cut = Literal["ranks", "places"]


def _check_choice(field: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise SettingError(
            f"AP convention: {field} {value!r} is unknown{near_matches(str(value), known)}; "
            f"use one of {', '.join(known)}"
        )


@dataclass(frozen=True)
class APConvention:
    """How average precision is computed; ``str(convention)`` is the name printed beside a number.

    In every convention junk is removed before ranks are counted, a positive that is not in the
    list counts as never found, and a query without positives has no value (NaN) and is left out
    of means.

    Attributes:
        name: what is printed.
        interpolation: what a positive at rank r adds: ``rectangular`` the precision at r,
            ``trapezoidal`` the mean of the precisions at r and just before it (1 before rank 1).
        cutoff: positives behind this rank are not found; None for the whole list.
        normaliser: the sum is divided by the number of ``positives``; by min(positives, cutoff)
            (``min_cutoff``); or by min(positives, entries of the list up to the cutoff)
            (``min_length``; junk counts as an entry here, empty slots do not).
        cut: ``ranks`` counts the cutoff after junk was removed, so that junk never matters;
            ``places`` counts it before, so that junk uses up places.
        ties: ``order`` takes the list as it stands; ``threshold`` gives all entries of a run of
            equal scores the precision at the end of that run (within the cutoff).

    Raises:
        SettingError: an unknown choice, a cutoff below 1, ``min_cutoff`` without a cutoff, or
            ``threshold`` with trapezoids (nobody has defined that).
    """

    name: str
    interpolation: Interpolation = "rectangular"
    cutoff: int | None = None
    normaliser: Normaliser = "positives"
    ties: Ties = "order"
    cut: Cut = "ranks"

    def __post_init__(self) -> None:
        _check_choice("interpolation", self.interpolation, get_args(Interpolation))
        _check_choice("normaliser", self.normaliser, get_args(Normaliser))
        _check_choice("ties", self.ties, get_args(Ties))
        _check_choice("cut", self.cut, get_args(Cut))
        if self.cutoff is not None and self.cutoff < 1:
            raise SettingError(f"AP convention {self.name!r}: cutoff must be at least 1 or None")
        if self.normaliser == "min_cutoff" and self.cutoff is None:
            raise SettingError(f"AP convention {self.name!r}: min_cutoff needs a cutoff")
        if self.ties == "threshold" and self.interpolation == "trapezoidal":
            raise SettingError(
                f"AP convention {self.name!r}: ties as one threshold go with rectangular "
                "interpolation only"
            )

    def __str__(self) -> str:
        return self.name


FULL = APConvention("full")
"""The whole list, rectangles, over all positives: the textbook definition, and LocScore's."""

REVISITED = APConvention("revisited", "trapezoidal")
"""Revisited Oxford and Paris (Radenović et al., CVPR 2018): trapezoids over all positives."""


def at(k: int) -> APConvention:
    """Return ``@k``: rectangles within the first ``k`` ranks, over min(k, positives)."""
    return APConvention(f"@{k}", cutoff=k, normaliser="min_cutoff")


def ilias_at(k: int = 1000) -> APConvention:
    """Return ``ilias@k`` (ILIAS, CVPR 2025): as ``@k``, with ties as one threshold."""
    return APConvention(f"ilias@{k}", cutoff=k, normaliser="min_cutoff", ties="threshold")


def ames_convention(
    interpolation: Interpolation = "trapezoidal", cutoff: int | None = None
) -> APConvention:
    """Return ``ames-trapezoidal`` or ``ames-rectangular``, with ``@k`` if it is cut.

    AMES (ECCV 2024) and ELViS (ICLR 2026) divide by min(positives, length of the list): they use
    trapezoids on revisited Oxford and Paris and rectangles on other sets. On uncut lists that are
    longer than the number of positives these are ``revisited`` and ``full``. They cut the list
    before they remove junk, so a junk image within the cutoff takes up a place.
    """
    suffix = "" if cutoff is None else f"@{cutoff}"
    return APConvention(
        f"ames-{interpolation}{suffix}", interpolation, cutoff, "min_length", cut="places"
    )


CONVENTION_NAMES = (
    "full",
    "@k",
    "revisited",
    "ilias@k",
    "ames-rectangular",
    "ames-rectangular@k",
    "ames-trapezoidal",
    "ames-trapezoidal@k",
)
"""What :func:`parse_convention` understands; ``k`` stands for a number."""


def parse_convention(text: str) -> APConvention:
    """Return the convention of a name such as ``full``, ``@100``, ``revisited``, ``ilias@1000``.

    Inverse of ``str`` for the named conventions; ``ilias`` alone is ``ilias@1000``.

    Raises:
        SettingError: the name is unknown (near matches are given) or its cutoff is below 1.
    """
    match = re.fullmatch(r"([a-z-]*)(?:@([0-9]{1,9}))?", text.strip().lower())
    family = match[1] if match else None
    cutoff = int(match[2]) if match and match[2] else None
    if family == "full" and cutoff is None:
        return FULL
    if family == "revisited" and cutoff is None:
        return REVISITED
    if family == "" and cutoff is not None:
        return at(cutoff)
    if family == "ilias":
        return ilias_at() if cutoff is None else ilias_at(cutoff)
    if family == "ames-rectangular":
        return ames_convention("rectangular", cutoff)
    if family == "ames-trapezoidal":
        return ames_convention("trapezoidal", cutoff)
    raise SettingError(
        f"AP convention {text!r} is unknown{near_matches(text, CONVENTION_NAMES)}; "
        f"use one of {', '.join(CONVENTION_NAMES)} with a number for k"
    )
