"""What solid harmonics take: directions, powers, recursions by degree; on whole columns of a tile.

See :mod:`tpnumba.backends.cpu.simd.vectors` for columns and ``width``. A point takes ``POINT_COLUMNS`` columns that
follow each other: x, y, z; then ``|r|^2 - 1`` of a direction, ``|r|^2`` of a point; then two factors of ``1 / |r|``.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from tpnumba.backends.cpu.layout import LINE
from tpnumba.backends.cpu.simd.codegen import FLAGS, at_address, count_of, load, pointer, splat, store, turn_block


class ColumnEmitter:
    """The columns of one tile in one intrinsic: loading, storing and arithmetic on them."""

    def __init__(self, context, builder, width, kind, tile):
        self.context, self.builder, self.kind, self.tile = context, builder, kind, tile
        self.count = count_of(kind.dtype, len(width))

    def _at(self, place):
        return pointer(self.context, self.builder, self.kind, self.tile, place)

    def load(self, place, column=0):
        """The column at a place, or ``column`` columns further on."""
        return load(self.builder, self._at(self.moved(place, column)), self.count, LINE)

    def store(self, value, place, column=0):
        """Put a column there."""
        store(self.builder, value, self._at(self.moved(place, column)), LINE)

    def moved(self, place, column):
        """The place ``column`` columns further on."""
        return self.builder.add(place, ir.Constant(place.type, column * self.count)) if column else place

    def number(self, array_type, array, index):
        """A number of a table for every sample."""
        return splat(self.builder, self.item(array_type, array, index), self.count)

    def item(self, array_type, array, index):
        """A number of a table."""
        return self.builder.load(pointer(self.context, self.builder, array_type, array, index))

    def times(self, *factors):
        """Their product, sample by sample."""
        product = factors[0]
        for factor in factors[1:]:
            product = self.builder.fmul(product, factor, flags=FLAGS)
        return product

    def plus(self, *terms):
        """Their sum, in this order."""
        total = terms[0]
        for term in terms[1:]:
            total = self.builder.fadd(total, term, flags=FLAGS)
        return total

    def minus(self, one, other):
        """Their difference."""
        return self.builder.fsub(one, other, flags=FLAGS)

    def over(self, one, other):
        """The quotient itself: a product with the reciprocal, which may be infinite, will not do.

        A plain division would be given the flags of :mod:`tpnumba.backends.cpu.runtime.compiler` by Numba.
        """
        kind, text, module = one.type, ir.MetaDataType(), self.builder.module
        signature = ir.FunctionType(kind, [kind, kind, text, text])
        how = [ir.MetaDataString(module, word) for word in ("round.tonearest", "fpexcept.ignore")]
        return self.builder.call(self._function("experimental.constrained.fdiv", signature), [one, other, *how])

    def constant(self, value, like):
        """One number for every sample."""
        return ir.Constant(like.type, [value] * self.count)

    def call(self, name, value):
        """A function of the compiler's on every number."""
        return self.builder.call(self._function(name, ir.FunctionType(value.type, [value.type])), [value])

    def _function(self, name, signature):
        module = self.builder.module
        full = f"llvm.{name}.v{self.count}{'f32' if self.kind.dtype == types.float32 else 'f64'}"
        return module.globals.get(full) or ir.Function(module, signature, full)

    def loop(self, begin, end, carried, body):
        """``carried = body(n, *carried)`` for n from ``begin`` to ``end``; what is carried at last."""
        builder = self.builder
        entry = builder.block
        head, inside, done = (builder.append_basic_block(name) for name in ("head", "body", "done"))
        builder.branch(head)
        builder.position_at_end(head)
        n = builder.phi(begin.type)
        phis = [builder.phi(value.type) for value in carried]
        n.add_incoming(begin, entry)
        for phi, value in zip(phis, carried, strict=True):
            phi.add_incoming(value, entry)
        builder.cbranch(builder.icmp_signed("<", n, end), inside, done)
        builder.position_at_end(inside)
        after = body(n, *phis)
        n.add_incoming(builder.add(n, ir.Constant(n.type, 1)), builder.block)
        for phi, value in zip(phis, after, strict=True):
            phi.add_incoming(value, builder.block)
        builder.branch(head)
        builder.position_at_end(done)
        return phis


