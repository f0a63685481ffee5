"""The kernel of low-rank products: every output, in one room for all transforms."""

from __future__ import annotations

import numpy as np
import pytest
from strategies import evaluate_plan, tolerance

import tpnumba as tp
from tpnumba.backends.cpu.layout import LINE
from tpnumba.backends.cpu.lowering import program_of
from tpnumba.backends.cpu.transform.lower import FEW_RINGS, count_rings, plan_transform

CASES = {
    "both": tp.LowRankTensorProduct(3, 2, rank=2, bracket_rank=3),
    "Gaunt": tp.LowRankTensorProduct(2, 4, 3, rank=3, normalization="component"),
    "brackets": tp.LowRankTensorProduct("1o + 3o", 2, rank=0, bracket_rank=2),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("output", range(6))
@pytest.mark.parametrize("name", CASES)
def test_results_and_gradients_are_those_of_the_reference(name, output, dtype):
    plan = CASES[name].plan.adjoint(output)
    rng = np.random.default_rng(0)
    arrays = {i: rng.standard_normal((37, plan.sizes[i])).astype(dtype) for i in plan.inputs}
    found, expected = (evaluate_plan(plan, arrays, backend) for backend in ("cpu", "generic"))
    assert found.dtype == expected.dtype == dtype
    size = float(np.max(np.abs(expected)))
    np.testing.assert_allclose(found, expected, rtol=0, atol=size * tolerance(dtype, 5, 1000))


@pytest.mark.parametrize("shared", [(), (0,), (1,), (2,), (0, 2), (1, 2)], ids=str)
def test_one_row_for_all_samples(shared):
    p = CASES["both"]
    rng = np.random.default_rng(0)
    sizes = p.irreps_in1.dim, p.irreps_in2.dim, p.weight_numel
    x1, x2, weights = (rng.standard_normal(n if i in shared else (37, n)) for i, n in enumerate(sizes))
    cotangent = rng.standard_normal((37, p.irreps_out.dim))
    found, expected = (
        [p(x1, x2, weights, backend=b), *p.vjp(x1, x2, cotangent, weights=weights, backend=b)]
        for b in ("cpu", "generic")
    )
    for one, two in zip(found, expected, strict=True):
        assert one.shape == two.shape
        np.testing.assert_allclose(one, two, rtol=0, atol=np.max(np.abs(two)) * tolerance("float64", 5, 37 * 100))


def test_the_tile_has_room_for_one_transform_whatever_the_rank():
    for output in range(6):
        rooms = []
        for rank in (1, 5):
            plan = tp.LowRankTensorProduct(5, 5, rank=rank, bracket_rank=rank).plan.adjoint(output)
            program = plan_transform(plan, "float64", 1, count_rings(plan))
            operands = sum(plan.sizes) * program.tile_width + plan.sizes[output]
            rooms.append(program.tile_size - operands)
        # what puts rows of the result together may be longer for more weights
        assert abs(rooms[1] - rooms[0]) <= plan.sizes[output] * LINE


def test_large_products_are_worked_a_few_rings_at_a_time():
    p = tp.LowRankTensorProduct(40, 40, 40, rank=2, bracket_rank=1)
    program = program_of(p.plan, "float32")
    assert program is not None
    assert count_rings(p.plan) > FEW_RINGS
    rng = np.random.default_rng(0)
    x1, x2, weights = (
        rng.standard_normal((3, n)).astype(np.float32) for n in (p.irreps_in1.dim, p.irreps_in2.dim, p.weight_numel)
    )
    found, expected = (p(x1, x2, weights, backend=backend) for backend in ("cpu", "generic"))
    size = float(np.max(np.abs(expected)))
    np.testing.assert_allclose(found, expected, rtol=0, atol=size * tolerance("float32", 40, 100))
