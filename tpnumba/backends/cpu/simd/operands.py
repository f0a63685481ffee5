"""The operands of a kernel: rows in memory, and where they stand in a tile, as the table of a program says."""

from __future__ import annotations

from tpnumba.backends.cpu.layout import ADDRESS, AT, COLUMN_STRIDE, COMPACT, OUTPUT, ROW_STRIDE, SHARED, SIZE
from tpnumba.backends.cpu.runtime.compiler import part
from tpnumba.backends.cpu.simd.rows import load_numbers, load_rows, load_shared, store_rows
from tpnumba.backends.cpu.simd.vectors import sum_column


@part
def load_shared_operands(width, tile, tile_width, operands):
    """The operands with one row for all samples, once."""
    for i in range(operands.shape[0]):
        if operands[i, SHARED] and not operands[i, OUTPUT]:
            at, size = operands[i, AT], operands[i, SIZE]
            if operands[i, SHARED] == COMPACT:
                load_numbers(tile, at, size, operands[i, ADDRESS], operands[i, COLUMN_STRIDE])
            else:
                load_shared(width, tile, at, tile_width, size, operands[i, ADDRESS], operands[i, COLUMN_STRIDE])


@part
def load_operands(tile, tile_width, operands, first, stop, buffer):
    """The other operands, of as many samples from ``first`` on as there are before ``stop`` and fit; their count."""
    count = min(tile_width, stop - first)
    for i in range(operands.shape[0]):
        if not operands[i, SHARED] and not operands[i, OUTPUT]:
            address = operands[i, ADDRESS] + first * operands[i, ROW_STRIDE] * tile.itemsize
            at, size = operands[i, AT], operands[i, SIZE]
            row_stride, column_stride = operands[i, ROW_STRIDE], operands[i, COLUMN_STRIDE]
            after = stop - first - count
            load_rows(tile, at, tile_width, size, count, address, row_stride, column_stride, after, buffer)
    return count


@part
def store_operands(width, tile, tile_width, operands, first, count, buffer, stream):
    """The result of ``count`` samples from ``first`` on; one with a row for all samples is added up in the tile."""
    for i in range(operands.shape[0]):
        if operands[i, OUTPUT]:
            at, size = operands[i, AT], operands[i, SIZE]
            if operands[i, SHARED]:
                _add_up(width, tile, at, tile_width, size, count, operands[i, OUTPUT])
            else:
                row_stride, column_stride = operands[i, ROW_STRIDE], operands[i, COLUMN_STRIDE]
                address = operands[i, ADDRESS] + first * row_stride * tile.itemsize
                store_rows(tile, at, tile_width, size, count, address, row_stride, column_stride, buffer, stream)


@part
def _add_up(width, tile, at, tile_width, size, count, total):
    """Add the sum over the first ``count`` numbers of each column to the numbers from ``total`` on."""
    for column in range(size):
        place = at + column * tile_width
        for sample in range(count, tile_width):
            tile[place + sample] = 0.0
        tile[total + column] += sum_column(width, tile, place)
