"""Harmonics inside of compiled loops, against the reference."""

from __future__ import annotations

import numba
import numpy as np
import pytest
from strategies import harmonic_tolerance

import tpnumba as tp
from tpnumba.inline.harmonics import MOST_WRITTEN_OUT

DTYPES = ("float32", "float64")


@numba.njit
def over(kernel, out, points):
    for i in range(len(points)):
        kernel(out[i], points[i])


def evaluated(harmonics, points):
    out = np.full((len(points), harmonics.irreps.dim), np.nan, points.dtype)
    over(harmonics.numba_kernel(points.dtype), out, points)
    return out


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize(
    ("lmax", "normalization"),
    [
        (0, "component"),
        (1, "integral"),
        (2, "norm"),
        (5, "component"),
        (8, "integral"),
        (MOST_WRITTEN_OUT, "norm"),
        (MOST_WRITTEN_OUT + 1, "component"),
        (30, "integral"),
    ],
)
def test_every_degree(lmax, normalization, normalize):
    harmonics = tp.SphericalHarmonics(lmax, normalization=normalization, normalize=normalize)
    points = np.random.default_rng(lmax).standard_normal((20, 3))
    points[0] = 0, 1, 0
    points[1] = 1e-3, -1, 1e-4
    if normalize:
        points[2:8] *= np.array([1e-12, 1e12, 1e-30, 1e30, 3, 0.1])[:, None]
    else:
        points /= np.linalg.norm(points, axis=-1, keepdims=True)
    for dtype in DTYPES:
        own = points.astype(dtype)
        expected = harmonics(own, backend="generic")
        found = evaluated(harmonics, own)
        np.testing.assert_allclose(found, expected, rtol=0, atol=harmonic_tolerance(dtype, lmax, normalization))


@pytest.mark.parametrize("lmax", [3, MOST_WRITTEN_OUT + 1])
def test_solid_harmonics_of_any_length(lmax):
    harmonics = tp.SphericalHarmonics(lmax, normalize=False)
    points = np.random.default_rng(0).standard_normal((10, 3)) * np.geomspace(1e-3, 1e3, 10)[:, None]
    expected, found = harmonics(points, backend="generic"), evaluated(harmonics, points)
    degrees = np.repeat(np.arange(lmax + 1), 2 * np.arange(lmax + 1) + 1)
    size = np.linalg.norm(points, axis=-1, keepdims=True) ** degrees
    np.testing.assert_allclose(found / size, expected / size, rtol=0, atol=harmonic_tolerance("float64", lmax))


@pytest.mark.parametrize("lmax", [2, MOST_WRITTEN_OUT + 1])
@pytest.mark.parametrize("dtype", DTYPES)
def test_points_at_zero_and_at_the_ends_of_the_range(dtype, lmax):
    harmonics, limits = tp.SphericalHarmonics(lmax), np.finfo(dtype)
    rays = np.array([[0.5, -1, 0.25], [0, 1, 0], [0.3, 0, -1]], dtype=dtype)
    scales = np.array([1, limits.smallest_subnormal * 1000, limits.tiny, limits.max / 2, 1e20, 1e-20], dtype=dtype)
    points = np.concatenate([np.zeros((1, 3)), (rays * scales[:, None, None]).reshape(-1, 3)]).astype(dtype)
    found, expected = evaluated(harmonics, points), harmonics(points, backend="generic")
    # Of numbers with few digits, directions have few digits as well, but the same ones.
    np.testing.assert_allclose(found, expected, rtol=0, atol=harmonic_tolerance(dtype, lmax))
    np.testing.assert_array_equal(found[0, 1:], 0)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_and_infinity_stay_in_their_point(bad):
    harmonics = tp.SphericalHarmonics(3)
    points = np.random.default_rng(0).standard_normal((6, 3))
    for axis in range(3):
        points[2 * axis, axis] = bad
    found = evaluated(harmonics, points)
    np.testing.assert_array_equal(np.isnan(found[:, 1:]).all(axis=1), [True, False] * 3)
    assert np.isfinite(found[1::2]).all()


def test_degrees_that_are_too_high():
    for dtype, most in (("float32", 192), ("float64", 256)):
        harmonics = tp.SphericalHarmonics(most + 1)
        for method in (harmonics.numba_kernel, harmonics.cuda_source):
            with pytest.raises(ValueError, match=rf"lmax must be at most {most} for a {dtype} kernel"):
                method(dtype)
        points = np.array([[0.3, 0.5, -0.2], [1e-3, 1, 1e-3]], dtype)
        highest = tp.SphericalHarmonics(most, normalization="norm")
        expected = tp.SphericalHarmonics(most, normalization="norm")(points.astype("float64"), backend="generic")
        found = evaluated(highest, points)
        np.testing.assert_allclose(found, expected, rtol=0, atol=harmonic_tolerance(dtype, most, "norm"))


def test_in_parallel_with_fast_math_and_wrong_sizes():
    harmonics = tp.SphericalHarmonics(4)
    kernel = harmonics.numba_kernel()

    @numba.njit(parallel=True, fastmath=True)
    def run(out, points):
        for i in numba.prange(len(points)):
            kernel(out[i], points[i])

    points = np.random.default_rng(0).standard_normal((30, 3))
    out = np.full((30, 25), np.nan)
    run(out, points)
    np.testing.assert_allclose(out, harmonics(points), rtol=0, atol=harmonic_tolerance("float64", 4))
    with pytest.raises(ValueError, match=r"point must have shape \(3,\)"):
        kernel(out[0], points[0, :2])
    with pytest.raises(TypeError, match="point must be a one-dimensional array of float64"):
        kernel(out[0], points)
