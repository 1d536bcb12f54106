"""Compiled grouping of slots by image: those that several lists want are walked once for all."""

from __future__ import annotations

from typing import Any

import numpy as np

from patchrerank.kernels.jit import compiled, compiled_within
from patchrerank.types import Rows

SPREAD = np.uint64(0x9E3779B97F4A7C15)
"""Multiplied with a row, high bits depend on all of it."""


@compiled_within
def number_images(rows: Rows, counts: Rows, numbers: Rows) -> Any:
    """Number the images of slots ``(n,)`` as they come; return how many there are.

    Slots without patches have the number -1.
    """
    size = 8
    while size < 2 * len(rows):
        size *= 2
    seen, mask, known = np.full(size, -1, np.int32), np.uint64(size - 1), 0
    first = np.empty(len(rows), np.int64)
    for slot in range(len(rows)):
        numbers[slot] = -1
        if counts[slot] > 0:
            place = ((np.uint64(rows[slot]) * SPREAD) >> np.uint64(32)) & mask
            while seen[place] >= 0 and first[seen[place]] != rows[slot]:
                place = (place + np.uint64(1)) & mask
            if seen[place] < 0:
                seen[place], first[known] = known, rows[slot]
                known += 1
            numbers[slot] = seen[place]
    return known


@compiled
def group_slots(width: int, rows: Rows, starts: Rows, steps: Rows, counts: Rows) -> Any:
    """Group the slots ``(Q * width,)`` of lists by image, where several want it.

    Args:
        width: of a list.
        rows: the image of each slot.
        starts: the address of its first patch.
        steps: the address of that one's scale.
        counts: how many patches it has; of slots that are grouped, 0 is written.

    Returns:
        ``images (G, 5)`` and ``members (M, 2)``, as ``_image_walks.walk_images`` takes them.
    """
    numbers = np.empty(len(rows), np.int64)
    wanted = np.zeros(number_images(rows, counts, numbers), np.int64)
    for number in numbers:
        if number >= 0:
            wanted[number] += 1
    groups, total, place_of = 0, 0, np.empty(len(wanted), np.int64)
    for image in range(len(wanted)):
        if wanted[image] > 1:
            place_of[image] = groups
            groups += 1
            total += wanted[image]
    images, members = np.zeros((groups, 5), np.int64), np.empty((total, 2), np.int64)
    begin = 0
    for slot in range(len(rows)):
        number = numbers[slot]
        if number < 0 or wanted[number] < 2:
            continue
        own = images[place_of[number]]
        if own[2] == 0:
            own[0], own[1], own[2], own[3], own[4] = (
                starts[slot],
                steps[slot],
                counts[slot],
                begin,
                begin,
            )
            begin += wanted[number]
        members[own[4], 0], members[own[4], 1] = slot // width, slot % width
        own[4] += 1
        counts[slot] = 0
    return images, members
