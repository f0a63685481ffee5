"""The kernel of contractions with samples as lanes: tiles of samples, sums of a table's terms, run by run."""

from __future__ import annotations

from tpnumba.backends.cpu.compiler import jit
from tpnumba.backends.cpu.tiles import load_rows, load_shared, store_rows
from tpnumba.backends.cpu.vectors import combine, fence, fill, lane_sum, multiply

#: Columns of ``operands``; OUTPUT is the place of the totals of a result that is shared, or 1.
AT, SIZE, SHARED, OUTPUT, ADDRESS, ROW_STRIDE, COLUMN_STRIDE = range(7)
#: Columns of ``groups``. A factor starts at a place, moves by a step a channel and by one a component. A group without
#: a right factor (size -1) sums the components of the left one itself, not products.
LEFT, LEFT_CHANNEL, LEFT_STEP, LEFT_SIZE, RIGHT, RIGHT_CHANNEL, RIGHT_STEP, RIGHT_SIZE = range(8)
CHANNELS_BEGIN, CHANNELS_END, ROWS_BEGIN, ROWS_END = range(8, 12)
#: Columns of ``channels``: for one combination, the channel of each factor and of the result.
C_LEFT, C_RIGHT, C_FIRST, C_SECOND, C_RESULT = range(5)
#: Columns of ``rows``: terms from BEGIN to END, times two factors (-1: none), to a result.
BEGIN, END, FIRST, FIRST_CHANNEL, SECOND, SECOND_CHANNEL, RESULT, RESULT_CHANNEL, ADD = range(9)


@jit
def contract(
    width, tile, operands, groups, channels, rows, places, values, zeros, products, buffer, start, stop, stream
):
    """Evaluate a contraction for the samples from ``start`` to ``stop``.

    Args:
        width: a tuple as long as a run has 64-byte vectors.
        tile: memory to work in, aligned to 64 bytes.
        operands, groups, channels, rows, places, values, zeros, products, buffer: of the program, with the operands'
            addresses filled in; positions in numbers.
        stream: write results past the caches.

    A result with one row for all samples is not written but added up, into the operand's row.
    """
    lanes = len(width) * 64 // tile.itemsize
    item = tile.itemsize
    for i in range(operands.shape[0]):
        if operands[i, SHARED] and not operands[i, OUTPUT]:
            at, size = operands[i, AT], operands[i, SIZE]
            load_shared(width, tile, at, lanes, size, operands[i, ADDRESS], operands[i, COLUMN_STRIDE])
    for first in range(start, stop, lanes):
        count = min(lanes, stop - first)
        for i in range(operands.shape[0]):
            if not operands[i, SHARED] and not operands[i, OUTPUT]:
                address = operands[i, ADDRESS] + first * operands[i, ROW_STRIDE] * item
                at, size = operands[i, AT], operands[i, SIZE]
                load_rows(tile, at, lanes, size, count, address, operands[i, ROW_STRIDE], operands[i, COLUMN_STRIDE])
        for i in range(zeros.shape[0]):
            for place in range(zeros[i, 0], zeros[i, 1], lanes):
                fill(width, tile, place, 0.0)
        for g in range(groups.shape[0]):
            before_left, before_right = -1, -1
            for c in range(groups[g, CHANNELS_BEGIN], groups[g, CHANNELS_END]):
                left = groups[g, LEFT] + channels[c, C_LEFT] * groups[g, LEFT_CHANNEL]
                right = groups[g, RIGHT] + channels[c, C_RIGHT] * groups[g, RIGHT_CHANNEL]
                source = left
                if groups[g, RIGHT_SIZE] >= 0:
                    source = products
                    if left != before_left or right != before_right:
                        place = products
                        for a in range(groups[g, LEFT_SIZE]):
                            for b in range(groups[g, RIGHT_SIZE]):
                                one, two = left + a * groups[g, LEFT_STEP], right + b * groups[g, RIGHT_STEP]
                                multiply(width, tile, place, one, two)
                                place += lanes
                        before_left, before_right = left, right
                for r in range(groups[g, ROWS_BEGIN], groups[g, ROWS_END]):
                    one = rows[r, FIRST]
                    if one >= 0:
                        one += channels[c, C_FIRST] * rows[r, FIRST_CHANNEL]
                    two = rows[r, SECOND]
                    if two >= 0:
                        two += channels[c, C_SECOND] * rows[r, SECOND_CHANNEL]
                    result = rows[r, RESULT] + channels[c, C_RESULT] * rows[r, RESULT_CHANNEL]
                    begin, end, add = rows[r, BEGIN], rows[r, END], rows[r, ADD] != 0
                    combine(width, tile, result, source, places, values, begin, end, one, two, add)
        for i in range(operands.shape[0]):
            if operands[i, OUTPUT]:
                at, size = operands[i, AT], operands[i, SIZE]
                if operands[i, SHARED]:
                    _add_up(width, tile, at, lanes, size, count, operands[i, OUTPUT])
                else:
                    address = operands[i, ADDRESS] + first * operands[i, ROW_STRIDE] * item
                    store_rows(
                        tile,
                        at,
                        lanes,
                        size,
                        count,
                        address,
                        operands[i, ROW_STRIDE],
                        operands[i, COLUMN_STRIDE],
                        buffer,
                        stream,
                    )
    if stream:
        fence()


@jit
def _add_up(width, tile, at, lanes, size, count, total):
    """Add the sum over the first ``count`` lanes of each run to the numbers from ``total`` on."""
    for column in range(size):
        place = at + column * lanes
        for sample in range(count, lanes):
            tile[place + sample] = 0.0
        tile[total + column] += lane_sum(width, tile, place)
