"""What to know before trusting a tuned optimum: is it real, is it broad, is it inside?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from patchrerank.errors import SettingError, TableError
from patchrerank.fusion import Fusion
from patchrerank.pipeline.stages import StageSpec
from patchrerank.tuning.fused.query_scores import Metric
from patchrerank.tuning.fused.spreads import lam_of, mix_of, spread_of
from patchrerank.tuning.held_out import HeldOut, values_of
from patchrerank.tuning.tables.score_table import ScoreTable
from patchrerank.tuning.trials.space import SearchSpace

LEVEL = 0.05
"""A gain whose p-value is above is not significant."""

WORSE = 0.001
"""So much better, in 0–1, the grid must be for a warning; less is not worth a word."""

NEAR_MIX = 0.03
"""How far the share of the global score moves in a neighbour of the optimum."""

NEAR_FACTOR = 1.15
"""The factor by which γ and the shortlist size move."""

NEEDLE_SHARE = 0.5
"""An optimum is a needle if its neighbours lose on average that share of its gain…"""

NEEDLE_LEAST = 0.0025
"""… and at least so much, in 0–1."""


def doubts_about(
    table: ScoreTable,
    stages: tuple[StageSpec, ...],
    space: SearchSpace,
    held_out: HeldOut | None = None,
    metric: Metric = "AP",
) -> list[str]:
    """Return warnings in plain English; none if all is well.

    Args:
        table: that was tuned on.
        stages: the optimum.
        space: where it was searched.
        held_out: what it is worth on unseen queries; None: not measured, which is a warning.
        metric: of a needle's height.
    """
    found = [*_significance(held_out), *_needle(table, stages, metric)]
    return found + [f"optimum on the border of the space: {text}" for text in space.borders(stages)]


def neighbours(
    table: ScoreTable, stages: tuple[StageSpec, ...]
) -> Iterator[tuple[str, tuple[StageSpec, ...]]]:
    """Return stages one step away, each with the parameter that was moved."""
    width = spread_of(table.global_scores, table.valid).width
    for number, stage in enumerate(stages):
        if not stage.used:
            continue
        name, fusion = stage.reranker, stage.fusion
        spread = spread_of(table.local_scores[name], table.valid)
        rise = spread.sigmoid(fusion.gamma) if fusion.gamma > 0 else 0.0
        for label, moved in _moved(fusion, width, rise, table.size):
            before = (*stages[:number], StageSpec.of(name, moved), *stages[number + 1 :])
            yield f"{label} of {name}", _shrunk(before)
        width = fusion.lam * width + (1 - fusion.lam) * rise


def _moved(fusion: Fusion, width: float, rise: float, most: int) -> Iterator[tuple[str, Fusion]]:
    if rise > 0:
        mix = mix_of(fusion.lam, width, rise)
        for step in (-NEAR_MIX, NEAR_MIX):
            if 0 <= mix + step <= 1:
                yield "λ", replace(fusion, lam=lam_of(mix + step, width, rise))
    size = most if fusion.shortlist_size is None else fusion.shortlist_size
    for factor in (1 / NEAR_FACTOR, NEAR_FACTOR):
        if 0 < fusion.lam < 1:
            yield "γ", replace(fusion, gamma=fusion.gamma * factor)
        near = round(size * factor)
        if 1 <= near <= most and near != size:
            yield "k", replace(fusion, shortlist_size=near)


def _shrunk(stages: tuple[StageSpec, ...]) -> tuple[StageSpec, ...]:
    """Cut sizes so that they do not grow from stage to stage."""
    limit, kept = float("inf"), []
    for stage in stages:
        size = stage.shortlist_size
        if size is None or size > limit:
            size = None if limit == float("inf") else int(limit)
        limit = limit if not size else min(limit, size)
        kept.append(replace(stage, shortlist_size=size))
    return tuple(kept)


def _significance(held_out: HeldOut | None) -> Iterator[str]:
    if held_out is None:
        yield "no queries were held out, so the value is that of the queries it was tuned on"
        return
    over = held_out.over_first
    shown = f"{100 * over.mean:+.2f} points, {100 * over.low:+.2f} … {100 * over.high:+.2f}"
    if over.p_value > LEVEL or over.mean <= 0:
        yield (
            f"the gain over the first stage is not significant on held-out queries ({shown}, "
            f"p = {over.p_value:.2g})"
        )
    rival = held_out.over_grid
    if rival.p_value <= LEVEL and rival.mean <= -WORSE:
        yield (
            f"the published grid is significantly better on held-out queries "
            f"({-100 * rival.mean:.2f} points, p = {rival.p_value:.2g})"
        )


def _needle(table: ScoreTable, stages: tuple[StageSpec, ...], metric: Metric) -> Iterator[str]:
    top = float(np.nanmean(values_of(table, stages, metric)))
    first = float(np.nanmean(values_of(table, (), metric)))
    near: dict[str, list[float]] = {}
    for label, moved in neighbours(table, stages):
        try:
            value = float(np.nanmean(values_of(table, moved, metric)))
        except (TableError, SettingError):  # scores beyond the list's depth, or not computed
            continue
        near.setdefault(label, []).append(value)
    for label, values in near.items():
        lost = top - float(np.mean(values))
        if lost > max(NEEDLE_LEAST, NEEDLE_SHARE * (top - first)):
            yield (
                f"the optimum is a needle: a small step in {label} costs {100 * lost:.2f} points "
                f"on average, of a gain of {100 * (top - first):.2f}"
            )
