"""Series of the doubled circle, gradients of Legendre functions, sparse changes of basis."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest
from strategies import tolerance

import tpnumba as tp
from tpnumba.tables.fourier import dual_theta_series, theta_series
from tpnumba.tables.matrices import cartesian_component, operator_basis
from tpnumba.tables.quadrature import Torus
from tpnumba.tables.spherical_harmonics import legendre, legendre_over_sine, legendre_slope

THETA = np.linspace(0, np.pi, 41)


def series(coefficients, theta):
    u = np.arange(coefficients.shape[-1])
    values = np.empty((*coefficients.shape[:2], theta.size))
    values[:, 0::2] = coefficients[:, 0::2] @ np.cos(np.outer(u, theta))
    values[:, 1::2] = coefficients[:, 1::2] @ np.sin(np.outer(u, theta))
    return values


@pytest.mark.parametrize("lmax", [0, 1, 5, 20, 64, 128])
def test_series_are_the_functions(lmax):
    found = series(theta_series(lmax), THETA)
    limit = tolerance("float64", lmax, lmax + 1) * sqrt(2 * lmax + 1)
    np.testing.assert_allclose(found, legendre(lmax, np.cos(THETA)), rtol=0, atol=limit)


@pytest.mark.parametrize(("lmax", "highest"), [(0, 0), (3, 6), (10, 20), (32, 64), (64, 128)])
def test_dual_series_integrate(lmax, highest):
    """The mean with a series of its own functions is the integral of two Legendre functions: 1 / (2 pi) if equal."""
    dual = dual_theta_series(lmax, highest)
    own = theta_series(lmax)
    mean = np.where(np.arange(lmax + 1) == 0, 1.0, 0.5)
    for m in range(lmax + 1):
        product = (own[m:, m] * mean) @ dual[m:, m, : lmax + 1].T
        np.testing.assert_allclose(
            product, np.eye(lmax + 1 - m) / (2 * np.pi), rtol=0, atol=tolerance("float64", lmax, highest + 1)
        )


@pytest.mark.parametrize("lmax", [0, 1, 2, 8, 32])
def test_slopes_are_derivatives(lmax):
    beta = np.linspace(0.1, 3.0, 30)
    table = theta_series(lmax)  # a series is differentiated term by term
    u = np.arange(lmax + 1)
    derivative = np.empty((lmax + 1, lmax + 1, beta.size))
    derivative[:, 0::2] = -(table[:, 0::2] * u) @ np.sin(np.outer(u, beta))
    derivative[:, 1::2] = (table[:, 1::2] * u) @ np.cos(np.outer(u, beta))
    limit = tolerance("float64", lmax**2, lmax + 1) * sqrt(2 * lmax + 1)
    np.testing.assert_allclose(legendre_slope(lmax, np.cos(beta)), derivative, rtol=0, atol=limit)


@pytest.mark.parametrize("lmax", [0, 1, 2, 8, 32])
def test_division_by_the_sine(lmax):
    beta = np.linspace(0.2, 2.9, 30)
    m = np.arange(lmax + 1)[:, None]
    expected = m * legendre(lmax, np.cos(beta)) / np.sin(beta)
    limit = tolerance("float64", lmax**2, lmax + 1) * sqrt(2 * lmax + 1)
    np.testing.assert_allclose(legendre_over_sine(lmax, np.cos(beta)), expected, rtol=0, atol=limit)
    poles = legendre_over_sine(lmax, np.array([1.0, -1.0]))
    assert np.all(np.isfinite(poles))
    assert not poles[:, 2:].any()


def test_torus_weighs_a_full_circle():
    torus = Torus(6, 8)
    assert np.sum(torus.ring_weights) * torus.n_alpha == pytest.approx(2 * np.pi)
    assert torus.shape == (6, 8)


def test_operator_basis_is_the_dense_one():
    table = operator_basis(2, (0, 1), (3, -1), (1, 1))
    dense = np.zeros(table.shape)
    dense[tuple(table.coords)] = table.values
    parts = [sign * tp.clebsch_gordan(2, 2, degree).reshape(25, -1) for degree, sign in ((0, 1), (3, -1), (1, 1))]
    np.testing.assert_array_equal(dense, np.concatenate(parts, axis=1))


def test_cartesian_components_of_a_field_are_orthonormal():
    """Together the three components are an orthogonal change of basis of Y_l x 1o."""
    blocks = [(j, l) for l in range(4) for j in range(abs(l - 1), l + 2)]  # noqa: E741
    total = []
    for component in range(3):
        table = cartesian_component(component, 3, *blocks)
        dense = np.zeros(table.shape)
        dense[tuple(table.coords)] = table.values
        total.append(dense)
    matrix = np.concatenate(total)
    assert matrix.shape == (48, 48)
    np.testing.assert_allclose(matrix.T @ matrix, np.eye(48), rtol=0, atol=tolerance("float64", 3, 9))
