"""What solid harmonics take: directions, powers, recursions by degree; on whole columns of a tile.

See :mod:`tpnumba.backends.cpu.simd.vectors` for columns and ``width``. A point takes ``POINT_COLUMNS`` columns that
follow each other: x, y, z; then ``|r|^2 - 1`` of a direction, ``|r|^2`` of a point; then two factors of ``1 / |r|``.
"""

from __future__ import annotations

from llvmlite import ir

from tpnumba.backends.cpu.simd.codegen import Table
from tpnumba.backends.cpu.simd.intrinsics import Flag, Length, Number, Position, on_columns


def _measuring(unit, inverse):
    """See ``measure``."""

    def measure(emit, at: Position):
        point = [emit.load(at, axis) for axis in range(3)]
        if unit:
            point = _direction(emit, at, point, inverse=inverse)
            for axis, value in enumerate(point):
                emit.store(value, at, axis)
        x, y, z = point
        one = emit.constant(1.0)
        middle = emit.times(emit.minus(y, one), emit.plus(y, one)) if unit else emit.times(y, y)
        emit.store(emit.plus(emit.times(x, x), middle, emit.times(z, z)), at, 3)

    return on_columns(measure)


def _direction(emit, at, point, *, inverse):
    """A point made a direction; ``inverse``: with the factors of ``1 / |r|``."""
    builder, zero, one = emit.builder, emit.constant(0.0), emit.constant(1.0)
    largest = zero
    for value in point:
        size = emit.call("fabs", value)
        largest = builder.select(builder.fcmp_ordered(">", size, largest), size, largest)
    at_zero = builder.fcmp_ordered("==", largest, zero)
    scale = builder.select(at_zero, emit.constant(float("inf")), largest)
    point = [emit.over(value, scale) for value in point]
    square = emit.plus(*(emit.times(value, value) for value in point))
    square = builder.select(builder.fcmp_ordered("==", square, zero), one, square)
    shorter = emit.over(one, emit.call("sqrt", square))
    if inverse:
        far = 1e30 if emit.item_bytes == 4 else 1e300
        usual = builder.and_(
            builder.fcmp_ordered("<", scale, emit.constant(far)),
            builder.fcmp_ordered(">", scale, emit.constant(1 / far)),
        )
        half = emit.over(one, emit.call("sqrt", scale))
        first = builder.select(usual, emit.over(one, scale), half)
        emit.store(emit.times(first, shorter), at, 4)
        emit.store(builder.select(usual, one, half), at, 5)
    return [emit.times(value, shorter) for value in point]


#: Of a point, its square; of a point made a direction (zero at zero), ``|r|^2 - 1``, and with factors of ``1 / |r|``.
#: Scaled by the largest component first, so that no square overflows. The second factor is 1, but for points so near or
#: far that ``1 / |r|`` may be beyond all numbers: then half of its exponent is in each. At zero both are 0. A NaN or an
#: infinity in any component makes the whole direction NaN.
measure = _measuring(False, False)
measure_direction = _measuring(True, False)
measure_direction_and_length = _measuring(True, True)


@on_columns
def all_ones(emit, place: Position) -> Flag:
    """Whether every number of a column is 1."""
    other = emit.builder.fcmp_unordered("!=", emit.load(place), emit.constant(1.0))
    bits = ir.IntType(emit.count)
    return emit.builder.icmp_unsigned("==", emit.builder.bitcast(other, bits), ir.Constant(bits, 0))


@on_columns
def scale_column(emit, place: Position, factor: Position):
    """``tile[place] *= tile[factor]``."""
    emit.store(emit.times(emit.load(place), emit.load(factor)), place)


@on_columns
def scaled_product(emit, to: Position, left: Position, right: Position, factor: Number):
    """``tile[to] = factor * tile[left] * tile[right]``."""
    emit.store(emit.times(emit.splat(factor), emit.load(left), emit.load(right)), to)


@on_columns
def next_power(
    emit,
    at: Position,
    cosine: Position,
    sine: Position,
    to_cosine: Position,
    to_sine: Position,
    factor: Number,
):
    """``factor * (z + i x) * (cosine + i sine)`` of the point at ``at``."""
    x, z = (emit.times(emit.splat(factor), emit.load(at, axis)) for axis in (0, 2))
    c, s = emit.load(cosine), emit.load(sine)
    emit.store(emit.minus(emit.times(z, c), emit.times(x, s)), to_cosine)
    emit.store(emit.plus(emit.times(z, s), emit.times(x, c)), to_sine)


@on_columns
def climb(
    emit,
    signs: Length,
    at: Position,
    unit: Flag,
    place: Position,
    order: Position,
    degree: Position,
    last: Position,
    table: Table,
    begin: Position,
):
    """Harmonics of one order and of the degrees from ``degree`` to ``last``, from those of the two degrees below.

    ``S_l = a y S_{l-1} - b |r|^2 S_{l-2}``, the rows of ``table`` from ``begin`` on being (a, b). As many as ``signs``
    is long: with two, also those of the order's negative. ``place`` is that of order 0 of the degree ``degree - 1``.
    """
    builder = emit.builder
    tile_width, one, two = (ir.Constant(place.type, n) for n in (emit.count, 1, 2))
    y, square, zero = emit.load(at, 1), emit.load(at, 3), emit.constant(0.0)
    shift = builder.mul(order, tile_width)
    shifts = [shift, builder.neg(shift)][:signs]
    # From order 0 of a degree l to that of the next are 2 l + 2 numbers of a sample.
    before = builder.mul(builder.mul(two, builder.sub(degree, one)), tile_width)
    lower = [emit.load(builder.add(builder.sub(place, before), s)) for s in shifts]
    current = [emit.load(builder.add(place, s)) for s in shifts]

    def step(n, place, row, *carried):
        previous, current = carried[:signs], carried[signs:]
        place = emit.moved(place, builder.mul(two, n))
        a, b = emit.number(table, row), emit.number(table, builder.add(row, one))
        ay = emit.times(a, y)
        raised = []
        for s, below, here in zip(shifts, previous, current, strict=True):
            # |r|^2 S, where a direction has |r|^2 - 1 in its place
            over = emit.plus(emit.times(square, below), builder.select(unit, below, zero))
            raised.append(emit.minus(emit.times(ay, here), emit.times(b, over)))
            emit.store(raised[-1], builder.add(place, s))
        return place, builder.add(row, two), *current, *raised

    emit.loop(degree, builder.add(last, one), (place, builder.mul(begin, two), *lower, *current), step)
