"""A form written out entry by entry, for users who want the sparse table itself."""

from __future__ import annotations

from math import prod
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tpnumba.limits import require_memory
from tpnumba.plans.contraction import PAIR, Contraction, Path, channel_extents


class Coefficients(NamedTuple):
    """The non-zeros of a multilinear form: one row of ``coords`` an operand, entries in row-major order."""

    shape: tuple[int, ...]
    coords: npt.NDArray[np.int64]
    values: npt.NDArray[np.float64]


def entries(form: Contraction, axes: tuple[int, ...]) -> Coefficients:
    """All coefficients of ``form``, with its operands in the order ``axes``.

    Raises:
        MemoryError: the table would not fit.
    """
    numbers = [_channels(path, form)[1] * path.coupling.sparse.values.size for path in form.paths]
    # coordinates and values, and as much again twice while they are sorted
    require_memory(3 * 8 * (len(axes) + 1) * sum(numbers), "the table of coefficients")
    free = {i for path in form.paths for i, segment in enumerate(path.segments) if segment is None}
    shape = tuple(form.operands[i].size + (i in free) for i in axes)
    parts = [_entries_of(path, form, axes) for path in form.paths]
    coords = np.concatenate([np.zeros((len(axes), 0), dtype=np.int64), *(c for c, _ in parts)], axis=1)
    values = np.concatenate([np.zeros(0), *(v for _, v in parts)])
    order = np.lexsort(coords[::-1])
    coords, values = coords[:, order], values[order]
    if values.size:
        new = np.concatenate([[True], (coords[:, 1:] != coords[:, :-1]).any(axis=0)])
        starts = np.flatnonzero(new)
        coords, values = coords[:, starts], np.add.reduceat(values, starts)
    keep = values != 0
    return Coefficients(shape, np.ascontiguousarray(coords[:, keep]), values[keep])


def _channels(path: Path, form: Contraction) -> tuple[dict[str, int], int]:
    """The ranges of the independent channel indices, and how many combinations there are."""
    extents = channel_extents(path, form.operands)
    used = {letter for i in range(len(form.operands)) for letter in path.letters(i)}
    if PAIR in used:
        used -= {"u", "v"}
    return {letter: extents[letter] for letter in sorted(used)}, prod(extents[letter] for letter in used)


def _entries_of(
    path: Path, form: Contraction, axes: tuple[int, ...]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    ranges, _ = _channels(path, form)
    table = path.coupling.sparse
    grids = np.meshgrid(*(np.arange(n) for n in ranges.values()), indexing="ij")
    index = {letter: grid.ravel()[:, None] for letter, grid in zip(ranges, grids, strict=True)}
    extents = channel_extents(path, form.operands)
    if PAIR in ranges:
        pairs = np.stack(np.triu_indices(extents["u"], 1))[:, index[PAIR]]
        index["u"], index["v"] = pairs
    rows = []
    combinations = prod(ranges.values())
    for i in axes:
        place = path.segments[i]
        operand = form.operands[i]
        if place is None:
            rows.append(np.full((combinations, table.values.size), operand.size))
            continue
        segment = operand.segments[place]
        channel = np.zeros((1, 1), dtype=np.int64)
        for letter in path.letters(i):
            channel = channel * extents[letter] + index[letter]
        leg = path.legs[i]
        component = np.zeros(table.values.size, dtype=np.int64) if leg is None else table.coords[leg]
        stride_u, stride_m = (segment.dim, 1) if operand.layout == "mul_ir" else (1, segment.mul)
        places = segment.offset + channel * stride_u + component * stride_m
        rows.append(np.broadcast_to(places, (combinations, table.values.size)))
    values = np.broadcast_to(table.values * path.scale, (combinations, table.values.size))
    return np.stack([row.ravel() for row in rows]).astype(np.int64), values.ravel()
