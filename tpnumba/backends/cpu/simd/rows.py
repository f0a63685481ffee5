"""Rows of memory to and from tiles, in which each component is a column of numbers, one a sample."""

from __future__ import annotations

from tpnumba.backends.cpu.layout import LINE, LONGEST, STRETCH
from tpnumba.backends.cpu.runtime.compiler import jit, part
from tpnumba.backends.cpu.simd.memory import (
    copy_line,
    join_rows,
    read,
    split_rows,
    square_from_memory,
    square_in_tile,
    stream_line,
    write,
    write_line,
)
from tpnumba.backends.cpu.simd.vectors import fill


@jit
def load_rows(tile, at, tile_width, size, count, address, row_stride, column_stride, after, buffer):
    """Put ``count`` rows of ``size`` numbers into columns; numbers beyond ``count`` become zero. Strides in numbers.

    ``after``: how many more rows follow them in memory.
    """
    item = tile.itemsize
    vector_length = LINE // item
    done = 0
    if count == tile_width and column_stride == 1:
        if size >= vector_length:
            for sample in range(0, tile_width, vector_length):
                row = address + sample * row_stride * item
                for start in range(0, size, vector_length):
                    component = min(start, size - vector_length)  # the last square overlaps the one before
                    square_from_memory(
                        tile, at + component * tile_width + sample, tile_width, row + component * item, row_stride
                    )
            return
        if row_stride == size and _is_short(size):
            for sample in range(0, tile_width, vector_length):
                _split(tile, size, at + sample, tile_width, address + sample * size * item)
            return
        # Rows narrower than a square are read together with what follows them, as far as there is something.
        while (
            row_stride >= size
            and done < tile_width
            and (tile_width - done - vector_length + after) * row_stride + size >= vector_length
        ):
            square_from_memory(tile, buffer, vector_length, address + done * row_stride * item, row_stride)
            for component in range(size):
                copy_line(tile, at + component * tile_width + done, buffer + component * vector_length)
            done += vector_length
    for component in range(size):
        to = at + component * tile_width
        source = address + component * column_stride * item
        for sample in range(done, count):
            tile[to + sample] = read(tile, source + sample * row_stride * item)
        for sample in range(count, tile_width):
            tile[to + sample] = 0.0


@part
def load_shared(width, tile, at, tile_width, size, address, column_stride):
    """One row for all samples: every number the same."""
    for component in range(size):
        fill(width, tile, at + component * tile_width, read(tile, address + component * column_stride * tile.itemsize))


@part
def load_numbers(tile, at, size, address, column_stride):
    """One row as it is: a number and not a column each."""
    for component in range(size):
        tile[at + component] = read(tile, address + component * column_stride * tile.itemsize)


@jit
def store_rows(tile, at, tile_width, size, count, address, row_stride, column_stride, buffer, stream):
    """Write columns as ``count`` rows; ``stream``: past the caches."""
    item = tile.itemsize
    vector_length = LINE // item
    if column_stride != 1 or (size < vector_length and row_stride != size):
        for sample in range(count):
            row = address + sample * row_stride * item
            for component in range(size):
                write(tile, row + component * column_stride * item, tile[at + component * tile_width + sample])
        return
    # Rows that follow each other in memory are put together whole, if they are not too long: one long copy, aligned if
    # the first row is. Others go in stretches, row by row.
    whole = row_stride == size and size <= LONGEST
    stretch = size if whole else STRETCH * vector_length
    for sample in range(0, count, vector_length):
        rows = min(vector_length, count - sample)
        for start in range(0, size, stretch):
            wide = min(stretch, size - start)
            first = (
                start if wide >= vector_length or whole else size - vector_length
            )  # too few columns for a square: take some again
            wide = wide if whole else max(wide, vector_length)
            _turn(tile, at + first * tile_width + sample, tile_width, wide, vector_length, buffer, stretch)
            for row in range(1 if whole else rows):
                to = address + ((sample + row) * row_stride + first) * item
                _copy(tile, buffer + row * stretch, to, rows * size if whole else wide, vector_length, stream)


@part
def _turn(tile, at, tile_width, size, vector_length, to, stride):
    """Put ``vector_length`` numbers of ``size`` columns as rows of the given stride.

    Of narrow rows each is written with what follows it in the square, which the next row then covers; only behind the
    last one something is left.
    """
    if stride == size and _is_short(size):
        _join(tile, size, to, at, tile_width)
        return
    for start in range(0, size, vector_length):
        component = max(0, min(start, size - vector_length))  # the last square overlaps the one before
        square_in_tile(tile, to + component, stride, at + component * tile_width, tile_width)


#: Rows that have code of their own: vectors, with and without a scalar, and degrees 2 and 3.
_THREE, _FOUR, _FIVE, _SEVEN = (0,) * 3, (0,) * 4, (0,) * 5, (0,) * 7


@part
def _is_short(size):
    return size in (3, 4, 5, 7)


def _of_short_rows(operation):
    """An intrinsic that takes a row's length as a type, for lengths that are known when running."""

    @part
    def choose(tile, size, to, at, other):
        if size == 3:
            operation(tile, _THREE, to, at, other)
        elif size == 4:
            operation(tile, _FOUR, to, at, other)
        elif size == 5:
            operation(tile, _FIVE, to, at, other)
        else:
            operation(tile, _SEVEN, to, at, other)

    return choose


_split, _join = _of_short_rows(split_rows), _of_short_rows(join_rows)


@part
def _copy(tile, source, to, count, vector_length, stream):
    done = 0
    item = tile.itemsize
    if stream:
        done = min(count, (-(to // item)) % vector_length)
        for i in range(done):
            write(tile, to + i * item, tile[source + i])
        while done + vector_length <= count:
            stream_line(tile, to + done * item, source + done)
            done += vector_length
    else:
        while done + vector_length <= count:
            write_line(tile, to + done * item, source + done)
            done += vector_length
    for i in range(done, count):
        write(tile, to + i * item, tile[source + i])
