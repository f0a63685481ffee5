"""Gradients of solid harmonics by the ladder: rows of Jacobians, sums over cotangents, derivatives along a tangent.

The harmonics stand in a tile, with points as :mod:`tpnumba.backends.cpu.harmonics.recursion` lays them out.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from tpnumba.backends.cpu.harmonics.recursion import ColumnEmitter
from tpnumba.backends.cpu.layout import DEGREE, TERMS
from tpnumba.backends.cpu.simd.codegen import at_address, count_of, store, transposed


class _Ladder:
    """Gradients of solid harmonics by the ladder, in one intrinsic."""

    def __init__(self, emit, solid, places, weights):
        self.emit, self.solid = emit, solid
        self.places, self.weights = places, weights

    def weight(self, k, column):
        builder = self.emit.builder
        index = builder.add(builder.mul(k, ir.Constant(k.type, DEGREE + 1)), ir.Constant(k.type, column))
        return self.emit.number(*self.weights, index)

    def _term(self, k, column):
        emit, builder = self.emit, self.emit.builder
        index = builder.add(builder.mul(k, ir.Constant(k.type, TERMS)), ir.Constant(k.type, column))
        place = builder.sext(emit.item(*self.places, index), k.type)
        return emit.times(self.weight(k, column), emit.load(builder.add(self.solid, place)))

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
    The rows have ``3 vector_length`` numbers, made and turned in three blocks, of which those that end before the
    number ``skip`` of a row are left out.
    """

    def jacobian(
        typing_context, tile, at, tile_width, sample, solid, first, skip, places, weights, address, row_stride
    ):
        position = types.intp
        signature = types.void(tile, *(position,) * 6, places, weights, position, position)

        def generate(context, builder, signature, arguments):
            tile, at, tile_width, sample, solid, first, skip, places, weights, address, row_stride = arguments
            kind = signature.args[0]
            vector_length = count_of(kind.dtype)
            emit = ColumnEmitter(context, builder, (0,), kind, tile)
            solid = builder.add(solid, sample)
            ladder = _Ladder(emit, solid, (signature.args[7], places), (signature.args[8], weights))
            at = builder.add(at, sample)

            x, y, z, half = (
                emit.load(builder.add(at, builder.mul(tile_width, ir.Constant(tile_width.type, number))))
                for number in (0, 1, 2, 5)
            )

            target = builder.gep(
                at_address(builder, address, kind.dtype), [builder.mul(first, ir.Constant(first.type, 3))]
            )
            for part in range(3):
                with builder.if_then(
                    builder.icmp_signed("<", skip, ir.Constant(skip.type, (part + 1) * vector_length)), likely=True
                ):
                    columns = []
                    for column in range(part * vector_length, (part + 1) * vector_length):
                        number, axis = divmod(column, 3)
                        k = builder.add(first, ir.Constant(first.type, number))
                        value = ladder.derivative(k, axis)
                        if unit:  # less its radial part, which is l S by Euler's theorem
                            own = emit.load(builder.add(solid, builder.mul(k, tile_width)))
                            radial = emit.times(ladder.weight(k, DEGREE), own)
                            value = emit.minus(value, emit.times(radial, (x, y, z)[axis]))
                        columns.append(emit.times(value, half) if scaled else value)
                    for lane, row in enumerate(transposed(builder, columns, vector_length)):
                        to = builder.add(
                            builder.mul(row_stride, ir.Constant(row_stride.type, lane)),
                            ir.Constant(row_stride.type, part * vector_length),
                        )
                        store(builder, row, builder.gep(target, [to]), kind.dtype.bitwidth // 8)
            return context.get_dummy_value()

        return signature, generate

    return jacobian


#: Of solid harmonics; of directions, where the columns are of harmonics over ``|r|``; and of directions, where a second
#: factor of ``1 / |r|`` is left.
jacobian = intrinsic(_jacobian(False, False))
jacobian_of_direction = intrinsic(_jacobian(True, False))
jacobian_of_extreme_direction = intrinsic(_jacobian(True, True))


def _tangent(emit, at, vector):
    """A vector without its part along the direction at ``at``."""
    point = [emit.load(at, axis) for axis in range(3)]
    radial = emit.plus(*(emit.times(a, b) for a, b in zip(vector, point, strict=True)))
    return [emit.minus(a, emit.times(radial, b)) for a, b in zip(vector, point, strict=True)]


def _over_length(emit, at, values):
    inverse, half = emit.load(at, 4), emit.load(at, 5)
    return [emit.times(emit.times(value, inverse), half) for value in values]


@intrinsic
def pull_back(typing_context, width, tile, at, unit, solid, cotangent, to, size, places, weights):
    """The sum over ``size`` harmonics of cotangent times gradient, three columns at ``to``."""
    signature = types.void(width, tile, types.intp, types.boolean, *(types.intp,) * 4, places, weights)

    def generate(context, builder, signature, arguments):
        _, tile, at, unit, solid, cotangent, to, size, places, weights = arguments
        emit = ColumnEmitter(context, builder, signature.args[0], signature.args[1], tile)
        ladder = _Ladder(emit, solid, (signature.args[8], places), (signature.args[9], weights))
        tile_width = ir.Constant(to.type, emit.count)
        zero = emit.constant(0.0, emit.load(at))

        def step(k, place, *totals):
            by = emit.load(place)
            totals = [
                emit.plus(total, emit.times(by, value)) for total, value in zip(totals, ladder.gradient(k), strict=True)
            ]
            return builder.add(place, tile_width), *totals

        _, *totals = emit.loop(ir.Constant(size.type, 0), size, (cotangent, zero, zero, zero), step)
        for axis, value in enumerate(totals):
            emit.store(value, to, axis)
        with builder.if_then(unit):
            values = _over_length(emit, at, _tangent(emit, at, totals))
            for axis, value in enumerate(values):
                emit.store(value, to, axis)
        return context.get_dummy_value()

    return signature, generate


def _pushed(unit):
    def push_forward(typing_context, width, tile, at, solid, tangent, to, size, places, weights):
        signature = types.void(width, tile, *(types.intp,) * 5, places, weights)

        def generate(context, builder, signature, arguments):
            _, tile, at, solid, tangent, to, size, places, weights = arguments
            emit = ColumnEmitter(context, builder, signature.args[0], signature.args[1], tile)
            ladder = _Ladder(emit, solid, (signature.args[7], places), (signature.args[8], weights))
            tile_width = ir.Constant(to.type, emit.count)
            vector = [emit.load(tangent, axis) for axis in range(3)]
            if unit:
                vector = _tangent(emit, at, vector)

            def step(k, to):
                value = emit.plus(*(emit.times(a, b) for a, b in zip(ladder.gradient(k), vector, strict=True)))
                emit.store(_over_length(emit, at, [value])[0] if unit else value, to)
                return (builder.add(to, tile_width),)

            emit.loop(ir.Constant(size.type, 0), size, (to,), step)
            return context.get_dummy_value()

        return signature, generate

    return push_forward


#: The derivatives of ``size`` harmonics along the vector in the three columns at ``tangent``, from ``to`` on.
push_forward = intrinsic(_pushed(False))
push_forward_of_direction = intrinsic(_pushed(True))
