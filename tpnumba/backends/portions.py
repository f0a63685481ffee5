"""Samples in portions: how a batch with broadcast leading axes is cut, and how portions are put together again."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from math import prod
from typing import Any

Array = Any
Portion = tuple[slice, ...]
Shape = tuple[int, ...]


def portions(full: Shape, most: int) -> Iterator[Portion]:
    """Cut the samples into portions of at most ``most``: whole trailing axes, slices of one, single places before."""
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


def clip(portion: Portion, shape: Shape) -> Portion:
    """The part of an array with leading axes ``shape``, which broadcast, that a portion falls on."""
    return tuple(slice(0, 1) if n == 1 else cut for cut, n in zip(portion, shape, strict=True))


def rows_of(xp: Any, array: Array, portion: Portion, full: Shape) -> Array:
    """The samples of a portion as rows ``(n, size)``."""
    size = array.shape[-1]
    leading = (1,) * (len(full) - array.ndim + 1) + tuple(array.shape[:-1])
    shape = tuple(cut.stop - cut.start for cut in portion)
    if len(full) == 1 and leading == full:
        return array if shape == full else array[portion[0], :]
    part = xp.reshape(array, (*leading, size)) if array.ndim != len(full) + 1 else array
    if shape != full:
        part = part[(*clip(portion, leading), slice(None))]
    return xp.reshape(xp.broadcast_to(part, (*shape, size)), (prod(shape), size))


def fold(xp: Any, value: Array, portion: Portion, padded: Shape, shared: bool) -> Array:
    """Give rows ``(n, width)`` the shape of their portion, summed where the result has length 1."""
    if shared:
        return value
    shape = tuple(cut.stop - cut.start for cut in portion)
    value = xp.reshape(value, (*shape, value.shape[-1]))
    axes = tuple(i for i, (n, m) in enumerate(zip(padded, shape, strict=True)) if n == 1 and m != 1)
    return xp.sum(value, axis=axes, keepdims=True) if axes else value
