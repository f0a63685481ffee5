"""Harmonics and their gradients at high degree: near the poles too, in both dtypes."""

from __future__ import annotations

from math import pi, sqrt

import numpy as np
import pytest
from scipy.special import eval_legendre
from strategies import tolerance

import tpnumba as tp
from tpnumba.tables.clebsch_gordan import clebsch_gordan_sparse
from tpnumba.tables.quadrature import gauss_legendre
from tpnumba.tables.spherical_harmonics import gradient_ladder, legendre

DTYPES = ["float32", "float64"]


def at_polar_angles(angles, azimuth=0.3):
    angles = np.asarray(angles)
    return np.stack([np.sin(angles) * np.sin(azimuth), np.cos(angles), np.sin(angles) * np.cos(azimuth)], axis=-1)


def near_poles():
    angles = [0, 1e-300, 1e-160, 1e-9, 1e-6, 1e-3, 0.03, 0.2, 1.0, pi / 2]
    points = at_polar_angles(angles)
    return np.concatenate([points, points * [1, -1, 1], np.eye(3), -np.eye(3)])


def block(degree):
    return slice(degree**2, (degree + 1) ** 2)


@pytest.mark.parametrize("degree", [64, 128])
def test_addition_theorem_at_high_degree(degree):
    """Between points on one meridian, whose angle is known without rounding; also near the poles."""
    angles = np.array([0, 1e-9, 1e-6, 1e-4, 1e-3, 0.01, 0.03, 0.1, 0.3, 1.0, 2.0, 3.0, pi - 1e-3, pi - 1e-6])
    values = tp.SphericalHarmonics(degree, normalization="norm")(at_polar_angles(angles))[:, block(degree)]
    expected = eval_legendre(degree, np.cos(np.subtract.outer(angles, angles)))
    # a cosine that is off by eps moves P_l by l (l + 1) / 2 eps
    limit = tolerance("float64", degree * (degree + 1) // 2, 1)
    np.testing.assert_allclose(values @ values.T, expected, rtol=0, atol=limit)


def legendre_by_fractions(degree, x, y):
    """``P_l`` at ``y / sqrt(x^2 + y^2)`` for integers x and y: the recursion in integers, rounded at the end."""
    # r^l l! P_l, with a rational r^2, keeps to integers: (l+1) S_{l+1} = (2 l + 1) y S_l - l r^2 S_{l-1}
    square, previous, current = x * x + y * y, 0, 1
    for n in range(degree):
        previous, current = current, (2 * n + 1) * y * current - n * n * square * previous
    factorial = 1
    for n in range(1, degree + 1):
        factorial *= n
    # an even degree, so that r^l is an integer too
    return current / (factorial * square ** (degree // 2))


@pytest.mark.parametrize("degree", [64, 128])
def test_zonal_harmonics_are_exact_near_the_poles(degree):
    pairs = [(0, 1), (1, 2**30), (1, 2**20), (3, 2**14), (1, 1000), (1, 100), (3, 100), (1, 7), (5, 7), (7, 1), (1, 0)]
    points = np.array([[x * 0.6, y, x * 0.8] for x, y in pairs])
    values = tp.SphericalHarmonics(degree)(points)[:, block(degree)][:, degree]
    size = sqrt((2 * degree + 1) / (4 * pi))
    expected = size * np.array([legendre_by_fractions(degree, x, y) for x, y in pairs])
    # A rounding in each step is carried on by at most the number of steps that follow; their signs vary. 1e-12 at 128.
    limit = size * degree * (degree + 1) / 2 * float(np.finfo(float).eps) / 6
    np.testing.assert_allclose(values, expected, rtol=0, atol=limit)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("lmax", [128, 256, 512])
def test_lengths_are_right_everywhere(dtype, lmax):
    points = near_poles().astype(dtype)
    values = tp.SphericalHarmonics(lmax, normalization="norm")(points)
    assert values.dtype == dtype
    assert np.all(np.isfinite(values))
    # rounding of the squared length of a unit vector near the pole acts as on the cosine
    for degree in (1, 2, lmax // 3, lmax - 1, lmax):
        found = np.sum(values[:, block(degree)].astype(float) ** 2, axis=-1)
        np.testing.assert_allclose(found, 1, rtol=tolerance(dtype, degree * (degree + 1) // 2, 1))


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("dtype", DTYPES)
def test_gradients_at_high_degree_are_finite(dtype, normalize):
    lmax = 512
    points = near_poles()[[0, 3, 5, 8, 13, 20]].astype(dtype)
    cotangent = np.random.default_rng(1).standard_normal((len(points), (lmax + 1) ** 2)).astype(dtype)
    gradient = tp.SphericalHarmonics(lmax, normalize=normalize).vjp(points, cotangent)
    assert gradient.dtype == dtype
    assert np.all(np.isfinite(gradient))


@pytest.mark.parametrize("degree", [64, 128])
def test_gradients_have_the_length_of_the_eigenvalue(degree):
    """``sum over m of grad Y_lm (x) grad Y_lm = l (l + 1)(2 l + 1) / 8 pi`` times the projection on the tangents."""
    points = np.concatenate([near_poles()[[0, 3, 5, 6, 7, 8, 9, 15]], at_polar_angles([0.5, 2.5], 2.0)])
    lmax, size = degree, 2 * degree + 1
    cotangents = np.zeros((size, (lmax + 1) ** 2))
    cotangents[:, block(degree)] = np.eye(size)
    scale = degree * (degree + 1) * size / (8 * pi)
    for point in points:
        gradients = tp.SphericalHarmonics(lmax).vjp(np.broadcast_to(point, (size, 3)), cotangents)
        unit = point / np.linalg.norm(point)
        expected = np.eye(3) - np.outer(unit, unit)
        limit = tolerance("float64", degree * (degree + 1) // 2, 1)
        np.testing.assert_allclose(gradients.T @ gradients / scale, expected, rtol=0, atol=limit)


def test_the_ladder_is_that_of_clebsch_gordan():
    """``d S_lm / dx_c = (2 l + 1) sqrt(l) sum C(l - 1, 1, l)[m', c, m] S_{l-1,m'}`` for orthonormal solid harmonics."""
    lmax = 24
    ladder = gradient_ladder(lmax, "integral")
    terms = ((0, 1), (2,), (3, 4))
    for degree in range(1, lmax + 1):
        where = block(degree)
        table = np.zeros((2 * degree - 1, 3, 2 * degree + 1))
        for c, numbers in enumerate(terms):
            for number in numbers:
                for m, (place, weight) in enumerate(
                    zip(ladder.places[number, where], ladder.weights[number, where], strict=True)
                ):
                    if weight != 0:
                        table[place - (degree - 1) ** 2, c, m] += weight
        sparse = clebsch_gordan_sparse(degree - 1, 1, degree)
        expected = np.zeros(sparse.shape)
        expected[tuple(sparse.coords)] = sparse.values * (2 * degree + 1) * sqrt(degree)
        np.testing.assert_allclose(table, expected, rtol=tolerance("float64", 0, 1), atol=0)


@pytest.mark.parametrize(("lmax", "m"), [(128, 0), (128, 1), (128, 40), (128, 127), (256, 3)])
def test_legendre_functions_are_orthonormal_at_high_degree(lmax, m):
    nodes, weights = gauss_legendre(lmax + 1)
    table = legendre(lmax, nodes)[m:, m]
    assert np.all(np.isfinite(table))
    gram = 2 * pi * (table * weights) @ table.T
    np.testing.assert_allclose(gram, np.eye(lmax + 1 - m), rtol=0, atol=tolerance("float64", lmax, lmax + 1))


def test_legendre_functions_at_the_poles():
    table = legendre(256, np.array([1.0, -1.0, 1 - 1e-16, np.nextafter(-1, 0)]))
    degrees = np.arange(257)
    assert np.all(np.isfinite(table))
    assert not np.any(table[:, 1:, :2])
    size = np.sqrt((2 * degrees + 1) / (4 * pi))
    limit = tolerance("float64", 256 * 257 // 2, 1)
    np.testing.assert_allclose(table[:, 0, 0] / size, 1, rtol=limit)
    np.testing.assert_allclose(table[:, 0, 1] / size, (-1.0) ** degrees, rtol=limit)
