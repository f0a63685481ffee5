"""Identities of the spherical harmonics, on every backend."""

from __future__ import annotations

from math import pi, sqrt

import numpy as np
import pytest
from harmonics_of_libraries import directions
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import eval_legendre
from strategies import harmonic_tolerance, tolerance

import tpnumba as tp
from tpnumba.tables.couplings import NORMALIZATIONS, gaunt_coupling
from tpnumba.tables.quadrature import Grid

DTYPES = ["float32", "float64"]


def block(degree):
    return slice(degree**2, (degree + 1) ** 2)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_lengths_are_those_of_the_normalization(xp, dtype, normalization):
    lmax = 10
    values = xp.to_numpy(tp.SphericalHarmonics(lmax, normalization=normalization)(xp.asarray(directions(20), dtype)))
    assert values.dtype == dtype
    for degree in range(lmax + 1):
        squared = {"integral": (2 * degree + 1) / (4 * pi), "component": 2 * degree + 1, "norm": 1.0}[normalization]
        found = np.sum(values[:, block(degree)].astype(float) ** 2, axis=-1)
        np.testing.assert_allclose(found, squared, rtol=tolerance(dtype, degree, 2 * degree + 1))


def test_values_are_the_polynomials_of_low_degree(xp):
    points = np.random.default_rng(1).standard_normal((30, 3))
    x, y, z = points.T
    expected = [
        np.ones_like(x),
        *(sqrt(3) * points.T),
        sqrt(15) * x * z,
        sqrt(15) * x * y,
        sqrt(5) * (y**2 - (x**2 + z**2) / 2),
        sqrt(15) * y * z,
        sqrt(15) / 2 * (z**2 - x**2),
    ]
    solid = tp.SphericalHarmonics(2, normalization="component", normalize=False)(xp.asarray(points))
    scale = np.max(np.abs(points)) ** 2
    np.testing.assert_allclose(xp.to_numpy(solid).T, expected, rtol=0, atol=scale * harmonic_tolerance("float64", 2))


@pytest.mark.parametrize("lmax", [0, 1, 4, 16])
def test_harmonics_are_orthonormal(xp, lmax):
    grid = Grid.exact(2 * lmax)
    values = xp.to_numpy(tp.SphericalHarmonics(lmax)(xp.asarray(grid.points().reshape(-1, 3))))
    gram = (values * np.repeat(grid.ring_weights, grid.n_alpha)[:, None]).T @ values
    limit = tolerance("float64", lmax, len(values)) * sqrt(2 * lmax + 1)
    np.testing.assert_allclose(gram, np.eye((lmax + 1) ** 2), rtol=0, atol=limit)


def test_addition_theorem(xp):
    lmax = 24
    a, b = directions(10, 1), directions(10, 2)
    harmonics = tp.SphericalHarmonics(lmax)
    ya, yb = (xp.to_numpy(harmonics(xp.asarray(points))) for points in (a, b))
    cosine = np.sum(a * b, axis=-1)
    for degree in range(lmax + 1):
        found = np.sum(ya[:, block(degree)] * yb[:, block(degree)], axis=-1) * 4 * pi / (2 * degree + 1)
        # a cosine that is off by eps moves P_l by l (l + 1) / 2 eps
        limit = tolerance("float64", degree * (degree + 1), 2 * degree + 1)
        np.testing.assert_allclose(found, eval_legendre(degree, cosine), rtol=0, atol=limit)


