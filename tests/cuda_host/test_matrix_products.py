"""Matrix products in the kernel's programs: however threads share them, the same numbers."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from cuda_host.compiler import COMPILER, is_there
from cuda_host.standin import numpy_on_gpu
from cuda_host.test_agrees import agree, check
from cuda_host.tracing import traced
from strategies import evaluate_plan, random_arguments

import tpnumba as tp
from tpnumba.backends import gpu
from tpnumba.backends.gpu.tile import matrix_products

pytestmark = pytest.mark.skipif(not is_there(), reason=f"needs a C++ compiler ({COMPILER}; set CXX for another)")


def mixing(out="8x0e + 12x1o + 5x2e", **named):
    return tp.FullyConnectedTensorProduct("16x0e + 8x1o", "0e + 1o", out, **named)


PRODUCTS = {
    "mul_ir": mixing(),
    "ir_mul": mixing(layout="ir_mul"),
    "uuw": tp.TensorProduct("8x1o", "8x1o", "12x1e", [(0, 0, 0, "uuw", True)]),
    "one channel": tp.FullyConnectedTensorProduct("1o", "1o", "0e + 7x1e"),
    "two into one": tp.TensorProduct("3x1o", "1o", "4x0e", [(0, 0, 0, "uvw", True), (0, 0, 0, "uvw", True)]),
    "samples": tp.MatrixTensorProduct(2, 3, method="matrix"),
}


@pytest.mark.parametrize("shared", [False, True], ids=["weights each", "weights shared"])
@pytest.mark.parametrize("name", PRODUCTS)
def test_any_way_gives_the_same(name, shared, monkeypatch):
    """Ways that are not the cheapest, too, drawn at random; the cheapest is one of them."""
    p, every = PRODUCTS[name], matrix_products.ways
    seen = set()
    for seed in range(4):
        draw = random.Random(seed)

        def one(*arguments, draw=draw):
            price, way = draw.choice(sorted(every(*arguments)))
            seen.add(way)
            return iter([(price * draw.random(), way)])

        monkeypatch.setattr(matrix_products, "ways", one)
        matrix_products._cheapest.cache_clear()
        arguments = random_arguments(p, (35,), (35,), dtype="float64")
        if shared and len(arguments) == 3:
            arguments[2] = arguments[2][0]
        check(p, arguments, "float64", {"order": seed})
    matrix_products._cheapest.cache_clear()
    assert len(seen) > 3


def chosen(p, i, monkeypatch):
    """The ways for the program of a gradient: of a product in the tile, for its transpose as well."""
    found = []

    def spy(*arguments):
        found.append(cheapest(*arguments))
        return found[-1]

    cheapest = matrix_products._cheapest
    with monkeypatch.context() as patch:
        patch.setattr(matrix_products, "_cheapest", spy)
        gpu.program_of.cache_clear()
        assert gpu.program_of(p.plan.adjoint(i), "float32") is not None
    return [way for _, way in found]


WIDE = tp.FullyConnectedTensorProduct("32x0e + 32x1o", "0e + 1o + 2e", "32x0e + 32x1o + 32x2e")

#: For its gradient with respect to the second input weights of each sample are in the tile.
TILED = tp.FullyConnectedTensorProduct("32x0e + 32x1o + 32x2e", "0e + 1o + 2e", "32x0e + 32x1o + 32x2e")


def test_each_way_is_taken(monkeypatch):
    """Split wherever weights are summed over; along rows, from the device's memory and, turned, from the tile."""
    into, first = (chosen(WIDE, i, monkeypatch) for i in (3, 0))
    in_tile = chosen(TILED, 1, monkeypatch)
    assert all(way.splits > 1 for way in into + first)
    assert any(way.together for way in into)
    assert all(way.along and not way.turned for way in first)
    assert any(way.along and way.turned for way in in_tile)


def test_gradients_of_weights_that_two_paths_share():
    p = PRODUCTS["two into one"]
    first, second = p.plan.paths
    second = replace(second, segments=first.segments, scale=2 * first.scale)
    plan = replace(p.plan, paths=(first, second)).adjoint(2)
    rng = np.random.default_rng(0)
    rows = {i: rng.standard_normal((9, plan.sizes[i])) for i in plan.inputs}
    with numpy_on_gpu(order=1):
        found = evaluate_plan(plan, rows, "gpu")
    agree(found, evaluate_plan(plan, rows, "generic"), "float64")


def test_rows_of_any_alignment_and_any_split():
    """The same bits from weights that cannot be read four at once; and from few samples as from many."""
    rng = np.random.default_rng(0)
    n, size = 9, WIDE.weight_numel
    x, y, ct = (
        rng.standard_normal((n, irreps.dim)).astype("float32")
        for irreps in (WIDE.irreps_in1, WIDE.irreps_in2, WIDE.irreps_out)
    )
    weights = rng.standard_normal((n, size)).astype("float32")
    apart = np.zeros((n, size + 1), dtype="float32")[:, 1:]
    apart[...] = weights
    with numpy_on_gpu(order=1):
        found = [WIDE(x, y, weights, backend="gpu"), *WIDE.vjp(x, y, ct, weights=weights, backend="gpu")]
        other = [WIDE(x, y, apart, backend="gpu"), *WIDE.vjp(x, y, ct, weights=apart, backend="gpu")]
        few = WIDE.vjp(x[4:6], y[4:6], ct[4:6], weights=weights[4:6], backend="gpu")
    assert all(np.array_equal(one, another) for one, another in zip(found, other, strict=True))
    assert all(np.array_equal(one[4:6], another) for one, another in zip(found[1:], few, strict=True))
    for one, another in zip(found[1:], WIDE.vjp(x, y, ct, weights=weights, backend="generic"), strict=True):
        agree(one, another, "float32")


def test_banks_are_free_of_conflicts():
    """What is not read four at once takes at most half as many steps again as if it lay side by side."""
    x, y, w = random_arguments(WIDE, (2,), (2,), dtype="float32")
    ct = np.ones((2, WIDE.irreps_out.dim), dtype="float32")
    with traced() as accesses:
        WIDE.vjp(x, y, ct, weights=w, backend="gpu")
    own = [a for a in accesses if a.shared and ("m.b_j" in a.text or a.text.startswith("*own ="))]
    assert len(own) > 2
    assert sum(a.steps for a in own) <= 1.5 * sum(a.least for a in own)
