"""Synthesis on any namespace: one linear map from coefficients to a grid, or its transpose."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tpnumba.backends.generic.stages import apply, transpose
from tpnumba.backends.namespaces import Context, constant
from tpnumba.plans.synthesis import Synthesis

Array = Any


def evaluate(plan: Synthesis, context: Context, inputs: dict[int, Array]) -> Iterator[tuple[slice, Array]]:
    """Yield the result as ``(where, value)``; see the evaluation of a Contraction."""
    xp = context.xp
    (rows,) = inputs.values()
    n, (n_beta, n_alpha) = rows.shape[0], plan.grid.shape
    weights = constant(context, plan.grid.ring_weights) if plan.weighted else None
    # The maps keep the rings on the last axis, where they are summed; a field has them first.
    if plan.output == 0:
        field = xp.permute_dims(xp.reshape(rows, (n, n_beta, n_alpha)), (0, 2, 1))
        value = transpose(plan.linear_map, context, field if weights is None else field * weights)
    else:
        field = apply(plan.linear_map, context, rows)
        field = field if weights is None else field * weights
        value = xp.reshape(xp.permute_dims(field, (0, 2, 1)), (n, n_beta * n_alpha))
    yield slice(0, plan.operands[plan.output].size), value
