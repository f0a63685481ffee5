"""The kernel of spherical harmonics: recursions by degree in x, y, z, gradients by the ladder, for a tile of points."""

from __future__ import annotations

from tpnumba.backends.cpu.harmonics.gradients import (
    jacobian,
    jacobian_of_direction,
    jacobian_of_extreme_direction,
    pull_back,
    push_forward,
    push_forward_of_direction,
)
from tpnumba.backends.cpu.harmonics.recursion import (
    all_ones,
    climb,
    measure,
    measure_direction,
    measure_direction_and_length,
    next_power,
    scale_column,
    scaled_product,
)
from tpnumba.backends.cpu.layout import (
    ADDRESS,
    AT,
    COLUMN_STRIDE,
    COMPANION,
    DERIVATIVE,
    JACOBIAN,
    LINE,
    LONGEST,
    NOTHING,
    POINTS,
    PULLED_BACK,
    ROW_STRIDE,
    SIZE,
    STREAM,
    TOGETHER,
    VALUES,
)
from tpnumba.backends.cpu.runtime.compiler import jit
from tpnumba.backends.cpu.simd.memory import (
    address_of,
    fence,
    split_points,
    square_in_tile,
    square_to_memory,
    stream_line,
    write,
    write_line,
)
from tpnumba.backends.cpu.simd.rows import load_rows, store_rows
from tpnumba.backends.cpu.simd.vectors import fill


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
    offsets,
    weights,
    buffer,
    start,
    stop,
):
    """Evaluate harmonics, their derivatives or both at the points from ``start`` to ``stop``.

    Args:
        width: a tuple as long as a column has 64-byte vectors.
        tile: memory to work in, aligned to 64 bytes.
        arrays: where arrays stand in the tile and in memory.
        derivative: what is asked for besides values, or instead.
        lmax: the largest degree.
        unit: of the direction of a point, not of the point.
        powers: the constant harmonic, and from each ``S_{m-1,m-1}`` to ``S_mm``.
        recursion: (a, b) of ``climb``, order by order, by rising degree.
        offsets, weights: the ladder; of each term of a gradient, how far behind the first harmonic its own stands,
            and its weight; after the weights of each harmonic, its degree.
        buffer: where rows of results are put together.
        start, stop: the points.
    """
    tile_width = len(width) * LINE // tile.itemsize
    at, solid, second = arrays[POINTS, AT], arrays[VALUES, AT], arrays[COMPANION, AT]
    to, size = arrays[DERIVATIVE, AT], arrays[VALUES, SIZE]
    for first in range(start, stop, tile_width):
        count = min(tile_width, stop - first)
        _load(width, tile, tile_width, arrays, POINTS, first, count, buffer)
        if not unit:
            measure(width, tile, at)
        elif derivative == NOTHING:
            measure_direction(width, tile, at)
        else:
            measure_direction_and_length(width, tile, at)
        _solid_harmonics(
            width, tile, at, tile_width, unit, solid, lmax, lmax - (arrays[VALUES, ADDRESS] == 0), powers, recursion
        )
        if arrays[VALUES, ADDRESS] != 0:
            _store(tile, tile_width, arrays, VALUES, first, count, buffer)
        if derivative == NOTHING:
            continue
        if derivative == JACOBIAN:
            usual = True
            if unit:
                for place in range(solid, solid + size * tile_width, tile_width):
                    scale_column(width, tile, place, at + 4 * tile_width)
                usual = all_ones(width, tile, at + 5 * tile_width)
            _jacobian(tile, tile_width, unit, usual, offsets, weights, arrays, first, count, buffer)
        else:
            _load(width, tile, tile_width, arrays, COMPANION, first, count, buffer)
            if derivative == PULLED_BACK:
                pull_back(width, tile, at, unit, solid, second, to, size, offsets, weights)
            elif unit:
                push_forward_of_direction(width, tile, at, solid, second, to, size, offsets, weights)
            else:
                push_forward(width, tile, at, solid, second, to, size, offsets, weights)
            _store(tile, tile_width, arrays, DERIVATIVE, first, count, buffer)
    if arrays[VALUES, STREAM] or arrays[DERIVATIVE, STREAM]:
        fence(tile)


@jit
def _load(width, tile, tile_width, arrays, which, first, count, buffer):
    """Rows of an array into columns; those of points that follow each other at once."""
    row_stride, column_stride = arrays[which, ROW_STRIDE], arrays[which, COLUMN_STRIDE]
    at, size = arrays[which, AT], arrays[which, SIZE]
    address = arrays[which, ADDRESS] + first * row_stride * tile.itemsize
    if count == tile_width and column_stride == 1 and row_stride == 3 and size == 3:
        split_points(width, tile, at, address)
    else:
        load_rows(tile, at, tile_width, size, count, address, row_stride, column_stride, 0, buffer)


@jit
def _store(tile, tile_width, arrays, which, first, count, buffer):
    """Columns into rows of an array: square by square, or past the caches by way of a buffer of many rows."""
    row_stride, column_stride, item = arrays[which, ROW_STRIDE], arrays[which, COLUMN_STRIDE], tile.itemsize
    address, size, at = arrays[which, ADDRESS] + first * row_stride * item, arrays[which, SIZE], arrays[which, AT]
    vector_length, stream = LINE // item, arrays[which, STREAM] != 0
    if not stream and column_stride == 1 and size >= vector_length and count == tile_width:
        for sample in range(0, tile_width, vector_length):
            for begin in range(0, size, vector_length):
                place = min(begin, size - vector_length)  # the last square overlaps the one before
                source, to = at + place * tile_width + sample, address + (sample * row_stride + place) * item
                square_to_memory(tile, source, tile_width, to, row_stride)
        return
    if column_stride != 1 or row_stride != size or size < vector_length or size > LONGEST:
        store_rows(tile, at, tile_width, size, count, address, row_stride, column_stride, buffer, stream)
        return
    together = _together(tile_width, vector_length, size * item)
    for start in range(0, count, together):
        for sample in range(start, min(count, start + together), vector_length):
            to = buffer + (sample - start) * size
            for begin in range(0, size, vector_length):
                place = min(begin, size - vector_length)
                square_in_tile(tile, to + place, size, at + place * tile_width + sample, tile_width)
        _copy(tile, buffer, address + start * size * item, min(together, count - start) * size, vector_length, stream)


