"""Printing hits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from patchrerank.cli import options as opt
from patchrerank.types import Hit


def show_hits(hits: Sequence[Hit], settings: Mapping[str, str], *, as_json: bool) -> None:
    """Print hits as a table, or as JSON with the settings they were found with."""
    if as_json:
        opt.print_json({**settings, "hits": [asdict(hit) for hit in hits]})
        return
    rows = [
        (
            str(hit.rank),
            hit.id,
            opt.number(hit.score, 4),
            opt.number(hit.global_score, 4),
            opt.number(hit.local_score, 4),
            "–" if hit.box is None else " ".join(f"{side:.3f}" for side in hit.box),
        )
        for hit in hits
    ]
    opt.print_table("", ("rank", "id", "score", "global", "local", "box"), rows)
