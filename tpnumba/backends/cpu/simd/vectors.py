"""Operations on whole columns of a tile, as the compiler's own instructions.

A column has ``tile_width`` numbers, one a sample. Their count is said by a type: ``width`` is a tuple whose length is
the number of 64-byte vectors of a column. Positions are in numbers, from the start of ``tile``.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from tpnumba.backends.cpu.layout import LINE
from tpnumba.backends.cpu.simd.codegen import FLAGS, count_of, load, pointer, splat, store, when


@intrinsic
def multiply(typing_context, width, tile, to, left, right):
    """``tile[to] = tile[left] * tile[right]``."""
    signature = types.void(width, tile, types.intp, types.intp, types.intp)

    def generate(context, builder, signature, arguments):
        kind = signature.args[1]
        count = count_of(kind.dtype, len(signature.args[0]))
        to, left, right = (pointer(context, builder, kind, arguments[1], place) for place in arguments[2:])
        product = builder.fmul(load(builder, left, count, LINE), load(builder, right, count, LINE), flags=FLAGS)
        store(builder, product, to, LINE)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def fill(typing_context, width, tile, to, value):
    """``tile[to] = value`` for every sample."""
    signature = types.void(width, tile, types.intp, tile.dtype)

    def generate(context, builder, signature, arguments):
        kind = signature.args[1]
        count = count_of(kind.dtype, len(signature.args[0]))
        to = pointer(context, builder, kind, arguments[1], arguments[2])
        store(builder, splat(builder, arguments[3], count), to, LINE)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def combine(typing_context, width, tile, to, source, places, values, begin, end, first, second, add):
    """``tile[to] (+)= tile[first] * tile[second] * sum of values[n] * tile[source + places[n]]``, n from begin to end.

    A negative ``first`` or ``second`` is left out; ``add`` keeps what is there.
    """
    position = types.intp
    signature = types.void(
        width, tile, position, position, places, values, position, position, position, position, types.boolean
    )

    def generate(context, builder, signature, arguments):
        _, tile, to, source, places, values, begin, end, first, second, add = arguments
        kind = signature.args[1]
        count = count_of(kind.dtype, len(signature.args[0]))

        def at(place):
            return pointer(context, builder, kind, tile, place)

        base = at(source)
        vector = ir.VectorType(base.type.pointee, count)
        zero = ir.Constant(vector, [0.0] * count)
        entry = builder.block
        head, body, done = (builder.append_basic_block(name) for name in ("terms", "term", "summed"))
        builder.branch(head)
        builder.position_at_end(head)
        n, total = builder.phi(begin.type), builder.phi(vector)
        n.add_incoming(begin, entry)
        total.add_incoming(zero, entry)
        builder.cbranch(builder.icmp_signed("<", n, end), body, done)
        builder.position_at_end(body)
        place = builder.sext(builder.load(pointer(context, builder, signature.args[4], places, n)), begin.type)
        value = builder.load(pointer(context, builder, signature.args[5], values, n))
        term = load(builder, builder.gep(base, [place]), count, LINE)
        product = builder.fmul(splat(builder, value, count), term, flags=FLAGS)
        total.add_incoming(builder.fadd(total, product, flags=FLAGS), body)
        n.add_incoming(builder.add(n, ir.Constant(n.type, 1)), body)
        builder.branch(head)
        builder.position_at_end(done)

        none = ir.Constant(first.type, 0)
        result = total
        for factor in (first, second):
            result = when(
                builder,
                builder.icmp_signed(">=", factor, none),
                lambda factor=factor, result=result: builder.fmul(
                    result, load(builder, at(factor), count, LINE), flags=FLAGS
                ),
                result,
            )
        target = at(to)
        result = when(
            builder, add, lambda: builder.fadd(result, load(builder, target, count, LINE), flags=FLAGS), result
        )
        store(builder, result, target, LINE)
        return context.get_dummy_value()

    return signature, generate


def _mixing(numbers):
    """``tile[to + j to_step] (+)= sum over n of f[n, j] tile[source + n step]`` for as many j as ``block`` is long.

    ``f[n, j]`` stands at ``factor + n factor_step + j result_step``, as a column or as one number. The sums of a block
    stay in registers from term to term, and share what they read of the source. Where ``scale`` is not negative, the
    source is multiplied by the column at ``scale + n scale_step`` first.
    """

    def mix(
        typing_context,
        width,
        block,
        tile,
        to,
        to_step,
        source,
        step,
        factor,
        factor_step,
        result_step,
        terms,
        scale,
        scale_step,
        add,
    ):
        signature = types.void(width, block, tile, *(types.intp,) * 10, types.boolean)

        def generate(context, builder, signature, arguments):
            _, _, tile, to, to_step, source, step, factor, factor_step, result_step, terms = arguments[:11]
            scale, scale_step, add = arguments[11:]
            kind = signature.args[2]
            count, results = count_of(kind.dtype, len(signature.args[0])), len(signature.args[1])

            def at(place):
                return pointer(context, builder, kind, tile, place)

            def moved(place, times, by):
                return builder.add(place, builder.mul(times, by))

            places = [moved(to, ir.Constant(to.type, j), to_step) for j in range(results)]
            vector = ir.VectorType(at(to).type.pointee, count)
            zero = ir.Constant(vector, [0.0] * count)
            entry = builder.block
            head, body, done = (builder.append_basic_block(name) for name in ("terms", "term", "summed"))
            builder.branch(head)
            builder.position_at_end(head)
            n = builder.phi(terms.type)
            totals = [builder.phi(vector) for _ in range(results)]
            n.add_incoming(ir.Constant(n.type, 0), entry)
            for total in totals:
                total.add_incoming(zero, entry)
            builder.cbranch(builder.icmp_signed("<", n, terms), body, done)
            builder.position_at_end(body)
            value = load(builder, at(moved(source, n, step)), count, LINE)
            if not numbers:
                value = when(
                    builder,
                    builder.icmp_signed(">=", scale, ir.Constant(scale.type, 0)),
                    lambda value=value: builder.fmul(
                        value, load(builder, at(moved(scale, n, scale_step)), count, LINE), flags=FLAGS
                    ),
                    value,
                )
            last = builder.block
            base = moved(factor, n, factor_step)
            for j, total in enumerate(totals):
                place = at(moved(base, ir.Constant(n.type, j), result_step))
                by = splat(builder, builder.load(place), count) if numbers else load(builder, place, count, LINE)
                product = builder.fmul(by, value, flags=FLAGS)
                total.add_incoming(builder.fadd(total, product, flags=FLAGS), last)
            n.add_incoming(builder.add(n, ir.Constant(n.type, 1)), last)
            builder.branch(head)
            builder.position_at_end(done)
            then, otherwise, join = (builder.append_basic_block(name) for name in ("add", "store", "end"))
            builder.cbranch(add, then, otherwise)
            builder.position_at_end(then)
            for total, place in zip(totals, places, strict=True):
                before = load(builder, at(place), count, LINE)
                store(builder, builder.fadd(total, before, flags=FLAGS), at(place), LINE)
            builder.branch(join)
            builder.position_at_end(otherwise)
            for total, place in zip(totals, places, strict=True):
                store(builder, total, at(place), LINE)
            builder.branch(join)
            builder.position_at_end(join)
            return context.get_dummy_value()

        return signature, generate

    return mix


mix_columns = intrinsic(_mixing(False))
mix_numbers = intrinsic(_mixing(True))


@intrinsic
def sum_column(typing_context, width, tile, place):
    """The sum of a column's numbers, always in the same order: halves are added until one is left."""
    signature = tile.dtype(width, tile, types.intp)

    def generate(context, builder, signature, arguments):
        kind = signature.args[1]
        count = count_of(kind.dtype, len(signature.args[0]))
        value = load(builder, pointer(context, builder, kind, arguments[1], arguments[2]), count, LINE)
        index = ir.IntType(32)
        while count > 1:
            count //= 2
            halves = [
                builder.shuffle_vector(
                    value, value, ir.Constant(ir.VectorType(index, count), list(range(start, start + count)))
                )
                for start in (0, count)
            ]
            value = builder.fadd(*halves)
        return builder.extract_element(value, ir.Constant(index, 0))

    return signature, generate
