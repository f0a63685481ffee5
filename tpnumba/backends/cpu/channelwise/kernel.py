"""The kernel of channelwise contractions: sample by sample, path by path, vectors of channels.

A row that many samples follow each other with is read once, and a row that many add to is written once.
"""

from __future__ import annotations

from tpnumba.backends.cpu.layout import (
    ADDRESS,
    COLUMN_STRIDE,
    INDEX,
    LINE,
    P_CHANNELS,
    P_MATRIX,
    P_SCALAR,
    P_SOURCE,
    P_SOURCE_SIZE,
    P_SOURCE_STEP,
    P_TARGET,
    P_TARGET_SIZE,
    P_TARGET_STEP,
    P_VECTORS,
    P_WEIGHTS,
    P_WEIGHTS_AT,
    ROW_STRIDE,
    S_ARRAY,
    S_AT,
    S_CHANNELS,
    S_CONTIGUOUS,
    S_OFFSET,
    S_SIZE,
    S_STEP,
    SIZE,
    TO_PLAIN,
    TO_TARGET,
    TO_WEIGHTS,
)
from tpnumba.backends.cpu.runtime.compiler import jit, part
from tpnumba.backends.cpu.simd.channels import (
    Coupled,
    add_coupled,
    add_scaled,
    pull_matrix,
    pull_matrix_scaled,
    pull_weights,
    pull_weights_scaled,
)
from tpnumba.backends.cpu.simd.indexed import INDEX_BYTES, load_indexed_rows, row_number
from tpnumba.backends.cpu.simd.memory import address_of, copy_memory_line, read, write, write_line
from tpnumba.backends.cpu.simd.rows import load_rows, store_rows
from tpnumba.backends.cpu.simd.vectors import combine, fill, sum_column

#: Components of a target that are formed together, and vectors of channels that are.
_ONE, _TWO, _THREE, _FIVE, _SEVEN = ((0,) * n for n in (1, 2, 3, 5, 7))


@jit
def combine_channels(tile, arrays, roles, output, segments, paths, sums, offsets, values, places, add, start, stop):
    """Evaluate a channelwise contraction for the samples from ``start`` to ``stop``.

    Args:
        tile: memory to work in, aligned to 64 bytes.
        arrays: the table of arrays, with addresses filled in.
        roles: the rows of ``arrays`` of the operand without channels, the source, the target and the weights.
        output: ``TO_TARGET``, ``TO_WEIGHTS`` or ``TO_PLAIN``.
        segments, paths: see :mod:`tpnumba.backends.cpu.layout`.
        sums: begin and end of the terms of each matrix column; of each component, if they are computed.
        offsets, values: of the terms.
        places: in the tile: of the operand without channels, of the matrices, of two lines of ones, of a line to
            work in, the begin and the end of the target's row, and of the buffer.
        add: whether the target's rows are added to; what is there is overwritten otherwise.
        start, stop: samples. A target's row that is indexed is written when the next one begins, so the samples of
            a row must follow each other.
    """
    item = tile.itemsize
    lanes = LINE // item
    plain, source, target, weights = roles
    at_plain, at_matrices, ones, spare, target_begin, target_end, buffer = places
    fill(_TWO, tile, ones, 1.0)
    current_source, current_target = -1, -1
    for first in range(start, stop, lanes):
        count = min(lanes, stop - first)
        if output != TO_PLAIN:
            _load_plain(tile, at_plain, arrays[plain], first, count, buffer)
            for m in range(sums.shape[0]):
                to = at_matrices + m * lanes
                combine(_ONE, tile, to, at_plain, offsets, values, sums[m, 0], sums[m, 1], -1, -1, False)
        for e in range(count):
            row = _row(tile, arrays[source], first + e)
            if row != current_source:
                _load_row(tile, arrays, segments, source, row, buffer)
                current_source = row
            row = _row(tile, arrays[target], first + e)
            if row != current_target:
                if output != TO_TARGET:
                    _load_row(tile, arrays, segments, target, row, buffer)
                else:
                    if current_target >= 0:
                        _store_row(tile, arrays, segments, target, current_target, buffer)
                    if add:
                        _load_row(tile, arrays, segments, target, row, buffer)
                    else:
                        for place in range(target_begin, target_end, lanes):
                            fill(_ONE, tile, place, 0.0)
                current_target = row
            weights_row = 0
            if weights >= 0:
                weights_row = arrays[weights, ADDRESS] + item * (
                    _row(tile, arrays[weights], first + e) * arrays[weights, ROW_STRIDE]
                )
            matrices = address_of(tile, at_matrices)
            if output != TO_PLAIN:
                matrices += e * item
            for p in range(paths.shape[0]):
                _combine_path(tile, paths[p], weights_row, matrices, ones, output)
            if output == TO_PLAIN:
                for y in range(sums.shape[0]):
                    combine(_ONE, tile, spare, at_matrices, offsets, values, sums[y, 0], sums[y, 1], -1, -1, False)
                    tile[at_plain + y * lanes + e] = sum_column(_ONE, tile, spare)
        if output == TO_PLAIN:
            row_stride, column_stride = arrays[plain, ROW_STRIDE], arrays[plain, COLUMN_STRIDE]
            address = arrays[plain, ADDRESS] + first * row_stride * item
            size = arrays[plain, SIZE]
            store_rows(tile, at_plain, lanes, size, count, address, row_stride, column_stride, buffer, False)
    if output == TO_TARGET and current_target >= 0:
        _store_row(tile, arrays, segments, target, current_target, buffer)


