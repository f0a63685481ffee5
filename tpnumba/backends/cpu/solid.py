"""The kernel of spherical harmonics with points as lanes: recursions by degree in x, y, z, gradients by the ladder."""

from __future__ import annotations

from tpnumba.backends.cpu.compiler import jit
from tpnumba.backends.cpu.solid_vectors import (
    climb,
    jacobian,
    jacobian_of_direction,
    measure,
    measure_direction,
    measure_direction_and_length,
    next_power,
    pull_back,
    push_forward,
    push_forward_of_direction,
    scaled_product,
    split_points,
)
from tpnumba.backends.cpu.tiles import load_rows, store_rows
from tpnumba.backends.cpu.vectors import fence, fill

#: Rows of ``arrays``: the points; the cotangent or tangent that comes with them; the results.
POINTS, SECOND, VALUES, DERIVATIVE = range(4)
#: Columns of ``arrays``; an address of zero stands for an array that is not there.
AT, SIZE, ADDRESS, ROW_STRIDE, COLUMN_STRIDE = range(5)
#: What the second result is.
NOTHING, JACOBIAN, PULLED_BACK, PUSHED_FORWARD = range(4)


@jit
def harmonics(
    width,
    tile,
    arrays,
    derivative,
    lmax,
    unit,
    powers,
    recursion,
    places,
    weights,
    buffer,
    start,
    stop,
    stream,
):
    """Evaluate harmonics, their derivatives or both at the points from ``start`` to ``stop``.

    Args:
        width: a tuple as long as a run has 64-byte vectors.
        tile: memory to work in, aligned to 64 bytes.
        arrays: where arrays stand in the tile and in memory.
        derivative: what is asked for besides values, or instead.
        lmax: the largest degree.
        unit: of the direction of a point, not of the point.
        powers, recursion, places, weights: see :class:`tpnumba.backends.cpu.harmonics.HarmonicsProgram`.
        buffer: where rows of results are put together.
        start, stop: the points.
        stream: write results past the caches.
    """
    lanes = len(width) * 64 // tile.itemsize
    at, solid, second = arrays[POINTS, AT], arrays[VALUES, AT], arrays[SECOND, AT]
    to, size = arrays[DERIVATIVE, AT], arrays[VALUES, SIZE]
    for first in range(start, stop, lanes):
        count = min(lanes, stop - first)
        _load(width, tile, lanes, arrays, POINTS, first, count)
        if not unit:
            measure(width, tile, at)
        elif derivative == NOTHING:
            measure_direction(width, tile, at)
        else:
            measure_direction_and_length(width, tile, at)
        _solid(width, tile, at, lanes, unit, solid, lmax, lmax - (arrays[VALUES, ADDRESS] == 0), powers, recursion)
        if arrays[VALUES, ADDRESS] != 0:
            _store(tile, lanes, arrays, VALUES, first, count, buffer, stream)
        if derivative == NOTHING:
            continue
        if derivative == JACOBIAN:
            if unit:
                jacobian_of_direction(width, tile, at, solid, to, size, places, weights)
            else:
                jacobian(width, tile, at, solid, to, size, places, weights)
        else:
            _load(width, tile, lanes, arrays, SECOND, first, count)
            if derivative == PULLED_BACK:
                pull_back(width, tile, at, unit, solid, second, to, size, places, weights)
            elif unit:
                push_forward_of_direction(width, tile, at, solid, second, to, size, places, weights)
            else:
                push_forward(width, tile, at, solid, second, to, size, places, weights)
        _store(tile, lanes, arrays, DERIVATIVE, first, count, buffer, stream)
    if stream:
        fence()


@jit
def _load(width, tile, lanes, arrays, which, first, count):
    """Rows of an array into runs; those of points that follow each other at once."""
    row, column = arrays[which, ROW_STRIDE], arrays[which, COLUMN_STRIDE]
    address = arrays[which, ADDRESS] + first * row * tile.itemsize
    if count == lanes and column == 1 and row == 3 and arrays[which, SIZE] == 3:
        split_points(width, tile, arrays[which, AT], address)
    else:
        load_rows(tile, arrays[which, AT], lanes, arrays[which, SIZE], count, address, row, column)


@jit
def _store(tile, lanes, arrays, which, first, count, buffer, stream):
    row, column = arrays[which, ROW_STRIDE], arrays[which, COLUMN_STRIDE]
    address = arrays[which, ADDRESS] + first * row * tile.itemsize
    store_rows(tile, arrays[which, AT], lanes, arrays[which, SIZE], count, address, row, column, buffer, stream)


@jit
def _solid(width, tile, at, lanes, unit, solid, lmax, highest, powers, recursion):
    """Solid harmonics up to ``highest`` of points; ``lmax`` is the degree that the tables are for.

    Order by order, so that a recursion stays in registers. Each starts from a power of ``z + i x``, so nothing is
    divided by the distance from the polar axis, and near the axis harmonics of high order become zero.
    """
    fill(width, tile, solid, powers[0])
    begin = 0
    for order in range(highest + 1):
        middle = solid + order * (order + 1) * lanes
        cosine, sine = middle + order * lanes, middle - order * lanes
        if order == 1:
            scaled_product(width, tile, cosine, at + 2 * lanes, solid, powers[1])
            scaled_product(width, tile, sine, at, solid, powers[1])
        elif order > 1:
            below = solid + order * (order - 1) * lanes
            before = (order - 1) * lanes
            next_power(width, tile, at, below + before, below - before, cosine, sine, powers[order])
        if order < highest:
            above = middle + 2 * (order + 1) * lanes
            factor = recursion[2 * begin]
            scaled_product(width, tile, above + order * lanes, at + lanes, cosine, factor)
            if order == 0:
                climb(width, _COSINE, tile, at, unit, above, order, order + 2, highest, recursion, begin + 1)
            else:
                scaled_product(width, tile, above - order * lanes, at + lanes, sine, factor)
                climb(width, _BOTH, tile, at, unit, above, order, order + 2, highest, recursion, begin + 1)
        begin += lmax - order


_COSINE, _BOTH = (0,), (0, 0)
