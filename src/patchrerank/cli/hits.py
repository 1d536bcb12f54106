"""Printing hits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from patchrerank.cli import printing
from patchrerank.types import Hit

if TYPE_CHECKING:
    from patchrerank.calibration import Calibration

COLUMNS = ("rank", "id", "score", "global", "local", "box")


def show_hits(
    hits: Sequence[Hit],
    settings: Mapping[str, str],
    *,
    as_json: bool,
    calibration: Calibration | None = None,
) -> None:
    """Print hits as a table, or as JSON with the settings they were found with.

    With a calibration they have probabilities, and it is said if nothing was found.
    """
    nothing = None if calibration is None else _nothing_found(hits, calibration)
    if as_json:
        said = {} if nothing is None else {"nothing_found": nothing}
        printing.print_json({**settings, **said, "hits": [asdict(hit) for hit in hits]})
        return
    rows = [_row(hit) for hit in hits]
    if calibration is None:
        printing.print_table("", COLUMNS, [row[:-1] for row in rows])
        return
    printing.print_table("", (*COLUMNS, "probability"), rows)
    if nothing:
        printing.print_line(
            "probably nothing was found: no hit has a probability of at least "
            f"{calibration.nothing_below:.3f}"
        )


def _row(hit: Hit) -> tuple[str, ...]:
    return (
        str(hit.rank),
        str(hit.id),
        printing.number(hit.score, 4),
        printing.number(hit.global_score, 4),
        printing.number(hit.local_score, 4),
        "–" if hit.box is None else " ".join(f"{side:.3f}" for side in hit.box),
        printing.number(hit.probability, 3),
    )


def _nothing_found(hits: Sequence[Hit], calibration: Calibration) -> bool:
    known = [hit.probability for hit in hits if hit.probability is not None]
    return not hits or (bool(known) and max(known) < calibration.nothing_below)
