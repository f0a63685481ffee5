"""Cutting samples into blocks, so that temporaries stay small however many there are."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from math import prod

Block = tuple[slice, ...]
Shape = tuple[int, ...]


def blocks(full: Shape, most: int) -> Iterator[Block]:
    """Cut the samples into blocks of at most ``most``: whole trailing axes, slices of one, single places before it."""
    if prod(full) == 0:
        return
    axis = len(full)
    while axis > 0 and prod(full[axis - 1 :]) <= most:
        axis -= 1
    whole = tuple(slice(0, n) for n in full[axis:])
    if axis == 0:
        yield whole
        return
    width = max(1, most // prod(full[axis:]))
    cuts = [slice(start, min(start + width, full[axis - 1])) for start in range(0, full[axis - 1], width)]
    for places in itertools.product(*(range(n) for n in full[: axis - 1])):
        for cut in cuts:
            yield (*(slice(i, i + 1) for i in places), cut, *whole)


def clip(block: Block, shape: Shape) -> Block:
    """The part of an array with leading axes ``shape``, which broadcast, that a block falls on."""
    return tuple(slice(0, 1) if n == 1 else cut for cut, n in zip(block, shape, strict=True))
