"""Every table and figure of Patchify's supplement by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from patchrerank.analysis import reproduce_figures, reproduce_regions, reproduce_tables
from patchrerank.analysis.published_tables import (
    BACKBONES,
    PUBLISHED_ENCODER,
    backbones_by_level,
)
from patchrerank.analysis.reproduce_request import Request
from patchrerank.analysis.reproduce_storage import table7
from patchrerank.analysis.reproduction import Reproduction
from patchrerank.encoders.presets import PRESETS
from patchrerank.errors import SettingError, near_matches

STORAGE = "table7"

TABLES: Mapping[str, Callable[[Request], Reproduction]] = {
    "table4": reproduce_tables.table4,
    "table5": reproduce_tables.table5,
    "table6": reproduce_tables.table6,
    "table8": reproduce_tables.table8,
    "table9": reproduce_tables.table9,
    "figS1": reproduce_figures.figure_s1,
    "figS2": reproduce_figures.figure_s2,
    "regions": reproduce_regions.regions,
}
"""Name → what runs it; table 7 alone needs no data."""

NAMES = ("table4", "table5", "table6", STORAGE, "table8", "table9", "figS1", "figS2", "regions")
SEVERAL = {"table4": None, "table8": "S8", "table9": "S9"}
FALLBACK = "efficientnet_lite0"


def check_name(name: str) -> str:
    """Return the name of a table or figure in its own spelling.

    Raises:
        SettingError: there is none; near matches are listed.
    """
    own = {known.lower(): known for known in NAMES}
    if name.lower() not in own:
        raise SettingError(
            f"there is no table or figure {name!r} to reproduce{near_matches(name, NAMES)}; use "
            f"one of {', '.join(NAMES)}"
        )
    return own[name.lower()]


def reproduce(name: str, request: Request | None = None) -> Reproduction:
    """Run a published table or figure again.

    Args:
        name: one of ``NAMES``.
        request: what it is measured with; ``table7`` needs none.

    Raises:
        SettingError: an unknown name, no request, or several encoders where one is wanted.
        PatchRerankError: whatever is wrong with the pictures or the data set.
    """
    known = check_name(name)
    if known == STORAGE:
        return table7()
    if request is None:
        raise SettingError(f"{known} is measured: it needs a data set and an encoder")
    return TABLES[known](request)


def encoders_of(name: str) -> list[str]:
    """Return the presets behind a published table or figure."""
    known = check_name(name)
    if known not in SEVERAL:
        return [] if known == STORAGE else [PUBLISHED_ENCODER]
    table = SEVERAL[known]
    theirs = None if table is None else {row.labels[0] for row in backbones_by_level(table)}
    return [preset for preset, called in BACKBONES.items() if theirs is None or called in theirs]


def encoders_at_hand(name: str) -> list[str]:
    """Return those of :func:`encoders_of` whose weights are here; without any, a small one."""
    found = [preset for preset in encoders_of(name) if PRESETS[preset].weights_at_hand()]
    return found or [FALLBACK]