@part
def _row(tile, array, sample):
    """The row of a sample."""
    if array[INDEX] != 0:
        return row_number(tile, array[INDEX] + sample * INDEX_BYTES)
    return sample


@part
def _load_plain(tile, at, array, first, count, buffer):
    """The operand without channels as columns."""
    lanes = LINE // tile.itemsize
    size, row, column = array[SIZE], array[ROW_STRIDE], array[COLUMN_STRIDE]
    if array[INDEX] != 0:
        index = array[INDEX] + first * INDEX_BYTES
        load_indexed_rows(tile, at, lanes, size, count, array[ADDRESS], row, column, index)
    else:
        address = array[ADDRESS] + first * row * tile.itemsize
        load_rows(tile, at, lanes, size, count, address, row, column, 0, buffer)


@jit
def _load_row(tile, arrays, segments, which, row, buffer):
    """One row of an operand with channels, component by component; lanes beyond the last channel are zero."""
    item = tile.itemsize
    base = arrays[which, ADDRESS] + row * arrays[which, ROW_STRIDE] * item
    for s in range(segments.shape[0]):
        if segments[s, S_ARRAY] != which:
            continue
        size, channels, at, step = segments[s, S_SIZE], segments[s, S_CHANNELS], segments[s, S_AT], segments[s, S_STEP]
        address = base + segments[s, S_OFFSET] * item
        if segments[s, S_CONTIGUOUS] == 0:
            load_rows(tile, at, step, size, channels, address, size, 1, 0, buffer)
            continue
        for component in range(size):
            _load_lines(tile, at + component * step, address + component * channels * item, channels, step)


@part
def _load_lines(tile, to, address, count, wide):
    """``count`` numbers that follow each other in memory, and zeros up to ``wide``."""
    item = tile.itemsize
    lanes = LINE // item
    done = 0
    here = address_of(tile, to)
    while done + lanes <= count:
        copy_memory_line(tile, here + done * item, address + done * item)
        done += lanes
    for i in range(done, count):
        tile[to + i] = read(tile, address + i * item)
    for i in range(count, wide):
        tile[to + i] = 0.0