@jit
def _together(tile_width, vector_length, row):
    """How many rows of ``row`` bytes are put together.

    What is copied from the buffer must have been written there long before: a line that is read while its parts are on
    their way to the cache waits for all that is written before them, results included. 30 MB of rows of 300 bytes took
    1.9 ms so, past the caches, against 2.5 ms with 16 rows in the buffer.
    """
    return max(vector_length, min(tile_width, TOGETHER // row // vector_length * vector_length))


@jit
def _jacobian(tile, tile_width, unit, usual, offsets, weights, arrays, first, count, buffer):
    """Rows of the Jacobian, as they are made: into memory, or by way of the buffer as in :func:`_store`."""
    at, solid, size = arrays[POINTS, AT], arrays[VALUES, AT], arrays[VALUES, SIZE]
    row_stride, column_stride, item = arrays[DERIVATIVE, ROW_STRIDE], arrays[DERIVATIVE, COLUMN_STRIDE], tile.itemsize
    address = arrays[DERIVATIVE, ADDRESS] + first * row_stride * item
    vector_length, stream = LINE // item, arrays[DERIVATIVE, STREAM] != 0
    direct = not stream and column_stride == 1 and size >= vector_length and count == tile_width
    stride = row_stride if direct else 3 * max(size, vector_length)
    together = tile_width if direct else _together(tile_width, vector_length, stride * item)
    for start in range(0, count, together):
        rows = min(together, count - start)
        for sample in range(start, start + rows, vector_length):
            to = address + sample * row_stride * item
            if not direct:
                to = address_of(tile, buffer + (sample - start) * stride)
            done = 0
            while done < size:
                begin = max(0, min(done, size - vector_length))  # some again, if there are too few for a square
                skip = 3 * (done - begin)
                if not unit:
                    jacobian(tile, at, tile_width, sample, solid, begin, skip, offsets, weights, to, stride)
                elif usual:
                    jacobian_of_direction(
                        tile, at, tile_width, sample, solid, begin, skip, offsets, weights, to, stride
                    )
                else:
                    jacobian_of_extreme_direction(
                        tile, at, tile_width, sample, solid, begin, skip, offsets, weights, to, stride
                    )
                done = begin + vector_length
        if direct:
            continue
        to = address + start * row_stride * item
        if column_stride == 1 and size >= vector_length and row_stride == stride:
            _copy(tile, buffer, to, rows * stride, vector_length, stream)
        else:
            for sample in range(rows):
                for place in range(3 * size):
                    target = to + (sample * row_stride + place * column_stride) * item
                    write(tile, target, tile[buffer + sample * stride + place])


@jit
def _copy(tile, source, to, count, vector_length, stream):
    """Numbers of the buffer to memory: whole lines of it, and what is left before and after."""
    item = tile.itemsize
    done = (-(to // item)) % vector_length
    if stream:
        for i in range(done):
            write(tile, to + i * item, tile[source + i])
        while done + vector_length <= count:
            stream_line(tile, to + done * item, source + done)
            done += vector_length
        for i in range(done, count):
            write(tile, to + i * item, tile[source + i])
    else:
        write_line(tile, to, source)
        while done + vector_length <= count:
            write_line(tile, to + done * item, source + done)
            done += vector_length
        write_line(tile, to + (count - vector_length) * item, source + count - vector_length)


@jit
def _solid_harmonics(width, tile, at, tile_width, unit, solid, lmax, highest, powers, recursion):
    """Solid harmonics up to ``highest`` of points; ``lmax`` is the degree that the tables are for.

    Order by order, so that a recursion stays in registers. Each starts from a power of ``z + i x``, so nothing is
    divided by the distance from the polar axis, and near the axis harmonics of high order become zero.
    """
    fill(width, tile, solid, powers[0])
    begin = 0
    for order in range(highest + 1):
        middle = solid + order * (order + 1) * tile_width
        cosine, sine = middle + order * tile_width, middle - order * tile_width
        if order == 1:
            scaled_product(width, tile, cosine, at + 2 * tile_width, solid, powers[1])
            scaled_product(width, tile, sine, at, solid, powers[1])
        elif order > 1:
            below = solid + order * (order - 1) * tile_width
            before = (order - 1) * tile_width
            next_power(width, tile, at, below + before, below - before, cosine, sine, powers[order])
        if order < highest:
            above = middle + 2 * (order + 1) * tile_width
            factor = recursion[2 * begin]
            scaled_product(width, tile, above + order * tile_width, at + tile_width, cosine, factor)
            if order == 0:
                climb(width, tile, _COSINE, at, unit, above, order, order + 2, highest, recursion, begin + 1)
            else:
                scaled_product(width, tile, above - order * tile_width, at + tile_width, sine, factor)
                climb(width, tile, _BOTH, at, unit, above, order, order + 2, highest, recursion, begin + 1)
        begin += lmax - order


_COSINE, _BOTH = (0,), (0, 0)
