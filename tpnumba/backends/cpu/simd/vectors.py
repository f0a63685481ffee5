"""Operations on whole columns of a tile, as the compiler's own instructions.

A column has ``tile_width`` numbers, one a sample. Positions are in numbers, from the start of the tile.
"""

from __future__ import annotations

from typing import NamedTuple

from llvmlite import ir

from tpnumba.backends.cpu.simd.codegen import Table
from tpnumba.backends.cpu.simd.intrinsics import Flag, Length, Number, Position, on_columns


@on_columns
def multiply(emit, to: Position, left: Position, right: Position):
    """``tile[to] = tile[left] * tile[right]``."""
    emit.store(emit.times(emit.load(left), emit.load(right)), to)


@on_columns
def fill(emit, to: Position, value: Number):
    """``tile[to] = value`` for every sample."""
    emit.store(emit.splat(value), to)


@on_columns
def combine(
    emit,
    to: Position,
    source: Position,
    offsets: Table,
    values: Table,
    begin: Position,
    end: Position,
    first: Position,
    second: Position,
    add: Flag,
):
    """``tile[to] (+)= tile[first] * tile[second] * sum of values[n] * tile[source + offsets[n]]``, n from begin to end.

    A negative ``first`` or ``second`` is left out; ``add`` keeps what is there. What is rounded, and in which order, is
    written out, as code made for a plan does the same: see :mod:`tpnumba.backends.cpu.specialised.sums`.
    """
    builder, start = emit.builder, emit.pointer(source)

    def term(n, total):
        offset = builder.sext(offsets.item(n), n.type)
        value = emit.number(values, n)
        return (emit.multiply_add(value, emit.load_from(builder.gep(start, [offset])), total),)

    (result,) = emit.loop(begin, end, [emit.constant(0.0)], term)
    for factor in (first, second):
        result = emit.times_column(result, factor, factor)
    emit.store(emit.when(add, lambda: emit.sum_of(result, emit.load(to)), result), to)


def _summing_products(differences):
    """See ``sum_products``; ``differences``: whether what is subtracted is rounded by itself."""

    def sum_up(
        emit,
        to: Position,
        left: Position,
        right: Position,
        factors: Table,
        signs: Table,
        begin: Position,
        end: Position,
        add: Flag,
    ):
        builder = emit.builder
        one, other = emit.pointer(left), emit.pointer(right)
        two = ir.Constant(begin.type, 2)

        def factor(pointer, n, side):
            offset = factors.item(builder.add(builder.mul(n, two), ir.Constant(n.type, side)))
            return emit.load_from(builder.gep(pointer, [builder.sext(offset, n.type)]))

        def product(n):
            return emit.times(emit.number(signs, n), factor(one, n, 0)), factor(other, n, 1)

        def term(n, total):
            pair = product(n)
            fused = emit.multiply_add(*pair, total)
            if not differences:
                return (fused,)
            sign = signs.item(n)
            is_minus = builder.fcmp_ordered("<", sign, ir.Constant(sign.type, 0.0))
            return (builder.select(is_minus, emit.sum_of(total, emit.times(*pair)), fused),)

        first = emit.times(*product(begin))
        (result,) = emit.loop(builder.add(begin, ir.Constant(begin.type, 1)), end, [first], term)
        emit.store(emit.when(add, lambda: emit.sum_of(result, emit.load(to)), result), to)

    return on_columns(sum_up)


#: ``tile[to] (+)= sum of signs[n] * tile[left + factors[n, 0]] * tile[right + factors[n, 1]]``, of at least one term.
#: The sign is multiplied to the left factor; the first product is rounded by itself, the others once with the sum. With
#: ``add`` the whole is added to what is there.
sum_products = _summing_products(differences=False)
#: The same, but a product that is subtracted is rounded by itself too: ``a b - b a`` is zero.
sum_differences = _summing_products(differences=True)


@on_columns
def sum_columns(emit, to: Position, source: Position, offsets: Table, values: Table, ends: Table, count: Position):
    """``tile[to] = sum of values[n] * tile[source + offsets[n]]`` for ``count`` columns that follow each other.

    The terms of each follow those of the one before, up to its place in ``ends``.
    """
    builder, start = emit.builder, emit.pointer(source)

    def column(m, begin):
        def term(n, total):
            offset = builder.sext(offsets.item(n), n.type)
            value = emit.number(values, n)
            return (emit.plus(total, emit.times(value, emit.load_from(builder.gep(start, [offset])))),)

        end = ends.item(m)
        (total,) = emit.loop(begin, end, [emit.constant(0.0)], term)
        emit.store(total, emit.moved(to, m))
        return (end,)

    emit.loop(0, count, [ir.Constant(count.type, 0)], column)


class ColumnSums(NamedTuple):
    """Where the sums of products of columns that ``mix_columns`` forms read and write: positions, strides, a count.

    Result j is the sum over n below ``terms`` of ``f[n, j] s[n] tile[source + n source_step]``, at ``to + j to_step``.
    ``f[n, j]`` stands at ``factor + n factor_step + j result_step``, as a column or compact, as one number; ``s[n]`` is
    the column at ``scale + n scale_step``, left out where ``scale`` is negative and where factors are compact.

    (One argument, as kernels compile in the same time with it as with ten integers: contractions in 12.7 s and 12.6 s.)
    """

    to: Position
    to_step: Position
    source: Position
    source_step: Position
    factor: Position
    factor_step: Position
    result_step: Position
    terms: Position
    scale: Position
    scale_step: Position


def _mixing(compact):
    """See ``mix_columns``; ``compact``: the factors are one number each."""

    def mix(emit, at_once: Length, sums: ColumnSums, begin: Position, add: Flag):
        first_factor = emit.moved(sums.factor, begin, sums.result_step)
        first_to = emit.moved(sums.to, begin, sums.to_step)

        def term(n, *totals):
            value = emit.load(emit.moved(sums.source, n, sums.source_step))
            if not compact:
                value = emit.times_column(value, emit.moved(sums.scale, n, sums.scale_step), sums.scale)
            first = emit.moved(first_factor, n, sums.factor_step)
            return [
                emit.plus(total, emit.times(read(emit.moved(first, j, sums.result_step)), value))
                for j, total in enumerate(totals)
            ]

        def read(place):
            return emit.splat(emit.builder.load(emit.pointer(place))) if compact else emit.load(place)

        totals = emit.loop(0, sums.terms, [emit.constant(0.0)] * at_once, term)
        targets = [emit.pointer(emit.moved(first_to, j, sums.to_step)) for j in range(at_once)]
        emit.store_or_add(totals, targets, add)

    return on_columns(mix)


#: The results of ``sums`` from ``begin`` on, for as many as ``at_once`` is long; with ``add``, added to what is there.
#: They stay in registers from term to term, and share what they read of the source.
mix_columns, mix_numbers = _mixing(False), _mixing(True)


@on_columns
def sum_column(emit, place: Position) -> Number:
    """The sum of a column's numbers, always in the same order: halves are added until one is left."""
    value, count = emit.load(place), emit.count
    while count > 1:
        count //= 2
        value = emit.plus(*(emit.shuffled(value, value, list(range(n, n + count))) for n in (0, count)))
    return emit.first(value)
