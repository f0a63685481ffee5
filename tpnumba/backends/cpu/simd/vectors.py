"""Operations on whole columns of a tile, as the compiler's own instructions.

A column has ``tile_width`` numbers, one a sample. Positions are in numbers, from the start of the tile.
"""

from __future__ import annotations

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

    A negative ``first`` or ``second`` is left out; ``add`` keeps what is there.
    """
    builder, start = emit.builder, emit.pointer(source)

    def term(n, total):
        offset = builder.sext(offsets.item(n), n.type)
        value = emit.number(values, n)
        return (emit.plus(total, emit.times(value, emit.load_from(builder.gep(start, [offset])))),)

    (result,) = emit.loop(begin, end, [emit.constant(0.0)], term)
    for factor in (first, second):
        result = emit.times_column(result, factor, factor)
    emit.store(emit.when(add, lambda: emit.plus(result, emit.load(to)), result), to)


def _mixing(compact):
    """See ``mix_columns``; ``compact``: the factors are one number each."""

    def mix(
        emit,
        at_once: Length,
        to: Position,
        to_step: Position,
        source: Position,
        source_step: Position,
        factor: Position,
        factor_step: Position,
        result_step: Position,
        terms: Position,
        scale: Position,
        scale_step: Position,
        add: Flag,
    ):
        def term(n, *totals):
            value = emit.load(emit.moved(source, n, source_step))
            if not compact:
                value = emit.times_column(value, emit.moved(scale, n, scale_step), scale)
            first = emit.moved(factor, n, factor_step)
            return [
                emit.plus(total, emit.times(read(emit.moved(first, j, result_step)), value))
                for j, total in enumerate(totals)
            ]

        def read(place):
            return emit.splat(emit.builder.load(emit.pointer(place))) if compact else emit.load(place)

        totals = emit.loop(0, terms, [emit.constant(0.0)] * at_once, term)
        emit.store_or_add(totals, [emit.pointer(emit.moved(to, j, to_step)) for j in range(at_once)], add)

    return on_columns(mix)


#: ``tile[to + j to_step] (+)= sum over n of f[n, j] tile[source + n source_step]``, for j below the length of
#: ``at_once``.
#:
#: ``f[n, j]`` stands at ``factor + n factor_step + j result_step``: as a column, or compact, as one number. The sums
#: stay in registers from term to term, and share what they read of the source. Where ``scale`` is not negative, the
#: source is multiplied by the column at ``scale + n scale_step`` first, if factors are columns.
mix_columns, mix_numbers = _mixing(False), _mixing(True)


@on_columns
def sum_column(emit, place: Position) -> Number:
    """The sum of a column's numbers, always in the same order: halves are added until one is left."""
    value, count = emit.load(place), emit.count
    while count > 1:
        count //= 2
        value = emit.plus(*(emit.shuffled(value, value, list(range(n, n + count))) for n in (0, count)))
    return emit.first(value)
