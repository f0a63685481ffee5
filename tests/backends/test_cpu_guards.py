"""Kernels write their workspace and their results, and nothing beside them: guard words around both."""

from __future__ import annotations

from dataclasses import replace
from math import prod

import numpy as np
import pytest
from backends.guards import GUARD, GUARDS, guarded, intact
from strategies import evaluate_plan, tolerance

import tpnumba as tp
from tpnumba.backends.cpu.evaluation import find_arrays
from tpnumba.backends.cpu.layout import LINE, OUTPUT, SIZE, STREAM, VECTORS
from tpnumba.backends.cpu.lowering import lower_with
from tpnumba.plans.base import Plan
from tpnumba.plans.harmonics import KINDS, Harmonics

FORMS = {
    "full": tp.FullTensorProduct("0e + 1o + 2e", "0e + 1o").plan,
    "channelwise": tp.ChannelwiseTensorProduct("5x0e + 5x1o", "0e + 1o").plan,
    "connected": tp.FullyConnectedTensorProduct("3x0e + 2x1o", "0e + 1o", "4x0e + 3x1o").plan,
    "gaunt": tp.GauntTensorProduct(3, 2, method="grid").plan,
    "cross": tp.VectorSphericalTensorProduct(1, 1, method="grid").plan,
    "low rank": tp.LowRankTensorProduct(2, 1, rank=2, bracket_rank=1, method="grid").plan,
    "path weights": tp.LowRankTensorProduct(2, 1, rank=2, bracket_rank=1, method="direct").plan.path_weights,
    "matrix": tp.MatrixTensorProduct(2, 2, method="matrix").plan,
}
PLANS = {f"{name}-{i}": plan.adjoint(i) for name, plan in FORMS.items() for i in range(len(plan.operands))}
PLANS |= {f"{kind}-{normalize}": Harmonics(3, "norm", normalize, kind) for kind in KINDS for normalize in (True, False)}


def reference(plan: Plan | Harmonics, arrays: dict[int, np.ndarray], count: int) -> list[np.ndarray]:
    """The results by the generic backend."""
    results = evaluate_plan(plan, arrays, "generic")
    return [np.reshape(result, (count, -1)) for result in (results if isinstance(plan, Harmonics) else [results])]


@pytest.mark.parametrize("vectors", VECTORS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", PLANS)
def test_nothing_beside_workspace_and_results_is_written(name, dtype, vectors):
    plan = PLANS[name]
    program = lower_with(plan, dtype, vectors)
    assert program is not None
    item = np.dtype(dtype).itemsize
    width = program.tile_width
    rng = np.random.default_rng(0)
    inputs = plan.inputs if isinstance(plan, Plan) else None
    sizes = {i: int(program.arrays[i, SIZE]) for i in inputs} if inputs else dict(enumerate(plan.input_sizes))
    for count in (1, width - 1, width, width + 1, 2 * width + 3):
        arrays = {i: rng.uniform(0.5, 1, (count, size)).astype(dtype) for i, size in sizes.items()}
        expected = reference(plan, arrays, count)
        for stream in (False, True):
            memories, results = [], []
            for row in program.outputs:
                memory, part = guarded(count * int(program.arrays[row, SIZE]), dtype, align=item)
                memories.append(memory)
                results.append(part.reshape(count, -1))
            workspace, tile = guarded(program.tile_size, dtype, align=0)
            assert tile.ctypes.data % LINE == 0
            table = find_arrays(program, arrays, results, (count,), count)
            assert table is not None
            for row in program.outputs:
                table[row, OUTPUT], table[row, STREAM] = 1, stream
            before = {i: array.copy() for i, array in arrays.items()}
            program.call(tile, table, 0, count)
            for memory, part in zip((workspace, *memories), (tile, *results), strict=True):
                assert intact(memory, part)
            for i, array in arrays.items():
                np.testing.assert_array_equal(array, before[i])
            for found, one in zip(results, expected, strict=True):
                size = 1 + float(np.max(np.abs(one)))
                limit = size * tolerance(dtype, 9, prod(found.shape[1:]))
                np.testing.assert_allclose(found, one, rtol=0, atol=limit)


def test_a_buffer_behind_the_tile_is_noticed():
    """The guards stand where a kernel would write if its buffer began behind the tile."""
    program = lower_with(PLANS["full-2"], "float64", 1)
    assert program is not None
    size = program.tile_size
    _, tile = guarded(2 * size, "float64", align=0)
    tile[size:] = GUARD
    shifted = replace(program, buffer=size)
    arrays = {i: np.ones((8, int(width))) for i, width in enumerate(program.arrays[:, SIZE])}
    table = find_arrays(shifted, arrays, (), (8,), 8)
    assert table is not None
    table[program.outputs[0], OUTPUT] = 1
    shifted.call(tile[:size], table, 0, 8)
    assert not np.array_equal(tile[size : size + GUARDS], np.full(GUARDS, GUARD))
