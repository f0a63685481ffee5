"""A plan on NumPy arrays: finds rows, copies operands that have none, block by block, and folds what was broadcast."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from math import prod

import numpy as np
import numpy.typing as npt

from tpnumba.backends.blocks import Shape, blocks, clip, fold, rows_of
from tpnumba.backends.cpu.execute import evaluate_rows, find_arrays, sum_rows
from tpnumba.backends.cpu.harmonics.program import HarmonicsProgram
from tpnumba.backends.cpu.layout import COPY_BYTES, SIZE, VECTORS
from tpnumba.backends.cpu.lowering import lower_with, program_of
from tpnumba.backends.cpu.program import Program
from tpnumba.backends.cpu.runtime.threads import default_threads
from tpnumba.backends.namespaces import Context
from tpnumba.plans.access import Access
from tpnumba.plans.base import Plan
from tpnumba.plans.harmonics import Harmonics

Array = npt.NDArray[np.floating]


def evaluate(
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
    size = plan.sizes[plan.output]
    result = np.empty((*batch, size), dtype=program.dtype) if out is None else out
    count = prod(full)
    if count == 0 or size == 0:
        result[...] = 0.0
        return result
    threads = _threads(program, num_threads)
    # With one sample a result is its own sum, and there is nothing to add up.
    summed = count > 1 and plan.operands[plan.output].access == Access.SHARED
    padded = (1,) * (len(full) - len(batch)) + batch
    arrays = operands if summed else {**operands, plan.output: result}
    table = find_arrays(program, arrays, full, count, _shared(plan)) if summed or padded == full else None
    if table is None:
        return _in_blocks(program, plan, operands, full, padded, result, threads, summed=summed)
    if summed:
        result[...] = sum_rows(program, table, arrays, count, threads)
    else:
        evaluate_rows(program, table, arrays, count, threads, fresh=out is None)
    return result


def _threads(program: Program, num_threads: int | None) -> int:
    return min(default_threads() if num_threads is None else num_threads, program.most_threads)


def _shared(plan: Plan) -> list[int]:
    return [i for i, operand in enumerate(plan.operands) if operand.access == Access.SHARED]


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
    shared = _shared(plan)
    whole = np.reshape(result, (size,) if summed else (*padded, size)) if result.flags.c_contiguous else None
    if whole is None:  # a result without rows in memory: filled by way of one that has them
        whole = np.empty((size,) if summed else (*padded, size), dtype=dtype)
    adds = summed or padded != full
    if adds:
        whole[...] = 0.0
    for block in blocks(full, max(1, COPY_BYTES // (sum(plan.sizes) * dtype.itemsize))):
        rows = {
            i: np.require(array if i in shared else rows_of(np, array, block, full), dtype, ("C", "A"))
            for i, array in operands.items()
        }
        count = prod(cut.stop - cut.start for cut in block)
        part = np.empty((0 if summed else count, size), dtype=dtype)
        if not summed:
            rows[plan.output] = part
        table = find_arrays(program, rows, (count,), count, shared)
        assert table is not None
        if summed:
            whole += sum_rows(program, table, rows, count, threads)
            continue
        evaluate_rows(program, table, rows, count, threads, fresh=True)
        value = fold(np, part, block, padded, False)
        if adds:
            whole[clip(block, padded)] += value
        else:
            whole[clip(block, padded)] = value
    if not np.may_share_memory(whole, result):
        result[...] = np.reshape(whole, result.shape)
    return result


def evaluate_harmonics(
    plan: Harmonics, arrays: tuple[Array, ...], context: Context, out: Array | None, num_threads: int | None
) -> tuple[Array, ...]:
    """Evaluate ``plan``; see :func:`tpnumba.backends.generic.harmonics.run` for the arguments."""
    dtype = np.dtype(context.dtype)
    program = program_of(plan, context.dtype_name)
    assert isinstance(program, HarmonicsProgram)  # asked for before the plan came here
    full = arrays[0].shape[:-1]
    results = [np.empty((*full, prod(core)), dtype=dtype) for core in plan.outputs] if out is None else [out]
    count = prod(full)
    if count:
        threads = _threads(program, num_threads)
        rows = dict(zip((*program.inputs, *program.outputs), (*arrays, *results), strict=True))
        table = find_arrays(program, rows, full, count)
        if table is None:
            _harmonics_in_blocks(program, arrays, results, full, threads)
        else:
            evaluate_rows(program, table, rows, count, threads, fresh=out is None)
    if out is not None:
        return (out,)
    return tuple(np.reshape(result, (*full, *core)) for result, core in zip(results, plan.outputs, strict=True))


def _harmonics_in_blocks(
    program: HarmonicsProgram, arrays: tuple[Array, ...], results: list[Array], full: Shape, threads: int
) -> None:
    """With rows that do not stand in memory as such copied together, block by block."""
    dtype = program.dtype
    numbers = sum(array.shape[-1] for array in (*arrays, *results))
    for block in blocks(full, max(1, COPY_BYTES // (numbers * dtype.itemsize))):
        shape = tuple(cut.stop - cut.start for cut in block)
        count = prod(shape)
        given = [np.require(rows_of(np, array, block, full), dtype, ("C", "A")) for array in arrays]
        parts = [np.empty((count, result.shape[-1]), dtype=dtype) for result in results]
        rows = dict(zip((*program.inputs, *program.outputs), (*given, *parts), strict=True))
        table = find_arrays(program, rows, (count,), count)
        assert table is not None
        evaluate_rows(program, table, rows, count, threads, fresh=True)
        for result, part in zip(results, parts, strict=True):
            result[block] = np.reshape(part, (*shape, part.shape[-1]))


def compile_all(plans: Mapping[str, Plan | Harmonics]) -> Iterator[str]:
    """Compile the kernels in every form they have, or take them from the cache; yields what was made ready.

    ``plans``: one of each kind, by its name, to try them on; which one does not matter.
    """
    for kind, dtype, vectors in product(plans, ("float32", "float64"), VECTORS):
        program = lower_with(plans[kind], dtype, vectors)
        assert program is not None
        sizes = program.arrays[:, SIZE].tolist()
        rows = {i: np.zeros((1, size), dtype=dtype) for i, size in enumerate(sizes) if size}
        table = find_arrays(program, rows, (1,), 1)
        assert table is not None
        evaluate_rows(program, table, rows, 1, 1, fresh=True)
        yield f"{kind}, {dtype}, tile width {program.tile_width}"
