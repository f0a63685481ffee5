"""The Gaunt product is the product of functions on the sphere."""

from __future__ import annotations

from math import log, pi, sqrt

import numpy as np
import pytest
from strategies import random_arguments, tolerance

import tpnumba as tp
from tpnumba import backends
from tpnumba.plans.speed import seconds

METHODS = ["direct", "grid", "fourier"]


def points(n):
    rng = np.random.default_rng(7)
    return rng.standard_normal((n, 3))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("normalization", ["integral", "component", "norm"])
@pytest.mark.parametrize("degrees", [(0, 0), (1, 0), (3, 3), (2, 5), (8, 8)])
def test_product_of_functions_point_by_point(method, normalization, degrees):
    p = tp.GauntTensorProduct(*degrees, method=method, normalization=normalization)
    assert p.method == method
    x, y = random_arguments(p, (4,), (4,))
    values = [
        tp.SphericalHarmonics(degree, normalization=normalization)(points(20)) for degree in (*degrees, sum(degrees))
    ]
    found = p(x, y) @ values[2].T
    expected = (x @ values[0].T) * (y @ values[1].T)
    scale = (np.abs(x) @ np.abs(values[0]).T).max() * (np.abs(y) @ np.abs(values[1]).T).max()
    np.testing.assert_allclose(found, expected, rtol=0, atol=scale * tolerance("float64", sum(degrees), 10))


@pytest.mark.parametrize("lmax_out", [0, 1, 3, 5])
def test_cut_off_output_is_the_head_of_the_whole(lmax_out):
    whole = tp.GauntTensorProduct(3, 2, method="direct")
    x, y = random_arguments(whole, (4,), (4,))
    for method in METHODS:
        cut = tp.GauntTensorProduct(3, 2, lmax_out, method=method)
        expected = whole(x, y)[:, : (lmax_out + 1) ** 2]
        np.testing.assert_allclose(cut(x, y), expected, rtol=0, atol=tolerance("float64", 5, 100) * 10)


def test_degrees_beyond_reach_are_zero():
    for method in METHODS:
        p = tp.GauntTensorProduct(1, 1, 5, method=method)
        x, y = random_arguments(p, (4,), (4,))
        result = p(x, y)
        assert not result[:, 9:].any()
        assert result[:, :9].all()


def test_degrees_may_be_left_out():
    whole = tp.GauntTensorProduct(3, 3, 4, method="direct")
    x, y = random_arguments(whole, (3,), (3,))
    x[:, 1:9] = 0
    expected = whole(x, y)
    for method in METHODS:
        p = tp.GauntTensorProduct("0e + 3o", 3, "2e + 0e + 4e", method=method)
        found = p(np.concatenate([x[:, :1], x[:, 9:]], axis=-1), y)
        parts = [expected[:, 4:9], expected[:, :1], expected[:, 16:25]]
        np.testing.assert_allclose(found, np.concatenate(parts, axis=-1), rtol=0, atol=tolerance("float64", 4, 256))


def test_constant_function_is_the_unit():
    p = tp.GauntTensorProduct(0, 4)
    y = np.random.default_rng(2).standard_normal(25)
    np.testing.assert_allclose(p(np.array([sqrt(4 * pi)]), y), y, rtol=0, atol=tolerance("float64", 4, 1) * 10)


def test_direct_is_blind_to_handedness():
    assert tp.interactability(tp.GauntTensorProduct(2, 2, 4)) == {
        (a, b, c)
        for a in range(3)
        for b in range(3)
        for c in range(5)
        if abs(a - b) <= c <= a + b and (a + b + c) % 2 == 0
    }


@pytest.mark.parametrize(("method", "exponent"), [("grid", 3), ("fourier", 3), ("direct", 5)])
def test_growth_of_the_operation_count(method, exponent):
    """L^3 by transforms, L^5 by coefficients: the exponent between L and 2 L, less what lower powers still add."""
    flops = [tp.GauntTensorProduct(L, L, L, method=method).cost().flops for L in (8, 16)]
    assert exponent - 1 < log(flops[1] / flops[0], 2) < exponent + 0.2


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("backend", ["cpu", "generic"])
def test_auto_takes_the_quickest_by_the_model_and_says_so(backend, dtype):
    for L in range(9):
        p = tp.GauntTensorProduct(L, L)
        name, plan = p.methods.choose(backend, dtype)
        times = {m: seconds(tp.GauntTensorProduct(L, L, method=m).plan, backend, dtype) for m in METHODS}
        assert times[name] == min(times.values())
        assert plan == tp.GauntTensorProduct(L, L, method=name).plan
        assert f"{name} (" in repr(p)
        assert f"{backend} {dtype}" in repr(p)
    assert tp.GauntTensorProduct(0, 0).methods.choose(backend, dtype)[0] == "direct"
    assert tp.GauntTensorProduct(16, 16).methods.choose(backend, dtype)[0] == "grid"


def test_what_auto_takes_is_what_runs(monkeypatch):
    p = tp.GauntTensorProduct(3, 3)
    ran = []
    monkeypatch.setattr(backends, "evaluate_on", lambda _, plan, *__: (ran.append(plan),))
    monkeypatch.setattr(backends.batching, "evaluate", lambda _, plan, *__: (ran.append(plan),))
    for dtype in ("float32", "float64"):
        for backend in ("cpu", "generic"):
            p(np.ones((2, 16), dtype), np.ones((2, 16), dtype), backend=backend)
            assert ran.pop() == p.methods.choose(backend, dtype)[1]
            adjoint = p.adjoint(0)
            adjoint(np.ones((2, 49), dtype), np.ones((2, 16), dtype), backend=backend)
            assert ran.pop() == adjoint.methods.choose(backend, dtype)[1]


@pytest.mark.parametrize("L", [1, 2, 4, 7, 10])
def test_all_methods_agree_to_1e_12(L):
    made = {method: tp.GauntTensorProduct(L, L, method=method) for method in METHODS}
    x, y = random_arguments(made["direct"], (3,), (3,))
    results = {method: p(x, y) for method, p in made.items()}
    size = np.max(np.abs(results["direct"]))
    for method in ("grid", "fourier"):
        assert np.max(np.abs(results[method] - results["direct"])) <= 1e-12 * size


@pytest.mark.parametrize("L", [32, 64])
def test_transforms_agree_at_high_degree(L):
    grid, fourier = (tp.GauntTensorProduct(L, L, method=method) for method in ("grid", "fourier"))
    x, y = random_arguments(grid, (2,), (2,))
    expected = grid(x, y)
    assert np.max(np.abs(fourier(x, y) - expected)) <= 1e-11 * np.max(np.abs(expected))
    cotangent = np.random.default_rng(1).standard_normal(expected.shape)
    for one, other in zip(fourier.vjp(x, y, cotangent), grid.vjp(x, y, cotangent), strict=True):
        assert np.max(np.abs(one - other)) <= 1e-11 * np.max(np.abs(other))
