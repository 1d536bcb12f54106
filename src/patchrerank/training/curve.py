"""The loss curve of a training run, as JSON and as a small picture."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from patchrerank.files import SVG_MARK, check_target, json_with, marked, write_whole

if TYPE_CHECKING:
    from patchrerank.training.checkpoints import Progress

WIDTH, HEIGHT, MARGIN = 640, 240, 44
CURVE = json_with("a loss curve", "steps_per_epoch", "loss", "learning_rate")
PICTURE = marked("the picture of a loss curve", SVG_MARK.encode())
SMOOTH = 100
"""The line shows means of this many parts of the run."""


def write_curve(progress: Progress, steps_per_epoch: int, out: Path) -> tuple[Path, Path]:
    """Write ``out`` with the endings ``.curve.json`` and ``.curve.svg`` and return both paths.

    The JSON holds loss and learning rate of every step and the figures of every validation. The
    picture shows the loss (left axis) and the validations' first figure (right axis, percent).

    Raises:
        SettingError: a file cannot be written, or something else stands there.
    """
    data, picture = curve_files(out)
    record = {
        "steps_per_epoch": steps_per_epoch,
        "loss": list(progress.losses),
        "learning_rate": list(progress.rates),
        "validation": [{"epoch": epoch, **values} for epoch, values in progress.validations],
        "best_epoch": progress.best_epoch if progress.best is not None else None,
    }
    write_whole(data, f"{json.dumps(record)}\n".encode(), CURVE)
    write_whole(picture, _svg(progress, steps_per_epoch).encode(), PICTURE)
    return data, picture


def curve_files(out: Path) -> tuple[Path, Path]:
    """Return the paths of the two files."""
    return out.with_name(f"{out.name}.curve.json"), out.with_name(f"{out.name}.curve.svg")


def check_curve_files(out: Path) -> None:
    """Refuse to begin where something else stands in the files' place.

    Raises:
        SettingError: names the file.
    """
    for path, ours in zip(curve_files(out), (CURVE, PICTURE), strict=True):
        check_target(path, ours, make_folder=True)


def _svg(progress: Progress, steps_per_epoch: int) -> str:
    losses = np.array(progress.losses, dtype=np.float64)
    parts = np.array_split(losses, min(SMOOTH, max(1, len(losses))))
    means = [float(part.mean()) for part in parts if part.size]
    ends = np.cumsum([part.size for part in parts if part.size])
    top = max(means, default=1.0) or 1.0
    span = max(len(losses), 1)
    lines = [_polyline(ends / span, np.array(means) / top, "#2563a8")]
    lines += [_text(4, 14, f"loss (top {top:.3f})", "#2563a8")]
    if progress.validations:
        lines += _validations(progress.validations, steps_per_epoch / span)
    lines.append(_text(MARGIN, HEIGHT - 6, f"{len(losses)} steps", "#555"))
    frame = (
        f'<rect x="{MARGIN}" y="20" width="{WIDTH - 2 * MARGIN}" height="{HEIGHT - 44}" '
        'fill="none" stroke="#bbb"/>'
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'font-family="sans-serif" font-size="11">{SVG_MARK}{frame}{"".join(lines)}</svg>\n'
    )


def _validations(found: Sequence[tuple[int, Mapping[str, float]]], epoch_share: float) -> list[str]:
    name = next(iter(found[0][1]))
    values = np.array([next(iter(one.values())) for _, one in found])
    places = np.minimum([epoch * epoch_share for epoch, _ in found], 1.0)
    label = f"{name}: best {np.nanmax(values):.1f} %"
    return [
        _polyline(np.asarray(places), values / 100, "#b45309"),
        _text(WIDTH - 200, 14, label, "#b45309"),
    ]


def _polyline(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64], colour: str) -> str:
    width, height = WIDTH - 2 * MARGIN, HEIGHT - 44
    points = " ".join(
        f"{MARGIN + a * width:.1f},{20 + (1 - min(max(b, 0.0), 1.0)) * height:.1f}"
        for a, b in zip(x.tolist(), y.tolist(), strict=True)
    )
    return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>'


def _text(x: float, y: float, text: str, colour: str) -> str:
    return f'<text x="{x}" y="{y}" fill="{colour}">{text}</text>'
