"""Transform on any namespace: the inputs carried to the domain, multiplied there, and the product carried back."""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from typing import Any

from tpnumba.backends.generic.stages import apply, put_blocks, transpose
from tpnumba.backends.namespaces import Context, constant
from tpnumba.plans.access import Access
from tpnumba.plans.stages import Blocks, LinearMap
from tpnumba.plans.transform import Matrices, Transform

Array = Any


def evaluate(plan: Transform, context: Context, inputs: dict[int, Array]) -> Iterator[tuple[slice, Array]]:
    """Yield the result as ``(where, value)``; see the evaluation of a Contraction."""
    xp = context.xp
    rows = {i: inputs[i] if plan.operands[i].access == Access.BATCH else inputs[i][None, :] for i in plan.inputs}
    weights = None if isinstance(plan.domain, Matrices) else constant(context, plan.domain.ring_weights)
    shared = plan.operands[plan.output].access == Access.SHARED
    fields: dict[tuple[int, int], Array] = {}
    totals: dict[Blocks | None, Array] = {}
    for linear_map, step in zip(plan.maps[plan.output], plan.steps, strict=True):
        for i, component in step.first_read:
            fields[i, component] = apply(plan.maps[i][component], context, rows[i])
        field: Array | None = None
        for meeting, factor in step.terms:
            met = {i: fields[i, meeting[i]] for i in plan.inputs}
            if weights is None:
                value = _matrix_product(plan, context, met) * factor
            else:
                value = reduce(lambda a, b: a * b, met.values()) * (weights * factor)
            field = value if field is None else field + value
        for place in step.last_read:
            del fields[place]
        if shared:
            field = xp.sum(field, axis=0, keepdims=True)
        where, part = _backward(linear_map, context, field)
        totals[where] = totals[where] + part if where in totals else part
    (total,) = totals.values() if None in totals else (put_blocks(totals, context),)
    yield slice(0, plan.operands[plan.output].size), total[0, :] if shared else total


def _backward(linear_map: LinearMap, context: Context, field: Array) -> tuple[Blocks | None, Array]:
    """The transpose of a map; of one that begins with blocks only these, to be put in their place with all others."""
    first, *others = linear_map.stages
    if not isinstance(first, Blocks):
        return None, transpose(linear_map, context, field)
    return first.plain, transpose(LinearMap(tuple(others)), context, field) * constant(context, first.scales)


def _matrix_product(plan: Transform, context: Context, met: dict[int, Array]) -> Array:
    """The derivative of ``Tr(X Y Z^T)`` with respect to the output: ``X Y``, ``Z Y^T`` or ``X^T Z``."""
    xp, shape = context.xp, plan.domain.shape
    square = {i: xp.reshape(value, (value.shape[0], *shape)) for i, value in met.items()}
    match plan.output:
        case 2:
            product = xp.matmul(square[0], square[1])
        case 0:
            product = xp.matmul(square[2], xp.matrix_transpose(square[1]))
        case _:
            product = xp.matmul(xp.matrix_transpose(square[0]), square[2])
    return xp.reshape(product, (product.shape[0], shape[0] * shape[1]))
