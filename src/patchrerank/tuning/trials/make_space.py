"""The space of a cascade on a table: ranges that follow from its scores, and a user's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from patchrerank.errors import SettingError, TableError, near_matches
from patchrerank.tuning.fused.spreads import spread_of
from patchrerank.tuning.tables.score_table import ScoreTable
from patchrerank.tuning.trials.space import Space, StageSpace

OVERRIDES = ("sizes", "lams", "gammas", "optional")
"""What may be said about a stage."""


def search_space(
    table: ScoreTable,
    rerankers: Sequence[str] | str | None = None,
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    exact_lam: bool = False,
) -> Space:
    """Return the space of a cascade on a table: k from 1 to K, λ in [0, 1], γ by the scores.

    Args:
        table: its scores say where γ can be useful (:attr:`.spreads.Spread.gammas`); labels are
            not looked at.
        rerankers: of the stages, in order; None: the only one's.
        overrides: by reranker, ranges in place of the usual ones: ``sizes``, ``lams`` and
            ``gammas`` (each a pair, or a number that fixes it) and ``optional``.
        exact_lam: leave out the last stage's λ.

    Raises:
        SettingError: an unknown reranker or override, or an impossible range.
        TableError: scores of a reranker are missing altogether, or it looks at the list and
            stands behind another.
    """
    names = [rerankers] if rerankers is None or isinstance(rerankers, str) else rerankers
    chosen = tuple(table.reranker(name) for name in names)
    given = dict(overrides or {})
    for name in given:
        if name not in chosen:
            near = near_matches(name, chosen)
            raise SettingError(f"space: {name!r} is none of the stages{near}")
    stages = [_stage(table, n, name, given.get(name, {})) for n, name in enumerate(chosen)]
    width = spread_of(table.global_scores, table.valid).width
    return Space(tuple(stages), width, exact_lam)


def _stage(table: ScoreTable, number: int, name: str, given: Mapping[str, Any]) -> StageSpace:
    depth = min(table.list_depths.get(name, 1), table.size)
    if number and name in table.list_depths:
        raise TableError(
            f"{name!r} looks at the order of the list, and its scores hold for the first stage's "
            "order only; it can be the first stage of a cascade, no later one"
        )
    spread = spread_of(table.local_scores[name], table.valid)
    ranges: dict[str, Any] = {"sizes": (max(depth, 1), max(table.size, 1)), "gammas": spread.gammas}
    for key, value in given.items():
        if key not in OVERRIDES:
            near = near_matches(key, OVERRIDES)
            raise SettingError(
                f"space.{name}: {key!r} is unknown{near}; use {', '.join(OVERRIDES)}"
            )
        ranges[key] = value if key == "optional" else _pair(name, key, value)
    ranges["sizes"] = tuple(min(int(size), table.size) for size in ranges["sizes"])
    return StageSpace(reranker=name, spread=spread, **ranges)


def _pair(reranker: str, key: str, value: object) -> tuple[float, float]:
    match value:
        case int() | float():
            return value, value
        case (int() | float() as low, int() | float() as high):
            return low, high
    raise SettingError(f"space.{reranker}: {key} must be a number or a pair, got {value!r}")
