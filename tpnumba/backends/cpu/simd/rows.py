"""Rows of memory to and from tiles, in which each component is a run of lanes, one a sample."""

from __future__ import annotations

from tpnumba.backends.cpu.layout import LINE, LONGEST, STRETCH
from tpnumba.backends.cpu.runtime.compiler import jit, part
from tpnumba.backends.cpu.simd.memory import (
    block_from_memory,
    block_in_tile,
    copy_line,
    join_rows,
    read,
    split_rows,
    stream_line,
    write,
    write_line,
)
from tpnumba.backends.cpu.simd.vectors import fill


@jit
def load_rows(tile, at, lanes, size, count, address, row_stride, column_stride, after, buffer):
    """Put ``count`` rows of ``size`` numbers into runs; lanes beyond ``count`` become zero. Strides in numbers.

    ``after``: how many more rows follow them in memory.
    """
    item = tile.itemsize
    side = LINE // item
    done = 0
    if count == lanes and column_stride == 1:
        if size >= side:
            for sample in range(0, lanes, side):
                row = address + sample * row_stride * item
                for start in range(0, size, side):
                    column = min(start, size - side)  # the last block overlaps the one before
                    block_from_memory(tile, at + column * lanes + sample, lanes, row + column * item, row_stride)
            return
        if row_stride == size and _is_short(size):
            for sample in range(0, lanes, side):
                _split(tile, at + sample, lanes, size, address + sample * size * item)
            return
        # Rows narrower than a block are read together with what follows them, as far as there is something.
        while row_stride >= size and done < lanes and (lanes - done - side + after) * row_stride + size >= side:
            block_from_memory(tile, buffer, side, address + done * row_stride * item, row_stride)
            for column in range(size):
                copy_line(tile, at + column * lanes + done, buffer + column * side)
            done += side
    for column in range(size):
        to = at + column * lanes
        source = address + column * column_stride * item
        for sample in range(done, count):
            tile[to + sample] = read(tile, source + sample * row_stride * item)
        for sample in range(count, lanes):
            tile[to + sample] = 0.0


@part
def load_shared(width, tile, at, lanes, size, address, column_stride):
    """One row for all samples: every lane the same."""
    for column in range(size):
        fill(width, tile, at + column * lanes, read(tile, address + column * column_stride * tile.itemsize))


@part
def load_numbers(tile, at, size, address, column_stride):
    """One row as it is: a number and not a run each."""
    for column in range(size):
        tile[at + column] = read(tile, address + column * column_stride * tile.itemsize)


@jit
def store_rows(tile, at, lanes, size, count, address, row_stride, column_stride, buffer, stream):
    """Write runs as ``count`` rows; ``stream``: past the caches."""
    item = tile.itemsize
    side = LINE // item
    if column_stride != 1 or (size < side and row_stride != size):
        for sample in range(count):
            row = address + sample * row_stride * item
            for column in range(size):
                write(tile, row + column * column_stride * item, tile[at + column * lanes + sample])
        return
    # Rows that follow each other in memory are put together whole, if they are not too long: one long copy, aligned if
    # the first row is. Others go in stretches, row by row.
    whole = row_stride == size and size <= LONGEST
    stretch = size if whole else STRETCH * side
    for sample in range(0, count, side):
        rows = min(side, count - sample)
        for start in range(0, size, stretch):
            wide = min(stretch, size - start)
            first = start if wide >= side or whole else size - side  # too few columns for a block: take some again
            wide = wide if whole else max(wide, side)
            _turn(tile, at + first * lanes + sample, lanes, wide, side, buffer, stretch)
            for row in range(1 if whole else rows):
                to = address + ((sample + row) * row_stride + first) * item
                _copy(tile, buffer + row * stretch, to, rows * size if whole else wide, side, stream)


@part
def _turn(tile, at, lanes, size, side, to, stride):
    """Put ``side`` lanes of ``size`` runs as rows of the given stride.

    Of narrow rows each is written with what follows it in the block, which the next row then covers; only behind the
    last one something is left.
    """
    if stride == size and _is_short(size):
        _join(tile, to, at, lanes, size)
        return
    for start in range(0, size, side):
        column = max(0, min(start, size - side))  # the last block overlaps the one before
        block_in_tile(tile, to + column, stride, at + column * lanes, lanes)


#: Rows that have code of their own: vectors, with and without a scalar, and degrees 2 and 3.
_THREE, _FOUR, _FIVE, _SEVEN = (0,) * 3, (0,) * 4, (0,) * 5, (0,) * 7


@part
def _is_short(size):
    return size in (3, 4, 5, 7)


@part
def _split(tile, at, lanes, size, address):
    if size == 3:
        split_rows(_THREE, tile, at, lanes, address)
    elif size == 4:
        split_rows(_FOUR, tile, at, lanes, address)
    elif size == 5:
        split_rows(_FIVE, tile, at, lanes, address)
    else:
        split_rows(_SEVEN, tile, at, lanes, address)


@part
def _join(tile, to, at, lanes, size):
    if size == 3:
        join_rows(_THREE, tile, to, at, lanes)
    elif size == 4:
        join_rows(_FOUR, tile, to, at, lanes)
    elif size == 5:
        join_rows(_FIVE, tile, to, at, lanes)
    else:
        join_rows(_SEVEN, tile, to, at, lanes)


@part
def _copy(tile, source, to, count, side, stream):
    done = 0
    item = tile.itemsize
    if stream:
        done = min(count, (-(to // item)) % side)
        for i in range(done):
            write(tile, to + i * item, tile[source + i])
        while done + side <= count:
            stream_line(tile, to + done * item, source + done)
            done += side
    else:
        while done + side <= count:
            write_line(tile, to + done * item, source + done)
            done += side
    for i in range(done, count):
        write(tile, to + i * item, tile[source + i])
