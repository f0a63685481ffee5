"""Activation functions: derivatives against differences, scales against another quadrature, pieces, namespaces."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from scipy import integrate

from tpnumba import nn
from tpnumba.nn.activations import _PIECE, ACTIVATIONS, SAMPLED_SCALES

POINTS = np.concatenate([np.linspace(-30, 30, 121) + 0.013, [0.4]])


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_definition(xp, name, dtype):
    x = POINTS.astype(dtype)
    definitions = {
        "silu": lambda z: z / (1 + np.exp(-z)),
        "tanh": np.tanh,
        "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
        "abs": np.abs,
        "ssp": lambda z: np.logaddexp(z, 0) - np.log(2),
        "relu": lambda z: np.maximum(z, 0),
    }
    found = xp.to_numpy(nn.Activation(name, scale=1.5)(xp.asarray(x)))
    assert found.dtype == dtype
    np.testing.assert_allclose(
        found, 1.5 * definitions[name](x.astype("float64")), rtol=0, atol=60 * np.finfo(dtype).eps
    )


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_derivatives_are_those_of_differences(xp, name):
    f, h = nn.Activation(name, scale=1.5), 1e-4

    def at(function, x):
        return xp.to_numpy(function(xp.asarray(x)))

    for function, derivative in ((f, f.derivative), (f.derivative, f.second_derivative)):
        difference = (at(function, POINTS + h) - at(function, POINTS - h)) / (2 * h)
        np.testing.assert_allclose(at(derivative, POINTS), difference, rtol=0, atol=1e-7)
    value, derivative = f.value_and_derivative(xp.asarray(POINTS))
    np.testing.assert_allclose(xp.to_numpy(value), at(f, POINTS), rtol=1e-14, atol=1e-14)
    np.testing.assert_array_equal(xp.to_numpy(derivative), at(f.derivative, POINTS))
    g = np.random.default_rng(0).standard_normal(POINTS.shape)
    for product in (f.vjp, f.jvp):
        found = xp.to_numpy(product(xp.asarray(POINTS), xp.asarray(g)))
        np.testing.assert_allclose(found, g * at(f.derivative, POINTS), rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_second_moment(name):
    f = nn.Activation.normalized(name)

    def integrand(z):
        return float(f(np.asarray([z]))[0]) ** 2 * np.exp(-z * z / 2) / np.sqrt(2 * np.pi)

    moment = integrate.quad(integrand, -40, 0, epsabs=1e-13)[0] + integrate.quad(integrand, 0, 40, epsabs=1e-13)[0]
    assert moment == pytest.approx(1, abs=1e-12)
    # A mean of a million squares errs by their standard deviation over a thousand.
    assert SAMPLED_SCALES[name] == pytest.approx(f.scale, rel=5e-3)
    assert nn.Activation.normalized(name, moment="sampled").scale == SAMPLED_SCALES[name]


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_extremes_and_nan(name, dtype):
    f = nn.Activation(name)
    x = np.array([-1e4, 1e4, np.nan, 0.0], dtype)
    value, derivative = f.value_and_derivative(x)
    assert np.isnan(value).tolist() == [False, False, True, False]
    assert np.isnan(derivative).tolist() == [False, False, True, False]
    assert np.isfinite(f.second_derivative(x)).tolist() == [True, True, False, True]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_large_arrays_go_by_pieces(dtype):
    f = nn.Activation("silu", scale=0.5)
    x = np.random.default_rng(0).standard_normal((3, _PIECE + 5)).astype(dtype)
    rows = np.stack([np.concatenate([f(part) for part in np.array_split(row, 7)]) for row in x])
    np.testing.assert_array_equal(f(x), rows)
    np.testing.assert_array_equal(f(x.T), rows.T)
    out = np.empty_like(x)
    assert f(x, out=out) is out
    np.testing.assert_array_equal(out, rows)
    np.testing.assert_allclose(f.vjp(x, x), x * f.derivative(x), rtol=4 * np.finfo(dtype).eps)


def test_parity_is_that_of_the_function():
    for name in ACTIVATIONS:
        f = nn.Activation(name)
        plus, minus = f(POINTS), f(-POINTS)
        assert f.parity == (1 if np.array_equal(plus, minus) else -1 if np.array_equal(plus, -minus) else 0)


def test_frozen_comparable_and_picklable():
    f = nn.Activation("silu", scale=2)
    assert pickle.loads(pickle.dumps(f)) == f == nn.Activation("silu", scale=2.0)
    assert len({f, nn.Activation("silu", 2.0), nn.Activation("silu")}) == 2
    assert repr(f) == "Activation(name='silu', scale=2.0)"
    with pytest.raises(AttributeError):
        f.scale = 1.0
