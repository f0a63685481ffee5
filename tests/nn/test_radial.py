"""Radial functions and the geometry of edges: derivatives against differences, what envelopes promise, the origin."""

from __future__ import annotations

import numpy as np
import pytest

from tpnumba import nn

ENVELOPES = [
    nn.PolynomialEnvelope(5.0, p=6),
    nn.PolynomialEnvelope(4.0, p=1),
    nn.XPLOREnvelope(5.0, onset=4.5),
    nn.XPLOREnvelope(5.0, onset=0.0),
    nn.CosineEnvelope(5.0),
]
BASES = [
    nn.BesselBasis(8, 5.0),
    nn.BesselBasis(4, 5.0, prefactor=0.4),
    nn.GaussianBasis(6, 0.5, 5.0),
    nn.GaussianBasis(6, 0.0, 5.0, ends=False, width=0.7, scale=1.0),
    nn.RadialEmbedding(nn.BesselBasis(8, 5.0), nn.PolynomialEnvelope(5.0)),
    nn.RadialEmbedding(nn.GaussianBasis(5, 0.0, 5.0), nn.XPLOREnvelope(5.0, onset=4.0)),
]
R = np.linspace(0.003, 6.0, 217)


@pytest.mark.parametrize("f", ENVELOPES, ids=repr)
def test_envelopes(xp, f):
    def at(r):
        return xp.to_numpy(f(xp.asarray(r)))

    h = 1e-5
    smooth = R[np.abs(R - f.cutoff) > 2 * h]
    derivative = xp.to_numpy(f.derivative(xp.asarray(smooth)))
    np.testing.assert_allclose(derivative, (at(smooth + h) - at(smooth - h)) / (2 * h), rtol=0, atol=1e-7)
    np.testing.assert_allclose(at(np.array([0.0, f.cutoff - 1e-9, f.cutoff, 9.0])), [1, 0, 0, 0], atol=1e-8)
    ends = xp.to_numpy(f.derivative(xp.asarray(np.array([f.cutoff - 1e-9, f.cutoff, 9.0]))))
    np.testing.assert_allclose(ends, 0, atol=1e-7)
    g = np.random.default_rng(0).standard_normal(smooth.shape)
    np.testing.assert_allclose(xp.to_numpy(f.vjp(xp.asarray(smooth), xp.asarray(g))), g * derivative, rtol=1e-14)
    assert np.isnan(at(np.array([np.nan, 1.0]))).tolist() == [True, False]


def test_formulas_of_the_envelopes():
    r = np.linspace(0, 4.99, 50)
    x = r / 5
    np.testing.assert_allclose(nn.PolynomialEnvelope(5.0, p=6)(r), 1 - 28 * x**6 + 48 * x**7 - 21 * x**8, atol=1e-14)
    r = np.linspace(4.5, 4.99, 50)
    wanted = (25 - r**2) ** 2 * (25 + 2 * r**2 - 3 * 4.5**2) / (25 - 4.5**2) ** 3
    np.testing.assert_allclose(nn.XPLOREnvelope(5.0, onset=4.5)(r), wanted, rtol=1e-13)
    np.testing.assert_array_equal(nn.XPLOREnvelope(5.0, onset=4.5)(np.linspace(0, 4.49, 9)), 1)


