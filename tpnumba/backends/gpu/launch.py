"""Evaluation of rows, and its drivers, which find the rows of operands, copy where there are none, and sum."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

from tpnumba.backends.blocks import Shape, blocks, clip, fold, rows_of
from tpnumba.backends.gpu.device import on_device
from tpnumba.backends.gpu.harmonics import launch as harmonics
from tpnumba.backends.gpu.harmonics.lower import HarmonicsProgram
from tpnumba.backends.gpu.lower import program_of
from tpnumba.backends.gpu.rows import Rows, RowsCall, as_rows, as_target
from tpnumba.backends.gpu.tile import launch as tile
from tpnumba.backends.gpu.tile.program import Program
from tpnumba.backends.gpu.transform import multipass_launch as multipass
from tpnumba.backends.gpu.transform.multipass import MultipassProgram
from tpnumba.backends.namespaces import Context
from tpnumba.plans.access import Access
from tpnumba.plans.base import Plan
from tpnumba.plans.harmonics import Harmonics

Array = Any

#: Bytes of copies of operands that do not stand in memory as rows, and of the results of these.
COPY_BYTES = 2**24


def evaluate_rows(
    plan: Plan | Harmonics,
    rows: Mapping[int, Rows],
    count: int,
    results: tuple[Array, ...],
    *,
    summed: bool,
    context: Context,
) -> None:
    """Evaluate ``plan``, for which there is a program, on rows on the current device and its current stream.

    ``rows``: of every input, by its number (harmonics: points are 0, cotangents or tangents 1), one for each of
    ``count`` samples, or one for all where the stride is 0. ``results``: arrays ``(count, size)``, written to; or of
    one row, the sum over the samples, if ``summed``, which harmonics do not do. All are of the context's dtype.
    """
    program = program_of(plan, context.dtype_name)
    assert program is not None  # asked for before the plan came here
    call = RowsCall(rows, count, results, summed, context)
    if isinstance(plan, Harmonics):
        assert isinstance(program, HarmonicsProgram)
        harmonics.launch(program, plan, call)
    elif isinstance(program, Program):
        tile.launch(program, call)
    else:
        assert isinstance(program, MultipassProgram)
        multipass.launch(program, call)


def evaluate(
    plan: Plan,
    operands: Mapping[int, Array],
    full: Shape,
    batch: Shape,
    context: Context,
    out: Array | None,
    num_threads: int | None,  # noqa: ARG001
) -> Array:
    """Evaluate ``plan``; see :func:`tpnumba.backends.generic.run` for the arguments."""
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
            rows = {i: own for i, own in found.items() if own is not None}
            if target is not None and len(rows) == len(found):
                evaluate_rows(plan, rows, count, (target,), summed=shared, context=context)
                return result
        # In blocks, with rows copied together, and folded where samples fall on the same place.
        if shared or padded != full:
            result[...] = 0.0
        whole = xp.reshape(result, (*padded, size))
        for block in blocks(full, max(1, COPY_BYTES // (sum(plan.sizes) * context.itemsize))):
            rows = {
                i: Rows(xp.ascontiguousarray(array), 0)
                if plan.operands[i].access == Access.SHARED
                else Rows(xp.ascontiguousarray(rows_of(xp, array, block, full)), array.shape[-1])
                for i, array in operands.items()
            }
            number = prod(cut.stop - cut.start for cut in block)
            made = xp.empty((1 if shared else number, size), dtype=dtype)
            evaluate_rows(plan, rows, number, (made,), summed=shared, context=context)
            value = made[0, :] if shared else fold(xp, made, block, padded, False)
            where = () if shared else clip(block, padded)
            if shared or padded != full:
                whole[(*where, ...)] += value
            else:
                whole[(*where, ...)] = value
        if not xp.may_share_memory(whole, result):
            result[...] = xp.reshape(whole, result.shape)
        return result


def evaluate_harmonics(
    plan: Harmonics,
    arrays: tuple[Array, ...],
    context: Context,
    out: Array | None,
    num_threads: int | None,  # noqa: ARG001
) -> tuple[Array, ...]:
    """Evaluate ``plan``; see :func:`tpnumba.backends.generic.harmonics.run` for the arguments."""
    xp, _, dtype = context
    with on_device(arrays[0]):
        arrays = tuple(xp.astype(array, dtype, copy=False) for array in arrays)
        full = tuple(arrays[0].shape[:-1])
        results = [xp.empty((*full, *core), dtype=dtype) for core in plan.outputs] if out is None else [out]
        found = [as_rows(array, Access.BATCH, full) for array in arrays]
        targets = [as_target(result, prod(core)) for result, core in zip(results, plan.outputs, strict=True)]
        count = prod(full)
        if count == 0:
            return tuple(results)
        rows = {i: own for i, own in enumerate(found) if own is not None}
        to = tuple(target for target in targets if target is not None)
        if len(rows) == len(found) and len(to) == len(targets):
            evaluate_rows(plan, rows, count, to, summed=False, context=context)
            return tuple(results)
        # In blocks, with rows copied together.
        numbers = sum(plan.inputs) + sum(prod(core) for core in plan.outputs)
        for block in blocks(full, max(1, COPY_BYTES // (numbers * context.itemsize))):
            shape = tuple(cut.stop - cut.start for cut in block)
            count = prod(shape)
            rows = {
                i: Rows(xp.ascontiguousarray(rows_of(xp, array, block, full)), array.shape[-1])
                for i, array in enumerate(arrays)
            }
            parts = tuple(xp.empty((count, prod(core)), dtype=dtype) for core in plan.outputs)
            evaluate_rows(plan, rows, count, parts, summed=False, context=context)
            for result, part in zip(results, parts, strict=True):
                result[block] = xp.reshape(part, (*shape, *result.shape[len(full) :]))
    return tuple(results)
