"""Numbers between memory and a tile, in registers: square blocks turned, lines copied, also past the caches."""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from tpnumba.backends.cpu.emit import LINE, at_address, count_of, load, pointer, store


def _transposed(builder, rows, count):
    """Square blocks turned by exchanging ever smaller halves between pairs of rows."""
    mask = ir.VectorType(ir.IntType(32), count)
    half = count // 2
    while half:
        for i in range(count):
            if i & half:
                continue
            lower, upper = rows[i], rows[i + half]
            keep = [p if not p & half else count + p - half for p in range(count)]
            move = [p + half if not p & half else count + p for p in range(count)]
            rows[i] = builder.shuffle_vector(lower, upper, ir.Constant(mask, keep))
            rows[i + half] = builder.shuffle_vector(lower, upper, ir.Constant(mask, move))
        half //= 2
    return rows


def _block(builder, source, source_stride, to, to_stride, dtype):
    count, align = count_of(dtype), dtype.bitwidth // 8

    def row(pointer, stride, i):
        return builder.gep(pointer, [builder.mul(stride, ir.Constant(stride.type, i))])

    rows = [load(builder, row(source, source_stride, i), count, align) for i in range(count)]
    for i, value in enumerate(_transposed(builder, rows, count)):
        store(builder, value, row(to, to_stride, i), align)


@intrinsic
def block_from_memory(typing_context, tile, to, to_stride, address, stride):
    """Turn a square block of rows of 64 bytes at ``address`` (stride in numbers) into runs of the tile."""
    signature = types.void(tile, types.intp, types.intp, types.intp, types.intp)

    def generate(context, builder, signature, arguments):
        kind = signature.args[0]
        to = pointer(context, builder, kind, arguments[0], arguments[1])
        source = at_address(builder, arguments[3], kind.dtype)
        _block(builder, source, arguments[4], to, arguments[2], kind.dtype)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def block_in_tile(typing_context, tile, to, to_stride, source, source_stride):
    """Turn a square block of the tile into rows elsewhere in it."""
    signature = types.void(tile, types.intp, types.intp, types.intp, types.intp)

    def generate(context, builder, signature, arguments):
        kind = signature.args[0]
        to, source = (pointer(context, builder, kind, arguments[0], place) for place in (arguments[1], arguments[3]))
        _block(builder, source, arguments[4], to, arguments[2], kind.dtype)
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
