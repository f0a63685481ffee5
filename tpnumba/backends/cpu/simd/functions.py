"""Functions of every number of a vector: the exponential, and activations made of it."""

from __future__ import annotations

from decimal import Decimal
from math import factorial, log

from llvmlite import ir

from tpnumba.backends.cpu.simd.intrinsics import Position, on_vectors

#: Of each dtype, by its bytes: bits of the fraction, largest exponent, and powers in the series: its first term that is
#: left out is below half a unit in the last place for |r| < log(2) / 2.
_FORMATS = {4: (23, 127, 7), 8: (52, 1023, 13)}


def exponential(emit, x):
    """``exp(x)`` to about one unit in the last place: ``2^n`` times a series in ``r = x - n log(2)``.

    NaN stays NaN. What is too large gives infinity, from 0.7 times the largest number on; what is below the smallest
    normal number gives zero.
    """
    builder = emit.builder
    fraction, bias, powers = _FORMATS[emit.item_bytes]
    integer = ir.VectorType(ir.IntType(8 * emit.item_bytes), emit.count)

    def whole(value):
        return ir.Constant(integer, [value] * emit.count)

    most, least = emit.constant((bias + 1) * log(2)), emit.constant((1 - bias) * log(2))
    x = builder.select(builder.fcmp_ordered(">", x, most), most, x)
    is_small = builder.fcmp_ordered("<", x, least)
    shift = 1.5 * 2.0**fraction  # added, it leaves a whole number in the last bits of the fraction
    shifted = emit.plus(emit.times(x, emit.constant(1 / log(2))), emit.constant(shift))
    n = emit.minus(shifted, emit.constant(shift))
    digits = 9 if emit.item_bytes == 4 else 32
    upper = round(log(2) * 2**digits) / 2**digits  # n times this is exact
    r = emit.minus(x, emit.times(n, emit.constant(upper)))
    r = emit.minus(r, emit.times(n, emit.constant(float(Decimal(2).ln() - Decimal(upper)))))
    total = emit.constant(1 / factorial(powers))
    for power in reversed(range(powers)):
        total = emit.plus(emit.times(total, r), emit.constant(1 / factorial(power)))
    bits = builder.bitcast(shifted, integer)
    of_shift = builder.bitcast(emit.constant(shift), integer)
    exponent = builder.add(builder.sub(bits, of_shift), whole(bias))
    power = emit.times(total, builder.bitcast(builder.shl(exponent, whole(fraction)), x.type))
    return builder.select(is_small, emit.constant(0.0), power)


@on_vectors
def silu(emit, place: Position):
    """``z / (1 + exp(-z))`` in the place of ``z``."""
    z = emit.load(place)
    e = exponential(emit, emit.minus(emit.constant(0.0), z))
    emit.store(emit.over(z, emit.plus(emit.constant(1.0), e)), place)


@on_vectors
def silu_with_slope(emit, place: Position, slope: Position):
    """``f = z s`` in the place of ``z``, and its derivative ``s + f (1 - s)``, where ``s = 1 / (1 + exp(-z))``.

    ``1 - s`` is taken as ``exp(-z) s``, which keeps its digits.
    """
    builder, z, one = emit.builder, emit.load(place), emit.constant(1.0)
    e = exponential(emit, emit.minus(emit.constant(0.0), z))
    s = emit.over(one, emit.plus(one, e))
    value = emit.times(z, s)
    finite = emit.constant(2.0 ** (_FORMATS[emit.item_bytes][1] - 1))
    e = builder.select(builder.fcmp_ordered(">", e, finite), finite, e)
    emit.store(value, place)
    emit.store(emit.plus(s, emit.times(value, emit.times(e, s))), slope)
