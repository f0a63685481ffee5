"""What threads that hold no lock of the interpreter need of the machine: words that they share, a pause, and a clock.

For code that Numba compiles. A word is an integer of 64 bits, and is given by its address; so are functions of C.
"""

from __future__ import annotations

import time

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

WORD_BYTES = 8

_WORD = ir.IntType(64)
#: The clock that does not go backwards, nor jump.
_MONOTONIC = getattr(time, "CLOCK_MONOTONIC", 0)


def _pointer(builder, address):
    return builder.inttoptr(address, _WORD.as_pointer())


@intrinsic
def load(typing_context, address):
    """The word; what its writer had written before is seen from now on."""

    def generate(context, builder, signature, arguments):
        return builder.load_atomic(_pointer(builder, arguments[0]), "seq_cst", WORD_BYTES)

    return types.int64(types.int64), generate


@intrinsic
def store(typing_context, address, value):
    """Set the word, after everything that this thread wrote before."""

    def generate(context, builder, signature, arguments):
        builder.store_atomic(arguments[1], _pointer(builder, arguments[0]), "release", WORD_BYTES)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), generate


@intrinsic
def add(typing_context, address, value):
    """Add to the word; gives what stood there."""

    def generate(context, builder, signature, arguments):
        return builder.atomic_rmw("add", _pointer(builder, arguments[0]), arguments[1], "seq_cst")

    return types.int64(types.int64, types.int64), generate


@intrinsic
def keep_bits(typing_context, address, mask):
    """Clear the bits of the word that ``mask`` has not; gives what stood there."""

    def generate(context, builder, signature, arguments):
        return builder.atomic_rmw("and", _pointer(builder, arguments[0]), arguments[1], "seq_cst")

    return types.int64(types.int64, types.int64), generate


@intrinsic
def exchange(typing_context, address, expected, value):
    """Set the word if it is what is expected; whether it was."""

    def generate(context, builder, signature, arguments):
        address, expected, value = arguments
        swapped = builder.cmpxchg(_pointer(builder, address), expected, value, "seq_cst", "seq_cst")
        return builder.extract_value(swapped, 1)

    return types.boolean(types.int64, types.int64, types.int64), generate


@intrinsic
def pause(typing_context):
    """Let the core rest for some tens of cycles, between two looks at a word."""

    def generate(context, builder, signature, arguments):
        processor = builder.module.triple.partition("-")[0]
        if processor in {"x86_64", "i686"}:
            function = ir.FunctionType(ir.VoidType(), ())
            builder.call(cgutils.get_or_insert_function(builder.module, function, "llvm.x86.sse2.pause"), ())
        elif processor in {"aarch64", "arm64"}:
            function = ir.FunctionType(ir.VoidType(), (ir.IntType(32),))
            hint = cgutils.get_or_insert_function(builder.module, function, "llvm.aarch64.hint")
            builder.call(hint, (ir.Constant(ir.IntType(32), 1),))
        return context.get_dummy_value()

    return types.void(), generate


@intrinsic
def give_way(typing_context, function):
    """Let another thread have the core, if one waits for it; ``function``: the address of ``sched_yield``."""

    def generate(context, builder, signature, arguments):
        kind = ir.FunctionType(ir.IntType(32), ())
        builder.call(builder.inttoptr(arguments[0], kind.as_pointer()), ())
        return context.get_dummy_value()

    return types.void(types.int64), generate


@intrinsic
def nanoseconds(typing_context, clock):
    """The time; ``clock``: the address of ``clock_gettime``."""

    def generate(context, builder, signature, arguments):
        read = ir.FunctionType(ir.IntType(32), (ir.IntType(32), _WORD.as_pointer()))
        time_of = cgutils.alloca_once(builder, _WORD, size=2)
        function = builder.inttoptr(arguments[0], read.as_pointer())
        builder.call(function, (ir.Constant(ir.IntType(32), _MONOTONIC), time_of))
        seconds, rest = (builder.load(builder.gep(time_of, [ir.Constant(ir.IntType(32), i)])) for i in (0, 1))
        return builder.add(builder.mul(seconds, ir.Constant(_WORD, 10**9)), rest)

    return types.int64(types.int64), generate


@intrinsic
def run_kernel(typing_context, function, tile, table, start, stop):
    """Call ``void kernel(void *tile, const int64_t *arrays, int64_t start, int64_t stop)``."""

    def generate(context, builder, signature, arguments):
        address, tile, table, start, stop = arguments
        byte = ir.IntType(8).as_pointer()
        kernel = ir.FunctionType(ir.VoidType(), (byte, _WORD.as_pointer(), _WORD, _WORD))
        function = builder.inttoptr(address, kernel.as_pointer())
        builder.call(function, (builder.inttoptr(tile, byte), _pointer(builder, table), start, stop))
        return context.get_dummy_value()

    return types.void(*(types.int64,) * 5), generate
