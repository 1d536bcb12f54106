"""Printing hits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from patchrerank.cli import printing
from patchrerank.types import Hit

if TYPE_CHECKING:
    from patchrerank.calibration import Calibration

COLUMNS = ("rank", "id", "score", "global", "local", "box", "probability", "status")


def show_hits(
    hits: Sequence[Hit],
    settings: Mapping[str, str],
    *,
    as_json: bool,
    calibration: Calibration | None = None,
) -> None:
    """Print hits as a table, or as JSON with the settings they were found with.

    With a calibration they have probabilities, and it is said if nothing was found. Where the
    gallery does not hold one of them, or a stage failed, a column says how each came by its place.
    """
    nothing = None
    if calibration is not None:
        scores, chances = [hit.score for hit in hits], [hit.probability for hit in hits]
        nothing = calibration.finds_nothing(scores, chances)
    if as_json:
        said = {} if nothing is None else {"nothing_found": nothing}
        printing.print_json({**settings, **said, "hits": [asdict(hit) for hit in hits]})
        return
    wanted = list(COLUMNS)
    if calibration is None:
        wanted.remove("probability")
    if not any(hit.status in ("kept", "fallback") for hit in hits):
        wanted.remove("status")
    rows = [[row[name] for name in wanted] for row in map(_row, hits)]
    printing.print_table("", wanted, rows)
    if nothing and calibration is not None:
        printing.print_line(
            "probably nothing was found: no hit has a score of at least "
            f"{calibration.nothing_below:.4f}"
        )


def _row(hit: Hit) -> dict[str, str]:
    return {
        "rank": str(hit.rank),
        "id": str(hit.id),
        "score": printing.number(hit.score, 4),
        "global": printing.number(hit.global_score, 4),
        "local": printing.number(hit.local_score, 4),
        "box": "–" if hit.box is None else " ".join(f"{side:.3f}" for side in hit.box),
        "probability": printing.number(hit.probability, 3),
        "status": hit.status,
    }
