"""Transform on any namespace: the inputs carried to the domain, multiplied there, and the product carried back."""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from typing import Any

from tpnumba.backends.generic.stages import apply, transpose
from tpnumba.backends.namespaces import Context, constant
from tpnumba.plans.access import Access
from tpnumba.plans.transform import Matrices, Transform

Array = Any


def evaluate(plan: Transform, context: Context, inputs: dict[int, Array]) -> Iterator[tuple[slice, Array]]:
    """Yield the result as ``(where, value)``; see the evaluation of a Contraction."""
    xp = context.xp
    fields: dict[int, list[Array]] = {}
    for i in plan.inputs:
        rows = inputs[i] if plan.operands[i].access == Access.BATCH else inputs[i][None, :]
        fields[i] = [apply(linear_map, context, rows) for linear_map in plan.maps[i]]
    weights = None if isinstance(plan.domain, Matrices) else constant(context, plan.domain.ring_weights)
    shared = plan.operands[plan.output].access == Access.SHARED
    total: Array | None = None
    for component, linear_map in enumerate(plan.maps[plan.output]):
        values = []
        for meeting, factor in plan.terms:
            if meeting[plan.output] == component:
                met = {i: fields[i][meeting[i]] for i in plan.inputs}
                if weights is None:
                    values.append(_matrix_product(plan, context, met) * factor)
                else:
                    values.append(reduce(lambda a, b: a * b, met.values()) * (weights * factor))
        field = reduce(lambda a, b: a + b, values)
        if shared:
            field = xp.sum(field, axis=0, keepdims=True)
        part = transpose(linear_map, context, field)
        total = part if total is None else total + part
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