@jit
def _store_row(tile, arrays, segments, which, row, buffer):
    """Write one row of the target."""
    item = tile.itemsize
    lanes = LINE // item
    base = arrays[which, ADDRESS] + row * arrays[which, ROW_STRIDE] * item
    for s in range(segments.shape[0]):
        if segments[s, S_ARRAY] != which:
            continue
        size, channels, at, step = segments[s, S_SIZE], segments[s, S_CHANNELS], segments[s, S_AT], segments[s, S_STEP]
        address = base + segments[s, S_OFFSET] * item
        if segments[s, S_CONTIGUOUS] == 0:
            store_rows(tile, at, step, size, channels, address, size, 1, buffer, False)
            continue
        for component in range(size):
            source, to = at + component * step, address + component * channels * item
            done = 0
            while done + lanes <= channels:
                write_line(tile, to + done * item, source + done)
                done += lanes
            for i in range(done, channels):
                write(tile, to + i * item, tile[source + i])


@jit
def _combine_path(tile, path, weights_row, matrices, ones, output):
    """One path of one sample."""
    item = tile.itemsize
    vectors, sources, targets = path[P_VECTORS], path[P_SOURCE_SIZE], path[P_TARGET_SIZE]
    weights, weights_step = address_of(tile, ones), 0
    channels, filled = path[P_CHANNELS], path[P_WEIGHTS_AT]
    if path[P_WEIGHTS] >= 0:
        weights, weights_step = weights_row + path[P_WEIGHTS] * item, LINE
        if filled >= 0:
            if output != TO_WEIGHTS:
                _load_lines(tile, filled, weights, channels, vectors * (LINE // item))
            weights = address_of(tile, filled)
    source, source_step = address_of(tile, path[P_SOURCE]), path[P_SOURCE_STEP] * item
    target, target_step = address_of(tile, path[P_TARGET]), path[P_TARGET_STEP] * item
    matrix, matrix_step = matrices + path[P_MATRIX] * LINE, targets * LINE
    if path[P_SCALAR] != 0:
        at = Coupled(
            source, source_step, sources, target, target_step, weights, weights_step, matrix, matrix_step, vectors
        )
        if output == TO_TARGET:
            add_scaled(_ONE, tile, at)
        elif output == TO_WEIGHTS:
            pull_weights_scaled(_ONE, tile, at)
        else:
            pull_matrix_scaled(tile, at)
    else:
        o = 0
        while o < targets:
            at = Coupled(
                source,
                source_step,
                sources,
                target + o * target_step,
                target_step,
                weights,
                weights_step,
                matrix + o * LINE,
                matrix_step,
                vectors,
            )
            o += _combine_components(tile, at, targets - o, output, o > 0)
    if output == TO_WEIGHTS and filled >= 0:
        for channel in range(channels):
            write(tile, weights_row + (path[P_WEIGHTS] + channel) * item, tile[filled + channel])


@jit
def _combine_components(tile, at, left, output, add):
    """As many of the ``left`` components of the target as are formed together; gives their number."""
    if left >= 7:
        _for_width(tile, at, _SEVEN, output, add)
        return 7
    if left >= 5:
        _for_width(tile, at, _FIVE, output, add)
        return 5
    if left >= 3:
        _for_width(tile, at, _THREE, output, add)
        return 3
    _for_width(tile, at, _ONE, output, add)
    return 1


@part
def _for_width(tile, at, outputs, output, add):
    """The sums of several vectors of channels at once hide how long an addition takes."""
    if output == TO_PLAIN:
        pull_matrix(tile, outputs, at)
    elif at.blocks % 2 == 0:
        halved = Coupled(
            at.source,
            at.source_step,
            at.terms,
            at.target,
            at.target_step,
            at.weights,
            at.weights_step,
            at.matrix,
            at.matrix_step,
            at.blocks // 2,
        )
        if output == TO_TARGET:
            add_coupled(_TWO, tile, outputs, halved)
        else:
            pull_weights(_TWO, tile, outputs, halved, add)
    elif output == TO_TARGET:
        add_coupled(_ONE, tile, outputs, at)
    else:
        pull_weights(_ONE, tile, outputs, at, add)
