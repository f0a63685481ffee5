"""Functions of every number of a vector: the exponential, and activations made of it."""

from __future__ import annotations

from math import factorial, log

from llvmlite import ir

from tpnumba.backends.cpu.simd.intrinsics import Position, on_vectors

#: Of each dtype, by its bytes: bits of the fraction, largest exponent, and powers in the series: its first term that is
#: left out is below half a unit in the last place for |r| < log(2) / 2.
_FORMATS = {4: (23, 127, 7), 8: (52, 1023, 13)}


def exponential(emit, x):
    """``exp(x)`` to about one unit in the last place: ``2^n`` times a series in ``r = x - n log(2)``.

    NaN stays NaN. What is too large gives infinity, from half the largest number on; what is too small the smallest
    normal number or zero.
    """
    builder = emit.builder
    fraction, bias, powers = _FORMATS[emit.item_bytes]
    integer = ir.VectorType(ir.IntType(8 * emit.item_bytes), emit.count)

    def whole(value):
        return ir.Constant(integer, [value] * emit.count)

    for sign, limit in ((">", (bias + 1) * log(2)), ("<", (1 - bias) * log(2))):
        bound = emit.constant(limit)
        x = builder.select(builder.fcmp_ordered(sign, x, bound), bound, x)
    shift = 1.5 * 2.0**fraction  # added, it leaves a whole number in the last bits of the fraction
    shifted = emit.plus(emit.times(x, emit.constant(1 / log(2))), emit.constant(shift))
    n = emit.minus(shifted, emit.constant(shift))
    digits = 9 if emit.item_bytes == 4 else 32
    upper = round(log(2) * 2**digits) / 2**digits  # n times this is exact
    r = emit.minus(x, emit.times(n, emit.constant(upper)))
    r = emit.minus(r, emit.times(n, emit.constant(log(2) - upper)))
    total = emit.constant(1 / factorial(powers))
    for power in reversed(range(powers)):
        total = emit.plus(emit.times(total, r), emit.constant(1 / factorial(power)))
    bits = builder.bitcast(shifted, integer)
    of_shift = builder.bitcast(emit.constant(shift), integer)
    exponent = builder.add(builder.sub(bits, of_shift), whole(bias))
    return emit.times(total, builder.bitcast(builder.shl(exponent, whole(fraction)), x.type))


def _one_plus_exponential(emit, z):
    return emit.plus(emit.constant(1.0), exponential(emit, emit.minus(emit.constant(0.0), z)))


@on_vectors
def silu(emit, place: Position):
    """``z / (1 + exp(-z))`` in the place of ``z``."""
    z = emit.load(place)
    emit.store(emit.over(z, _one_plus_exponential(emit, z)), place)


@on_vectors
def silu_with_slope(emit, place: Position, slope: Position):
    """``z / (1 + exp(-z))`` in the place of ``z``, and its derivative."""
    z, one = emit.load(place), emit.constant(1.0)
    s = emit.over(one, _one_plus_exponential(emit, z))
    value = emit.times(z, s)
    emit.store(value, place)
    emit.store(emit.plus(s, emit.times(value, emit.minus(one, s))), slope)
