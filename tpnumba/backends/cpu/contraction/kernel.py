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
    LEFT_SIZE,
    LEFT_STEP,
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
    OUTER,
    RESULT,
    RESULT_CHANNEL,
    RIGHT,
    RIGHT_CHANNEL,
    RIGHT_SIZE,
    RIGHT_STEP,
    ROWS_BEGIN,
    ROWS_END,
    SECOND,
    SECOND_CHANNEL,
    TO_KNOWN,
    TO_VARYING,
    VARYING,
    VARYING_CHANNEL,
    VARYING_SIZE,
    VARYING_STEP,
)
from tpnumba.backends.cpu.runtime.compiler import jit, part
from tpnumba.backends.cpu.simd.memory import fence
from tpnumba.backends.cpu.simd.operands import load_operands, load_shared_operands, store_operands
from tpnumba.backends.cpu.simd.vectors import ColumnSums, combine, fill, mix_columns, mix_numbers, multiply

#: How many results a product of columns forms at a time.
_ONE, _TWO, _FOUR = (0,), (0, 0), (0, 0, 0, 0)


@jit
def contract(
    width, tile, operands, groups, channels, sums, offsets, values, zeros, products_at, buffer, start, stop, stream
):
    """Evaluate a contraction for the samples from ``start`` to ``stop``.

    Args:
        width: a tuple as long as a column has 64-byte vectors.
        tile: memory to work in, aligned to 64 bytes.
        operands: the table of arrays, with their addresses filled in.
        groups, channels: of the program.
        sums: for each sum of terms, which they are, what it is multiplied by and where it goes.
        offsets, values: of each term, where its column stands behind the first of its group, and the coefficient.
        zeros: from where to where columns are zeroed first.
        products_at: where the products of the left and the right factor stand.
        buffer: where rows are put together.
        start, stop: the samples.
        stream: write results past the caches.

    A result with one row for all samples is not written but added up, into the operand's row.
    """
    tile_width = len(width) * LINE // tile.itemsize
    load_shared_operands(width, tile, tile_width, operands)
    for first in range(start, stop, tile_width):
        count = load_operands(tile, tile_width, operands, first, stop, buffer)
        for i in range(zeros.shape[0]):
            for place in range(zeros[i, 0], zeros[i, 1], tile_width):
                fill(width, tile, place, 0.0)
        for g in range(groups.shape[0]):
            _group(width, tile, tile_width, groups[g], channels, sums, offsets, values, products_at)
        store_operands(width, tile, tile_width, operands, first, count, buffer, stream)
    if stream:
        fence(tile)


@part
def _group(width, tile, tile_width, group, channels, sums, offsets, values, products_at):
    """The sums of one group, for every combination of channels, and what goes before or after them."""
    if group[MIX] == BEFORE:
        _mix(width, tile, tile_width, group)
    elif group[MIX] == TO_KNOWN:
        _multiply_precontracted(width, tile, tile_width, group)
    before_left, before_right = -1, -1
    for c in range(group[CHANNELS_BEGIN], group[CHANNELS_END]):
        left = group[LEFT] + channels[c, C_LEFT] * group[LEFT_CHANNEL]
        right = group[RIGHT] + channels[c, C_RIGHT] * group[RIGHT_CHANNEL]
        source = left
        if group[RIGHT_SIZE] >= 0:
            source = products_at
            if left != before_left or right != before_right:
                place = products_at
                for a in range(group[LEFT_SIZE]):
                    for b in range(group[RIGHT_SIZE]):
                        one, two = left + a * group[LEFT_STEP], right + b * group[RIGHT_STEP]
                        multiply(width, tile, place, one, two)
                        place += tile_width
                before_left, before_right = left, right
        for s in range(group[ROWS_BEGIN], group[ROWS_END]):
            one = sums[s, FIRST]
            if one >= 0:
                one += channels[c, C_FIRST] * sums[s, FIRST_CHANNEL]
            two = sums[s, SECOND]
            if two >= 0:
                two += channels[c, C_SECOND] * sums[s, SECOND_CHANNEL]
            result = sums[s, RESULT] + channels[c, C_RESULT] * sums[s, RESULT_CHANNEL]
            begin, end, add = sums[s, BEGIN], sums[s, END], sums[s, ADD] != 0
            combine(width, tile, result, source, offsets, values, begin, end, one, two, add)
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
