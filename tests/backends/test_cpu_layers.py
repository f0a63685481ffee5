"""The kernels of layers: the exponential, products by BLAS, and what networks and linear maps write."""

from __future__ import annotations

import numpy as np
import pytest
from backends.test_cpu_guards import GUARD, GUARDS, guarded
from strategies import tolerance

from tpnumba import nn
from tpnumba.backends.cpu.layout import LINE, NETWORK_ROWS
from tpnumba.backends.cpu.linear import evaluation as linear_evaluation
from tpnumba.backends.cpu.network import evaluation as network_evaluation
from tpnumba.backends.cpu.runtime.blas import gemm_address
from tpnumba.backends.cpu.runtime.compiler import jit
from tpnumba.backends.cpu.runtime.workspace import address_of
from tpnumba.backends.cpu.simd.functions import silu, silu_with_slope
from tpnumba.backends.cpu.simd.matrices import add_outer_product, multiply


def activate(z):
    """silu, silu with its slope, and that slope."""
    count = -(-z.size // 16) * 16
    (_, both), (_, alone) = (guarded(n, str(z.dtype), align=0) for n in (2 * count, count))
    both[:] = 0
    both[: z.size] = z
    alone[:] = both[:count]
    _loop(both, alone, count)
    return alone[: z.size], both[: z.size], both[count : count + z.size]


@jit
def _loop(both, alone, count):
    for place in range(0, count, LINE // both.itemsize):
        silu(alone, place)
        silu_with_slope(both, place, place + count)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_silu_to_rounding(dtype):
    z = np.concatenate([np.linspace(-30, 30, 20_001), np.geomspace(1e-30, 80, 500), -np.geomspace(1e-30, 80, 500)])
    z = z.astype(dtype)
    exact = z.astype(np.longdouble)
    s = 1 / (1 + np.exp(-exact))
    alone, value, slope = activate(z)
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(alone, (exact * s).astype(np.float64), rtol=4 * eps, atol=0)
    np.testing.assert_allclose(value, (exact * s).astype(np.float64), rtol=4 * eps, atol=0)
    wanted = s + exact * s * (1 - s)
    np.testing.assert_allclose(slope, wanted.astype(np.float64), rtol=0, atol=4 * eps)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_silu_at_the_ends(dtype):
    z = np.array([0.0, -0.0, 1e4, -1e4, np.finfo(dtype).max, -np.finfo(dtype).max, np.inf, np.nan], dtype)
    alone, value, slope = activate(z)
    for found in (alone, value):
        np.testing.assert_array_equal(found, np.array([0, 0, 1e4, 0, z[4], 0, np.inf, np.nan], dtype))
    np.testing.assert_array_equal(slope[:6], np.array([0.5, 0.5, 1, 0, 1, 0], dtype))
    assert np.isnan(slope[7])


@pytest.mark.parametrize("shape", [(64, 64, 960), (64, 960, 64), (3, 5, 7), (1, 200, 1), (64, 1, 3000), (130, 65, 129)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_products_in_pieces(shape, dtype):
    rows, terms, columns = shape
    rng = np.random.default_rng(0)
    (a_memory, a), (b_memory, b), (c_memory, c) = (
        guarded(count, dtype, np.dtype(dtype).itemsize)
        for count in (rows * (terms + 3), terms * columns, rows * (columns + 5))
    )
    for part in (a, b, c):
        part[:] = rng.standard_normal(part.size)
    a, b, c = a.reshape(rows, terms + 3), b.reshape(terms, columns), c.reshape(rows, columns + 5)
    before, tile, gemm = c.copy(), np.zeros(64, dtype), gemm_address(dtype)
    exact = a[:, :terms].astype(np.float64) @ b.astype(np.float64)
    places = address_of(a), terms + 3, address_of(b), columns, address_of(c), columns + 5, rows, columns, terms
    limit = tolerance(dtype, 0, terms) * float(np.abs(exact).max())
    multiply(tile, gemm, *places, True)
    np.testing.assert_allclose(c[:, :columns], before[:, :columns] + exact, rtol=0, atol=2 * limit)
    multiply(tile, gemm, *places, False)
    np.testing.assert_allclose(c[:, :columns], exact, rtol=0, atol=limit)
    np.testing.assert_array_equal(c[:, columns:], before[:, columns:])
    for memory, part in ((a_memory, a), (b_memory, b), (c_memory, c)):
        assert np.count_nonzero(memory == GUARD) == memory.size - part.size


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_outer_products_are_added(dtype):
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((NETWORK_ROWS, n)).astype(dtype) for n in (70, 300))
    total = np.ones((70, 300), dtype)
    wanted = 1 + a.astype(np.float64).T @ b.astype(np.float64)
    places = address_of(a), address_of(b), 300, address_of(total), 70, 300, NETWORK_ROWS
    add_outer_product(np.zeros(64, dtype), gemm_address(dtype), *places)
    np.testing.assert_allclose(total, wanted, rtol=0, atol=tolerance(dtype, 0, 64) * float(np.abs(wanted).max()))


@pytest.fixture
def workspaces(monkeypatch):
    """Every workspace that a layer asks for, with guards around it."""
    given = []

    def workspace(size, dtype):
        memory, tile = guarded(size, str(dtype), align=0)
        given.append((memory, size))
        return tile

    for module in (linear_evaluation, network_evaluation):
        monkeypatch.setattr(module, "workspace", workspace)
    return given


LAYERS = [
    nn.MLP([8, 16, 12, 30], nn.Activation("silu", 1.5)),
    nn.MLP([5, 7], None, biases=True),
    nn.MLP([3, 40, 9], nn.Activation("silu"), biases=True, normalization="none"),
    nn.Linear("3x0e + 2x1o + 4x0e", "2x0e + 5x1o + 0o", biases=True),
    nn.Linear("3x0e + 2x1o + 4x0e", "2x0e + 5x1o", layout="ir_mul"),
    nn.Linear("7x0e", "3x0e + 4x0e"),
]


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: str(layer)[:60])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rows", [1, NETWORK_ROWS, 5 * NETWORK_ROWS + 3])
def test_nothing_beside_workspace_and_result_is_written(layer, dtype, rows, workspaces, monkeypatch):
    rng, linear = np.random.default_rng(0), isinstance(layer, nn.Linear)
    sizes = (layer.irreps_in.dim, layer.irreps_out.dim) if linear else (layer.widths[0], layer.widths[-1])
    x, g = (rng.standard_normal((rows, size)).astype(dtype) for size in sizes)
    weights = rng.standard_normal(layer.weight_numel).astype(dtype)
    biases = [rng.standard_normal(layer.bias_numel).astype(dtype)] if linear and layer.bias_numel else []

    def found(out):
        layer(x, weights, *biases, out=out)
        return out, layer.vjp_input(x, g, weights=weights) if not linear else layer.vjp_input(g, weights=weights)

    memory, out = guarded(g.size, dtype, np.dtype(dtype).itemsize)
    results = found(out.reshape(g.shape))
    assert np.count_nonzero(memory == GUARD) == memory.size - g.size
    assert workspaces
    for held, size in workspaces:
        first = next(i for i in range(held.size) if held[i] != GUARD) if size else 0
        assert first >= GUARDS or not size
        assert np.count_nonzero(held == GUARD) >= held.size - size
    for module in ("linear", "mlp"):
        name = "folded_linear" if module == "linear" else module
        monkeypatch.setattr(f"tpnumba.nn.{name}.kernels_of", lambda _: None)
    for one, other in zip(results, found(np.empty_like(g)), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=tolerance(dtype, 0, 100) * float(np.abs(other).max()))
