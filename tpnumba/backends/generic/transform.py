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
    total: Array | None = None
    in_blocks: dict[Blocks, Array] = {}
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
        first, *others = linear_map.stages
        if isinstance(first, Blocks):
            part = transpose(LinearMap(tuple(others)), context, field) * constant(context, first.scales)
            in_blocks[first.plain] = in_blocks[first.plain] + part if first.plain in in_blocks else part
        else:
            part = transpose(linear_map, context, field)
            total = part if total is None else total + part
    if in_blocks:  # the numbers of all blocks are put in their places at once
        total = put_blocks(in_blocks, context)
    assert total is not None
    yield slice(0, plan.operands[plan.output].size), total[0, :] if shared else total


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
