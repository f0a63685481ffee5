"""Rows that a sample finds by a number: read into columns of a tile, and columns added to them."""

from __future__ import annotations

from llvmlite import ir

from tpnumba.backends.cpu.layout import LINE
from tpnumba.backends.cpu.runtime.compiler import jit
from tpnumba.backends.cpu.simd.intrinsics import Position, on_vectors
from tpnumba.backends.cpu.simd.memory import read, square_in_tile, transposed, write

#: Bytes of the number of a row.
INDEX_BYTES = 4


@on_vectors
def row_number(emit, address: Position) -> Position:
    """The number of a row, which stands at ``address``."""
    number = emit.builder.load(emit.builder.inttoptr(address, ir.IntType(32).as_pointer()))
    return emit.builder.sext(number, address.type)


@on_vectors
def square_from_rows(emit, to: Position, to_stride: Position, address: Position, stride: Position, index: Position):
    """Turn 64 bytes each of the rows whose numbers stand at ``index`` into columns of the tile; strides in numbers."""
    builder, kind = emit.builder, address.type
    numbers = builder.inttoptr(index, ir.IntType(32).as_pointer())
    step = builder.mul(stride, ir.Constant(kind, emit.item_bytes))
    rows = []
    for i in range(emit.count):
        number = builder.sext(builder.load(builder.gep(numbers, [ir.Constant(kind, i)])), kind)
        row = builder.add(address, builder.mul(number, step))
        rows.append(emit.load_from(emit.memory(row), align=emit.item_bytes))
    for i, column in enumerate(transposed(emit, rows)):
        emit.store(column, emit.moved(to, i, to_stride))


@on_vectors
def add_line(emit, address: Position, source: Position):
    """Add 64 bytes of the tile to those at ``address``, at any alignment."""
    pointer = emit.memory(address)
    total = emit.plus(emit.load_from(pointer, align=emit.item_bytes), emit.load(source))
    emit.store_to(total, pointer, align=emit.item_bytes)


@jit
def load_indexed_rows(tile, at, tile_width, size, count, address, row_stride, column_stride, index):
    """Put ``count`` rows, whose numbers stand at ``index``, into columns; numbers beyond ``count`` become zero."""
    item = tile.itemsize
    vector_length = LINE // item
    done = 0
    if column_stride == 1 and size >= vector_length:
        while done + vector_length <= count:
            for start in range(0, size, vector_length):
                component = min(start, size - vector_length)  # the last square overlaps the one before
                to, source = at + component * tile_width + done, address + component * item
                square_from_rows(tile, to, tile_width, source, row_stride, index + done * INDEX_BYTES)
            done += vector_length
    for sample in range(done, count):
        row = address + row_number(tile, index + sample * INDEX_BYTES) * row_stride * item
        for component in range(size):
            tile[at + component * tile_width + sample] = read(tile, row + component * column_stride * item)
    for component in range(size):
        for sample in range(count, tile_width):
            tile[at + component * tile_width + sample] = 0.0


@jit
def add_indexed_rows(tile, at, tile_width, size, count, address, row_stride, column_stride, index, buffer):
    """Add columns to ``count`` rows whose numbers stand at ``index``, one after the other."""
    item = tile.itemsize
    vector_length = LINE // item
    whole = size - size % vector_length if column_stride == 1 else 0
    for sample in range(0, count, vector_length):
        rows = min(vector_length, count - sample)
        for start in range(0, whole, vector_length):
            square_in_tile(tile, buffer, vector_length, at + start * tile_width + sample, tile_width)
            for i in range(rows):
                row = row_number(tile, index + (sample + i) * INDEX_BYTES) * row_stride
                add_line(tile, address + (row + start) * item, buffer + i * vector_length)
        for i in range(rows):
            row = row_number(tile, index + (sample + i) * INDEX_BYTES) * row_stride
            for component in range(whole, size):
                place = address + (row + component * column_stride) * item
                write(tile, place, read(tile, place) + tile[at + component * tile_width + sample + i])
