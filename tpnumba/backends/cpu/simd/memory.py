"""Numbers between memory and a tile, in registers: square blocks turned, lines copied, also past the caches."""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from tpnumba.backends.cpu.layout import LINE
from tpnumba.backends.cpu.simd.codegen import at_address, count_of, load, pointer, store, turn_block


@intrinsic
def block_from_memory(typing_context, tile, to, to_stride, address, stride):
    """Turn a square block of rows of 64 bytes at ``address`` (stride in numbers) into columns of the tile."""
    signature = types.void(tile, types.intp, types.intp, types.intp, types.intp)

    def generate(context, builder, signature, arguments):
        kind = signature.args[0]
        to = pointer(context, builder, kind, arguments[0], arguments[1])
        source = at_address(builder, arguments[3], kind.dtype)
        turn_block(builder, source, arguments[4], to, arguments[2], kind.dtype)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def block_in_tile(typing_context, tile, to, to_stride, source, source_stride):
    """Turn a square block of the tile into rows elsewhere in it."""
    signature = types.void(tile, types.intp, types.intp, types.intp, types.intp)

    def generate(context, builder, signature, arguments):
        kind = signature.args[0]
        to, source = (pointer(context, builder, kind, arguments[0], place) for place in (arguments[1], arguments[3]))
        turn_block(builder, source, arguments[4], to, arguments[2], kind.dtype)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def split_rows(typing_context, row, tile, to, stride, address):
    """Turn as many rows as a vector has numbers, one right after the other at ``address``, into columns of the tile.

    ``row`` is a tuple as long as a row; the masks are made for it, which for the shortest rows is quicker than a block.
    """
    signature = types.void(row, tile, types.intp, types.intp, types.intp)

    def generate(context, builder, signature, arguments):
        kind, size = signature.args[1], len(signature.args[0])
        _, tile, to, stride, address = arguments
        count = count_of(kind.dtype)
        rows = load(builder, at_address(builder, address, kind.dtype), size * count, kind.dtype.bitwidth // 8)
        for column in range(size):
            mask = ir.Constant(ir.VectorType(ir.IntType(32), count), [size * i + column for i in range(count)])
            place = builder.add(to, builder.mul(stride, ir.Constant(stride.type, column)))
            store(builder, builder.shuffle_vector(rows, rows, mask), pointer(context, builder, kind, tile, place), LINE)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def join_rows(typing_context, row, tile, to, source, stride):
    """The reverse of ``split_rows``, within the tile."""
    signature = types.void(row, tile, types.intp, types.intp, types.intp)

    def generate(context, builder, signature, arguments):
        kind, size = signature.args[1], len(signature.args[0])
        _, tile, to, source, stride = arguments
        count = count_of(kind.dtype)
        index = ir.IntType(32)
        places = [builder.add(source, builder.mul(stride, ir.Constant(stride.type, i))) for i in range(size)]
        joined = load(builder, pointer(context, builder, kind, tile, places[0]), count, LINE)
        for i, place in enumerate(places[1:], start=1):
            column_values = load(builder, pointer(context, builder, kind, tile, place), count, LINE)
            width = (i + 1) * count
            # Both sides of a shuffle are as long as the result was before; what the column lacks is left open.
            longer = list(range(count)) + [0] * ((i - 1) * count)
            column_values = builder.shuffle_vector(
                column_values, column_values, ir.Constant(ir.VectorType(index, i * count), longer)
            )
            together = ir.Constant(ir.VectorType(index, width), list(range(width)))
            joined = builder.shuffle_vector(joined, column_values, together)
        mask = [column * count + sample for sample in range(count) for column in range(size)]
        rows = builder.shuffle_vector(joined, joined, ir.Constant(ir.VectorType(index, size * count), mask))
        store(builder, rows, pointer(context, builder, kind, tile, to), kind.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def read(typing_context, tile, address):
    """The number at ``address``, of the tile's dtype."""
    signature = tile.dtype(tile, types.intp)

    def generate(context, builder, signature, arguments):
        return builder.load(at_address(builder, arguments[1], signature.args[0].dtype))

    return signature, generate


@intrinsic
def write(typing_context, tile, address, value):
    """Put a number to ``address``."""
    signature = types.void(tile, types.intp, tile.dtype)

    def generate(context, builder, signature, arguments):
        builder.store(arguments[2], at_address(builder, arguments[1], signature.args[0].dtype))
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def write_line(typing_context, tile, address, source):
    """Copy 64 bytes of the tile to ``address``, at any alignment."""
    signature = types.void(tile, types.intp, types.intp)

    def generate(context, builder, signature, arguments):
        kind = signature.args[0]
        align = kind.dtype.bitwidth // 8
        value = load(builder, pointer(context, builder, kind, arguments[0], arguments[2]), count_of(kind.dtype), align)
        store(builder, value, at_address(builder, arguments[1], kind.dtype), align)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def copy_line(typing_context, tile, to, source):
    """Copy 64 bytes of the tile, both places multiples of 64 bytes."""
    signature = types.void(tile, types.intp, types.intp)

    def generate(context, builder, signature, arguments):
        kind = signature.args[0]
        to, source = (pointer(context, builder, kind, arguments[0], place) for place in arguments[1:])
        store(builder, load(builder, source, count_of(kind.dtype), LINE), to, LINE)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def stream_line(typing_context, tile, address, source):
    """Copy 64 bytes of the tile to ``address``, a multiple of 64, past the caches."""
    signature = types.void(tile, types.intp, types.intp)

    def generate(context, builder, signature, arguments):
        kind = signature.args[0]
        value = load(
            builder,
            pointer(context, builder, kind, arguments[0], arguments[2]),
            count_of(kind.dtype),
            kind.dtype.bitwidth // 8,
        )
        stored = store(builder, value, at_address(builder, arguments[1], kind.dtype), LINE)
        stored.set_metadata("nontemporal", builder.module.add_metadata([ir.Constant(ir.IntType(32), 1)]))
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def fence(typing_context):
    """Make streamed lines visible before anything that follows."""
    signature = types.void()

    def generate(context, builder, signature, arguments):
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return signature, generate
