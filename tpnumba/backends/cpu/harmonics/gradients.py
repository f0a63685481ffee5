"""Gradients of solid harmonics by the ladder: rows of Jacobians, sums over cotangents, derivatives along a tangent.

The harmonics stand in a tile, with points as :mod:`tpnumba.backends.cpu.harmonics.recursion` lays them out.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from tpnumba.backends.cpu.harmonics.recursion import Runs
from tpnumba.backends.cpu.layout import DEGREE, TERMS
from tpnumba.backends.cpu.simd.codegen import at_address, count_of, store, transposed


class _Ladder:
    """Gradients of solid harmonics by the ladder, in one intrinsic."""

    def __init__(self, runs, solid, places, weights):
        self.runs, self.solid = runs, solid
        self.places, self.weights = places, weights

    def weight(self, k, column):
        builder = self.runs.builder
        index = builder.add(builder.mul(k, ir.Constant(k.type, DEGREE + 1)), ir.Constant(k.type, column))
        return self.runs.number(*self.weights, index)

    def _term(self, k, column):
        runs, builder = self.runs, self.runs.builder
        index = builder.add(builder.mul(k, ir.Constant(k.type, TERMS)), ir.Constant(k.type, column))
        place = builder.sext(runs.item(*self.places, index), k.type)
        return runs.times(self.weight(k, column), runs.load(builder.add(self.solid, place)))

    def derivative(self, k, axis):
        """Of the k-th harmonic by x, y or z."""
        if axis == 1:
            return self._term(k, 2)
        first = 0 if axis == 0 else 3
        return self.runs.plus(self._term(k, first), self._term(k, first + 1))

    def gradient(self, k):
        """Of the k-th harmonic, three vectors."""
        return [self.derivative(k, axis) for axis in range(3)]


def _jacobian(unit, scaled):
    """The Jacobian of ``side`` harmonics from ``first`` on, as rows in memory, one a lane.

    ``side`` is how many lanes a vector has; of a run it is the one from ``sample`` on. The rows have ``3 side``
    numbers, made and turned in three blocks, of which those that end before the column ``skip`` are left out.
    """

    def jacobian(typing_context, tile, at, lanes, sample, solid, first, skip, places, weights, address, row_stride):
        position = types.intp
        signature = types.void(tile, *(position,) * 6, places, weights, position, position)

        def generate(context, builder, signature, arguments):
            tile, at, lanes, sample, solid, first, skip, places, weights, address, row_stride = arguments
            kind = signature.args[0]
            side = count_of(kind.dtype)
            runs = Runs(context, builder, (0,), kind, tile)
            solid = builder.add(solid, sample)
            ladder = _Ladder(runs, solid, (signature.args[7], places), (signature.args[8], weights))
            at = builder.add(at, sample)

            x, y, z, half = (
                runs.load(builder.add(at, builder.mul(lanes, ir.Constant(lanes.type, number))))
                for number in (0, 1, 2, 5)
            )

            target = builder.gep(
                at_address(builder, address, kind.dtype), [builder.mul(first, ir.Constant(first.type, 3))]
            )
            for part in range(3):
                with builder.if_then(
                    builder.icmp_signed("<", skip, ir.Constant(skip.type, (part + 1) * side)), likely=True
                ):
                    columns = []
                    for column in range(part * side, (part + 1) * side):
                        number, axis = divmod(column, 3)
                        k = builder.add(first, ir.Constant(first.type, number))
                        value = ladder.derivative(k, axis)
                        if unit:  # less its radial part, which is l S by Euler's theorem
                            own = runs.load(builder.add(solid, builder.mul(k, lanes)))
                            radial = runs.times(ladder.weight(k, DEGREE), own)
                            value = runs.minus(value, runs.times(radial, (x, y, z)[axis]))
                        columns.append(runs.times(value, half) if scaled else value)
                    for lane, row in enumerate(transposed(builder, columns, side)):
                        to = builder.add(
                            builder.mul(row_stride, ir.Constant(row_stride.type, lane)),
                            ir.Constant(row_stride.type, part * side),
                        )
                        store(builder, row, builder.gep(target, [to]), kind.dtype.bitwidth // 8)
            return context.get_dummy_value()

        return signature, generate

    return jacobian


#: Of solid harmonics; of directions, where the runs are of harmonics over ``|r|``; and of directions, where a second
#: factor of ``1 / |r|`` is left.
jacobian = intrinsic(_jacobian(False, False))
jacobian_of_direction = intrinsic(_jacobian(True, False))
jacobian_of_extreme_direction = intrinsic(_jacobian(True, True))


def _tangent(runs, at, vector):
    """A vector without its part along the direction at ``at``."""
    point = [runs.load(at, axis) for axis in range(3)]
    radial = runs.plus(*(runs.times(a, b) for a, b in zip(vector, point, strict=True)))
    return [runs.minus(a, runs.times(radial, b)) for a, b in zip(vector, point, strict=True)]


def _over_length(runs, at, values):
    inverse, half = runs.load(at, 4), runs.load(at, 5)
    return [runs.times(runs.times(value, inverse), half) for value in values]


@intrinsic
def pull_back(typing_context, width, tile, at, unit, solid, cotangent, to, size, places, weights):
    """The sum over ``size`` harmonics of cotangent times gradient, three runs at ``to``."""
    signature = types.void(width, tile, types.intp, types.boolean, *(types.intp,) * 4, places, weights)

    def generate(context, builder, signature, arguments):
        _, tile, at, unit, solid, cotangent, to, size, places, weights = arguments
        runs = Runs(context, builder, signature.args[0], signature.args[1], tile)
        ladder = _Ladder(runs, solid, (signature.args[8], places), (signature.args[9], weights))
        lanes = ir.Constant(to.type, runs.count)
        zero = runs.constant(0.0, runs.load(at))

        def step(k, place, *totals):
            by = runs.load(place)
            totals = [
                runs.plus(total, runs.times(by, value)) for total, value in zip(totals, ladder.gradient(k), strict=True)
            ]
            return builder.add(place, lanes), *totals

        _, *totals = runs.loop(ir.Constant(size.type, 0), size, (cotangent, zero, zero, zero), step)
        for axis, value in enumerate(totals):
            runs.store(value, to, axis)
        with builder.if_then(unit):
            values = _over_length(runs, at, _tangent(runs, at, totals))
            for axis, value in enumerate(values):
                runs.store(value, to, axis)
        return context.get_dummy_value()

    return signature, generate


def _pushed(unit):
    def push_forward(typing_context, width, tile, at, solid, tangent, to, size, places, weights):
        signature = types.void(width, tile, *(types.intp,) * 5, places, weights)

        def generate(context, builder, signature, arguments):
            _, tile, at, solid, tangent, to, size, places, weights = arguments
            runs = Runs(context, builder, signature.args[0], signature.args[1], tile)
            ladder = _Ladder(runs, solid, (signature.args[7], places), (signature.args[8], weights))
            lanes = ir.Constant(to.type, runs.count)
            vector = [runs.load(tangent, axis) for axis in range(3)]
            if unit:
                vector = _tangent(runs, at, vector)

            def step(k, to):
                value = runs.plus(*(runs.times(a, b) for a, b in zip(ladder.gradient(k), vector, strict=True)))
                runs.store(_over_length(runs, at, [value])[0] if unit else value, to)
                return (builder.add(to, lanes),)

            runs.loop(ir.Constant(size.type, 0), size, (to,), step)
            return context.get_dummy_value()

        return signature, generate

    return push_forward


#: The derivatives of ``size`` harmonics along the vector in the three runs at ``tangent``, from ``to`` on.
push_forward = intrinsic(_pushed(False))
push_forward_of_direction = intrinsic(_pushed(True))
