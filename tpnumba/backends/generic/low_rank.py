"""LowRankTransform on any namespace: one transform after the other, so that memory does not grow with the rank."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tpnumba.backends.generic import transform
from tpnumba.backends.namespaces import Context, constant
from tpnumba.plans.access import Access
from tpnumba.plans.low_rank import FEATURES, WEIGHTS, LowRankTransform, Part

Array = Any


def evaluate(plan: LowRankTransform, context: Context, inputs: dict[int, Array]) -> Iterator[tuple[slice, Array]]:
    """Yield the result as ``(where, value)``; see the evaluation of a Contraction."""
    xp = context.xp
    rows = {i: array if array.ndim == 2 else array[None, :] for i, array in inputs.items()}
    of_part = _weights_of_part if plan.output in WEIGHTS else _feature_of_part
    values = [of_part(plan, number, context, rows) for number in range(len(plan.parts))]
    k = plan.feature
    if plan.output in WEIGHTS or k == 2:  # the parts have a block each
        total = xp.concat(values, axis=-1) if len(values) > 1 else values[0]
    else:
        total = sum(values[1:], start=values[0])
    if plan.operands[plan.output].access == Access.SHARED:
        total = xp.sum(total, axis=0)
    yield slice(0, plan.sizes[plan.output]), total


def _feature_of_part(plan: LowRankTransform, number: int, context: Context, rows: dict[int, Array]) -> Array:
    part, k = plan.parts[number], plan.feature
    total = None
    for r in range(part.rank):
        value = _transformed(plan, number, r, context, rows) * _factors(part, k, r, context, rows)
        total = value if total is None else total + value
    return total


def _weights_of_part(plan: LowRankTransform, number: int, context: Context, rows: dict[int, Array]) -> Array:
    xp, part, k = context.xp, plan.parts[number], plan.feature
    own = rows[FEATURES[k]][:, part.block(k)]
    sums = constant(context, np.equal.outer(part.degree_places(k), np.arange(len(part.dims[k]))).astype(np.float64))
    columns = [(_transformed(plan, number, r, context, rows) * own) @ sums for r in range(part.rank)]
    stacked = xp.stack(columns, axis=-1)
    return xp.reshape(stacked, (stacked.shape[0], len(part.dims[k]) * part.rank))


def _transformed(plan: LowRankTransform, number: int, r: int, context: Context, rows: dict[int, Array]) -> Array:
    """The transform of the two other features, each times its weights."""
    part, form = plan.parts[number], plan.transforms[number]
    form = form.with_access((Access.BATCH,) * 3)
    given = {
        k: rows[FEATURES[k]][:, part.block(k)] * _factors(part, k, r, context, rows)
        for k in range(3)
        if k != plan.feature
    }
    ((_, value),) = transform.evaluate(form, context, given)
    return value


def _factors(part: Part, k: int, r: int, context: Context, rows: dict[int, Array]) -> Array:
    """The weights of feature ``k`` for the transform ``r``, one a component."""
    own = rows[WEIGHTS[k]][:, part.weights(k)]
    shaped = context.xp.reshape(own, (own.shape[0], len(part.dims[k]), part.rank))
    return context.xp.take(shaped[:, :, r], constant(context, part.degree_places(k)), axis=1)
