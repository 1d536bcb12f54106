"""The exact best λ: the mean value changes only where two candidates swap, so no grid is needed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from patchrerank.errors import SettingError
from patchrerank.fusion import Fusion
from patchrerank.kernels.checks import check_threads
from patchrerank.kernels.threads import run_parts
from patchrerank.metrics.convention import FULL, APConvention
from patchrerank.metrics.lists import Doubles
from patchrerank.tuning.fused._choice import GUARD, Choice, middle
from patchrerank.tuning.fused._steps import StepFinder
from patchrerank.tuning.fused.fusion_counter import FusionCounter
from patchrerank.tuning.fused.grid_checks import check_grid
from patchrerank.tuning.fused.judged_lists import JudgedLists
from patchrerank.types import Rows

FEW, MANY = 4, 32
"""How many of the next best intervals are evaluated; many where ties are one threshold."""


@dataclass(frozen=True)
class Plateau:
    """An interval of λ on which the mean value stays close to the best.

    Attributes:
        low, high: its ends; equal if it is a single point.
        lam: its middle, the λ to use.
        value: the mean value at ``lam``, in [0, 1].
    """

    low: float
    high: float
    lam: float
    value: float


@dataclass(frozen=True)
class ExactLambda:
    """The best λ for one γ and shortlist size.

    Attributes:
        shortlist_size, gamma: what it holds for.
        lam: a λ with the best value, in the middle of its interval.
        value: the best mean value, in [0, 1]: what the lists are worth at ``lam``.
        low, high: the value is the same between them, which can be 1e-6 apart; equal where λ is
            a point of its own (0, where the local score alone ranks, and 1).
        plateau: the widest interval that is nearly as good; prefer its ``lam``.
        swaps: how many swaps of candidates the interval was chosen from.
        ends: the mean values at λ = 0 and at λ = 1.
    """

    shortlist_size: int
    gamma: float
    lam: float
    value: float
    low: float
    high: float
    plateau: Plateau
    swaps: int
    ends: tuple[float, float]

    @property
    def best(self) -> Fusion:
        """The fusion with the best value."""
        return Fusion(self.lam, self.gamma, self.shortlist_size)


def exact_lambda(
    global_scores: npt.ArrayLike,
    local_scores: npt.ArrayLike,
    relevant: npt.ArrayLike,
    ignored: npt.ArrayLike,
    n_positives: npt.ArrayLike,
    gamma: float,
    size: int,
    convention: APConvention = FULL,
    weights: npt.ArrayLike | None = None,
    threads: int = 1,
    *,
    tail_pays: bool = True,
    epsilon: float = 0.001,
) -> ExactLambda:
    """Return the λ in [0, 1] with the highest mean value over the queries that have positives.

    As λ rises, the order of two candidates changes once at most, at a λ that is known. Between
    two such swaps all values stay the same, so each interval is looked at once: no λ is better,
    on any grid. (Where the convention makes ties one threshold, candidates whose scores meet in
    float32 for a moment around a swap are not seen; then the published grid and the best
    intervals are evaluated, and the best of these is returned.)

    Args:
        global_scores, local_scores, relevant, ignored, n_positives, convention, weights,
            tail_pays: see :func:`patchrerank.tuning.fused.fused_ap.fused_average_precisions`.
        gamma: γ, finite and at least 0.
        size: the shortlist size, at least 0; more than K is K.
        threads: how many threads share the work; results do not depend on it.
        epsilon: how far below the best the plateau may lie, in mean average precision in
            [0, 1]: 0.001 is 0.1 points of a percentage.

    Raises:
        ShortlistError, SettingError: as for ``fused_average_precisions``; no query has
            positives; or ``epsilon`` is negative.
    """
    lists = JudgedLists.of(
        global_scores,
        local_scores,
        relevant,
        ignored,
        n_positives,
        convention,
        weights,
        tail_pays,
    )
    _, gammas, sizes = check_grid([], [gamma], [size], lists.scores.shape[1])
    if sizes[0] == 0:
        return _constant(lists, float(gammas[0]))
    return _search(lists, gammas, sizes, epsilon, check_threads(threads))[0]


def exact_lambdas(
    global_scores: npt.ArrayLike,
    local_scores: npt.ArrayLike,
    relevant: npt.ArrayLike,
    ignored: npt.ArrayLike,
    n_positives: npt.ArrayLike,
    gammas: npt.ArrayLike,
    sizes: npt.ArrayLike,
    convention: APConvention = FULL,
    weights: npt.ArrayLike | None = None,
    threads: int = 1,
    *,
    tail_pays: bool = True,
    epsilon: float = 0.001,
) -> list[ExactLambda]:
    """Return :func:`exact_lambda` for every useful pair of γ and shortlist size, best first.

    Pairs with γ = 0 or size 0 are left out, since they are the first stage's order at any λ
    (which is what λ = 1 stands for with every other pair), and so are repeated sizes. Of equal
    values the pair with the wider plateau comes first.

    Args:
        gammas: float ``(G,)``.
        sizes: int ``(S,)``.
        global_scores, local_scores, relevant, ignored, n_positives, convention, weights, threads,
            tail_pays, epsilon: as for :func:`exact_lambda`.

    Raises:
        ShortlistError, SettingError: as for :func:`exact_lambda`; or no pair is useful.
    """
    lists = JudgedLists.of(
        global_scores,
        local_scores,
        relevant,
        ignored,
        n_positives,
        convention,
        weights,
        tail_pays,
    )
    _, slopes, heads = check_grid([], gammas, sizes, lists.scores.shape[1])
    return best_lambdas(lists, slopes, heads, epsilon, check_threads(threads))


def best_lambdas(
    lists: JudgedLists, gammas: Doubles, sizes: Rows, epsilon: float = 0.001, threads: int = 1
) -> list[ExactLambda]:
    """Return :func:`exact_lambdas` of lists that were judged before.

    Args:
        lists: with all local scores within the largest size.
        gammas: float64 ``(G,)``, finite and at least 0.
        sizes: int64 ``(S,)``, from 0 to K.
        epsilon, threads: as for :func:`exact_lambda`.

    Raises:
        SettingError: no query has positives, no pair is useful, or ``epsilon`` is negative.
        ShortlistError: a local score that is needed is NaN.
    """
    slopes, heads = np.unique(gammas[gammas > 0]), np.unique(sizes[sizes > 0])
    if not slopes.size or not heads.size:
        raise SettingError("no pair of γ and size is useful: γ = 0 and size 0 leave λ no effect")
    found = _search(lists, slopes, heads, epsilon, threads)
    return sorted(found, key=lambda one: (-one.value, one.plateau.low - one.plateau.high))


def _search(
    lists: JudgedLists, gammas: Doubles, sizes: Rows, epsilon: float, threads: int
) -> list[ExactLambda]:
    """Search all pairs; γ and sizes are ascending, distinct, and sizes at least 1."""
    if not epsilon >= 0:
        raise SettingError(f"epsilon must be at least 0, got {epsilon}")
    counter = FusionCounter(lists, sizes)
    known = counter.means(GUARD, gammas, threads)
    finder = StepFinder(lists, sizes)
    found: list[list[ExactLambda]] = [[] for _ in gammas]

    def search(number: int) -> None:
        steps = finder.at(float(gammas[number]))
        choices = [
            Choice(one.low, one.high, one.values, values, epsilon, MANY if lists.tied else FEW)
            for one, values in zip(steps, known[:, number], strict=True)
        ]
        lams = np.concatenate([choice.lams for choice in choices])
        tried = counter.means(lams, gammas[[number]])[:, 0]
        ends = np.cumsum([len(choice.lams) for choice in choices])[:-1]
        for row, size in enumerate(sizes):
            values = np.split(tried[row], ends)[row]
            pair = int(size), float(gammas[number])
            found[number].append(_answer(pair, choices[row], values, steps[row].swaps))

    run_parts(threads, search, [(number,) for number in range(len(gammas))])
    return [one for row in found for one in row]


def _answer(pair: tuple[int, float], choice: Choice, values: Doubles, swaps: int) -> ExactLambda:
    """Return the answer for a pair of size and γ, given the values at the choice's λ."""
    best, plateau = choice.best(values)
    return ExactLambda(
        shortlist_size=pair[0],
        gamma=pair[1],
        lam=middle(best.run),
        value=best.value,
        low=best.run[0],
        high=best.run[1],
        plateau=Plateau(*plateau.run, middle(plateau.run), plateau.value),
        swaps=swaps,
        ends=(float(choice.guard[0]), float(choice.guard[-1])),
    )


def _constant(lists: JudgedLists, gamma: float) -> ExactLambda:
    """Return the answer for size 0, where every λ gives the first stage's order."""
    first_stage = FusionCounter(lists, np.zeros(1, dtype=np.int64))
    value = float(first_stage.means(np.ones(1), np.ones(1))[0, 0, 0])
    anywhere = Plateau(0.0, 1.0, 0.5, value)
    return ExactLambda(0, gamma, 0.5, value, 0.0, 1.0, anywhere, 0, (value, value))
