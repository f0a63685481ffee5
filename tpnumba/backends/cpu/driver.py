"""A plan on NumPy arrays: rows found in memory, work cut into pieces, pieces given to threads."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Mapping
from ctypes import c_size_t
from itertools import product
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from tpnumba.backends.blocks import Shape, blocks, clip, fold, rows_of
from tpnumba.backends.cpu.contraction.lower import make_program, program_of
from tpnumba.backends.cpu.program import LINE, VECTORS, Ints, Program
from tpnumba.backends.cpu.runtime.threads import WORTH_SHARING, default_threads, share
from tpnumba.backends.cpu.simd.operands import ADDRESS, COLUMN_STRIDE, OUTPUT, ROW_STRIDE, SHARED
from tpnumba.backends.namespaces import Context
from tpnumba.plans.access import Access
from tpnumba.plans.base import Plan

Array = npt.NDArray[np.floating]

#: Copies of operands that do not stand in memory as rows, in bytes at a time.
_COPY_BYTES = 2**24
#: Results larger than this are written past the caches, which they would only empty.
_STREAM_BYTES = 2**23
#: Samples that are summed in one go, in tiles; then the sums are summed.
_SUMMED_TILES = 16

_local = threading.local()

#: An array begins with what every object of Python begins with, and then the address of its numbers: what extensions
#: of NumPy are compiled against. ``__array_interface__`` says the same, but takes 0.9 microseconds for it. In another
#: Python than CPython an ``id`` is no address.
_HEADER = object.__basicsize__ if sys.implementation.name == "cpython" else None


def run(
    plan: Plan,
    operands: Mapping[int, Array],
    full: Shape,
    batch: Shape,
    context: Context,
    out: Array | None,
    num_threads: int | None,
) -> Array:
    """Evaluate ``plan``; see :func:`tpnumba.backends.generic.run` for the arguments."""
    program = program_of(plan, context.dtype_name)
    assert program is not None  # asked for before the plan came here
    dtype = program.values.dtype
    size = plan.sizes[plan.output]
    result = np.empty((*batch, size), dtype=dtype) if out is None else out
    count = prod(full)
    if count == 0 or size == 0:
        result[...] = 0.0
        return result
    threads = min(default_threads() if num_threads is None else num_threads, program.most_threads)
    # With one sample a result is its own sum, and there is nothing to add up.
    summed = count > 1 and plan.operands[plan.output].access == Access.SHARED
    padded = (1,) * (len(full) - len(batch)) + batch
    arrays = operands if summed else {**operands, plan.output: result}
    table = _addressed(program, plan, arrays, full, count) if summed or padded == full else None
    if table is None:
        return _in_blocks(program, plan, operands, full, padded, result, threads, summed=summed)
    if summed:
        result[...] = _sum(program, plan, table, arrays, count, threads)
    else:
        _fill(program, plan, table, arrays, count, threads)
    return result


def _addressed(program: Program, plan: Plan, arrays: Mapping[int, Array], full: Shape, count: int) -> Ints | None:
    """The program's table of operands with the places of arrays; None if one must be copied to have rows.

    Of a single sample nothing is shared.
    """
    table = program.operands.copy()
    dtype = program.values.dtype
    for i, array in arrays.items():
        shared = plan.operands[i].access == Access.SHARED
        place = _find(array, () if shared else full, dtype)
        if place is None:
            return None
        # Number by number, as a slice takes three times as long.
        table[i, ADDRESS], table[i, ROW_STRIDE], table[i, COLUMN_STRIDE] = place
        if shared and count > 1 and not table[i, SHARED]:
            table[i, SHARED] = 1
    return table


def _find(array: Array, full: Shape, dtype: npt.DTypeLike) -> tuple[int, int, int] | None:
    """The rows ``(samples, size)`` of an array: their address and the strides of rows and columns, in numbers.

    None if the array has to be copied to have any.
    """
    if array.dtype != dtype or not array.flags.aligned:
        return None
    item = array.itemsize
    strides = array.strides
    leading = array.shape[:-1]
    stride = strides[0] if full else 0
    if len(full) > 1 or leading != full:
        stride = 0
        spread = (0,) * (len(full) - len(leading)) + tuple(
            0 if n == 1 else step for n, step in zip(leading, strides[:-1], strict=True)
        )
        rows = 1
        for n, step in zip(reversed(full), reversed(spread), strict=False):
            if n == 1:
                continue
            if rows == 1:
                stride = step
            elif step != stride * rows:
                return None
            rows *= n
    return _address(array), stride // item, strides[-1] // item


def _address(array: npt.NDArray[Any]) -> int:
    if _HEADER is None:
        return int(array.__array_interface__["data"][0])
    return c_size_t.from_address(id(array) + _HEADER).value


def _in_blocks(
    program: Program,
    plan: Plan,
    operands: Mapping[int, Array],
    full: Shape,
    padded: Shape,
    result: Array,
    threads: int,
    *,
    summed: bool,
) -> Array:
    """With rows copied together, block by block, and results folded where samples fall on the same place."""
    dtype = result.dtype
    size = result.shape[-1]
    numbers = sum(plan.sizes)
    whole = np.reshape(result, (size,) if summed else (*padded, size)) if result.flags.c_contiguous else None
    if whole is None:  # a result that is no run of rows: filled by way of one that is
        whole = np.empty((size,) if summed else (*padded, size), dtype=dtype)
    adds = summed or padded != full
    if adds:
        whole[...] = 0.0
    for block in blocks(full, max(1, _COPY_BYTES // (numbers * dtype.itemsize))):
        rows = {
            i: np.require(
                array if plan.operands[i].access == Access.SHARED else rows_of(np, array, block, full),
                dtype,
                ("C", "A"),
            )
            for i, array in operands.items()
        }
        count = prod(cut.stop - cut.start for cut in block)
        part = np.empty((0 if summed else count, size), dtype=dtype)
        if not summed:
            rows[plan.output] = part
        table = _addressed(program, plan, rows, (count,), count)
        assert table is not None
        if summed:
            whole += _sum(program, plan, table, rows, count, threads)
            continue
        _fill(program, plan, table, rows, count, threads)
        value = fold(np, part, block, padded, False)
        if adds:
            whole[clip(block, padded)] += value
        else:
            whole[clip(block, padded)] = value
    if not np.may_share_memory(whole, result):
        result[...] = np.reshape(whole, result.shape)
    return result


def _fill(program: Program, plan: Plan, table: Ints, arrays: object, count: int, threads: int) -> None:
    """Write the result of every sample. ``arrays``: those whose addresses stand in the table."""
    table[plan.output, OUTPUT] = 1
    size = plan.sizes[plan.output]
    stream = count * size * program.values.itemsize > _STREAM_BYTES
    samples = program.samples
    if program.seconds * count < WORTH_SHARING:
        threads = 1
    elif samples * threads > count:  # one piece for each thread, in whole tiles
        samples = -(-count // (threads * program.lanes)) * program.lanes
    if samples >= count:
        _call(program, table, 0, count, stream)
        return

    # A second Ctrl-C may end this call while a worker is at its piece: the work itself keeps all memory.
    def piece(i: int, _: object = arrays) -> None:
        _call(program, table, i * samples, min(count, (i + 1) * samples), stream)

    share(piece, -(-count // samples), threads)


def _sum(program: Program, plan: Plan, table: Ints, arrays: object, count: int, threads: int) -> Array:
    """The sum of the results of all samples: pieces that the count of samples alone decides, added in their order."""
    size = plan.sizes[plan.output]
    table[plan.output, SHARED] = 1
    first = int(table[plan.output, OUTPUT])
    most = max(1, _COPY_BYTES // (size * program.values.itemsize))
    samples = max(_SUMMED_TILES, -(-count // (program.lanes * most))) * program.lanes
    pieces = -(-count // samples)
    partial = np.empty((pieces, size), dtype=program.values.dtype)

    def piece(i: int, _: object = arrays) -> None:
        tile = _workspace(program)
        tile[first : first + size] = 0.0
        _call(program, table, i * samples, min(count, (i + 1) * samples), False)
        partial[i] = tile[first : first + size]

    share(piece, pieces, threads if program.seconds * count > WORTH_SHARING else 1)
    total: Array = np.sum(partial, axis=0)
    return total


def _call(program: Program, table: Ints, start: int, stop: int, stream: bool) -> None:
    """Run the kernel in the memory of this thread."""
    program.call(_workspace(program), table, start, stop, stream)


def compile_all(plans: Mapping[str, Plan]) -> Iterator[str]:
    """Compile the kernels in every form they have, or take them from the cache; yields what was made ready.

    ``plans``: one of each kind, by its name, to try them on; which one does not matter.
    """
    for kind, dtype, vectors in product(plans, ("float32", "float64"), VECTORS):
        plan = plans[kind]
        program = make_program(plan, dtype, vectors)
        assert program is not None
        arrays = {i: np.zeros((1, size), dtype=dtype) for i, size in enumerate(plan.sizes)}
        table = _addressed(program, plan, arrays, (1,), 1)
        assert table is not None
        table[plan.output, OUTPUT] = 1
        _call(program, table, 0, 1, False)
        yield f"{kind}, {dtype}, runs of {program.lanes}"


def _workspace(program: Program) -> Any:
    """Memory of this thread, aligned to 64 bytes and kept for the next call."""
    dtype = program.values.dtype
    kept = getattr(_local, "tiles", None)
    if kept is None:
        kept = _local.tiles = {}
    tile = kept.get(dtype)
    if tile is None or tile.size < program.tile_size:
        raw = np.empty(program.tile_size * dtype.itemsize + LINE, dtype=np.uint8)
        skip = -_address(raw) % LINE
        tile = kept[dtype] = raw[skip : skip + program.tile_size * dtype.itemsize].view(dtype)
    return tile
