"""Numbers between memory and a tile, in registers: squares turned, lines copied, also past the caches.

A *square* is as many rows as a vector has numbers, and as many numbers of each.
"""

from __future__ import annotations

from llvmlite import ir

from tpnumba.backends.cpu.layout import LINE
from tpnumba.backends.cpu.runtime.compiler import jit
from tpnumba.backends.cpu.simd.intrinsics import Length, Number, Position, on_columns, on_vectors


def transposed(emit, rows):
    """A square turned, by exchanging ever smaller halves between pairs of rows."""
    count = len(rows)
    half = count // 2
    while half:
        for i in range(count):
            if i & half:
                continue
            lower, upper = rows[i], rows[i + half]
            rows[i] = emit.shuffled(lower, upper, [p if not p & half else count + p - half for p in range(count)])
            rows[i + half] = emit.shuffled(
                lower, upper, [p + half if not p & half else count + p for p in range(count)]
            )
        half //= 2
    return rows


def _turn(emit, source, source_stride, to, to_stride):
    """Turn a square, from rows at one pointer to rows at another."""
    builder = emit.builder

    def row(pointer, stride, i):
        return builder.gep(pointer, [builder.mul(stride, ir.Constant(stride.type, i))])

    rows = [emit.load_from(row(source, source_stride, i), align=emit.item_bytes) for i in range(emit.count)]
    for i, value in enumerate(transposed(emit, rows)):
        emit.store_to(value, row(to, to_stride, i), align=emit.item_bytes)


@on_vectors
def square_from_memory(emit, to: Position, to_stride: Position, address: Position, stride: Position):
    """Turn rows of 64 bytes at ``address`` (stride in numbers) into columns of the tile."""
    _turn(emit, emit.memory(address), stride, emit.pointer(to), to_stride)


@on_vectors
def square_in_tile(emit, to: Position, to_stride: Position, source: Position, source_stride: Position):
    """Turn a square of the tile into rows elsewhere in it."""
    _turn(emit, emit.pointer(source), source_stride, emit.pointer(to), to_stride)


@on_vectors
def square_to_memory(emit, source: Position, source_stride: Position, address: Position, stride: Position):
    """Turn a square of the tile into rows of 64 bytes at ``address`` (stride in numbers)."""
    _turn(emit, emit.pointer(source), source_stride, emit.memory(address), stride)


def _split(emit, size, places, address):
    """Rows of ``size`` numbers at an address, one right after the other, as a vector at a place for each component."""
    count = LINE // emit.item_bytes
    rows = emit.load_from(emit.memory(address), size * count, emit.item_bytes)
    for component, place in enumerate(places):
        emit.store(emit.shuffled(rows, rows, [size * i + component for i in range(count)]), place)


@on_vectors
def split_rows(emit, row: Length, to: Position, stride: Position, address: Position):
    """Turn as many rows as a vector has numbers, one right after the other at ``address``, into columns of the tile.

    ``row`` is a tuple as long as a row. The masks are made for it, which is quicker than squares for the shortest rows.
    """
    _split(emit, row, [emit.moved(to, component, stride) for component in range(row)], address)


@on_columns
def split_points(emit, to: Position, address: Position):
    """Points that follow each other in memory, as many as a column has numbers, into columns of x, y and z."""
    for vector in range(emit.vectors):
        first = ir.Constant(to.type, vector * LINE // emit.item_bytes)
        places = [emit.builder.add(emit.moved(to, axis), first) for axis in range(3)]
        _split(emit, 3, places, emit.builder.add(address, ir.Constant(address.type, vector * 3 * LINE)))


@on_vectors
def join_rows(emit, row: Length, to: Position, source: Position, stride: Position):
    """The reverse of ``split_rows``, within the tile."""
    count, size = emit.count, row
    columns = [emit.load(emit.moved(source, component, stride)) for component in range(size)]
    joined = columns[0]
    for i, column in enumerate(columns[1:], start=1):
        # Both sides of a shuffle are as long as the result was before; what the column lacks is left open.
        longer = emit.shuffled(column, column, list(range(count)) + [0] * ((i - 1) * count))
        joined = emit.shuffled(joined, longer, list(range((i + 1) * count)))
    mask = [column * count + sample for sample in range(count) for column in range(size)]
    emit.store_to(emit.shuffled(joined, joined, mask), emit.pointer(to), align=emit.item_bytes)


@on_vectors
def read(emit, address: Position) -> Number:
    """The number at ``address``, of the tile's dtype."""
    return emit.builder.load(emit.memory(address))


@on_vectors
def write(emit, address: Position, value: Number):
    """Put a number to ``address``."""
    emit.builder.store(value, emit.memory(address))


@on_vectors
def address_of(emit, place: Position) -> Position:
    """Where a number of the tile is in memory."""
    return emit.builder.ptrtoint(emit.pointer(place), place.type)


@on_vectors
def write_line(emit, address: Position, source: Position):
    """Copy 64 bytes of the tile to ``address``, at any alignment."""
    value = emit.load_from(emit.pointer(source), align=emit.item_bytes)
    emit.store_to(value, emit.memory(address), align=emit.item_bytes)


@on_vectors
def copy_line(emit, to: Position, source: Position):
    """Copy 64 bytes of the tile, both places multiples of 64 bytes."""
    emit.store(emit.load(source), to)


@on_vectors
def stream_line(emit, address: Position, source: Position):
    """Copy 64 bytes of the tile to ``address``, a multiple of 64, past the caches."""
    value = emit.load_from(emit.pointer(source), align=emit.item_bytes)
    stored = emit.store_to(value, emit.memory(address))
    stored.set_metadata("nontemporal", emit.builder.module.add_metadata([ir.Constant(ir.IntType(32), 1)]))


@on_vectors
def fence(emit):
    """Make streamed lines visible before anything that follows."""
    emit.builder.fence("seq_cst")


@on_vectors
def zero_line(emit, address: Position):
    """Put 64 bytes of zeros to an address, at any alignment."""
    emit.store_to(emit.constant(0.0), emit.memory(address), align=emit.item_bytes)


@on_vectors
def copy_memory_line(emit, address: Position, source: Position):
    """Copy 64 bytes from address to address, at any alignment."""
    value = emit.load_from(emit.memory(source), align=emit.item_bytes)
    emit.store_to(value, emit.memory(address), align=emit.item_bytes)


@jit
def copy_numbers(tile, address, source, count):
    """Copy numbers that follow each other from address to address."""
    item = tile.itemsize
    lanes, done = LINE // item, 0
    while done + lanes <= count:
        copy_memory_line(tile, address + done * item, source + done * item)
        done += lanes
    for i in range(done, count):
        write(tile, address + i * item, read(tile, source + i * item))