@pytest.mark.parametrize("improper", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_harmonics_are_equivariant(xp, dtype, improper):
    lmax = 10
    points, matrix = directions(12), np.linalg.qr(np.random.default_rng(3).standard_normal((3, 3)))[0]
    if (np.linalg.det(matrix) < 0) != improper:
        matrix = -matrix
    harmonics = tp.SphericalHarmonics(lmax, normalization="component")
    rotation = xp.asarray(matrix, dtype, core=2)
    turned_points = xp.to_numpy(harmonics(xp.asarray(points @ matrix.T, dtype)))
    turned_values = xp.to_numpy(tp.rotate(harmonics.irreps, rotation, harmonics(xp.asarray(points, dtype))))
    assert turned_values.dtype == dtype
    limit = tolerance(dtype, lmax**2, 2 * lmax + 1) * sqrt(2 * lmax + 1)
    np.testing.assert_allclose(turned_values, turned_points, rtol=0, atol=limit)


def test_parity_is_exact(xp):
    points = np.random.default_rng(4).standard_normal((10, 3))
    harmonics = tp.SphericalHarmonics(9)
    plus, minus = (xp.to_numpy(harmonics(xp.asarray(sign * points))) for sign in (1, -1))
    for degree in range(10):
        np.testing.assert_array_equal(minus[:, block(degree)], (-1) ** degree * plus[:, block(degree)])


@given(
    st.tuples(st.integers(0, 8), st.integers(0, 8), st.integers(0, 16)).filter(
        lambda t: abs(t[0] - t[1]) <= t[2] <= t[0] + t[1]
    )
)
def test_product_of_two_harmonics_of_one_point(degrees):
    l1, l2, l3 = degrees
    values = tp.SphericalHarmonics(max(degrees))(directions(5))
    y1, y2, y3 = (values[:, block(degree)] for degree in degrees)
    found = np.einsum("abc,na,nb->nc", tp.clebsch_gordan(*degrees), y1, y2)
    expected = gaunt_coupling(*degrees) / (2 * l3 + 1) * y3
    limit = tolerance("float64", max(degrees), y1.shape[1] * y2.shape[1]) * sqrt((2 * l1 + 1) * (2 * l2 + 1)) / (4 * pi)
    np.testing.assert_allclose(found, expected, rtol=0, atol=limit)


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_solid_harmonics_are_homogeneous(xp, normalization):
    points = np.random.default_rng(5).standard_normal((10, 3))
    length = np.linalg.norm(points, axis=-1, keepdims=True)
    solid = tp.SphericalHarmonics(8, normalization=normalization, normalize=False)
    surface = tp.SphericalHarmonics(8, normalization=normalization)
    found, values = xp.to_numpy(solid(xp.asarray(points))), xp.to_numpy(surface(xp.asarray(points)))
    for degree in range(9):
        power = length**degree
        limit = harmonic_tolerance("float64", degree, normalization)
        np.testing.assert_allclose(found[:, block(degree)] / power, values[:, block(degree)], rtol=0, atol=limit)


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("dtype", DTYPES)
def test_at_the_origin(xp, dtype, normalize):
    harmonics = tp.SphericalHarmonics(3, normalization="component", normalize=normalize)
    points = np.array([[0.0, 0.0, 0.0], [1.0, 2.0, 3.0], [-0.0, 0.0, -0.0]])
    values = xp.to_numpy(harmonics(xp.asarray(points, dtype)))
    np.testing.assert_array_equal(values[[0, 2]], [[1.0] + [0.0] * 15] * 2)
    cotangent = np.random.default_rng(6).standard_normal((3, 16))
    gradient = xp.to_numpy(harmonics.vjp(xp.asarray(points, dtype), xp.asarray(cotangent, dtype)))
    if normalize:
        np.testing.assert_array_equal(gradient[[0, 2]], 0)
    else:  # a polynomial, whose gradient is that of its linear part
        expected = sqrt(3) * cotangent[[0, 2], 1:4]
        np.testing.assert_allclose(gradient[[0, 2]], expected, rtol=0, atol=4 * harmonic_tolerance(dtype, 1))
    assert np.all(np.isfinite(gradient))


@pytest.mark.parametrize(
    ("dtype", "exponents"), [("float64", (-320, -300, 0, 300, 308)), ("float32", (-44, -38, 0, 30, 38))]
)
def test_only_the_direction_matters(xp, dtype, exponents):
    rays = np.array([[1.0, -1.0, 1.0], [1.0, 0.0, 0.0], [0.0, -1.0, 1.0]])
    harmonics = tp.SphericalHarmonics(6, normalization="component")
    expected = xp.to_numpy(harmonics(xp.asarray(rays, dtype)))
    for exponent in exponents if xp.subnormal else exponents[2:4]:
        points = (rays * np.asarray(10.0**exponent, dtype=dtype)).astype(dtype)
        assert np.all(np.abs(points[:1]) > 0)
        np.testing.assert_array_equal(xp.to_numpy(harmonics(xp.asarray(points))), expected)


@pytest.mark.parametrize("exponent", [-300, -150, 150, 300, 308])
def test_gradients_scale_with_the_inverse_length(xp, exponent):
    if exponent == 308 and not xp.subnormal:
        pytest.skip("the gradients are below the least normal number, which this namespace takes as zero")
    points = np.random.default_rng(7).uniform(-1, 1, (5, 3))
    cotangent = np.random.default_rng(8).standard_normal((5, 25))
    harmonics = tp.SphericalHarmonics(4)
    scale = 10.0**exponent
    plain = xp.to_numpy(harmonics.vjp(xp.asarray(points), xp.asarray(cotangent)))
    scaled = xp.to_numpy(harmonics.vjp(xp.asarray(points * scale), xp.asarray(cotangent)))
    # multiplied in two steps, as 1 / scale may be below the least normal number
    limit = tolerance("float64", 4**2, 25) * np.max(np.abs(plain)) + 5e-324 * scale
    np.testing.assert_allclose(scaled * sqrt(scale) * sqrt(scale), plain, rtol=0, atol=limit)


def test_nan_stays_in_its_sample(xp):
    points = np.random.default_rng(9).standard_normal((6, 3))
    spoilt = points.copy()
    spoilt[1, 0], spoilt[4] = np.nan, np.nan
    clean = [0, 2, 3, 5]
    cotangent = xp.asarray(np.random.default_rng(10).standard_normal((6, 16)))
    for normalize in (True, False):
        harmonics = tp.SphericalHarmonics(3, normalize=normalize)
        for function in (harmonics, lambda xyz, harmonics=harmonics: harmonics.vjp(xyz, cotangent)):
            found, expected = (xp.to_numpy(function(xp.asarray(xyz))) for xyz in (spoilt, points))
            np.testing.assert_array_equal(found[clean], expected[clean])
            assert np.all(np.any(np.isnan(found[[1, 4]]), axis=-1))


def central_difference(function, x, step, direction):
    """The derivative along a direction by the 9-point formula, exact for polynomials up to degree 8."""
    weights = {1: 4 / 5, 2: -1 / 5, 3: 4 / 105, 4: -1 / 280}
    return (
        sum(w * (function(x + k * step * direction) - function(x - k * step * direction)) for k, w in weights.items())
        / step
    )


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_gradient_of_solid_harmonics_is_that_of_polynomials(xp, normalization):
    lmax = 8  # the formula is exact there, so that the step may be large
    harmonics = tp.SphericalHarmonics(lmax, normalization=normalization, normalize=False)
    rng = np.random.default_rng(11)
    points, cotangent = rng.uniform(-1, 1, (6, 3)), rng.standard_normal((6, (lmax + 1) ** 2))
    gradient = xp.to_numpy(harmonics.vjp(xp.asarray(points), xp.asarray(cotangent)))

    def pairing(xyz):
        return np.sum(xp.to_numpy(harmonics(xp.asarray(xyz))) * cotangent, axis=-1)

    step = 0.25
    for axis in range(3):
        found = central_difference(pairing, points, step, np.eye(3)[axis])
        reach = (sqrt(3) + 4 * step) ** lmax  # how large the polynomials grow on the stencil
        limit = tolerance("float64", lmax, cotangent.shape[-1]) * reach * sqrt(2 * lmax + 1) / step
        np.testing.assert_allclose(gradient[:, axis], found, rtol=0, atol=limit)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_gradient_of_the_direction_follows_from_the_solid_one(xp, dtype, normalization):
    lmax = 6
    rng = np.random.default_rng(12)
    points, cotangent = (
        rng.standard_normal((6, 3)).astype(dtype),
        rng.standard_normal((6, (lmax + 1) ** 2)).astype(dtype),
    )
    surface = tp.SphericalHarmonics(lmax, normalization=normalization)
    solid = tp.SphericalHarmonics(lmax, normalization=normalization, normalize=False)
    found = xp.to_numpy(surface.vjp(xp.asarray(points), xp.asarray(cotangent)))
    assert found.dtype == dtype
    points, cotangent = points.astype(float), cotangent.astype(float)
    length = np.linalg.norm(points, axis=-1, keepdims=True)
    expected = np.zeros_like(points)
    values = surface(points)
    for degree in range(lmax + 1):
        part = np.zeros_like(cotangent)
        part[:, block(degree)] = cotangent[:, block(degree)]
        radial = degree * np.sum(part * values, axis=-1, keepdims=True) * points / length**2
        expected += solid.vjp(points, part) / length**degree - radial
    limit = tolerance(dtype, lmax**2, (lmax + 1) ** 2) * sqrt(2 * lmax + 1) / np.min(length)
    np.testing.assert_allclose(found, expected, rtol=0, atol=limit)
    np.testing.assert_allclose(np.sum(found * points, axis=-1), 0, rtol=0, atol=limit * np.max(length))


@given(st.integers(0, 5), st.sampled_from(NORMALIZATIONS), st.booleans(), st.integers(0, 2**32 - 1))
def test_gradient_is_adjoint_to_the_difference(lmax, normalization, normalize, seed):
    rng = np.random.default_rng(seed)
    point = directions(1, seed)[0] * rng.uniform(0.5, 1.0)
    tangent, cotangent = rng.uniform(-1, 1, 3), rng.uniform(-1, 1, (lmax + 1) ** 2)
    harmonics = tp.SphericalHarmonics(lmax, normalization=normalization, normalize=normalize)
    step = 1 / 256
    difference = central_difference(harmonics, point, step, tangent)
    gradient = harmonics.vjp(point, cotangent)
    # ninth derivative of a function of degree l on a circle of radius 1/2 at least: (l |t| / r)^9 / 630, and rounding
    size = sqrt(2 * lmax + 1) * np.sum(np.abs(cotangent))
    truncation = size * step**8 * ((lmax + 1) * np.linalg.norm(tangent) / 0.5) ** 9 / 630
    limit = truncation + size * tolerance("float64", lmax, 10) / step
    assert abs(np.sum(gradient * tangent) - np.sum(cotangent * difference)) <= limit
