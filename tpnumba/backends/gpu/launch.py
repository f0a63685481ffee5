"""From operands to launches of the kernel: rows, blocks of samples, the work buffer, and sums over samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import Any

import numpy as np

from tpnumba.backends.blocks import Shape, blocks, clip, fold, rows_of
from tpnumba.backends.gpu.device import add_instance, instance, kernel, on_device, tables_of
from tpnumba.backends.gpu.program import INPUTS, Program
from tpnumba.backends.namespaces import Context
from tpnumba.plans.access import Access
from tpnumba.plans.base import Plan

Array = Any

THREADS = 256
#: Bytes of work buffers, 64 MiB together: slabs of tiles, sums of blocks of samples, and copies of operands that do not
#: stand in memory as rows, with the results of these.
_SLAB_BYTES, _SUM_BYTES, COPY_BYTES = 2**25, 2**24, 2**24
#: Blocks that sum samples, each over its own; then their sums are added. The number of samples alone decides on it.
_MOST_SUMMING = 256
MOST_BLOCKS = 2**16

#: Evaluates rows: those of the inputs, how many, and the rows of the result, a single one if ``summed``.
Evaluate = Callable[..., None]


def run(
    evaluate: Evaluate,
    plan: Plan,
    operands: Mapping[int, Array],
    full: Shape,
    batch: Shape,
    context: Context,
    out: Array | None,
) -> Array:
    """Evaluate ``plan`` by what evaluates its rows, on the device of the operands and the current stream there."""
    xp, _, dtype = context
    with on_device(next(iter(operands.values()))):
        operands = {i: xp.astype(array, dtype, copy=False) for i, array in operands.items()}
        size = plan.sizes[plan.output]
        result = xp.empty((*batch, size), dtype=dtype) if out is None else out
        count = prod(full)
        if count == 0 or size == 0:
            result[...] = 0.0
            return result
        shared = plan.operands[plan.output].access == Access.SHARED
        padded = () if shared else (1,) * (len(full) - len(batch)) + batch
        if shared or padded == full:
            found = {i: as_rows(array, plan.operands[i].access, full) for i, array in operands.items()}
            target = as_target(result, size)
            rows = {i: place for i, place in found.items() if place is not None}
            if target is not None and len(rows) == len(found):
                evaluate(context, rows, count, target, summed=shared)
                return result
        # In blocks, with rows copied together, and folded where samples fall on the same place.
        if shared or padded != full:
            result[...] = 0.0
        whole = xp.reshape(result, (*padded, size))
        for block in blocks(full, max(1, COPY_BYTES // (sum(plan.sizes) * context.itemsize))):
            rows = {
                i: (xp.ascontiguousarray(array), 0)
                if plan.operands[i].access == Access.SHARED
                else (xp.ascontiguousarray(rows_of(xp, array, block, full)), array.shape[-1])
                for i, array in operands.items()
            }
            number = prod(cut.stop - cut.start for cut in block)
            made = xp.empty((1 if shared else number, size), dtype=dtype)
            evaluate(context, rows, number, made, summed=shared)
            value = made[0, :] if shared else fold(xp, made, block, padded, False)
            where = () if shared else clip(block, padded)
            if shared or padded != full:
                whole[(*where, ...)] += value
            else:
                whole[(*where, ...)] = value
        if not xp.may_share_memory(whole, result):
            result[...] = xp.reshape(whole, result.shape)
        return result


#: Rows as the kernel reads them: an array, and the numbers from one row to the next (0: one row for all samples).
_Rows = tuple[Array, int]


def as_rows(array: Array, access: Access, full: Shape) -> _Rows | None:
    """The operand as rows, one a sample; None if it would have to be copied to have any."""
    size = array.shape[-1]
    leading = tuple(array.shape[:-1])
    if array.flags.c_contiguous:
        if access == Access.SHARED or prod(leading) == 1:
            return array, 0
        return (array, size) if prod(leading) == prod(full) else None
    step, rest = divmod(array.strides[0], array.itemsize)
    if leading == full and len(full) == 1 and array.strides[1] == array.itemsize and step > 0 and not rest:
        return array, step
    return None


def as_target(result: Array, size: int) -> Array | None:
    """The result as rows; None if it would have to be copied to have any."""
    return result.reshape(-1, size) if result.flags.c_contiguous else None


def evaluate(
    program: Program, context: Context, rows: Mapping[int, _Rows], count: int, target: Array, *, summed: bool
) -> None:
    """Launch: ``target`` gets a row for every sample, or a single one, their sum."""
    xp, _, dtype = context
    item, width = context.itemsize, target.shape[-1]
    table, coefficients = tables_of(program)
    tiles = -(-count // program.samples)
    most = MOST_BLOCKS
    if not program.shared:
        most = min(most, max(1, _SLAB_BYTES // (program.tile * item * program.chunks)))
    if summed:
        most = min(most, _MOST_SUMMING, max(1, _SUM_BYTES // (width * item)))
    across = min(tiles, most)
    made = xp.empty((across, width), dtype=dtype) if summed and across > 1 else target
    work = target if program.shared else xp.empty(across * program.chunks * program.tile, dtype=dtype)
    missing = INPUTS - len(program.inputs)
    found = [rows[i] for i in program.inputs] + [(coefficients, 0)] * missing
    shared_bytes = program.tile * item if program.shared else 0
    name = instance(context.dtype_name, program.repeat, program.shared, program.kinds)
    kernel(name, shared_bytes, program.unrolled)(
        (across, program.chunks),
        (THREADS,),
        (
            *(array for array, _ in found),
            *(np.int64(step) for _, step in found),
            np.int32(program.direct),
            *(made, table, coefficients, work),
            *(np.int64(program.tile), np.int64(count), np.int32(summed)),
        ),
        shared_mem=shared_bytes,
    )
    if made is not target:
        grid = (-(-width // THREADS),)
        add = kernel(add_instance(context.dtype_name))
        add(grid, (THREADS,), (made, target, np.int32(across), np.int32(width)))
