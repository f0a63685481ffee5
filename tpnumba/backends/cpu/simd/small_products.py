"""Small dense products on columns, and reflections of grid values, as the compiler's own instructions."""

from __future__ import annotations

from llvmlite import ir

from tpnumba.backends.cpu.simd.codegen import Table
from tpnumba.backends.cpu.simd.intrinsics import Flag, Length, Position, on_columns, on_vectors


@on_columns
def dense(
    emit,
    at_once: Length,
    to: Position,
    source: Position,
    offsets: Table,
    results: Position,
    sources: Position,
    terms: Position,
    numbers: Table,
    first: Position,
    row_step: Position,
    add: Flag,
):
    """A product of columns with a matrix, for as many results as ``at_once`` is long.

    ``tile[to + offsets[results + j]] (+)= sum of numbers[first + n row_step + j] tile[source + offsets[sources + n]]``
    over n, of which there are ``terms``. The sums stay in registers, and share what they read.
    """
    builder = emit.builder

    def behind(start, index):
        return builder.gep(start, [builder.sext(offsets.item(index), to.type)])

    start, target = emit.pointer(source), emit.pointer(to)

    def term(n, row, *totals):
        value = emit.load_from(behind(start, builder.add(sources, n)))
        factors = numbers.pointer(row)
        products = [
            emit.times(emit.splat(builder.load(builder.gep(factors, [ir.Constant(row.type, j)]))), value)
            for j in range(len(totals))
        ]
        return builder.add(row, row_step), *map(emit.plus, totals, products)

    _, *totals = emit.loop(0, terms, [first, *[emit.constant(0.0)] * at_once], term)
    targets = [behind(target, builder.add(results, ir.Constant(results.type, j))) for j in range(at_once)]
    emit.store_or_add(totals, targets, add)


def _reflected(emit, values):
    """Sums and differences along every bit of the place: from parities to reflected points, or back."""
    bit = 1
    while bit < len(values):
        for i in range(len(values)):
            if not i & bit:
                first, second = values[i], values[i | bit]
                values[i] = emit.plus(first, second)
                values[i | bit] = emit.minus(first, second)
        bit *= 2
    return values


def _mirror_set(emit, place, step, far, size):
    """Pointers to the members of a mirror set: half of them ``step`` apart, the other half ``far`` away."""
    builder = emit.builder
    offsets = [builder.mul(step, ir.Constant(step.type, i)) for i in range(size // 2)]
    offsets += [builder.add(far, offset) for offset in offsets]
    return [emit.pointer(builder.add(place, offset)) for offset in offsets]


@on_vectors
def reflect(emit, mirrors: Length, place: Position, step: Position, far: Position):
    """Turn one vector of each parity at ``place`` into one of each reflected point, or back, in place.

    ``mirrors`` is a tuple as long as there are reflections together.
    """
    points = _mirror_set(emit, place, step, far, mirrors)
    emit.store_all(_reflected(emit, [emit.load_from(point) for point in points]), points)


@on_vectors
def pointwise_product(
    emit, mirrors: Length, to: Position, left: Position, right: Position, step: Position, far: Position
):
    """The parities of a product from the parities of its two factors: reflect both, multiply, reflect."""
    at_left, at_right, target = (_mirror_set(emit, place, step, far, mirrors) for place in (left, right, to))
    factors = (_reflected(emit, [emit.load_from(point) for point in points]) for points in (at_left, at_right))
    emit.store_all(_reflected(emit, list(map(emit.times, *factors))), target)


@on_vectors
def multiply_into(emit, to: Position, left: Position, right: Position, sign: Position):
    """One vector: ``tile[to] = left right`` if ``sign`` is 0, else that is added (1) to it or subtracted (-1)."""
    builder, zero = emit.builder, ir.Constant(sign.type, 0)
    product = emit.times(emit.load(left), emit.load(right))
    with builder.if_else(builder.icmp_signed("==", sign, zero)) as (first, more):
        with first:
            emit.store(product, to)
        with more:
            before = emit.load(to)
            positive = builder.icmp_signed(">", sign, zero)
            emit.store(builder.select(positive, emit.plus(before, product), emit.minus(before, product)), to)
