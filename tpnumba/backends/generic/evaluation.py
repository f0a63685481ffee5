"""The reference backend: rows of any plan, in the array API alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from math import prod
from typing import Any

from tpnumba.backends.base import Job
from tpnumba.backends.call import Call, with_shared_rows
from tpnumba.backends.fusion import evaluate_fused
from tpnumba.backends.generic import contraction, harmonics, low_rank, synthesis, transform
from tpnumba.backends.namespaces import Context
from tpnumba.backends.portions import Shape, fold, rows_of
from tpnumba.plans.access import Access
from tpnumba.plans.base import PORTION_BYTES, Plan
from tpnumba.plans.contraction import Contraction
from tpnumba.plans.harmonics import Harmonics
from tpnumba.plans.low_rank import LowRankContraction, LowRankTransform, PathWeights
from tpnumba.plans.synthesis import Synthesis
from tpnumba.plans.transform import Transform

Array = Any


def portion_samples(plan: Plan | Harmonics, context: Context) -> int:
    """The samples to be worked at a time, so that temporaries stay small."""
    if isinstance(plan, Harmonics):
        return max(1, harmonics.PORTION_NUMBERS // (3 * max(plan.size, sum(map(prod, plan.result_shapes)))))
    return max(1, PORTION_BYTES // (context.itemsize * max(1, plan.workspace)))


def empty(shape: tuple[int, ...], context: Context) -> Array:
    """A new array of the context's dtype."""
    return context.xp.empty(shape, dtype=context.dtype, device=context.device)


def rows(array: Array, context: Context) -> Array:  # noqa: ARG001
    """Rows that can be evaluated: any can."""
    return array


def evaluate_rows(job: Job) -> bool:
    """See :class:`tpnumba.backends.base.Evaluation`; False also for more samples than are worked at a time."""
    plan, arrays, samples, results, context, _, _ = job
    if len(samples) != 1 or samples[0] > portion_samples(plan, context):
        return False
    if any(plan.operands[i].access is Access.BATCH and tuple(x.shape[:-1]) != samples for i, x in arrays.items()):
        return False
    if isinstance(plan, Harmonics):
        for result, value in zip(results, harmonics.evaluate(context, plan, *arrays.values()), strict=True):
            result[...] = context.xp.reshape(value, tuple(result.shape))
        return True
    (result,) = results
    if not plan.fills_output:
        result[...] = 0.0
    written = set()
    for where, value in _evaluate_form(plan, arrays, context):
        if where.start in written:
            result[..., where] += value
        else:
            result[..., where] = value
        written.add(where.start)
    return True


def _evaluate_form(plan: Plan, arrays: Mapping[int, Array], context: Context) -> Iterator[tuple[slice, Array]]:
    inputs = {i: context.xp.astype(array, context.dtype, copy=False) for i, array in arrays.items()}
    match plan:
        case Contraction():
            return contraction.evaluate(plan, context, inputs)
        case Transform():
            return transform.evaluate(plan, context, inputs)
        case LowRankTransform():
            return low_rank.evaluate(plan, context, inputs)
        case LowRankContraction():
            return low_rank.evaluate_contraction(plan, context, inputs)
        case PathWeights():
            return low_rank.evaluate_path_weights(plan, context, inputs)
        case Synthesis():
            return synthesis.evaluate(plan, context, inputs)
    raise TypeError(f"the generic backend has no evaluation for {type(plan).__name__}")


def evaluate_functional(plan: Plan | Harmonics, call: Call, arrays: Sequence[Array]) -> tuple[Array, ...]:
    """All samples at once, without writing into an array: for traces, and namespaces that cannot be written into."""
    xp = call.context.xp
    if isinstance(plan, Harmonics):
        count = prod(call.samples)
        points = (xp.reshape(array, (count, array.shape[-1])) for array in arrays)
        values = evaluate_fused(harmonics.evaluate, call.context, (plan,), *points)
        return tuple(
            xp.reshape(value, (*call.samples, *core)) for value, core in zip(values, plan.result_shapes, strict=True)
        )
    plan, arrays, batch = with_shared_rows(plan, call, arrays)
    whole = tuple(slice(0, n) for n in call.samples)
    padded = () if plan.sums_samples else (1,) * (len(call.samples) - len(batch)) + batch
    inputs = {
        i: array if plan.operands[i].access is Access.SHARED else rows_of(xp, array, whole, call.samples)
        for i, array in zip(call.operands, arrays, strict=True)
    }
    parts: dict[int, Array] = {}
    for where, value in _evaluate_form(plan, inputs, call.context):
        folded = fold(xp, value, whole, padded, plan.sums_samples)
        parts[where.start] = parts[where.start] + folded if where.start in parts else folded
    return (xp.reshape(_joined(plan, parts, padded, call.context), (*call.batch, plan.sizes[plan.output])),)


def evaluate_all_rows(plan: Plan, inputs: Mapping[int, Array], count: int, context: Context) -> Array:
    """The result of ``count`` samples, whose operands are rows; without writing into an array."""
    parts: dict[int, Array] = {}
    for columns, value in _evaluate_form(plan, inputs, context):
        parts[columns.start] = parts[columns.start] + value if columns.start in parts else value
    return _joined(plan, parts, () if plan.sums_samples else (count,), context)


def _joined(plan: Plan, parts: Mapping[int, Array], padded: Shape, context: Context) -> Array:
    """The segments of the output side by side, with zeros for those that nothing was added to."""
    if len(parts) == 1 and plan.fills_output:
        return next(iter(parts.values()))
    zeros = partial(context.xp.zeros, dtype=context.dtype, device=context.device)
    segments = [segment for segment in plan.operands[plan.output].segments if segment.mul > 0]
    found = [
        parts[segment.offset] if segment.offset in parts else zeros((*padded, segment.mul * segment.dim))
        for segment in segments
    ]
    return context.xp.concat(found, axis=-1) if found else zeros((*padded, 0))
