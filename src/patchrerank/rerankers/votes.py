"""Where two pictures match by ELViS' votes: as arrays, as a box, as a picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from patchrerank.images import ImageSource, read_image
from patchrerank.types import Floats, Rows

if TYPE_CHECKING:
    from PIL import Image

OUTLIERS = 0.1
"""Share of the votes that the box leaves out on each side of each axis."""

LEAST_VOTES = 1e-3
"""Sum of votes below which there is no box."""

WARM = (255, 96, 0)
LINE = (0, 200, 80)
OPACITY = 170


@dataclass(frozen=True, eq=False)
class VoteMap:
    """How one pair's descriptors voted. Positions and boxes in [0, 1] of the upright pictures.

    Attributes:
        score: the sum of all votes.
        query_positions: float32 ``(m, 2)``, x and y of each query descriptor's centre.
        query_votes: float32 ``(m,)``, in [0, 1].
        query_matches: int64 ``(m,)``, number of the candidate's descriptor that each matches best.
        positions: float32 ``(n, 2)``, of the candidate's descriptors.
        cells: float32 ``(n, 2)``, width and height of the cells they describe.
        votes: float32 ``(n,)``, in [0, 1].
        matches: int64 ``(n,)``, number of the query's descriptor that each matches best.
        shares: float32 ``(m, n)``, the transport plan: about 1 for a certain match, 0 for none.
        box: float32 ``(4,)`` where the candidate's votes lie; NaN if there are none.
    """

    score: float
    query_positions: Floats
    query_votes: Floats
    query_matches: Rows
    positions: Floats
    cells: Floats
    votes: Floats
    matches: Rows
    shares: Floats
    box: Floats


def vote_boxes(positions: Floats, cells: Floats, votes: Floats) -> Floats:
    """Return the box of each of B candidates' votes.

    On each side of each axis a share of ``OUTLIERS`` of the votes is left out; the rest is
    bounded with a cell's width to spare, as in Chamfer's boxes.

    Args:
        positions: float32 ``(B, n, 2)``, centres x, y in [0, 1].
        cells: float32 ``(B, n, 2)``, width and height of the cells.
        votes: float32 ``(B, n)``, at least 0; 0 where there is no descriptor.

    Returns:
        float32 ``(B, 4)``; NaN where the votes sum to less than ``LEAST_VOTES``.
    """
    corners = np.concatenate(
        [_edge(positions - cells, votes), -_edge(-positions - cells, votes)], axis=1
    )
    boxes = corners.clip(0.0, 1.0).astype(np.float32)
    boxes[votes.sum(axis=1) < LEAST_VOTES] = np.nan
    return boxes


def draw_votes(votes: VoteMap, picture: ImageSource, *, box: bool = True) -> Image.Image:
    """Draw the votes of a candidate's descriptors onto its picture, the warmer the stronger.

    Args:
        votes: of the pair.
        picture: the candidate's: path, file bytes or picture.
        box: draw the box too, if there is one.

    Returns:
        A new RGB picture of the same size, upright.

    Raises:
        ImageError: the picture cannot be read.
    """
    from PIL import Image, ImageDraw

    base = read_image(picture).convert("RGB")
    layer = Image.new("RGBA", base.size, (*WARM, 0))
    drawing = ImageDraw.Draw(layer)
    size = np.array([*base.size, *base.size], dtype=np.float64)
    halves = votes.cells / 2
    places = np.concatenate([votes.positions - halves, votes.positions + halves], axis=1) * size
    for number in np.argsort(votes.votes, kind="stable"):
        opacity = round(OPACITY * float(votes.votes[number]))
        drawing.rectangle([float(edge) for edge in places[number]], fill=(*WARM, opacity))
    if box and not np.isnan(votes.box).any():
        width = max(2, max(base.size) // 150)
        drawing.rectangle(
            [float(edge) for edge in votes.box * size], outline=(*LINE, 255), width=width
        )
    return Image.alpha_composite(base.convert("RGBA"), layer).convert("RGB")


def _edge(edges: Floats, votes: Floats) -> npt.NDArray[np.float64]:
    """Return ``(B, 2)``: the lowest edge on each axis behind which all but the outliers lie."""
    order = np.argsort(edges, axis=1, kind="stable")
    ordered = np.take_along_axis(edges, order, axis=1)
    weights = np.take_along_axis(votes[..., None].astype(np.float64), order, axis=1)
    reached = weights.cumsum(axis=1)
    first = (reached > OUTLIERS * reached[:, -1:]).argmax(axis=1)
    return np.take_along_axis(ordered, first[:, None], axis=1)[:, 0].astype(np.float64)
