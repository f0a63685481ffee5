"""A contraction of NumPy arrays: rows found in memory, work cut into pieces, pieces given to threads."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from tpnumba.backends.blocks import Shape, blocks, clip, fold, rows_of
from tpnumba.backends.cpu.lanes import ADDRESS, COLUMN_STRIDE, OUTPUT, ROW_STRIDE, SHARED, contract
from tpnumba.backends.cpu.program import LINE, Program, make_program
from tpnumba.backends.cpu.threads import WORTH_SHARING, default_threads, share
from tpnumba.plans.contraction import Contraction

Array = npt.NDArray[np.floating]

#: Copies of operands that do not stand in memory as rows, in bytes at a time.
_COPY_BYTES = 2**24
#: A piece of work takes about so many seconds: long enough to be worth a call, short enough to answer Ctrl-C.
_PIECE_SECONDS = 1e-3
#: What the pieces are cut by, in operations and bytes a second of one core; a rough guess is enough.
_FLOPS_A_SECOND, _BYTES_A_SECOND = 2e10, 5e9
#: Results larger than this are written past the caches, which they would only empty.
_STREAM_BYTES = 2**23
#: Samples that are summed in one go, in tiles; then the sums are summed.
_SUMMED_TILES = 16

_local = threading.local()


def run(
    plan: Contraction,
    operands: Mapping[int, Array],
    full: Shape,
    batch: Shape,
    dtype: str,
    out: Array | None,
    num_threads: int | None,
) -> Array:
    """Evaluate ``plan``; see :func:`tpnumba.backends.generic.run` for the arguments."""
    program = make_program(plan.with_access(("batch",) * len(plan.operands)), dtype)
    assert program is not None  # asked for before: has_program
    threads = default_threads() if num_threads is None else num_threads
    size = plan.operands[plan.output].size
    shared = plan.operands[plan.output].access == "shared"
    padded = () if shared else (1,) * (len(full) - len(batch)) + batch
    result = np.empty((*batch, size), dtype=dtype) if out is None else out
    if result.size == 0 or prod(full) == 0:
        result[...] = 0.0
        return result
    rows = {i: _as_rows(array, full, dtype, plan.operands[i].access == "shared") for i, array in operands.items()}
    target = _as_rows(result, full, dtype, shared=False) if padded == full and not shared else None
    if all(array is not None for array in rows.values()) and (shared or target is not None):
        found = {i: array for i, array in rows.items() if array is not None}
        if shared:
            result[...] = _sum(program, plan, found, prod(full), dtype, threads)
        else:
            assert target is not None
            _fill(program, plan, found, target, threads)
        return result
    return _in_blocks(program, plan, operands, full, padded, dtype, result, threads)


def _in_blocks(
    program: Program,
    plan: Contraction,
    operands: Mapping[int, Array],
    full: Shape,
    padded: Shape,
    dtype: str,
    result: Array,
    threads: int,
) -> Array:
    """With rows copied together, block by block, and results folded where samples fall on the same place."""
    shared = plan.operands[plan.output].access == "shared"
    size = plan.operands[plan.output].size
    whole = result if shared else np.reshape(result, (*padded, size)) if result.flags.c_contiguous else None
    if whole is None:  # a result that is no run of rows: filled by way of one that is
        whole = np.empty((*padded, size), dtype=dtype)
    summed = shared or padded != full
    if summed:
        whole[...] = 0.0
    numbers = sum(operand.size for operand in plan.operands)
    for block in blocks(full, max(1, _COPY_BYTES // (numbers * np.dtype(dtype).itemsize))):
        rows = {
            i: array.astype(dtype, copy=False)
            if plan.operands[i].access == "shared"
            else np.ascontiguousarray(rows_of(np, array, block, full), dtype=dtype)
            for i, array in operands.items()
        }
        count = prod(cut.stop - cut.start for cut in block)
        if shared:
            whole += _sum(program, plan, rows, count, dtype, threads)
            continue
        part = np.empty((count, size), dtype=dtype)
        _fill(program, plan, rows, part, threads)
        value = fold(np, part, block, padded, False)
        if summed:
            whole[clip(block, padded)] += value
        else:
            whole[clip(block, padded)] = value
    if not np.shares_memory(whole, result):
        result[...] = np.reshape(whole, result.shape)
    return result


def _as_rows(array: Array, full: Shape, dtype: str, shared: bool) -> Array | None:
    """The array as rows ``(samples, size)`` without a copy, or None; a shared one stays as it is."""
    if array.dtype != dtype or not array.flags.aligned or not array.dtype.isnative:
        return None
    if any(stride % array.itemsize for stride in array.strides):
        return None
    if shared:
        return array
    if array.ndim == 2 and len(full) == 1 and len(array) == full[0]:
        return array
    spread = np.broadcast_to(array, (*full, array.shape[-1]))
    rows, stride = 1, 0
    for n, step in reversed(list(zip(full, spread.strides[:-1], strict=True))):
        if n == 1:
            continue
        if rows == 1:
            stride = step
        elif step != stride * rows:
            return None
        rows *= n
    return np.lib.stride_tricks.as_strided(
        array, (prod(full), array.shape[-1]), (stride, spread.strides[-1]), writeable=array.flags.writeable
    )


def _fill(program: Program, plan: Contraction, rows: Mapping[int, Array], target: Array, threads: int) -> None:
    """Write the result of every sample."""
    count = len(target)
    table = _addressed(program, plan, rows)
    table[plan.output, [ADDRESS, ROW_STRIDE, COLUMN_STRIDE]] = _place(target)
    table[plan.output, OUTPUT] = 1
    stream = target.nbytes > _STREAM_BYTES
    numbers = sum(operand.size for operand in plan.operands) + 1
    seconds = program.flops / _FLOPS_A_SECOND + numbers * target.itemsize / _BYTES_A_SECOND
    samples = max(1, int(_PIECE_SECONDS / seconds) // program.lanes) * program.lanes
    if seconds * count < WORTH_SHARING:
        threads = 1
    elif samples * threads > count:  # one piece for each thread, in whole tiles
        samples = -(-count // (threads * program.lanes)) * program.lanes

    def piece(i: int) -> None:
        _call(program, table, i * samples, min(count, (i + 1) * samples), stream)

    share(piece, -(-count // samples), threads)


def _sum(program: Program, plan: Contraction, rows: Mapping[int, Array], count: int, dtype: str, threads: int) -> Array:
    """The sum of the results of all samples: pieces that the count of samples alone decides, added in their order."""
    size = plan.operands[plan.output].size
    table = _addressed(program, plan, rows)
    table[plan.output, SHARED] = 1
    most = max(1, _COPY_BYTES // (max(1, size) * np.dtype(dtype).itemsize))
    tiles = max(_SUMMED_TILES, -(-count // (program.lanes * most)))
    samples = tiles * program.lanes
    pieces = -(-count // samples)
    partial = np.empty((pieces, size), dtype=dtype)
    seconds = program.flops / _FLOPS_A_SECOND

    def piece(i: int) -> None:
        tile = _call(program, table, i * samples, min(count, (i + 1) * samples), False)
        at = table[plan.output, OUTPUT]
        partial[i] = tile[at : at + size]

    share(piece, pieces, threads if seconds * count > WORTH_SHARING else 1)
    total: Array = np.sum(partial, axis=0)
    return total


def _addressed(program: Program, plan: Contraction, rows: Mapping[int, Array]) -> npt.NDArray[np.int64]:
    table = program.operands.copy()
    for i, array in rows.items():
        shared = plan.operands[i].access == "shared"
        table[i, SHARED] = shared
        table[i, [ADDRESS, ROW_STRIDE, COLUMN_STRIDE]] = _place(array)
    return table


def _place(array: Array) -> tuple[int, int, int]:
    """Address, and strides of rows and columns in numbers."""
    item = array.itemsize
    row_stride = array.strides[0] // item if array.ndim == 2 else 0
    return array.ctypes.data, row_stride, array.strides[-1] // item


def _call(program: Program, table: npt.NDArray[np.int64], start: int, stop: int, stream: bool) -> Any:
    """Run the kernel in the memory of this thread; returns that memory."""
    tile = _workspace(program)
    if table[:, OUTPUT].max() > 1:
        tile[program.tile_size - table[:, 1][table[:, OUTPUT] > 0][0] : program.tile_size] = 0.0
    contract(
        _WIDTHS[program.vectors],
        tile,
        table,
        program.groups,
        program.channels,
        program.rows,
        program.places,
        program.values,
        program.zeros,
        program.products,
        program.buffer,
        start,
        stop,
        stream,
    )
    return tile


_WIDTHS = {vectors: (0,) * vectors for vectors in (1, 2, 4)}


def _workspace(program: Program) -> Any:
    """Memory of this thread, aligned to 64 bytes and kept for the next call."""
    dtype = program.values.dtype
    needed = program.tile_size * dtype.itemsize + LINE
    raw = getattr(_local, "raw", None)
    if raw is None or raw.nbytes < needed:
        raw = _local.raw = np.empty(needed, dtype=np.uint8)
    skip = -raw.ctypes.data % LINE
    return raw[skip : skip + program.tile_size * dtype.itemsize].view(dtype)
