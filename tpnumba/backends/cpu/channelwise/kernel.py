"""The kernel of channelwise contractions: a few samples, then path by path all of them, vectors of channels.

Rows are read and written where they stand if their channels follow each other in whole vectors; others are copied to
the tile, component by component. Rows that follow each other and are the same are copied once.
"""

from __future__ import annotations

import numpy as np

from tpnumba.backends.cpu.layout import (
    A_DIRECT,
    A_ROW,
    A_SIZE,
    A_SLOTS,
    ADDRESS,
    COLUMN_STRIDE,
    INDEX,
    LINE,
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
    ROW_STRIDE,
    S_ARRAY,
    S_CHANNELS,
    S_CONTIGUOUS,
    S_OFFSET,
    S_PLACE,
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
from tpnumba.backends.cpu.simd.memory import address_of, copy_memory_line, read, write, write_line, zero_line
from tpnumba.backends.cpu.simd.rows import load_rows, store_rows
from tpnumba.backends.cpu.simd.vectors import fill, sum_column, sum_columns

#: Components of a target that are formed together, and vectors of channels that are.
_ONE, _TWO, _THREE, _FOUR, _FIVE, _SEVEN = ((0,) * n for n in (1, 2, 3, 4, 5, 7))

#: Rows of ``roles`` and of the table of addresses: the source, the target, the weights; in the latter also ones.
_SOURCE, _TARGET, _WEIGHTS, _ONES = range(4)


@jit
def combine_channels(
    tile, arrays, plain, roles, output, segments, paths, ends, offsets, values, places, add, start, stop
):
    """Evaluate a channelwise contraction for the samples from ``start`` to ``stop``.

    Args:
        tile: memory to work in, aligned to 64 bytes.
        arrays: the table of arrays, with addresses filled in.
        plain: the row of ``arrays`` of the operand without channels.
        roles: of the source, the target and the weights.
        output: ``TO_TARGET``, ``TO_WEIGHTS`` or ``TO_PLAIN``.
        segments, paths: see :mod:`tpnumba.backends.cpu.layout`.
        ends: of the terms of each matrix column; of each component, if they are computed.
        offsets, values: of the terms.
        places: in the tile: of the operand without channels, of the matrices, of four lines of ones, of lines to
            work in, and of the buffer; then the entries of the matrices, and how many samples have theirs there at
            once if these are computed, as a line each.
        add: whether the target's rows are added to; what is there is overwritten otherwise.
        start, stop: samples. Those of one row of an indexed result must follow each other.
    """
    lanes = LINE // tile.itemsize
    at_plain, at_matrices, ones, spare, buffer, matrix_lines, at_once = places
    fill(_FOUR, tile, ones, 1.0)
    rows, numbers = np.full((4, lanes), address_of(tile, ones)), np.zeros((3, lanes), np.int64)
    sources, targets, weights, factors = rows[_SOURCE], rows[_TARGET], rows[_WEIGHTS], rows[_ONES]
    adds, last = np.zeros(lanes, np.int64), -1
    matrices, columns = address_of(tile, at_matrices), ends.shape[0]
    first = start
    while first < stop:
        # Up to a multiple of the lanes: which samples of a row are added path by path does not depend on the chunks.
        count = min(lanes - first % lanes, stop - first)
        for role in range(3):
            _find_rows(tile, arrays, roles[role], first, count, rows[role], numbers[role])
        if output != TO_TARGET:
            _load(tile, arrays, roles[_TARGET], segments, rows[_TARGET], numbers[_TARGET], count, buffer)
        _load(tile, arrays, roles[_SOURCE], segments, rows[_SOURCE], numbers[_SOURCE], count, buffer)
        if output != TO_WEIGHTS:
            _load(tile, arrays, roles[_WEIGHTS], segments, rows[_WEIGHTS], numbers[_WEIGHTS], count, buffer)
        result = _TARGET if output == TO_TARGET else _WEIGHTS
        if output != TO_PLAIN:
            _load_plain(tile, at_plain, arrays[plain], first, count, buffer)
            sum_columns(_ONE, tile, at_matrices, at_plain, offsets, values, ends, columns)
            role, row, number = roles[result], rows[result], numbers[result]
            _begin(tile, arrays, role, segments, row, number, count, last, add, output, adds, buffer)
            last = numbers[result, count - 1]
        if output == TO_TARGET:
            begin = 0
            for e in range(1, count + 1):
                if e == count or numbers[_TARGET, e] != numbers[_TARGET, e - 1]:
                    _combine(
                        tile, paths, sources, targets, weights, factors, adds, matrices, matrix_lines, output, begin, e
                    )
                    begin = e
        elif output == TO_WEIGHTS:
            _combine(tile, paths, sources, targets, weights, factors, adds, matrices, matrix_lines, output, 0, count)
        else:
            for begin in range(0, count, at_once):
                end = min(count, begin + at_once)
                _combine(
                    tile, paths, sources, targets, weights, factors, adds, matrices, matrix_lines, output, begin, end
                )
                for e in range(begin, end):
                    source = at_matrices + (e - begin) * matrix_lines * lanes
                    sum_columns(_ONE, tile, spare, source, offsets, values, ends, columns)
                    for y in range(columns):
                        tile[at_plain + y * lanes + e] = sum_column(_ONE, tile, spare + y * lanes)
            row_stride, column_stride = arrays[plain, ROW_STRIDE], arrays[plain, COLUMN_STRIDE]
            address = arrays[plain, ADDRESS] + first * row_stride * tile.itemsize
            size = arrays[plain, SIZE]
            store_rows(tile, at_plain, lanes, size, count, address, row_stride, column_stride, buffer, False)
        if output != TO_PLAIN:
            _store(tile, arrays, roles[result], segments, rows[result], numbers[result], count, buffer)
        first += count


@jit
def _find_rows(tile, arrays, role, first, count, rows, numbers):
    """The number of each sample's row, and the address where it is read: in memory, or in a slot of the tile."""
    if role[A_ROW] < 0:  # no weights
        return
    array, item, slot = arrays[role[A_ROW]], tile.itemsize, 0
    for e in range(count):
        numbers[e] = first + e
        if array[INDEX] != 0:
            numbers[e] = row_number(tile, array[INDEX] + (first + e) * INDEX_BYTES)
        if e > 0 and numbers[e] != numbers[e - 1]:
            slot += 1
        if role[A_DIRECT] != 0:
            rows[e] = array[ADDRESS] + numbers[e] * array[ROW_STRIDE] * item
        else:
            rows[e] = address_of(tile, role[A_SLOTS] + slot * role[A_SIZE])


@part
def _is_new(numbers, e):
    """Whether a sample has another row than the one before."""
    return e == 0 or numbers[e] != numbers[e - 1]


@jit
def _load(tile, arrays, role, segments, rows, numbers, count, buffer):
    """Copy rows to their slots."""
    if role[A_ROW] < 0 or role[A_DIRECT] != 0:
        return
    for e in range(count):
        if _is_new(numbers, e):
            _load_row(tile, arrays, segments, role[A_ROW], numbers[e], _slot(tile, role, rows[e]), buffer)


@part
def _slot(tile, role, address):
    """The place in the tile of a row that was copied there."""
    return role[A_SLOTS] + (address - address_of(tile, role[A_SLOTS])) // tile.itemsize


@jit
def _begin(tile, arrays, role, segments, rows, numbers, count, last, add, output, adds, buffer):
    """Make rows of the result ready: zeros, or what they hold.

    ``adds``: whether a sample adds to its row. The first of a row of weights overwrites it, others add to it.
    """
    lanes = LINE // tile.itemsize
    for e in range(count):
        begun = not _is_new(numbers, e) or (e == 0 and numbers[0] == last) or add
        adds[e] = begun
        if not _is_new(numbers, e):
            continue
        if role[A_DIRECT] == 0:
            slot = _slot(tile, role, rows[e])
            if begun:
                _load_row(tile, arrays, segments, role[A_ROW], numbers[e], slot, buffer)
            else:
                for place in range(slot, slot + role[A_SIZE], lanes):
                    fill(_ONE, tile, place, 0.0)
        elif output == TO_TARGET and not begun:
            _clear(tile, rows[e], role[A_SIZE])


@part
def _clear(tile, address, size):
    """Zeros in memory."""
    lanes, done = LINE // tile.itemsize, 0
    while done + lanes <= size:
        zero_line(tile, address + done * tile.itemsize)
        done += lanes
    for i in range(done, size):
        write(tile, address + i * tile.itemsize, tile.dtype.type(0))


@jit
def _store(tile, arrays, role, segments, rows, numbers, count, buffer):
    """Write the rows of the result that stand in slots."""
    if role[A_DIRECT] != 0:
        return
    for e in range(count):
        if _is_new(numbers, e):
            _store_row(tile, arrays, segments, role[A_ROW], numbers[e], _slot(tile, role, rows[e]), buffer)


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


@part
def _segment(tile, arrays, segments, s, row, slot):
    """Where a segment of a row is in memory and in its slot; its components, their channels, and its step there."""
    which = segments[s, S_ARRAY]
    address = arrays[which, ADDRESS] + (row * arrays[which, ROW_STRIDE] + segments[s, S_OFFSET]) * tile.itemsize
    return address, slot + segments[s, S_PLACE], segments[s, S_SIZE], segments[s, S_CHANNELS], segments[s, S_STEP]


@jit
def _load_row(tile, arrays, segments, which, row, slot, buffer):
    """One row of an operand with channels, component by component; lanes beyond the last channel are zero."""
    item = tile.itemsize
    for s in range(segments.shape[0]):
        if segments[s, S_ARRAY] != which:
            continue
        address, at, size, channels, step = _segment(tile, arrays, segments, s, row, slot)
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
def _store_row(tile, arrays, segments, which, row, slot, buffer):
    """Write one row of a result with channels."""
    item = tile.itemsize
    lanes = LINE // item
    for s in range(segments.shape[0]):
        if segments[s, S_ARRAY] != which:
            continue
        address, at, size, channels, step = _segment(tile, arrays, segments, s, row, slot)
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
def _combine(tile, paths, sources, targets, weights, ones, adds, matrices, matrix_lines, output, first, last):
    """All paths of some samples, whose target is one if it is computed."""
    item = tile.itemsize
    for p in range(paths.shape[0]):
        offset, step = 0, 0
        if paths[p, P_WEIGHTS] >= 0:
            offset, step = paths[p, P_WEIGHTS] * item, LINE
        components = paths[p, P_TARGET_SIZE]
        at = Coupled(
            paths[p, P_SOURCE] * item,
            paths[p, P_SOURCE_STEP] * item,
            paths[p, P_SOURCE_SIZE],
            paths[p, P_TARGET] * item,
            paths[p, P_TARGET_STEP] * item,
            offset,
            step,
            matrices + paths[p, P_MATRIX] * LINE,
            components * LINE,
            matrix_lines * LINE if output == TO_PLAIN else item,
            paths[p, P_VECTORS],
            first,
            last,
        )
        if step:
            _combine_path(tile, sources, targets, weights, adds, output, at, components, paths[p, P_SCALAR] != 0)
        else:
            _combine_path(tile, sources, targets, ones, adds, output, at, components, paths[p, P_SCALAR] != 0)


@jit
def _combine_path(tile, sources, targets, weights, adds, output, at, components, scalar):
    """One path of some samples: as many components of the target at a time as there is code for."""
    if scalar:
        if output == TO_TARGET and at.blocks % 4 == 0:
            add_scaled(_FOUR, tile, sources, targets, weights, _moved(at, 0, 4))
        elif output == TO_TARGET:
            add_scaled(_ONE, tile, sources, targets, weights, at)
        elif output == TO_WEIGHTS:
            pull_weights_scaled(_ONE, tile, sources, targets, weights, adds, at)
        else:
            pull_matrix_scaled(tile, sources, targets, weights, at)
        return
    done = 0
    while done < components:
        left = components - done
        if left >= 7:
            _combine_components(tile, sources, targets, weights, adds, output, at, done, _SEVEN)
            done += 7
        elif left >= 5:
            _combine_components(tile, sources, targets, weights, adds, output, at, done, _FIVE)
            done += 5
        elif left >= 3:
            _combine_components(tile, sources, targets, weights, adds, output, at, done, _THREE)
            done += 3
        else:
            _combine_components(tile, sources, targets, weights, adds, output, at, done, _ONE)
            done += 1


@part
def _combine_components(tile, sources, targets, weights, adds, output, at, done, outputs):
    """The sums of several vectors of channels at once hide how long an addition takes."""
    if output == TO_PLAIN:
        pull_matrix(tile, outputs, sources, targets, weights, _moved(at, done, 1))
    elif at.blocks % 4 == 0 and len(outputs) < 7:
        if output == TO_TARGET:
            add_coupled(_FOUR, tile, outputs, sources, targets, weights, _moved(at, done, 4))
        else:
            pull_weights(_FOUR, tile, outputs, sources, targets, weights, adds, done, _moved(at, done, 4))
    elif at.blocks % 2 == 0:
        if output == TO_TARGET:
            add_coupled(_TWO, tile, outputs, sources, targets, weights, _moved(at, done, 2))
        else:
            pull_weights(_TWO, tile, outputs, sources, targets, weights, adds, done, _moved(at, done, 2))
    elif output == TO_TARGET:
        add_coupled(_ONE, tile, outputs, sources, targets, weights, _moved(at, done, 1))
    else:
        pull_weights(_ONE, tile, outputs, sources, targets, weights, adds, done, _moved(at, done, 1))


@part
def _moved(at, done, vectors):
    """The path from component ``done`` of the target on, in blocks of ``vectors`` vectors."""
    return Coupled(
        at.source,
        at.source_step,
        at.terms,
        at.target + done * at.target_step,
        at.target_step,
        at.weights,
        at.weights_step,
        at.matrix + done * LINE,
        at.matrix_step,
        at.sample_step,
        at.blocks // vectors,
        at.first,
        at.last,
    )
