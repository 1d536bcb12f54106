"""Where a network looks: the true centres of its map's cells, from what moves them.

Padding shifts a map against its picture. With symmetric padding, cell i of a map of stride 32
looks around pixel 32 i, half a cell above and to the left of its share of the picture; with
TensorFlow's padding, around 32 i + 31. Trained weights may make up for it (EfficientNet-Lite0's
do), so the place is measured with the weights that there are: patches are put into the middle
of a picture, and the cells that they move say where they are seen.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from patchrerank.cells import CellAxis, Cells
from patchrerank.encoders.feature_maps import MapNetwork
from patchrerank.encoders.network import Network

Size = tuple[int, int]
Doubles = npt.NDArray[np.float64]

CELLS = 8
"""Cells a side of the pictures with which is measured, where the network takes that size."""
PATCHES = 16
"""Patches that are tried; each lies elsewhere within a cell, on a background of its own."""
TURN = 7
"""Has no factor in common with ``PATCHES``: columns go through all places in another order."""
CLEAR = 0.1
"""Share of a cell; a measure this near to a place that paddings lead to is taken for it."""
FINEST = 16
"""Other measures are rounded to this part of a cell."""

logger = logging.getLogger(__name__)
_placements: dict[tuple[str, str, Size, Size, str], Placement] = {}


@dataclass(frozen=True)
class Placement:
    """Where the cells of a network's map lie, at any image size.

    Attributes:
        pitch: height and width in pixels from cell to cell; None: the picture is shared out.
        shift: (down, across) as shares of a cell by which centres are off the middles of cells
            of that pitch that start at the picture's corner; 0, 0: they are those middles.
    """

    pitch: Size | None = None
    shift: tuple[float, float] = (0.0, 0.0)

    def cells(self, size: Size, grid: Size) -> Cells:
        """Return where the cells of a map ``grid`` of pictures of ``size`` pixels lie."""
        axes = []
        for which in range(2):
            share = 1.0 / grid[which]
            if self.pitch is not None:
                share = self.pitch[which] / size[which]
            same = self.shift[which] == 0.0 and abs(share * grid[which] - 1.0) < 1e-9
            first = share * (0.5 + self.shift[which])
            axes.append(
                CellAxis.equal(grid[which]) if same else CellAxis(grid[which], first, share)
            )
        return Cells(*axes)


def placement_of(network: Network, native: MapNetwork) -> Placement:
    """Return where the cells of a network's map lie; the same weights are measured once a process.

    Args:
        network: a user's module is measured each time, as it may do anything in its forward.
        native: its map, in eval mode, in float32.
    """
    own = network.preprocessing.image_size
    if network.architecture.startswith("module:"):
        return measure_placement(native, own, known=False)
    key = network.architecture, network.weights, own, native.stride, str(_device(native))
    if key not in _placements:
        _placements[key] = measure_placement(native, own, known=True)
    return _placements[key]


def measure_placement(native: MapNetwork, own: Size, *, known: bool) -> Placement:
    """Return where the cells of a network's map lie, measured on its own weights.

    Takes the time of 33 small pictures; nothing for networks that cannot be off (see
    :func:`centred_by_design`). Where nothing can be measured (the network refuses pictures of
    8 × 8 cells and of its own size, or its map does not depend on them), the cells share the
    picture out evenly.

    Args:
        native: in eval mode, in float32.
        own: its own image size, (height, width).
        known: whether its structure is known; a user's module may do anything in its forward.
    """
    if known and centred_by_design(native):
        return Placement()
    stride = native.stride
    with torch.no_grad():
        for size in ((CELLS * stride[0], CELLS * stride[1]), own):
            try:
                network = native.at_size(size)
                grid = tuple(network(torch.zeros(1, 3, *size, device=_device(native))).shape[2:])
                if len(grid) == 2 and min(grid) >= CELLS // 2:
                    return _placed(network, size, _pitch(stride, size, grid, known=known), grid)
            except Exception as error:  # whatever the network does on a size that it does not take
                logger.debug("no cells measured at %s × %s pixels: %s", *size, error)
    return Placement()


def _device(network: nn.Module) -> torch.device:
    return next((tensor.device for tensor in network.parameters()), torch.device("cpu"))


def centred_by_design(network: nn.Module) -> bool:
    """Return whether no convolution and no pooling shifts a map against its picture.

    So it is where steps are as long as their windows, without padding (patch embeddings,
    ConvNeXt, VGG), and everything else is symmetric.
    """
    return all(_keeps_centres(module) for module in network.modules())


def _keeps_centres(module: Any) -> bool:
    if not isinstance(module, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d):
        return _pairs(getattr(module, "stride", 1)) == (1, 1) or isinstance(module, MapNetwork)
    kernel, stride = _pairs(module.kernel_size), _pairs(module.stride)
    padding, dilation = _pairs(module.padding), _pairs(getattr(module, "dilation", 1))
    for side in range(2):
        if stride[side] > 1:
            fits = kernel[side] == stride[side] and padding[side] == 0
        else:
            fits = 2 * padding[side] == dilation[side] * (kernel[side] - 1)
        if not fits:
            return False
    return True


def _pairs(value: Any) -> tuple[int, int]:
    """Return a setting of a module as a pair; what is none (text, other things) as (-1, -1)."""
    if isinstance(value, int):
        return value, value
    if isinstance(value, tuple) and len(value) == 2 and all(isinstance(v, int) for v in value):
        return value
    return -1, -1


def _pitch(stride: Size, size: Size, grid: tuple[int, ...], *, known: bool) -> Size | None:
    """Return the pixels from cell to cell; a map without padding has fewer cells than fit."""
    whole = tuple(side // step for side, step in zip(size, stride, strict=True))
    fewer = max(whole[0] - grid[0], whole[1] - grid[1])
    return stride if known and 0 <= fewer <= CELLS // 2 else None


def _placed(network: nn.Module, size: Size, pitch: Size | None, grid: tuple[int, ...]) -> Placement:
    heights = [side / cells for side, cells in zip(size, grid, strict=True)]
    steps = [float(step) for step in pitch or heights]
    off = _measured(network, size, steps)
    down, across = (_settled(float(o), step) for o, step in zip(off, steps, strict=True))
    return Placement(pitch, (down, across))


def _settled(off: float, step: float) -> float:
    """Return a measure as the place that paddings lead to, if it is near one, else rounded."""
    edge = 0.5 - 0.5 / step
    nearest = min((0.0, -edge, edge), key=lambda place: abs(off - place))
    return nearest if abs(off - nearest) <= CLEAR else round(off * FINEST) / FINEST


def _measured(network: nn.Module, size: Size, steps: list[float]) -> Doubles:
    """Return (down, across): how far patches lie from the cells that they move, in cells."""
    rng = np.random.default_rng(0)
    found = []
    for number in range(PATCHES):
        pictures = np.repeat(0.5 * rng.standard_normal((1, 3, *size)), 2, axis=0)
        places = ((number + 0.5) / PATCHES - 0.5, (number * TURN % PATCHES + 0.5) / PATCHES - 0.5)
        middle = _put_patch(pictures[1], number, places, steps, rng)
        maps = (
            network(torch.from_numpy(pictures.astype(np.float32)).to(_device(network)))
            .float()
            .cpu()
        )
        moved = (maps[1] - maps[0]).double().square().sum(dim=0).numpy()
        if np.isfinite(moved).all() and moved.sum() > 0:
            found.append([middle[side] / steps[side] - _mean(moved, side) for side in range(2)])
    return np.mean(found, axis=0) if len(found) >= PATCHES // 2 else np.zeros(2)


def _put_patch(
    picture: Doubles,
    number: int,
    places: tuple[float, float],
    steps: list[float],
    rng: np.random.Generator,
) -> tuple[float, float]:
    """Put noise, or one colour, of a cell's size near the middle; return its centre in pixels."""
    sides = [max(1, round(step)) for step in steps]
    starts = [
        round(whole / 2 + place * step - side / 2)
        for whole, place, step, side in zip(picture.shape[1:], places, steps, sides, strict=True)
    ]
    patch = rng.standard_normal((3, *sides))
    if number % 2:
        patch = np.ones_like(patch) * rng.choice([-1.5, 1.5], (3, 1, 1))
    down, across = (slice(a, a + side) for a, side in zip(starts, sides, strict=True))
    picture[:, down, across] = patch
    return starts[0] + sides[0] / 2, starts[1] + sides[1] / 2


def _mean(moved: Doubles, axis: int) -> float:
    """Return the mean place of a map ``(h, w)`` along one axis, in cells; cell 0 has 0.5."""
    profile = moved.sum(axis=1 - axis)
    return float(profile @ (np.arange(len(profile)) + 0.5) / profile.sum())
