"""Evaluation of rows on a GPU: which program, on which launch."""

from __future__ import annotations

from math import prod
from typing import Any

from tpnumba.backends.base import Job
from tpnumba.backends.gpu.harmonics import launch as harmonics
from tpnumba.backends.gpu.harmonics.lower import HarmonicsProgram
from tpnumba.backends.gpu.lower import program_of
from tpnumba.backends.gpu.rows import Rows, RowsCall, as_rows, as_target
from tpnumba.backends.gpu.tile import launch as tile
from tpnumba.backends.gpu.tile.program import Program
from tpnumba.backends.gpu.transform import multipass_launch as multipass
from tpnumba.backends.gpu.transform.multipass import MultipassProgram
from tpnumba.backends.namespaces import Context
from tpnumba.plans.base import Plan
from tpnumba.plans.harmonics import Harmonics

Array = Any

#: Bytes of copies of operands that do not stand in memory as rows, and of the results of these.
COPY_BYTES = 2**24


def portion_samples(plan: Plan | Harmonics, context: Context) -> int:
    """The most samples to be copied into rows at a time."""
    return max(1, COPY_BYTES // (max(1, plan.row_numbers) * context.itemsize))


def empty(shape: tuple[int, ...], context: Context) -> Array:
    """A new array of the context's dtype."""
    return context.xp.empty(shape, dtype=context.dtype)


def rows(array: Array, context: Context) -> Array:
    """A copy of rows that kernels read; the array itself if it needs none."""
    return context.xp.ascontiguousarray(context.xp.astype(array, context.dtype, copy=False))


def evaluate_rows(job: Job) -> bool:
    """See :class:`tpnumba.backends.base.Evaluation`; on the current device and its current stream."""
    plan, arrays, samples, results, context, _, _ = job
    found = dict[int, Rows]()
    for i, array in arrays.items():
        own = as_rows(array, plan.operands[i].access, samples) if array.dtype == context.dtype else None
        if own is None:
            return False
        found[i] = own
    targets = [as_target(result, result.shape[-1]) for result in results]
    if any(target is None for target in targets):
        return False
    program = program_of(plan, context.dtype_name)
    assert program is not None  # asked for before the plan came here
    launched = RowsCall(found, prod(samples), tuple(targets), plan.sums_samples, context)
    if isinstance(plan, Harmonics):
        assert isinstance(program, HarmonicsProgram)
        harmonics.launch(program, plan, launched)
    elif isinstance(program, Program):
        tile.launch(program, launched)
    else:
        assert isinstance(program, MultipassProgram)
        multipass.launch(program, launched)
    return True
