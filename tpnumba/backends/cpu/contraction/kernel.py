"""The kernel of contractions: tiles of samples, sums of a table's terms, column by column."""

from __future__ import annotations

from tpnumba.backends.cpu.layout import (
    ADD,
    AFTER,
    BEFORE,
    BEGIN,
    C_FIRST,
    C_LEFT,
    C_RESULT,
    C_RIGHT,
    C_SECOND,
    CHANNELS_BEGIN,
    CHANNELS_END,
    END,
    FIRST,
    FIRST_CHANNEL,
    LEFT,
    LEFT_CHANNEL,
    LINE,
    MIX,
    MIX_ADD,
    MIX_CHANNEL,
    MIX_COMPACT,
    MIX_COMPONENT,
    MIX_COMPONENTS,
    MIX_FROM,
    MIX_SCRATCH,
    MIX_THIRD,
    MIX_TO,
    MIX_WEIGHTS,
    NODES_BEGIN,
    NODES_END,
    OUTER,
    RESULT,
    RESULT_CHANNEL,
    RIGHT,
    RIGHT_CHANNEL,
    ROWS_BEGIN,
    ROWS_END,
    ROWS_FIRST,
    SECOND,
    SECOND_CHANNEL,
    SUM_ADD,
    SUM_BEGIN,
    SUM_END,
    SUM_RESULT,
    SUM_RESULT_CHANNEL,
    TO_KNOWN,
    TO_VARYING,
    VARYING,
    VARYING_CHANNEL,
    VARYING_SIZE,
    VARYING_STEP,
)
from tpnumba.backends.cpu.runtime.compiler import jit, part
from tpnumba.backends.cpu.simd.memory import fence
from tpnumba.backends.cpu.simd.operands import (
    add_indexed_operands,
    load_indexed_operands,
    load_operands,
    load_shared_operands,
    store_operands,
)
from tpnumba.backends.cpu.simd.vectors import (
    ColumnSums,
    combine,
    fill,
    mix_columns,
    mix_numbers,
    sum_differences,
    sum_products,
)

#: How many results a product of columns forms at a time.
_ONE, _TWO, _FOUR = (0,), (0, 0), (0, 0, 0, 0)


@jit
def contract(
    width,
    tile,
    operands,
    groups,
    channels,
    rows,
    offsets,
    values,
    sums,
    factors,
    signs,
    zeros,
    nodes,
    buffer,
    start,
    stop,
    stream,
):
    """Evaluate a contraction for the samples from ``start`` to ``stop``.

    Args:
        width: a tuple as long as a column has 64-byte vectors.
        tile: memory to work in, aligned to 64 bytes.
        operands: the table of arrays, with their addresses filled in.
        groups, channels: of the program.
        rows: for each sum of terms, which they are, what it is multiplied by and where it goes.
        offsets, values: of each term, where its column stands behind the first of its group, and the coefficient.
        sums: for each sum of products, which they are and where it goes.
        factors, signs: of each product, where its factors stand behind the first ones of its group, and its sign.
        zeros: from where to where columns are zeroed first.
        nodes: where the nodes of a group stand.
        buffer: where rows are put together.
        start, stop: the samples.
        stream: write results past the caches.

    A result with one row for all samples is not written but added up, into the operand's row.
    """
    tile_width = len(width) * LINE // tile.itemsize
    load_shared_operands(width, tile, tile_width, operands)
    for first in range(start, stop, tile_width):
        count = load_operands(tile, tile_width, operands, first, stop, buffer)
        load_indexed_operands(tile, tile_width, operands, first, count)
        for i in range(zeros.shape[0]):
            for place in range(zeros[i, 0], zeros[i, 1], tile_width):
                fill(width, tile, place, 0.0)
        for g in range(groups.shape[0]):
            _group(width, tile, tile_width, groups[g], channels, rows, offsets, values, sums, factors, signs, nodes)
        store_operands(width, tile, tile_width, operands, first, count, buffer, stream)
        add_indexed_operands(tile, tile_width, operands, first, count, buffer)
    if stream:
        fence(tile)


