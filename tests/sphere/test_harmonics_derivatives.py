"""Jacobians, derivatives along tangents, and derivatives of higher order of the harmonics, on every backend."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest
from harmonics_of_libraries import directions
from hypothesis import given
from hypothesis import strategies as st
from sphere.test_harmonics import DTYPES, block, central_difference
from strategies import dtypes, harmonic_tolerance, require_chunks, tolerance

import tpnumba as tp
from tpnumba import limits
from tpnumba.tables.couplings import NORMALIZATIONS

BOTH = [True, False]


def limit_of(dtype, lmax, jacobian):
    """Rounding of a gradient: a direction that is off by eps moves it by the degree, near the poles by its square."""
    return tolerance(dtype, lmax**2, 2 * lmax + 1) * (1 + float(np.max(np.abs(jacobian), initial=0.0)))


@given(
    lmax=st.integers(0, 6),
    normalization=st.sampled_from(NORMALIZATIONS),
    normalize=st.booleans(),
    dtype=dtypes,
    seed=st.integers(0, 2**32 - 1),
)
def test_three_faces_of_one_jacobian(xp, lmax, normalization, normalize, dtype, seed):
    """``<g, J t>`` by the Jacobian, by vjp and by jvp; and the values that come with it."""
    rng = np.random.default_rng(seed)
    harmonics = tp.SphericalHarmonics(lmax, normalization=normalization, normalize=normalize)
    points, tangent = (xp.asarray(rng.uniform(0.3, 1, (2, 3)) * rng.choice([-1, 1], 3), dtype) for _ in range(2))
    cotangent = xp.asarray(rng.standard_normal((2, harmonics.irreps.dim)), dtype)
    values, jacobian = (xp.to_numpy(part) for part in harmonics.value_and_jacobian(points))
    pulled = xp.to_numpy(harmonics.vjp(points, cotangent))
    pushed = xp.to_numpy(harmonics.jvp(points, tangent))
    assert values.dtype == jacobian.dtype == pulled.dtype == pushed.dtype == dtype
    np.testing.assert_array_equal(values, xp.to_numpy(harmonics(points)))
    plain = jacobian.astype(float)
    limit = limit_of(dtype, lmax, jacobian)
    expected = np.einsum("nka,na->nk", plain, xp.to_numpy(tangent))
    np.testing.assert_allclose(pushed, expected, rtol=0, atol=3 * limit)
    expected = np.einsum("nka,nk->na", plain, xp.to_numpy(cotangent))
    np.testing.assert_allclose(pulled, expected, rtol=0, atol=limit * np.sum(np.abs(xp.to_numpy(cotangent))))


@pytest.mark.parametrize("normalize", BOTH)
@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_jacobian_is_that_of_polynomials(xp, normalization, normalize):
    lmax = 8  # the formula is exact there for solid harmonics, so that the step may be large
    harmonics = tp.SphericalHarmonics(lmax, normalization=normalization, normalize=normalize)
    points = np.random.default_rng(0).uniform(0.4, 1, (6, 3)) * [1, -1, 1]
    step = 1 / 256 if normalize else 0.25
    _, jacobian = harmonics.value_and_jacobian(xp.asarray(points))
    jacobian = xp.to_numpy(jacobian)
    assert jacobian.shape == (6, (lmax + 1) ** 2, 3)
    size = harmonic_tolerance("float64", lmax, normalization)
    if normalize:  # ninth derivative on a circle of radius 0.6 at least
        limit = sqrt(2 * lmax + 1) * step**8 * ((lmax + 1) / 0.6) ** 9 / 630 + size / step
    else:
        limit = size * (sqrt(3) + 4 * step) ** lmax / step
    for axis in range(3):
        found = central_difference(lambda r: xp.to_numpy(harmonics(xp.asarray(r))), points, step, np.eye(3)[axis])
        np.testing.assert_allclose(jacobian[..., axis], found, rtol=0, atol=limit)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("normalize", BOTH)
def test_eulers_theorem(xp, dtype, normalize):
    """``r . grad S_l = l S_l``; what depends on the direction only does not change along it."""
    lmax = 10
    harmonics = tp.SphericalHarmonics(lmax, normalize=normalize)
    points = (directions(20) * np.random.default_rng(1).uniform(0.5, 1.1, (20, 1))).astype(dtype)
    values, jacobian = (xp.to_numpy(part).astype(float) for part in harmonics.value_and_jacobian(xp.asarray(points)))
    radial = np.einsum("nka,na->nk", jacobian, points)
    degree = np.repeat(np.arange(lmax + 1), 2 * np.arange(lmax + 1) + 1)
    expected = 0 * values if normalize else degree * values
    np.testing.assert_allclose(radial, expected, rtol=0, atol=limit_of(dtype, lmax, jacobian))


@pytest.mark.parametrize("degree", [64, 128])
def test_jacobian_has_the_length_of_the_eigenvalue(degree):
    """``sum over m of |grad Y_lm|^2 = l (l + 1)(2 l + 1) / 4 pi``, near the poles as well, and along no radius."""
    angles = np.array([0, 1e-300, 1e-9, 1e-6, 1e-3, 0.03, 0.2, 1.0, np.pi - 1e-6])
    points = np.stack([np.sin(angles) * 0.6, np.cos(angles), np.sin(angles) * 0.8], axis=-1)
    _, jacobian = tp.SphericalHarmonics(degree).value_and_jacobian(points)
    part = jacobian[:, block(degree)]
    size = degree * (degree + 1) * (2 * degree + 1) / (8 * np.pi)
    expected = np.eye(3) - points[:, :, None] * points[:, None, :]
    found = np.einsum("nka,nkb->nab", part, part) / size
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance("float64", degree * (degree + 1) // 2, 1))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("normalize", BOTH)
def test_at_the_origin(xp, dtype, normalize):
    harmonics = tp.SphericalHarmonics(3, normalization="component", normalize=normalize)
    points = xp.asarray(np.array([[0.0, 0.0, 0.0], [1.0, 2.0, 3.0], [-0.0, 0.0, -0.0]]), dtype)
    tangent = np.array([0.5, 2.0, -1.0])
    jacobian = xp.to_numpy(harmonics.value_and_jacobian(points)[1])[[0, 2]]
    pushed = xp.to_numpy(harmonics.jvp(points, xp.asarray(np.broadcast_to(tangent, (3, 3)), dtype)))[[0, 2]]
    expected = np.zeros((16, 3))
    if not normalize:
        expected[1:4] = sqrt(3) * np.eye(3)
    limit = 0 if normalize else 8 * harmonic_tolerance(dtype, 1)
    np.testing.assert_allclose(jacobian, [expected] * 2, rtol=0, atol=limit)
    np.testing.assert_allclose(pushed, [expected @ tangent] * 2, rtol=0, atol=limit)


@pytest.mark.parametrize("exponent", [-300, -150, 150, 300, 308])
def test_jacobians_scale_with_the_inverse_length(xp, exponent):
    if exponent == 308 and not xp.subnormal:
        pytest.skip("the gradients are below the least normal number, which this namespace takes as zero")
    points, tangent = np.random.default_rng(2).uniform(-1, 1, (2, 5, 3))
    harmonics = tp.SphericalHarmonics(4)
    scale = 10.0**exponent
    plain, scaled = (
        (xp.to_numpy(harmonics.value_and_jacobian(r)[1]), xp.to_numpy(harmonics.jvp(r, xp.asarray(tangent))))
        for r in (xp.asarray(points), xp.asarray(points * scale))
    )
    for one, other in zip(plain, scaled, strict=True):
        limit = limit_of("float64", 4, one) + 5e-324 * scale
        np.testing.assert_allclose(other * sqrt(scale) * sqrt(scale), one, rtol=0, atol=limit)


def test_axes_on_which_a_derivative_is_zero_have_no_nan(xp):
    """Also where ``1 / |r|`` is beyond all numbers."""
    if not xp.subnormal:
        pytest.skip("the points are taken as zero")
    with np.errstate(over="ignore"):
        _, jacobian = tp.SphericalHarmonics(2).value_and_jacobian(xp.asarray(np.diag([5e-324, 1e-310, 1e-320])))
    assert not np.any(np.isnan(xp.to_numpy(jacobian)))


def test_nan_stays_in_its_sample(xp):
    points, tangent = np.random.default_rng(3).standard_normal((2, 6, 3))
    spoilt = points.copy()
    spoilt[1, 0], spoilt[4] = np.nan, np.inf
    clean = [0, 2, 3, 5]
    for normalize in BOTH:
        harmonics = tp.SphericalHarmonics(3, normalize=normalize)
        for function in (
            lambda xyz, harmonics=harmonics: harmonics.value_and_jacobian(xyz)[1],
            lambda xyz, harmonics=harmonics: harmonics.jvp(xyz, xp.asarray(tangent)),
        ):
            with np.errstate(invalid="ignore", over="ignore"):
                found, expected = (xp.to_numpy(function(xp.asarray(xyz))) for xyz in (spoilt, points))
            np.testing.assert_array_equal(found[clean], expected[clean])
            assert np.any(np.isnan(found[1]))
            assert not np.all(np.isfinite(found[4]))


@pytest.mark.parametrize("shape", [(), (0,), (1,), (2, 1, 3)])
@pytest.mark.parametrize("lmax", [0, 3])
def test_shapes(xp, shape, lmax):
    harmonics = tp.SphericalHarmonics(lmax)
    points, tangent = np.random.default_rng(4).standard_normal((2, *shape, 3))
    values, jacobian = (xp.to_numpy(part) for part in harmonics.value_and_jacobian(xp.asarray(points)))
    pushed = xp.to_numpy(harmonics.jvp(xp.asarray(points), xp.asarray(tangent)))
    assert values.shape == pushed.shape == (*shape, (lmax + 1) ** 2)
    assert jacobian.shape == (*values.shape, 3)
    for index in np.ndindex(shape):
        alone = harmonics.value_and_jacobian(points[index])[1]
        np.testing.assert_allclose(jacobian[index], alone, rtol=0, atol=limit_of("float64", lmax, alone))


def test_batches_beyond_one_chunk(xp):
    require_chunks(xp)
    harmonics = tp.SphericalHarmonics(20)
    points, tangent = np.random.default_rng(5).standard_normal((2, 600, 3))
    jacobian = xp.to_numpy(harmonics.value_and_jacobian(xp.asarray(points))[1])
    pushed = xp.to_numpy(harmonics.jvp(xp.asarray(points), xp.asarray(tangent)))
    for part in (slice(0, 10), slice(98, 105), slice(590, 600)):
        alone = harmonics.value_and_jacobian(points[part])[1]
        limit = limit_of("float64", 20, alone)
        np.testing.assert_allclose(jacobian[part], alone, rtol=0, atol=limit)
        expected = np.einsum("nka,na->nk", alone, tangent[part])
        np.testing.assert_allclose(pushed[part], expected, rtol=0, atol=3 * limit)


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("lmax", [0, 1, 5])
def test_the_derivative_as_an_operator(xp, lmax, normalization):
    harmonics = tp.SphericalHarmonics(lmax, normalization=normalization, normalize=False)
    lower, p = harmonics.derivative()
    rng = np.random.default_rng(6)
    points, tangent, other = rng.uniform(-1, 1, (3, 4, 3))
    cotangent = rng.standard_normal((4, harmonics.irreps.dim))
    r, t, u, g = (xp.asarray(array) for array in (points, tangent, other, cotangent))
    _, jacobian = harmonics.value_and_jacobian(r)
    limit = 8 * limit_of("float64", lmax, xp.to_numpy(jacobian))
    np.testing.assert_allclose(xp.to_numpy(p(lower(r), t)), xp.to_numpy(harmonics.jvp(r, t)), rtol=0, atol=limit)
    pulled = xp.to_numpy(p.adjoint(1)(lower(r), g))
    np.testing.assert_allclose(pulled, xp.to_numpy(harmonics.vjp(r, g)), rtol=0, atol=limit * lmax**2)

    def second(t, u):
        return xp.to_numpy(p(lower.jvp(r, u), t))

    np.testing.assert_allclose(second(t, u), second(u, t), rtol=0, atol=limit * lmax**2)
    # Solid harmonics solve Laplace's equation.
    axes = [xp.asarray(np.broadcast_to(axis, (4, 3))) for axis in np.eye(3)]
    laplacian = sum(second(axis, axis) for axis in axes)
    np.testing.assert_allclose(laplacian, 0, rtol=0, atol=limit * (lmax + 1) ** 2)
    step = 0.25

    def first(points):
        return xp.to_numpy(harmonics.jvp(xp.asarray(points), t))

    for axis in range(3):
        found = second(t, axes[axis])
        expected = central_difference(first, points, step, np.eye(3)[axis])
        np.testing.assert_allclose(found, expected, rtol=0, atol=limit * (sqrt(3) + 4 * step) ** lmax / step)


def test_directions_have_no_such_operator():
    with pytest.raises(ValueError, match="normalize must be False"):
        tp.SphericalHarmonics(2).derivative()


def test_arrays_that_do_not_fit_are_refused(xp):
    harmonics = tp.SphericalHarmonics(2)
    points = xp.asarray(np.zeros((4, 3)))
    for wrong in ((4, 2), (), (3, 4)):
        with pytest.raises(ValueError, match=r"xyz must have shape \(\.\.\., 3\), got"):
            harmonics.value_and_jacobian(xp.asarray(np.zeros(wrong)))
    for wrong in ((4, 9), (5, 3), (3,), (1, 3)):
        with pytest.raises(ValueError, match=r"tangent must have shape \(4, 3\), got"):
            harmonics.jvp(points, xp.asarray(np.zeros(wrong)))
    with pytest.raises(TypeError, match="tangent must be an array"):
        harmonics.jvp(points, [0.0, 0.0, 1.0])
    with pytest.raises(ValueError, match="backend must be one of"):
        harmonics.value_and_jacobian(points, backend="fast")
    with pytest.raises(ValueError, match="num_threads"):
        harmonics.jvp(points, points, num_threads=0)


def test_a_result_that_does_not_fit_is_refused_with_its_size(monkeypatch):
    monkeypatch.setattr(limits, "available_bytes", lambda: 2**20)
    with pytest.raises(MemoryError, match=r"\(100000, 100\) would take 76.3 MiB"):
        tp.SphericalHarmonics(9).value_and_jacobian(np.zeros((10**5, 3)))


def test_mixed_dtypes_promote(xp):
    harmonics = tp.SphericalHarmonics(2)
    points, tangent = np.random.default_rng(7).standard_normal((2, 4, 3))
    found = xp.to_numpy(harmonics.jvp(xp.asarray(points, "float32"), xp.asarray(tangent)))
    expected = harmonics.jvp(points.astype("float32").astype(float), tangent)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, rtol=0, atol=limit_of("float64", 2, expected))
