"""Spherical harmonics of one point, written down with an emitter: recursions by degree, order by order."""

from __future__ import annotations

from math import sqrt

import numpy as np

from tpnumba.inline.emitter import Emitter, Value
from tpnumba.plans.harmonics import HIGHEST_SINGLE
from tpnumba.tables.clebsch_gordan import Array
from tpnumba.tables.couplings import harmonic_scale
from tpnumba.tables.spherical_harmonics import recursion, sectoral

#: The largest degree that is written out; above are loops over tables.
MOST_WRITTEN_OUT = 10
#: The largest degree at all, where tables take 1 MB in float64.
HIGHEST = 256
#: Powers of two between which the squares of the largest component are usual numbers; what makes larger and smaller
#: components such, subnormal ones included.
_USUAL = {"float32": (60, -70, 100), "float64": (500, -600, 600)}
#: Arguments: the point and the result.
POINT, RESULT = 0, 1


def check_degrees(lmax: int, dtype: str) -> None:
    """Raise ``ValueError`` where there is no kernel."""
    most = HIGHEST_SINGLE if dtype == "float32" else HIGHEST
    if lmax > most:
        raise ValueError(f"lmax must be at most {most} for a {dtype} kernel inside of loops, got {lmax}")


def emit_harmonics(emit: Emitter, lmax: int, normalization: str, *, normalize: bool) -> None:
    """Write the harmonics of degrees 0 to ``lmax``.

    As in ``backends/generic/harmonics.py``, where what cancels near the polar axis is avoided for directions; scales of
    degrees are part of the coefficients.
    """
    scales = [harmonic_scale(normalization, n) / harmonic_scale("component", n) for n in range(lmax + 1)]
    emit.store(RESULT, emit.integer(0), emit.number(scales[0]))
    if lmax == 0:
        return
    x, y, z = (emit.load(POINT, emit.integer(axis)) for axis in range(3))
    if normalize:
        x, y, z = _direction(emit, x, y, z)
        one = emit.number(1.0)
        square = emit.multiply(emit.subtract(y, one), emit.add(y, one))
    else:
        square = emit.multiply(y, y)
    square = emit.multiply_add(z, z, emit.multiply_add(x, x, square))
    write = _written_out if lmax <= MOST_WRITTEN_OUT else _in_loops
    write(emit, lmax, np.array(scales), (x, y, z), square, normalize)


def _direction(emit: Emitter, x: Value, y: Value, z: Value) -> tuple[Value, Value, Value]:
    """``r / |r|``, zero at zero; a NaN or an infinity in any component makes all of it NaN."""
    usual, down, up = _USUAL[emit.dtype.name]
    one, zero = emit.number(1.0), emit.number(0.0)
    largest = zero
    for part in (x, y, z):
        size = emit.magnitude(part)
        largest = emit.if_above(size, largest, size, largest)
    factor = emit.if_above(largest, emit.number(2.0**usual), emit.number(2.0**down), one)
    factor = emit.if_above(emit.number(2.0**-usual), largest, emit.number(2.0**up), factor)
    x, y, z = (emit.multiply(part, factor) for part in (x, y, z))
    squared = emit.multiply_add(z, z, emit.multiply_add(y, y, emit.multiply(x, x)))
    inverse = emit.reciprocal(emit.square_root(squared))
    # Zero at zero; squared - squared is NaN for infinities.
    inverse = emit.if_above(emit.number(float(np.finfo(emit.dtype).tiny)), squared, zero, inverse)
    inverse = emit.add(inverse, emit.subtract(squared, squared))
    return emit.multiply(x, inverse), emit.multiply(y, inverse), emit.multiply(z, inverse)


def _coefficients(lmax: int, scales: Array) -> tuple[Array, Array, Array]:
    """From each sectoral harmonic to the next; and (a, b) of the recursion, by degree and order.

    Shapes ``(lmax + 1,)`` and ``(lmax + 1, lmax + 1)``.
    """
    sector = sectoral(lmax) / sectoral(lmax)[0] * np.where(np.arange(lmax + 1) > 0, sqrt(2), 1.0) * scales
    powers = np.concatenate([sector[:1], sector[1:] / sector[:-1]])
    a, b = np.zeros((2, lmax + 1, lmax + 1))
    for degree in range(1, lmax + 1):
        own_a, own_b = recursion(degree)
        a[degree, :degree] = own_a * (scales[degree] / scales[degree - 1])
        b[degree, :degree] = own_b * (scales[degree] / scales[degree - 2] if degree > 1 else 0.0)
    return powers, a, b


