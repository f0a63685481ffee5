"""Conversions against the libraries themselves: sphericart in floating point, sympy in exact numbers."""

from __future__ import annotations

from math import pi

import numpy as np
import pytest
from harmonics_of_libraries import directions, random_sample
from strategies import tolerance

import tpnumba as tp

sphericart = pytest.importorskip("sphericart")
sympy = pytest.importorskip("sympy")

DEGREE = 3
#: Colatitude from z and longitude from x, with exact sines and cosines.
POINTS = [(sympy.pi / 3, sympy.pi / 4), (sympy.pi / 4, -sympy.pi / 6), (2 * sympy.pi / 3, 5 * sympy.pi / 6)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("lmax", [0, 1, 6, 12])
def test_sphericart_values(lmax, dtype):
    points = directions(20).astype(dtype)
    expected = sphericart.SphericalHarmonics(lmax).compute(points)
    ours = tp.SphericalHarmonics(lmax)(points)
    found = tp.convert(ours, lmax, source="e3nn", target="sphericart", kind="values")
    back = tp.convert(expected, lmax, source="sphericart", target="e3nn", kind="values")
    assert found.dtype == expected.dtype == dtype
    limit = tolerance(dtype, lmax**2, 2 * lmax + 1) * np.sqrt((2 * lmax + 1) / (4 * pi))
    np.testing.assert_allclose(found, expected, rtol=0, atol=limit)
    np.testing.assert_allclose(back, ours, rtol=0, atol=limit)


@pytest.mark.parametrize("axes", ["fixed", "relabelled"])
def test_sphericart_coefficients(axes):
    lmax, points = 8, directions(20)
    x = random_sample("e3nn", (), lmax)
    converted = tp.convert(x, lmax, source="e3nn", target="sphericart", axes=axes)
    seen = points if axes == "fixed" else np.ascontiguousarray(points[:, [2, 0, 1]])
    found = sphericart.SphericalHarmonics(lmax).compute(seen) @ converted
    expected = tp.SphericalHarmonics(lmax)(points) @ x
    limit = tolerance("float64", lmax**2, (lmax + 1) ** 2) * (lmax + 1) ** 2
    np.testing.assert_allclose(found, expected, rtol=0, atol=limit)


def exact_values(function):
    """``function(l, m, theta, phi)`` of sympy, in exact numbers until the end."""
    return np.array(
        [
            [
                complex(function(degree, m, *point).expand(func=True).evalf(30))
                for degree in range(DEGREE + 1)
                for m in range(-degree, degree + 1)
            ]
            for point in POINTS
        ]
    )


def test_sympy_complex_harmonics():
    points = np.array(
        [
            [
                float(c.evalf(30))
                for c in (
                    sympy.sin(theta) * sympy.cos(phi),
                    sympy.sin(theta) * sympy.sin(phi),
                    sympy.cos(theta),
                )
            ]
            for theta, phi in POINTS
        ]
    )
    ours = tp.SphericalHarmonics(DEGREE)(points)
    found = tp.convert(ours, DEGREE, source="e3nn", target="scipy", kind="values")
    limit = tolerance("float64", DEGREE**2, 2 * DEGREE + 1)
    np.testing.assert_allclose(found, exact_values(sympy.Ynm), rtol=0, atol=limit)


def test_sympy_real_harmonics():
    """Znm of sympy is sqrt2 Re Y_nm for m > 0, with its Condon-Shortley sign, and sqrt2 Im Y_nm for m < 0.

    There ``Y_n,-m = P exp(-i m phi)`` without a sign, so that all the sines are those of the real harmonics, negative.
    """
    complex_values, real_values = exact_values(sympy.Ynm), exact_values(sympy.Znm)
    found = tp.convert(complex_values, DEGREE, source="scipy", target="sphericart", kind="values")
    orders = np.concatenate([np.arange(-degree, degree + 1) for degree in range(DEGREE + 1)])
    sign = np.where(orders < 0, -1.0, (-1.0) ** orders)
    limit = tolerance("float64", DEGREE, 2 * DEGREE + 1)
    np.testing.assert_allclose(found * sign, real_values.real, rtol=0, atol=limit)
    np.testing.assert_allclose(real_values.imag, 0, rtol=0, atol=limit)
