"""Small dense products on columns, and reflections of grid values, as the compiler's own instructions.

See ``vectors`` for what a column and ``width`` are.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from tpnumba.backends.cpu.layout import LINE
from tpnumba.backends.cpu.simd.codegen import FLAGS, count_of, load, pointer, splat, store


@intrinsic
def dense(typing_context, width, block, tile, to, source, places, results, sources, terms, numbers, first, row, add):
    """A product of columns with a matrix, for as many results as ``block`` is long.

    ``tile[to + places[results + j]] (+)= sum of numbers[first + n row + j] tile[source + places[sources + n]]`` over n,
    of which there are ``terms``. The sums stay in registers, and share what they read.
    """
    position = types.intp
    signature = types.void(
        *(width, block, tile, position, position, places, position, position, position, numbers, position, position),
        types.boolean,
    )

    def generate(context, builder, signature, arguments):
        _, _, tile, to, source, places, results, sources, terms, numbers, first, row, add = arguments
        kind, of_places, of_numbers = signature.args[2], signature.args[5], signature.args[9]
        count, block = count_of(kind.dtype, len(signature.args[0])), len(signature.args[1])
        base, target = (pointer(context, builder, kind, tile, place) for place in (source, to))

        def place_of(index):
            return builder.sext(builder.load(pointer(context, builder, of_places, places, index)), to.type)

        vector = ir.VectorType(base.type.pointee, count)
        zero = ir.Constant(vector, [0.0] * count)
        one = ir.Constant(terms.type, 1)
        entry = builder.block
        head, body, done = (builder.append_basic_block(name) for name in ("terms", "term", "summed"))
        builder.branch(head)
        builder.position_at_end(head)
        n, at = builder.phi(terms.type), builder.phi(terms.type)
        n.add_incoming(ir.Constant(n.type, 0), entry)
        at.add_incoming(first, entry)
        totals = [builder.phi(vector) for _ in range(block)]
        for total in totals:
            total.add_incoming(zero, entry)
        builder.cbranch(builder.icmp_signed("<", n, terms), body, done)
        builder.position_at_end(body)
        value = load(builder, builder.gep(base, [place_of(builder.add(sources, n))]), count, LINE)
        factors = pointer(context, builder, of_numbers, numbers, at)
        for j, total in enumerate(totals):
            factor = builder.load(builder.gep(factors, [ir.Constant(at.type, j)]))
            product = builder.fmul(splat(builder, factor, count), value, flags=FLAGS)
            total.add_incoming(builder.fadd(total, product, flags=FLAGS), body)
        n.add_incoming(builder.add(n, one), body)
        at.add_incoming(builder.add(at, row), body)
        builder.branch(head)
        builder.position_at_end(done)
        targets = [
            builder.gep(target, [place_of(builder.add(results, ir.Constant(results.type, j)))]) for j in range(block)
        ]
        then, otherwise, join = (builder.append_basic_block(name) for name in ("add", "store", "end"))
        builder.cbranch(add, then, otherwise)
        builder.position_at_end(then)
        for total, target in zip(totals, targets, strict=True):
            store(builder, builder.fadd(total, load(builder, target, count, LINE), flags=FLAGS), target, LINE)
        builder.branch(join)
        builder.position_at_end(otherwise)
        for total, target in zip(totals, targets, strict=True):
            store(builder, total, target, LINE)
        builder.branch(join)
        builder.position_at_end(join)
        return context.get_dummy_value()

    return signature, generate


def _reflected(builder, values):
    """Sums and differences along every bit of the place: from parities to reflected points, or back."""
    bit = 1
    while bit < len(values):
        for i in range(len(values)):
            if not i & bit:
                first, second = values[i], values[i | bit]
                values[i] = builder.fadd(first, second, flags=FLAGS)
                values[i | bit] = builder.fsub(first, second, flags=FLAGS)
        bit *= 2
    return values


def _mirror_points(context, builder, kind, tile, place, step, far, size):
    """Pointers to the members of an mirror set: half of them ``step`` apart, the other half ``far`` away."""
    half = size // 2
    places = [builder.mul(step, ir.Constant(step.type, i)) for i in range(half)]
    places += [builder.add(far, at) for at in places]
    return [pointer(context, builder, kind, tile, builder.add(place, at)) for at in places]


@intrinsic
def reflect(typing_context, mirrors, tile, place, step, far):
    """Turn one vector of each parity at ``place`` into one of each reflected point, or back, in place.

    ``mirrors`` is a tuple as long as there are reflections together.
    """
    signature = types.void(mirrors, tile, *(types.intp,) * 3)

    def generate(context, builder, signature, arguments):
        kind, size = signature.args[1], len(signature.args[0])
        targets = _mirror_points(context, builder, kind, *arguments[1:], size)
        values = [load(builder, target, count_of(kind.dtype), LINE) for target in targets]
        for target, value in zip(targets, _reflected(builder, values), strict=True):
            store(builder, value, target, LINE)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def pointwise_product(typing_context, mirrors, tile, to, left, right, step, far):
    """The parities of a product from the parities of its two factors: reflect both, multiply, reflect."""
    signature = types.void(mirrors, tile, *(types.intp,) * 5)

    def generate(context, builder, signature, arguments):
        kind, size = signature.args[1], len(signature.args[0])
        _, tile, to, left, right, step, far = arguments

        def read(place):
            targets = _mirror_points(context, builder, kind, tile, place, step, far, size)
            return _reflected(builder, [load(builder, target, count_of(kind.dtype), LINE) for target in targets])

        product = [builder.fmul(a, b, flags=FLAGS) for a, b in zip(read(left), read(right), strict=True)]
        targets = _mirror_points(context, builder, kind, tile, to, step, far, size)
        for target, value in zip(targets, _reflected(builder, product), strict=True):
            store(builder, value, target, LINE)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def multiply_into(typing_context, tile, to, left, right, sign):
    """One vector: ``tile[to] = left right`` if ``sign`` is 0, else that is added (1) to it or subtracted (-1)."""
    signature = types.void(tile, *(types.intp,) * 4)

    def generate(context, builder, signature, arguments):
        kind = signature.args[0]
        tile, to, left, right, sign = arguments
        count = count_of(kind.dtype)
        to, left, right = (pointer(context, builder, kind, tile, place) for place in (to, left, right))
        product = builder.fmul(load(builder, left, count, LINE), load(builder, right, count, LINE), flags=FLAGS)
        zero = ir.Constant(sign.type, 0)
        keep, change, join = (builder.append_basic_block(name) for name in ("first", "more", "end"))
        builder.cbranch(builder.icmp_signed("==", sign, zero), keep, change)
        builder.position_at_end(keep)
        store(builder, product, to, LINE)
        builder.branch(join)
        builder.position_at_end(change)
        before = load(builder, to, count, LINE)
        chosen = builder.select(
            builder.icmp_signed(">", sign, zero),
            builder.fadd(before, product, flags=FLAGS),
            builder.fsub(before, product, flags=FLAGS),
        )
        store(builder, chosen, to, LINE)
        builder.branch(join)
        builder.position_at_end(join)
        return context.get_dummy_value()

    return signature, generate