@part
def _group(width, tile, tile_width, group, channels, rows, offsets, values, sums, factors, signs, nodes):
    """The sums of one group, for every combination of channels, and what goes before or after them."""
    if group[MIX] == BEFORE:
        _mix(width, tile, tile_width, group)
    elif group[MIX] == TO_KNOWN:
        _multiply_precontracted(width, tile, tile_width, group)
    before_left, before_right = -1, -1
    rows_first = group[ROWS_FIRST] != 0
    for c in range(group[CHANNELS_BEGIN], group[CHANNELS_END]):
        left = group[LEFT] + channels[c, C_LEFT] * group[LEFT_CHANNEL]
        right = group[RIGHT] + channels[c, C_RIGHT] * group[RIGHT_CHANNEL]
        source, one, to = nodes, left, 0
        if rows_first:
            source, one, to = left, nodes, channels[c, C_RESULT]
        nodes_stand = not rows_first and left == before_left and right == before_right
        for step in range(2):
            if (step == 0) == rows_first:
                for s in range(group[ROWS_BEGIN], group[ROWS_END]):
                    first = rows[s, FIRST]
                    if first >= 0:
                        first += channels[c, C_FIRST] * rows[s, FIRST_CHANNEL]
                    second = rows[s, SECOND]
                    if second >= 0:
                        second += channels[c, C_SECOND] * rows[s, SECOND_CHANNEL]
                    result = rows[s, RESULT] + channels[c, C_RESULT] * rows[s, RESULT_CHANNEL]
                    begin, end, add = rows[s, BEGIN], rows[s, END], rows[s, ADD] != 0
                    combine(width, tile, result, source, offsets, values, begin, end, first, second, add)
            elif not nodes_stand:
                for s in range(group[NODES_BEGIN], group[NODES_END]):
                    result = sums[s, SUM_RESULT] + to * sums[s, SUM_RESULT_CHANNEL]
                    begin, end, add = sums[s, SUM_BEGIN], sums[s, SUM_END], sums[s, SUM_ADD] != 0
                    if rows_first:
                        sum_products(width, tile, result, one, right, factors, signs, begin, end, add)
                    else:
                        sum_differences(width, tile, result, one, right, factors, signs, begin, end, add)
                before_left, before_right = left, right
    if group[MIX] == AFTER or group[MIX] == OUTER:
        _mix(width, tile, tile_width, group)
    elif group[MIX] == TO_VARYING:
        _multiply_precontracted(width, tile, tile_width, group)


@jit
def _mix(width, tile, tile_width, group):
    """The small matrix products between scratch columns, weights and the opposite operand of a group."""
    count, mixed, size, scratch = group[MIX_FROM], group[MIX_TO], group[MIX_COMPONENTS], group[MIX_SCRATCH]
    weights, opposite = group[MIX_WEIGHTS], group[MIX_THIRD]
    channel, component = group[MIX_CHANNEL], group[MIX_COMPONENT]
    stride = 1 if group[MIX_COMPACT] else tile_width
    # Of one product: results and terms, with the strides of each; then how far the next one is.
    times, results, terms = size, mixed, count
    to, to_step, to_next = opposite, channel, component
    source, step, source_next = scratch, size * tile_width, tile_width
    factor, factor_step, result_step = weights, mixed * stride, stride
    if group[MIX] == BEFORE:
        results, terms = count, mixed
        to, to_step, to_next, source, step, source_next = source, step, source_next, to, to_step, to_next
        factor_step, result_step = stride, mixed * stride
    elif group[MIX] == OUTER:
        times, terms = count, size
        to, to_step, to_next = weights, tile_width, mixed * tile_width
        step, source_next = tile_width, size * tile_width
        factor, factor_step, result_step = opposite, component, channel
    compact, add = group[MIX_COMPACT] != 0, group[MIX_ADD] != 0
    for i in range(times):
        one, other = to + i * to_next, source + i * source_next
        sums = ColumnSums(one, to_step, other, step, factor, factor_step, result_step, terms, -1, 0)
        _sums(width, tile, results, sums, compact, add)


@jit
def _multiply_precontracted(width, tile, tile_width, group):
    """Products with a matrix, which stands in scratch columns: a row for each component of the opposite operand.

    Either of the opposite operand with the matrix, channel by channel, or of the opposite and the varying one, summed
    over their channels, which gives the matrix's gradient.
    """
    count, scratch, weights = group[MIX_FROM], group[MIX_SCRATCH], group[MIX_WEIGHTS]
    opposite, size = group[MIX_THIRD], group[MIX_COMPONENTS]
    channel, component = group[MIX_CHANNEL], group[MIX_COMPONENT]
    varying, next_one, step, short = group[VARYING], group[VARYING_CHANNEL], group[VARYING_STEP], group[VARYING_SIZE]
    row = short * tile_width
    if group[MIX] == TO_KNOWN:
        times, terms, add = size, count, False
        to, to_step, to_next, source, source_step, source_next = scratch, tile_width, row, opposite, channel, component
        factor, by, next_by, scale_step, scale_next = varying, next_one, step, tile_width, 0
    else:
        times, terms, add = count, size, group[MIX_ADD] != 0
        to, to_step, to_next, source, source_step, source_next = varying, step, next_one, opposite, component, channel
        factor, by, next_by, scale_step, scale_next = scratch, row, tile_width, 0, tile_width
    for i in range(times):
        one, other = to + i * to_next, source + i * source_next
        scale = weights + i * scale_next if weights >= 0 else -1
        sums = ColumnSums(one, to_step, other, source_step, factor, by, next_by, terms, scale, scale_step)
        _sums(width, tile, short, sums, group[MIX_COMPACT] != 0, add)


@jit
def _sums(width, tile, results, sums, compact, add):
    """Sums of products of columns, as many results at a time as registers hold; ``compact``: factors are numbers."""
    j = 0
    while j < results:
        left = results - j
        if compact:
            if left >= 4:
                mix_numbers(width, tile, _FOUR, sums, j, add)
                j += 4
            else:
                mix_numbers(width, tile, _ONE, sums, j, add)
                j += 1
        elif left >= 4:
            mix_columns(width, tile, _FOUR, sums, j, add)
            j += 4
        elif left >= 2:
            mix_columns(width, tile, _TWO, sums, j, add)
            j += 2
        else:
            mix_columns(width, tile, _ONE, sums, j, add)
            j += 1