@pytest.mark.parametrize("f", BASES, ids=repr)
def test_bases(xp, f):
    def at(r):
        return xp.to_numpy(f(xp.asarray(r)))

    h = 1e-5
    smooth = R[(np.abs(R - 5.0) > 2 * h) & (h < R)]
    value, derivative = (xp.to_numpy(part) for part in f.value_and_derivative(xp.asarray(smooth)))
    np.testing.assert_array_equal(value, at(smooth))
    assert value.shape == (*smooth.shape, f.number)
    np.testing.assert_allclose(derivative, (at(smooth + h) - at(smooth - h)) / (2 * h), rtol=0, atol=2e-7)
    g = np.random.default_rng(0).standard_normal(value.shape)
    found = xp.to_numpy(f.vjp(xp.asarray(smooth), xp.asarray(g)))
    np.testing.assert_allclose(found, np.sum(g * derivative, axis=-1), rtol=0, atol=1e-12)
    assert f(xp.asarray(np.ones((2, 3), "float32"))).dtype == xp.xp.float32


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_bessel_functions_near_the_origin(dtype):
    basis = nn.BesselBasis(8, 5.0)
    r = np.geomspace(1e-6, 0.5, 40)
    w = np.arange(1, 9) * np.pi / 5
    z = (r[:, None] * w).astype(np.longdouble)
    wanted = np.sqrt(0.4) * w * w * (np.cos(z) / z - np.sin(z) / z**2)
    exact = np.where(z < 1e-2, np.sqrt(0.4) * w * w * (-z / 3 + z**3 / 30 - z**5 / 840), wanted).astype("float64")
    value, slope = basis.value_and_derivative(r.astype(dtype))
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(value, np.sqrt(0.4) * np.sin(r[:, None] * w) / r[:, None], rtol=10 * eps)
    np.testing.assert_allclose(slope, exact, rtol=100 * eps)
    value, slope = basis.value_and_derivative(np.zeros(1, dtype))
    np.testing.assert_allclose(value[0], np.sqrt(0.4) * w, rtol=4 * eps)
    np.testing.assert_array_equal(slope, 0)


def test_learned_frequencies(xp):
    basis = nn.BesselBasis(4, 5.0)
    rng = np.random.default_rng(0)
    w, t, r, g = basis.frequencies + 0.1, rng.standard_normal(4), R[:20], rng.standard_normal((20, 4))
    on, h = xp.asarray, 1e-6

    def at(w):
        return xp.to_numpy(basis(on(r), on(w)))

    np.testing.assert_allclose(at(w), np.sqrt(0.4) * np.sin(r[:, None] * w) / r[:, None], rtol=1e-13)
    found = xp.to_numpy(basis.frequencies_vjp(on(r), on(g), frequencies=on(w)))
    wanted = np.sum(g * (at(w + h * t) - at(w - h * t)) / (2 * h))
    np.testing.assert_allclose(np.sum(found * t), wanted, rtol=1e-7)
    derivative = xp.to_numpy(basis.derivative(on(r), on(w)))
    found = xp.to_numpy(basis.vjp(on(r), on(g), frequencies=on(w)))
    np.testing.assert_allclose(found, np.sum(g * derivative, axis=1), rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(at(basis.frequencies), xp.to_numpy(basis(on(r))))


def test_gaussians_fill_the_interval():
    basis = nn.GaussianBasis(10, 0.0, 9.0)
    np.testing.assert_array_equal(basis.centres, np.arange(10.0))
    between = np.sum(basis(np.linspace(3, 6, 50)) ** 2, axis=1)
    np.testing.assert_allclose(between, 1, atol=0.02)


def test_edges(xp):
    rng = np.random.default_rng(0)
    vectors, t, g = rng.standard_normal((5, 2, 3)), rng.standard_normal((5, 2, 3)), rng.standard_normal((5, 2))
    on, h = xp.asarray, 1e-6

    def at(v):
        return xp.to_numpy(nn.edge_lengths(on(v)))

    np.testing.assert_allclose(at(vectors), np.linalg.norm(vectors, axis=-1), rtol=1e-14)
    forward = xp.to_numpy(nn.edge_lengths_jvp(on(vectors), on(at(vectors)), on(t)))
    np.testing.assert_allclose(forward, (at(vectors + h * t) - at(vectors - h * t)) / (2 * h), atol=1e-8)
    backward = xp.to_numpy(nn.edge_lengths_vjp(on(vectors), on(at(vectors)), on(g)))
    np.testing.assert_allclose(np.sum(backward * t), np.sum(forward * g), rtol=1e-12)
    zero = np.zeros((1, 3))
    assert not xp.to_numpy(nn.edge_lengths_vjp(on(zero), on(np.zeros(1)), on(np.ones(1)))).any()
    assert not xp.to_numpy(nn.edge_lengths_jvp(on(zero), on(np.zeros(1)), on(np.ones((1, 3))))).any()
