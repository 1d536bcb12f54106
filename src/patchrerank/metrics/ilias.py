"""The ILIAS evaluation: mAP@k, oracle, groups by scale and clutter, means by category.

Source: Kordopatis-Zilos et al., "ILIAS: Instance-Level Image retrieval At Scale", CVPR 2025.
Values are shares in [0, 1] (the oracle may exceed 1, see :func:`oracles`), higher is better; ILIAS
prints percent.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from patchrerank.errors import DatasetError, SettingError, near_matches
from patchrerank.metrics.average_precision import average_precisions
from patchrerank.metrics.convention import APConvention, ilias_at
from patchrerank.metrics.lists import Doubles, Ints, mean_over_queries, ranked_lists
from patchrerank.metrics.submissions import IliasLists, Similarities, ilias_lists, instance_of

SCALE_LIMITS: tuple[float, ...] = (
    0,
    0.06880213760855043,
    0.13526567164179104,
    0.2729876723163842,
    math.inf,
)
"""Limits of the groups by scale, the share of the image that the object fills."""

CLUTTER_LIMITS: tuple[float, ...] = (0, 18, 33, 53, math.inf)
"""Limits of the groups by clutter."""

Taxonomy = Mapping[str, Mapping[str, Mapping[str, Sequence[str]]]]


@dataclass(frozen=True)
class IliasResult:
    """What ILIAS reports, over the queries that were submitted.

    Attributes:
        convention: the AP convention (``ilias@k``), to print beside the numbers.
        queries: the query ids, in the order given.
        average_precisions: float64 ``(Q,)``; NaN where an instance has no positives.
        oracles: float64 ``(Q,)``, see :func:`oracles`.
        scale, clutter: mAP of each group, named by its limits, e.g. ``53-inf``.
        categories, subcategories: mean over instances of the mean over their queries;
            subcategories are named ``category-subcategory``.
    """

    convention: APConvention
    queries: tuple[str, ...]
    average_precisions: Doubles
    oracles: Doubles
    scale: dict[str, float] = field(default_factory=dict)
    clutter: dict[str, float] = field(default_factory=dict)
    categories: dict[str, float] = field(default_factory=dict)
    subcategories: dict[str, float] = field(default_factory=dict)

    @property
    def mean_average_precision(self) -> float:
        """Mean over the submitted queries; one that was not submitted is left out, not 0."""
        return mean_over_queries(self.average_precisions)

    @property
    def mean_oracle(self) -> float:
        """Mean oracle over the submitted queries."""
        return mean_over_queries(self.oracles)


def evaluate_ilias(
    similarities: Similarities,
    positives: Mapping[str, Collection[str]],
    k: int = 1000,
    *,
    scale: Mapping[str, float] | None = None,
    clutter: Mapping[str, float] | None = None,
    taxonomy: Taxonomy | None = None,
) -> IliasResult:
    """Evaluate submitted similarities.

    Args:
        similarities: ``{query id: {database id: similarity}}``, in any order, higher is better.
        positives: ``{instance: ids of its positives}`` of all instances.
        k: the cut; 1000 as published.
        scale, clutter: ``{positive id: value}``; without one its groups are left out.
        taxonomy: category → subcategory → sub-subcategory → instances; without it the means by
            category are left out.

    Raises:
        DatasetError: a query's instance is unknown, or a positive has no scale or clutter.
        ShortlistError: a similarity is not finite.
        SettingError: ``k`` is below 1.
    """
    convention = ilias_at(k)
    lists = ilias_lists(similarities, positives)
    counts = np.array([len(members) for members in lists.positives], dtype=np.int64)
    values = average_precisions(
        lists.relevant, counts, convention, scores=lists.scores, valid=lists.valid
    )
    categories, subcategories = _category_means(lists.queries, values, taxonomy or {})
    return IliasResult(
        convention,
        lists.queries,
        values,
        oracles(lists.relevant, counts, k, valid=lists.valid),
        group_means(lists, scale, SCALE_LIMITS, convention) if scale is not None else {},
        group_means(lists, clutter, CLUTTER_LIMITS, convention) if clutter is not None else {},
        categories,
        subcategories,
    )


def oracles(
    relevant: npt.ArrayLike,
    n_positives: npt.ArrayLike,
    k: int,
    *,
    valid: npt.ArrayLike | None = None,
) -> Doubles:
    """Return ILIAS' oracle of each list, float64 ``(Q,)``: (h/L)·k/N.

    h positives are among the first k, L entries are kept (at most k), N positives exist. It is
    the recall at k where at least k results were submitted; with fewer it is larger, and may
    exceed 1. 0 where nothing was found, NaN where N is 0. The arrays are those of
    :func:`patchrerank.metrics.average_precisions`.

    Raises:
        SettingError: ``k`` is below 1, or ``n_positives`` smaller than what a list holds.
        ShortlistError: an array has the wrong shape.
    """
    if k < 1:
        raise SettingError(f"k must be at least 1, got {k}")
    lists = ranked_lists(relevant, n_positives, None, valid)
    hits = np.bincount(lists.positives().up_to(k).query, minlength=len(lists.relevant))
    kept = np.clip(lists.lengths, 1, k)
    values = (hits / kept) * (k / np.maximum(lists.n_positives, 1))
    return np.where(lists.n_positives > 0, values, np.nan)


def group_means(
    lists: IliasLists,
    attribute: Mapping[str, float],
    limits: Sequence[float],
    convention: APConvention,
) -> dict[str, float]:
    """Return the mAP of each group of positives with ``low <= attribute < high``.

    A query whose instance has positives in the group is evaluated with these alone; its other
    positives are removed from the list. NaN for a group without positives.

    Args:
        lists: from :func:`ilias_lists`.
        attribute: ``{positive id: scale or clutter}``.
        limits: ascending; ``G + 1`` limits make ``G`` groups, named ``low-high``.
        convention: usually ``ilias@k``.

    Raises:
        DatasetError: a positive has no attribute.
    """
    means: dict[str, float] = {}
    for low, high in pairwise(limits):
        inside = [_between(members, attribute, low, high) for members in lists.positives]
        counts: Ints = np.array([len(members) for members in inside], dtype=np.int64)
        wanted = np.zeros(lists.relevant.shape, dtype=np.bool_)
        for number, slot in np.argwhere(lists.relevant):
            wanted[number, slot] = lists.ids[number][slot] in inside[number]
        values = average_precisions(
            wanted,
            counts,
            convention,
            scores=lists.scores,
            junk=lists.relevant & ~wanted,
            valid=lists.valid,
        )
        means[f"{low}-{high}"] = mean_over_queries(values)
    return means


def _between(
    members: Iterable[str], attribute: Mapping[str, float], low: float, high: float
) -> set[str]:
    try:
        return {name for name in members if low <= attribute[name] < high}
    except KeyError as error:
        name = str(error.args[0])
        raise DatasetError(
            f"positive {name!r} has no scale or clutter{near_matches(name, attribute)}"
        ) from None


def _category_means(
    queries: Sequence[str], values: Doubles, taxonomy: Taxonomy
) -> tuple[dict[str, float], dict[str, float]]:
    """Return the means by category and by ``category-subcategory`` over instances with queries."""
    of_instance: dict[str, list[float]] = {}
    for query, value in zip(queries, values, strict=True):
        of_instance.setdefault(instance_of(query), []).append(float(value))
    means = {name: mean_over_queries(aps) for name, aps in of_instance.items()}
    categories: dict[str, list[float]] = {}
    subcategories: dict[str, list[float]] = {}
    for category, parts in taxonomy.items():
        for part, leaves in parts.items():
            known = [means[name] for leaf in leaves.values() for name in leaf if name in means]
            categories.setdefault(category, []).extend(known)
            subcategories[f"{category}-{part}"] = known
    return (
        {name: mean_over_queries(aps) for name, aps in categories.items()},
        {name: mean_over_queries(aps) for name, aps in subcategories.items()},
    )
