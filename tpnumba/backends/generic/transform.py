"""Transform on any namespace: synthesis of the inputs, product on the grid, analysis of the output."""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from typing import Any

import numpy as np
import numpy.typing as npt

from tpnumba.plans.transform import DegreeScaling, FourierStage, LegendreStage, LinearMap, Stage, Transform

Array = Any


class Constants:
    """Float64 NumPy tables as arrays of the call's namespace, device and dtype."""

    def __init__(self, xp: Any, dtype: Any, device: Any) -> None:
        self.xp, self.dtype, self.device = xp, dtype, device

    def __call__(self, table: npt.NDArray[Any]) -> Array:
        """The table as an array; integers keep their dtype."""
        dtype = self.dtype if table.dtype.kind == "f" else None
        return self.xp.asarray(table, dtype=dtype, device=self.device)


def evaluate(
    plan: Transform, xp: Any, dtype: Any, device: Any, inputs: dict[int, Array]
) -> Iterator[tuple[slice, Array]]:
    """Yield the result as ``(columns, value)``; see the evaluation of a Contraction."""
    constants = Constants(xp, dtype, device)
    fields: dict[int, list[Array]] = {}
    for i in plan.inputs:
        rows = inputs[i] if plan.operands[i].access == "batch" else inputs[i][None, :]
        fields[i] = [apply(linear_map, constants, rows) for linear_map in plan.maps[i]]
    weights = constants(plan.grid.ring_weights)
    shared = plan.operands[plan.output].access == "shared"
    total: Array | None = None
    for component, linear_map in enumerate(plan.maps[plan.output]):
        values = [
            reduce(lambda a, b: a * b, (fields[i][meeting[i]] for i in plan.inputs)) * (weights * factor)
            for meeting, factor in plan.middle
            if meeting[plan.output] == component
        ]
        field = reduce(lambda a, b: a + b, values)
        if shared:
            field = xp.sum(field, axis=0, keepdims=True)
        part = transpose(linear_map, constants, field)
        total = part if total is None else total + part
    assert total is not None
    yield slice(0, plan.operands[plan.output].size), total[0, :] if shared else total


def apply(linear_map: LinearMap, constants: Constants, rows: Array) -> Array:
    """From ``(n, components)`` to ``(n, n_alpha, n_beta)``."""
    value = rows
    for stage in linear_map.stages:
        value = _forward(stage, constants, value)
    return value


def transpose(linear_map: LinearMap, constants: Constants, field: Array) -> Array:
    """From ``(n, n_alpha, n_beta)`` to ``(n, components)``."""
    value = field
    for stage in reversed(linear_map.stages):
        value = _backward(stage, constants, value)
    return value


def _forward(stage: Stage, constants: Constants, value: Array) -> Array:
    xp, n = constants.xp, value.shape[0]
    match stage:
        case DegreeScaling():
            return value * constants(stage.factors)
        case LegendreStage():
            parts = []
            for columns, matrix in stage.orders:
                picked = xp.take(value, constants(columns.ravel()), axis=1)
                flat = xp.reshape(picked, (n * columns.shape[0], columns.shape[1]))
                parts.append(xp.reshape(flat @ constants(matrix), (n, columns.shape[0], stage.n_beta)))
            return xp.concat(parts, axis=1)
        case FourierStage():
            return xp.matmul(constants(np.ascontiguousarray(stage.matrix.T)), value)


def _backward(stage: Stage, constants: Constants, value: Array) -> Array:
    xp, n = constants.xp, value.shape[0]
    match stage:
        case DegreeScaling():
            return value * constants(stage.factors)
        case LegendreStage():
            parts, start = [], 0
            for columns, matrix in stage.orders:
                count = columns.shape[0]
                flat = xp.reshape(value[:, start : start + count, :], (n * count, stage.n_beta))
                parts.append(xp.reshape(flat @ constants(np.ascontiguousarray(matrix.T)), (n, columns.size)))
                start += count
            parts.append(xp.zeros((n, 1), dtype=constants.dtype, device=constants.device))
            return xp.take(xp.concat(parts, axis=1), constants(stage.scatter), axis=1)
        case FourierStage():
            return xp.matmul(constants(stage.matrix), value)
