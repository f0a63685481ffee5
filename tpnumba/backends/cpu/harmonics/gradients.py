"""Gradients of solid harmonics by the ladder: rows of Jacobians, sums over cotangents, derivatives along a tangent.

The harmonics stand in a tile, with points as :mod:`tpnumba.backends.cpu.harmonics.recursion` lays them out.
"""

from __future__ import annotations

from llvmlite import ir

from tpnumba.backends.cpu.layout import DEGREE, TERMS
from tpnumba.backends.cpu.simd.codegen import Table
from tpnumba.backends.cpu.simd.intrinsics import Flag, Position, on_columns, on_vectors
from tpnumba.backends.cpu.simd.memory import transposed


class _Ladder:
    """Gradients of solid harmonics by the ladder, in one intrinsic."""

    def __init__(self, emit, solid, offsets, weights):
        self.emit, self.solid = emit, solid
        self.offsets, self.weights = offsets, weights

    def weight(self, k, entry):
        """One of the weights of the k-th harmonic, for every sample."""
        return self.emit.number(self.weights, self._index(k, DEGREE + 1, entry))

    def _index(self, k, size, entry):
        builder = self.emit.builder
        return builder.add(builder.mul(k, ir.Constant(k.type, size)), ir.Constant(k.type, entry))

    def _term(self, k, term):
        emit, builder = self.emit, self.emit.builder
        offset = builder.sext(self.offsets.item(self._index(k, TERMS, term)), k.type)
        return emit.times(self.weight(k, term), emit.load(builder.add(self.solid, offset)))

    def derivative(self, k, axis):
        """Of the k-th harmonic by x, y or z."""
        if axis == 1:
            return self._term(k, 2)
        first = 0 if axis == 0 else 3
        return self.emit.plus(self._term(k, first), self._term(k, first + 1))

    def gradient(self, k):
        """Of the k-th harmonic, three vectors."""
        return [self.derivative(k, axis) for axis in range(3)]


def _jacobian(unit, scaled):
    """The Jacobian of ``vector_length`` harmonics from ``first`` on, as rows in memory, one a sample.

    ``vector_length`` is the count of numbers in a vector; of a column of the tile it is the vector from ``sample`` on.
    The rows have ``3 vector_length`` numbers, made and turned in three squares, of which those that end before the
    number ``skip`` of a row are left out.
    """

    def jacobian(
        emit,
        at: Position,
        tile_width: Position,
        sample: Position,
        solid: Position,
        first: Position,
        skip: Position,
        offsets: Table,
        weights: Table,
        address: Position,
        row_stride: Position,
    ):
        builder, vector_length = emit.builder, emit.count
        solid, at = builder.add(solid, sample), builder.add(at, sample)
        ladder = _Ladder(emit, solid, offsets, weights)
        x, y, z, half = (emit.load(emit.moved(at, number, tile_width)) for number in (0, 1, 2, 5))

        def component(number):
            """One of the ``3 vector_length`` numbers of a row, for every sample."""
            number, axis = divmod(number, 3)
            k = builder.add(first, ir.Constant(first.type, number))
            value = ladder.derivative(k, axis)
            if unit:  # less its radial part, which is l S by Euler's theorem
                own = emit.load(emit.moved(solid, k, tile_width))
                radial = emit.times(ladder.weight(k, DEGREE), own)
                value = emit.minus(value, emit.times(radial, (x, y, z)[axis]))
            return emit.times(value, half) if scaled else value

        target = builder.gep(emit.memory(address), [builder.mul(first, ir.Constant(first.type, 3))])
        for begin in range(0, 3 * vector_length, vector_length):
            end = begin + vector_length
            with builder.if_then(builder.icmp_signed("<", skip, ir.Constant(skip.type, end)), likely=True):
                for lane, row in enumerate(transposed(emit, [component(number) for number in range(begin, end)])):
                    to = emit.moved(ir.Constant(row_stride.type, begin), lane, row_stride)
                    emit.store_to(row, builder.gep(target, [to]), align=emit.item_bytes)

    return on_vectors(jacobian)


#: Of solid harmonics; of directions, where the columns are of harmonics over ``|r|``; and of directions, where a second
#: factor of ``1 / |r|`` is left.
jacobian = _jacobian(False, False)
jacobian_of_direction = _jacobian(True, False)
jacobian_of_extreme_direction = _jacobian(True, True)


def _tangent(emit, at, vector):
    """A vector without its part along the direction at ``at``."""
    point = [emit.load(at, axis) for axis in range(3)]
    radial = emit.plus(*map(emit.times, vector, point))
    return [emit.minus(a, emit.times(radial, b)) for a, b in zip(vector, point, strict=True)]


def _over_length(emit, at, values):
    inverse, half = emit.load(at, 4), emit.load(at, 5)
    return [emit.times(value, inverse, half) for value in values]


@on_columns
def pull_back(
    emit,
    at: Position,
    unit: Flag,
    solid: Position,
    cotangent: Position,
    to: Position,
    size: Position,
    offsets: Table,
    weights: Table,
):
    """The sum over ``size`` harmonics of cotangent times gradient, three columns at ``to``."""
    ladder = _Ladder(emit, solid, offsets, weights)

    def step(k, place, *totals):
        by = emit.load(place)
        terms = [emit.times(by, value) for value in ladder.gradient(k)]
        return emit.moved(place, 1), *map(emit.plus, totals, terms)

    _, *totals = emit.loop(0, size, (cotangent, *[emit.constant(0.0)] * 3), step)
    for axis, value in enumerate(totals):
        emit.store(value, to, axis)
    with emit.builder.if_then(unit):
        for axis, value in enumerate(_over_length(emit, at, _tangent(emit, at, totals))):
            emit.store(value, to, axis)


def _pushing(unit):
    """See ``push_forward``."""

    def push_forward(
        emit,
        at: Position,
        solid: Position,
        tangent: Position,
        to: Position,
        size: Position,
        offsets: Table,
        weights: Table,
    ):
        ladder = _Ladder(emit, solid, offsets, weights)
        vector = [emit.load(tangent, axis) for axis in range(3)]
        if unit:
            vector = _tangent(emit, at, vector)

        def step(k, to):
            value = emit.plus(*map(emit.times, ladder.gradient(k), vector))
            emit.store(_over_length(emit, at, [value])[0] if unit else value, to)
            return (emit.moved(to, 1),)

        emit.loop(0, size, (to,), step)

    return on_columns(push_forward)


#: The derivatives of ``size`` harmonics along the vector in the three columns at ``tangent``, from ``to`` on.
push_forward, push_forward_of_direction = _pushing(False), _pushing(True)