def _raised(emit: Emitter, y: Value, square: Value, a: Value, b: Value, now: Value, below: Value, unit: bool) -> Value:
    """``a y now - b |r|^2 below``; ``square`` is ``|r|^2 - 1`` if ``unit``."""
    over = emit.multiply_add(square, below, below) if unit else emit.multiply(square, below)
    return emit.subtract(emit.multiply(a, emit.multiply(y, now)), emit.multiply(b, over))


def _written_out(
    emit: Emitter, lmax: int, scales: Array, point: tuple[Value, Value, Value], square: Value, unit: bool
) -> None:
    powers, a, b = _coefficients(lmax, scales)
    x, y, z = point
    cosine, sine = emit.number(float(powers[0])), None
    for m in range(lmax + 1):
        if m:
            factor = emit.number(float(powers[m]))
            real, imaginary = emit.multiply(factor, z), emit.multiply(factor, x)
            if sine is None:
                cosine, sine = emit.multiply(cosine, real), emit.multiply(cosine, imaginary)
            else:
                cosine, sine = (
                    emit.subtract(emit.multiply(cosine, real), emit.multiply(sine, imaginary)),
                    emit.multiply_add(cosine, imaginary, emit.multiply(sine, real)),
                )
        for start, sign in ((cosine, 1), (sine, -1)):
            if start is None:
                continue
            now, below = start, None
            for degree in range(m, lmax + 1):
                if degree > m:
                    own_a, own_b = emit.number(float(a[degree, m])), emit.number(float(b[degree, m]))
                    if below is None:
                        now, below = emit.multiply(own_a, emit.multiply(y, now)), now
                    else:
                        now, below = _raised(emit, y, square, own_a, own_b, now, below, unit), now
                emit.store(RESULT, emit.integer(degree * (degree + 1) + sign * m), now)


def _in_loops(
    emit: Emitter, lmax: int, scales: Array, point: tuple[Value, Value, Value], square: Value, unit: bool
) -> None:
    powers, a, b = _coefficients(lmax, scales)
    x, y, z = point
    factors = emit.table(np.asarray(powers, dtype=emit.dtype))
    # Order by order, by rising degree; of the degree that is the order, nothing.
    below_diagonal = [(degree, m) for m in range(lmax + 1) for degree in range(m, lmax + 1)]
    places = tuple(np.array(below_diagonal).T)
    table_a, table_b = (emit.table(np.ascontiguousarray(part[places], dtype=emit.dtype)) for part in (a, b))
    starts = emit.table(np.array([m * (2 * lmax + 3 - m) // 2 for m in range(lmax + 2)], dtype=np.int32))
    squares = emit.table(np.array([degree * (degree + 1) for degree in range(lmax + 1)], dtype=np.int32))
    cosine, sine = emit.variable(emit.number(1.0)), emit.variable(emit.number(0.0))
    with emit.loop(emit.integer(0), emit.integer(lmax + 1)) as m:
        # The first power is that of order zero, by which nothing is turned.
        is_first = emit.item(emit.table(np.array([1.0] + [0.0] * lmax, dtype=emit.dtype)), m)
        half, one = emit.number(0.5), emit.number(1.0)
        turn_z, turn_x = emit.if_above(is_first, half, one, z), emit.if_above(is_first, half, emit.number(0.0), x)
        factor = emit.item(factors, m)
        real, imaginary = emit.multiply(factor, turn_z), emit.multiply(factor, turn_x)
        c, s = emit.get(cosine), emit.get(sine)
        emit.set(cosine, emit.subtract(emit.multiply(c, real), emit.multiply(s, imaginary)))
        emit.set(sine, emit.multiply_add(c, imaginary, emit.multiply(s, real)))
        start, minus = emit.item(starts, m), emit.scale_integer(m, -1)
        stop = emit.item(starts, emit.add_integers(m, emit.integer(1)))
        parts = [(emit.variable(emit.get(v)), emit.variable(emit.number(0.0))) for v in (sine, cosine)]
        with emit.loop(start, stop) as n:
            degree = emit.add_integers(emit.add_integers(n, emit.scale_integer(start, -1)), m)
            # The sine of order zero is zero, and the cosine that is written after it stands in its place.
            for (now, below), order in zip(parts, (minus, m), strict=True):
                current, lower = emit.get(now), emit.get(below)
                raised = _raised(emit, y, square, emit.item(table_a, n), emit.item(table_b, n), current, lower, unit)
                is_start = emit.if_above(emit.item(table_a, n), emit.number(0.0), raised, current)
                emit.set(below, emit.if_above(emit.item(table_a, n), emit.number(0.0), current, lower))
                emit.set(now, is_start)
                emit.store(RESULT, emit.add_integers(emit.item(squares, degree), order), is_start)
