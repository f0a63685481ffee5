"""The one driver of all backends: results are allocated, samples cut into portions, rows copied, results folded.

What can be evaluated where it stands goes to the backend as it is. Otherwise operands are copied together as rows,
portion by portion, so that memory beyond operands and results stays small; and results of samples that fall on the same
place, as gradients of broadcast operands do, are summed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

from tpnumba.backends.base import Evaluation, Job
from tpnumba.backends.call import Call, with_shared_rows
from tpnumba.backends.namespaces import Context, is_eager, writes_through
from tpnumba.backends.portions import Portion, Shape, clip, fold, portions, rows_of
from tpnumba.plans.base import PORTION_BYTES, Plan
from tpnumba.plans.harmonics import Harmonics

Array = Any


def evaluate(
    backend: Evaluation, plan: Plan | Harmonics, call: Call, arrays: Sequence[Array], out: Array | None
) -> tuple[Array, ...]:
    """Evaluate a plan by a backend; see :func:`tpnumba.backends.evaluate`."""
    job, padded = job_of(backend, plan, call, arrays, out)
    plan, samples, results, context = job.plan, job.samples, job.results, job.context
    sizes, batch = plan.result_sizes, tuple(results[0].shape[:-1])
    if 0 in samples or sizes == (0,):
        for result in results:
            result[...] = 0.0
    elif not (is_in_place(job, padded) and backend.evaluate_rows(job)):
        _evaluate_portions(backend, job, padded)
    if out is not None:
        return (out,)
    if isinstance(plan, Harmonics):
        shapes = ((*batch, *core) for core in plan.result_shapes)
        return tuple(context.xp.reshape(result, shape) for result, shape in zip(results, shapes, strict=True))
    return (results[0] if batch == call.batch else context.xp.reshape(results[0], (*call.batch, sizes[0])),)


def job_of(
    backend: Evaluation, plan: Plan | Harmonics, call: Call, arrays: Sequence[Array], out: Array | None
) -> tuple[Job, Shape]:
    """What is to be evaluated, with new results unless there is ``out``; and their leading axes, as many as samples'.

    There are none in either if the result is one row for all samples.
    """
    samples, batch, context = call.samples, call.batch, call.context
    if isinstance(plan, Plan):
        plan, arrays, batch = with_shared_rows(plan, call, arrays)
    inputs = dict(zip(call.operands, arrays, strict=True))
    results = [out] if out is not None else [backend.empty((*batch, size), context) for size in plan.result_sizes]
    padded = () if plan.sums_samples else (1,) * (len(samples) - len(batch)) + batch
    return Job(plan, inputs, samples, results, context, call.num_threads, fresh=out is None), padded


def is_in_place(job: Job, padded: Shape) -> bool:
    """Whether each sample has a row of the result of its own, or all have one."""
    return job.plan.sums_samples or padded == job.samples


def _evaluate_portions(backend: Evaluation, job: Job, padded: Shape) -> None:
    """With operands copied together as rows, portion by portion; ``padded``: the leading axes of the results."""
    plan, inputs, samples, results, context, threads, _ = job
    xp, shared = context.xp, plan.sums_samples
    adds = shared or padded != samples
    wholes = [_with_leading(xp, result, padded) for result in results]
    if adds:
        for whole in wholes:
            whole[...] = 0.0

    def inputs_of(portion: Portion) -> dict[int, Array]:
        found = {}
        for i, array in inputs.items():
            is_shared = i in plan.shared_operands
            found[i] = backend.rows(array if is_shared else rows_of(xp, array, portion, samples), context)
        return found

    for portion in portions(samples, max(1, backend.portion_samples(plan, context))):
        count = prod(cut.stop - cut.start for cut in portion)
        rows, leading = inputs_of(portion), () if shared else (count,)
        # Into the results where they stand; else into arrays of their own, which are put or added there.
        parts = [] if adds else [_rows_in_place(xp, whole, portion, count) for whole in wholes]
        in_place = bool(parts) and all(part is not None for part in parts)
        if in_place and backend.evaluate_rows(Job(plan, rows, (count,), parts, context, threads, fresh=True)):
            continue
        parts = [backend.empty((*leading, whole.shape[-1]), context) for whole in wholes]
        evaluated = backend.evaluate_rows(Job(plan, rows, (count,), parts, context, threads, fresh=True))
        assert evaluated  # rows that were copied for it
        for whole, part in zip(wholes, parts, strict=True):
            value = fold(xp, part, portion, padded, shared)
            where = (...,) if shared else (*clip(portion, padded), slice(None))
            if adds:
                whole[where] += value
            else:
                whole[where] = value
    for whole, result in zip(wholes, results, strict=True):
        if whole is not result and not writes_through(xp, whole, result):
            result[...] = xp.reshape(whole, tuple(result.shape))


def _with_leading(xp: Any, result: Array, padded: Shape) -> Array:
    """A result with leading axes that samples broadcast to; another array where its memory does not allow it."""
    shape = (*padded, result.shape[-1])
    return result if tuple(result.shape) == shape else xp.reshape(result, shape)


def _rows_in_place(xp: Any, whole: Array, portion: Portion, count: int) -> Array | None:
    """The rows of a portion where they stand in a result; None where its memory does not allow to write there."""
    part = whole[(*portion, slice(None))]
    rows = part if part.ndim == 2 else xp.reshape(part, (count, whole.shape[-1]))
    return rows if writes_through(xp, rows, whole) else None


def map_rows(function: Callable[[Array], Array], array: Array, core: Shape, result: Shape, context: Context) -> Array:
    """Apply ``function`` to every sample of an array ``(..., *core)``; a sample of the outcome has shape ``result``.

    ``function`` gets ``(n, prod(core))`` and gives ``(n, prod(result))`` in the dtype of ``context``. In portions, so
    that an array of any strides is not copied as a whole.
    """
    xp, device, dtype = context
    leading = tuple(array.shape[: array.ndim - len(core)])
    if not is_eager(xp, (array,)):
        rows = xp.reshape(array, (prod(leading), prod(core)))
        return xp.reshape(function(rows), (*leading, *result))
    filled = xp.empty((*leading, *result), dtype=dtype, device=device)
    for portion in portions(leading, max(1, PORTION_BYTES // (16 * max(prod(core), prod(result))))):
        where = (*portion, ...)
        part = array[where]
        shape = tuple(part.shape[: len(leading)])
        value = function(xp.reshape(part, (prod(shape), prod(core))))
        filled[where] = xp.reshape(value, (*shape, *result))
    return filled
