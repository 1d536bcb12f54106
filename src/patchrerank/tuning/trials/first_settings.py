"""The settings that a search tries first: the published ones, and the ends of the space."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from patchrerank.errors import SettingError
from patchrerank.fusion import Fusion
from patchrerank.pipeline.stages import StageSpec, stages_text
from patchrerank.tuning.tables.score_table import ScoreTable
from patchrerank.tuning.trials.grid_space import PUBLISHED, PUBLISHED_SIZE, GridSpace
from patchrerank.tuning.trials.space import OFF, SearchSpace

FUNNELS = (10, 50)
"""In the cascades that are tried first, each stage rescores that many times fewer candidates."""


def first_settings(
    table: ScoreTable, space: SearchSpace, more: Sequence[tuple[StageSpec, ...]] = ()
) -> list[tuple[str, dict[str, Any]]]:
    """Return the settings that a search tries first, each with where it comes from.

    The user's own, the first stage alone, each stage's reranker alone on the whole list, all
    stages with shorter and shorter lists, and the λ and γ that AMES (ECCV 2024) published, for
    every stage at once.
    """
    names = space_rerankers(space)
    size = min(PUBLISHED_SIZE, max(table.size, 1))
    known: list[tuple[str, tuple[StageSpec, ...]]] = [("user", tuple(stages)) for stages in more]
    known.append(("first stage", _all(names, OFF)))
    alone = Fusion(0.0, 1.0, table.size)
    for number in range(len(names)):
        fusions = [alone if place == number else OFF for place in range(len(names))]
        known.append(("alone", _stages(names, fusions)))
    for ratio in FUNNELS if len(names) > 1 else ():
        sizes = [max(1, table.size // ratio**place) for place in range(len(names))]
        lams = [0.0, *[0.5] * (len(names) - 1)]
        funnel = [Fusion(lam, 1.0, size) for lam, size in zip(lams, sizes, strict=True)]
        known.append(("funnel", _stages(names, funnel)))
    known += [("published", _all(names, Fusion(*pair, size))) for pair in PUBLISHED]
    found: list[tuple[str, dict[str, Any]]] = []
    for origin, stages in known:
        params = space.params(stages)
        if params is not None and params not in [other for _, other in found]:
            found.append((origin, params))
        elif params is None and origin == "user":
            raise SettingError(
                f"start: {stages_text(stages)!r} are not the stages of this search, or not its"
            )
    return found


def space_rerankers(space: SearchSpace) -> tuple[str, ...]:
    """Return the rerankers of a space's stages."""
    if isinstance(space, GridSpace):
        return space.rerankers
    return tuple(stage.reranker for stage in getattr(space, "stages", ()))


def _stages(names: Sequence[str], fusions: Sequence[Fusion]) -> tuple[StageSpec, ...]:
    return tuple(StageSpec.of(*pair) for pair in zip(names, fusions, strict=True))


def _all(names: Sequence[str], fusion: Fusion) -> tuple[StageSpec, ...]:
    return _stages(names, [fusion] * len(names))
