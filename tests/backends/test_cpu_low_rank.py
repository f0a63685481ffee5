"""The kernel of low-rank products: every output, in one room for all transforms."""

from __future__ import annotations

import numpy as np
import pytest
from strategies import evaluate_plan, tolerance

import tpnumba as tp
from tpnumba.backends.cpu.lowering import program_of
from tpnumba.backends.cpu.transform.lower import FEW_RINGS, count_rings, plan_transform

OPTIONS = {
    "both": ((3, 2), {"rank": 2, "bracket_rank": 3}),
    "Gaunt": ((2, 4, 3), {"rank": 3, "normalization": "component"}),
    "brackets": (("1o + 3o", 2), {"rank": 0, "bracket_rank": 2}),
}
CASES = {
    f"{name}-{method}": tp.LowRankTensorProduct(*degrees, **options, method=method)
    for name, (degrees, options) in OPTIONS.items()
    for method in tp.LowRankTensorProduct.METHODS
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


@pytest.mark.parametrize("method", tp.LowRankTensorProduct.METHODS)
@pytest.mark.parametrize("shared", [(), (0,), (1,), (2,), (0, 2), (1, 2)], ids=str)
def test_one_row_for_all_samples(shared, method):
    p = CASES[f"both-{method}"]
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


def room(rank, bracket_rank, output):
    """The columns of the tile beside the operands, and beside what puts rows of the result together."""
    plan = tp.LowRankTensorProduct(6, 6, rank=rank, bracket_rank=bracket_rank, method="grid").plan.adjoint(output)
    program = plan_transform(plan, "float64", 1, count_rings(plan))
    return program.buffer // program.tile_width - sum(plan.sizes)


@pytest.mark.parametrize("output", range(6))
def test_the_tile_has_room_for_one_transform_whatever_the_rank(output):
    assert room(5, 3, output) == room(1, 1, output)


@pytest.mark.parametrize("output", range(6))
def test_gaunt_products_and_brackets_take_turns_in_the_same_room(output):
    alone = room(1, 0, output), room(0, 1, output)
    # A little more than the larger of the two, as their arrays are of different lengths.
    assert room(1, 1, output) < max(alone) + min(alone) / 2


def test_large_products_are_worked_a_few_rings_at_a_time():
    p = tp.LowRankTensorProduct(40, 40, 40, rank=2, bracket_rank=1, method="grid")
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


@pytest.mark.parametrize("leading", [(300,), (3, 100)], ids=str)
def test_path_weights_of_few_samples_are_held_at_a_time(leading, monkeypatch):
    from tpnumba.backends.cpu import evaluation

    p = CASES["both-direct"]
    rng = np.random.default_rng(0)
    sizes = p.irreps_in1.dim, p.irreps_in2.dim, p.weight_numel, p.irreps_out.dim
    x1, x2, weights, cotangent = (rng.standard_normal((*leading, n)) for n in sizes)

    def results():
        return [p(x1, x2, weights, backend="cpu"), *p.vjp(x1, x2, cotangent, weights=weights, backend="cpu")]

    expected = results()
    monkeypatch.setattr(evaluation, "COPY_BYTES", 70 * 8 * sum(sizes))
    for one, two in zip(results(), expected, strict=True):
        np.testing.assert_allclose(one, two, rtol=0, atol=np.max(np.abs(two)) * tolerance("float64", 5, 100))