@intrinsic
def split_points(typing_context, width, tile, to, address):
    """Points that follow each other in memory, as many as a column has numbers, into columns of x, y and z."""
    signature = types.void(width, tile, types.intp, types.intp)

    def generate(context, builder, signature, arguments):
        width, kind = signature.args[:2]
        emit = ColumnEmitter(context, builder, width, kind, arguments[1])
        vector_length = count_of(kind.dtype)
        scalar = builder.load(at_address(builder, arguments[3], kind.dtype)).type
        for vector in range(len(width)):
            place = builder.add(arguments[3], ir.Constant(arguments[3].type, vector * 3 * LINE))
            three = load(builder, at_address(builder, place, kind.dtype), 3 * vector_length, kind.dtype.bitwidth // 8)
            for axis in range(3):
                mask = ir.Constant(
                    ir.VectorType(ir.IntType(32), vector_length), [3 * i + axis for i in range(vector_length)]
                )
                part = builder.shuffle_vector(
                    three, ir.Constant(ir.VectorType(scalar, 3 * vector_length), ir.Undefined), mask
                )
                at = emit.moved(arguments[2], axis)
                at = builder.add(at, ir.Constant(at.type, vector * vector_length))
                store(builder, part, pointer(context, builder, kind, arguments[1], at), LINE)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def block_to_memory(typing_context, tile, at, stride, address, row_stride):
    """Turn a square block of the tile, whose columns are ``stride`` numbers apart, into rows of 64 bytes in memory."""
    signature = types.void(tile, *(types.intp,) * 4)

    def generate(context, builder, signature, arguments):
        kind = signature.args[0]
        at = pointer(context, builder, kind, arguments[0], arguments[1])
        turn_block(builder, at, arguments[2], at_address(builder, arguments[3], kind.dtype), arguments[4], kind.dtype)
        return context.get_dummy_value()

    return signature, generate


def _measured(unit, inverse):
    def measure(typing_context, width, tile, at):
        signature = types.void(width, tile, types.intp)

        def generate(context, builder, signature, arguments):
            width, kind = signature.args[:2]
            emit, at = ColumnEmitter(context, builder, width, kind, arguments[1]), arguments[2]
            x, y, z = (emit.load(at, axis) for axis in range(3))
            one = emit.constant(1.0, x)
            if unit:
                zero = emit.constant(0.0, x)
                largest = zero
                for value in (x, y, z):
                    size = emit.call("fabs", value)
                    largest = builder.select(builder.fcmp_ordered(">", size, largest), size, largest)
                at_zero = builder.fcmp_ordered("==", largest, zero)
                scale = builder.select(at_zero, emit.constant(float("inf"), x), largest)
                x, y, z = (emit.over(value, scale) for value in (x, y, z))
                square = emit.plus(emit.times(x, x), emit.times(y, y), emit.times(z, z))
                square = builder.select(builder.fcmp_ordered("==", square, zero), one, square)
                shorter = emit.over(one, emit.call("sqrt", square))
                x, y, z = (emit.times(value, shorter) for value in (x, y, z))
                for axis, value in enumerate((x, y, z)):
                    emit.store(value, at, axis)
                if inverse:
                    far = 1e30 if kind.dtype == types.float32 else 1e300
                    usual = builder.and_(
                        builder.fcmp_ordered("<", scale, emit.constant(far, x)),
                        builder.fcmp_ordered(">", scale, emit.constant(1 / far, x)),
                    )
                    half = emit.over(one, emit.call("sqrt", scale))
                    first = builder.select(usual, emit.over(one, scale), half)
                    emit.store(emit.times(first, shorter), at, 4)
                    emit.store(builder.select(usual, one, half), at, 5)
                middle = emit.times(emit.minus(y, one), emit.plus(y, one))
            else:
                middle = emit.times(y, y)
            emit.store(emit.plus(emit.times(x, x), middle, emit.times(z, z)), at, 3)
            return context.get_dummy_value()

        return signature, generate

    return measure


#: Of a point, its square; of a point made a direction (zero at zero), ``|r|^2 - 1``, and with factors of ``1 / |r|``.
#: Scaled by the largest component first, so that no square overflows. The second factor is 1, but for points so near or
#: far that ``1 / |r|`` may be beyond all numbers: then half of its exponent is in each. At zero both are 0. A NaN or an
#: infinity in any component makes the whole direction NaN.
measure = intrinsic(_measured(False, False))
measure_direction = intrinsic(_measured(True, False))
measure_direction_and_length = intrinsic(_measured(True, True))


@intrinsic
def address_of(typing_context, tile, place):
    """Where a number of the tile is in memory."""
    signature = types.intp(tile, types.intp)

    def generate(context, builder, signature, arguments):
        at = pointer(context, builder, signature.args[0], *arguments)
        return builder.ptrtoint(at, arguments[1].type)

    return signature, generate


@intrinsic
def all_ones(typing_context, width, tile, place):
    """Whether every number of a column is 1."""
    signature = types.boolean(width, tile, types.intp)

    def generate(context, builder, signature, arguments):
        emit = ColumnEmitter(context, builder, signature.args[0], signature.args[1], arguments[1])
        value = emit.load(arguments[2])
        other = builder.fcmp_unordered("!=", value, emit.constant(1.0, value))
        bits = ir.IntType(emit.count)
        return builder.icmp_unsigned("==", builder.bitcast(other, bits), ir.Constant(bits, 0))

    return signature, generate


@intrinsic
def scale_column(typing_context, width, tile, place, factor):
    """``tile[place] *= tile[factor]``."""
    signature = types.void(width, tile, types.intp, types.intp)

    def generate(context, builder, signature, arguments):
        emit = ColumnEmitter(context, builder, signature.args[0], signature.args[1], arguments[1])
        emit.store(emit.times(emit.load(arguments[2]), emit.load(arguments[3])), arguments[2])
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def scaled_product(typing_context, width, tile, to, left, right, factor):
    """``tile[to] = factor * tile[left] * tile[right]``."""
    signature = types.void(width, tile, types.intp, types.intp, types.intp, tile.dtype)

    def generate(context, builder, signature, arguments):
        emit = ColumnEmitter(context, builder, signature.args[0], signature.args[1], arguments[1])
        to, left, right = arguments[2:5]
        factor = splat(builder, arguments[5], emit.count)
        emit.store(emit.times(emit.times(factor, emit.load(left)), emit.load(right)), to)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def next_power(typing_context, width, tile, at, cosine, sine, to_cosine, to_sine, factor):
    """``factor * (z + i x) * (cosine + i sine)`` of the point at ``at``."""
    signature = types.void(width, tile, *(types.intp,) * 5, tile.dtype)

    def generate(context, builder, signature, arguments):
        emit = ColumnEmitter(context, builder, signature.args[0], signature.args[1], arguments[1])
        at, cosine, sine, to_cosine, to_sine = arguments[2:7]
        factor = splat(builder, arguments[7], emit.count)
        x, z = (emit.times(factor, emit.load(at, axis)) for axis in (0, 2))
        c, s = emit.load(cosine), emit.load(sine)
        emit.store(emit.minus(emit.times(z, c), emit.times(x, s)), to_cosine)
        emit.store(emit.plus(emit.times(z, s), emit.times(x, c)), to_sine)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def climb(typing_context, width, signs, tile, at, unit, place, order, degree, last, table, begin):
    """Harmonics of one order and of the degrees from ``degree`` to ``last``, from those of the two degrees below.

    ``S_l = a y S_{l-1} - b |r|^2 S_{l-2}``, the rows of ``table`` from ``begin`` on being (a, b). As many as ``signs``
    is long: with two, also those of the order's negative. ``place`` is that of order 0 of the degree ``degree - 1``.
    """
    position = types.intp
    signature = types.void(
        width, signs, tile, position, types.boolean, position, position, position, position, table, position
    )

    def generate(context, builder, signature, arguments):
        _, _, tile, at, unit, place, order, degree, last, table, begin = arguments
        width, signs, kind, table_type = (signature.args[i] for i in (0, 1, 2, 9))
        emit = ColumnEmitter(context, builder, width, kind, tile)
        tile_width = ir.Constant(place.type, emit.count)
        two = ir.Constant(place.type, 2)
        y, square = emit.load(at, 1), emit.load(at, 3)
        zero = emit.constant(0.0, y)
        shift = builder.mul(order, tile_width)
        shifts = [shift, builder.neg(shift)][: len(signs)]
        # From order 0 of a degree l to that of the next are 2 l + 2 numbers of a sample.
        before = builder.mul(builder.mul(two, builder.sub(degree, ir.Constant(degree.type, 1))), tile_width)
        lower = [emit.load(builder.add(builder.sub(place, before), s)) for s in shifts]
        current = [emit.load(builder.add(place, s)) for s in shifts]

        def step(n, place, row, *carried):
            previous, current = carried[: len(shifts)], carried[len(shifts) :]
            place = builder.add(place, builder.mul(builder.mul(two, n), tile_width))
            a, b = (
                emit.number(table_type, table, index) for index in (row, builder.add(row, ir.Constant(row.type, 1)))
            )
            ay = emit.times(a, y)
            raised = []
            for s, one, other in zip(shifts, previous, current, strict=True):
                # |r|^2 S, where a direction has |r|^2 - 1 in its place
                over = emit.plus(emit.times(square, one), builder.select(unit, one, zero))
                raised.append(emit.minus(emit.times(ay, other), emit.times(b, over)))
                emit.store(raised[-1], builder.add(place, s))
            return place, builder.add(row, two), *current, *raised

        end = builder.add(last, ir.Constant(last.type, 1))
        emit.loop(degree, end, (place, builder.mul(begin, two), *lower, *current), step)
        return context.get_dummy_value()

    return signature, generate
