"""Every reranker by its name: ours, and those that other packages announce."""

from __future__ import annotations

from importlib.metadata import entry_points

from patchrerank.errors import SettingError, near_matches, short_reason
from patchrerank.rerankers.ames import AMES
from patchrerank.rerankers.base import Reranker
from patchrerank.rerankers.chamfer import Chamfer
from patchrerank.rerankers.dense_correlation import DenseCorrelation
from patchrerank.rerankers.elvis import ELViS
from patchrerank.rerankers.pairs import Pairs
from patchrerank.rerankers.patchify import Patchify
from patchrerank.rerankers.query_expansion import QueryExpansion
from patchrerank.rerankers.spatial_verification import SpatialVerification
from patchrerank.rerankers.superglobal import SuperGlobal

ENTRY_POINTS = "patchrerank.rerankers"
"""The group in which another package names its classes; the entry's name is the reranker's."""

RERANKERS: dict[str, type[Reranker]] = {
    kind.name: kind
    for kind in (
        Patchify,
        Chamfer,
        DenseCorrelation,
        QueryExpansion,
        SuperGlobal,
        SpatialVerification,
        Pairs,
        AMES,
        ELViS,
    )
}
"""Ours. A new method is one file with one class, and a line here or an entry point elsewhere."""


def find_reranker(name: str) -> type[Reranker]:
    """Return the class of a reranker's name; ours come before those of other packages.

    Raises:
        SettingError: no reranker has it (near matches are listed), or the package that announces
            it cannot be loaded, or not as a :class:`Reranker`.
    """
    if name in RERANKERS:
        return RERANKERS[name]
    announced = {entry.name: entry for entry in entry_points(group=ENTRY_POINTS)}
    if name not in announced:
        known = [*RERANKERS, *announced]
        raise SettingError(
            f"reranker {name!r} is unknown{near_matches(name, known)}; use one of "
            f"{', '.join(known)}, each with or without +refine or +refine-patches"
        )
    try:
        kind = announced[name].load()
    except Exception as error:
        raise SettingError(
            f"reranker {name!r} of {announced[name].value} cannot be loaded: {short_reason(error)}"
        ) from error
    if not (isinstance(kind, type) and issubclass(kind, Reranker)):
        raise SettingError(f"reranker {name!r}: {announced[name].value} is no Reranker class")
    return kind
