"""Coefficients in SHTools' conventions against pyshtools itself, real and complex, in its three normalisations."""

from __future__ import annotations

import numpy as np
import pytest
from harmonics_of_libraries import directions, random_sample
from scipy.special import sph_harm_y
from strategies import tolerance

import tpnumba as tp

pyshtools = pytest.importorskip("pyshtools")

LMAX = 6
POINTS = directions(20)
NORMALIZATIONS = {"shtools": "4pi", "shtools-ortho": "ortho", "shtools-schmidt": "schmidt"}


def expand(name, coefficients):
    """The function of ``coefficients`` at the points, by pyshtools."""
    made = pyshtools.SHCoeffs.from_array(coefficients, normalization=NORMALIZATIONS[name], csphase=1)
    assert made.kind == ("complex" if np.iscomplexobj(coefficients) else "real")
    latitudes, longitudes = np.arcsin(POINTS[:, 2]), np.arctan2(POINTS[:, 1], POINTS[:, 0])
    return made.expand(lat=np.degrees(latitudes), lon=np.degrees(longitudes))


def expand_scipy(coefficients):
    colatitudes, longitudes = np.arccos(POINTS[:, 2]), np.arctan2(POINTS[:, 1], POINTS[:, 0])
    return sum(
        coefficients[degree**2 + degree + m] * sph_harm_y(degree, m, colatitudes, longitudes)
        for degree in range(LMAX + 1)
        for m in range(-degree, degree + 1)
    )


def random_coefficients(*, is_complex):
    """In SHTools' layout, zero where no harmonic is."""
    real, imaginary = (random_sample("shtools", (), LMAX, seed=seed) for seed in (0, 1))
    return real + 1j * imaginary if is_complex else real


def assert_same(found, expected):
    limit = np.max(np.abs(expected)) * tolerance("float64", LMAX**2, (LMAX + 1) ** 2)
    np.testing.assert_allclose(found, expected, rtol=0, atol=limit)


@pytest.mark.parametrize("name", NORMALIZATIONS)
def test_complex_coefficients_from_scipy(name):
    rng = np.random.default_rng(3)
    real, imaginary = rng.standard_normal((2, (LMAX + 1) ** 2))
    c = real + 1j * imaginary
    found = tp.convert(c, LMAX, source="scipy", target=name, real=False)
    assert_same(expand(name, found), expand_scipy(c))


@pytest.mark.parametrize("name", NORMALIZATIONS)
def test_complex_coefficients_to_scipy(name):
    x = random_coefficients(is_complex=True)
    found = tp.convert(x, LMAX, source=name, target="scipy", real=False)
    assert_same(expand_scipy(found), expand(name, x))


@pytest.mark.parametrize("name", NORMALIZATIONS)
@pytest.mark.parametrize("is_complex", [False, True])
def test_coefficients_to_e3nn_and_back(name, is_complex):
    x = random_coefficients(is_complex=is_complex)
    ours = tp.convert(x, LMAX, source=name, target="e3nn", real=not is_complex)
    assert_same(tp.SphericalHarmonics(LMAX)(POINTS) @ ours, expand(name, x))
    assert_same(tp.convert(ours, LMAX, source="e3nn", target=name, real=not is_complex), x)


@pytest.mark.parametrize("target", NORMALIZATIONS)
@pytest.mark.parametrize("source", NORMALIZATIONS)
@pytest.mark.parametrize("is_complex", [False, True])
def test_from_one_normalisation_to_another(source, target, is_complex):
    x = random_coefficients(is_complex=is_complex)
    made = pyshtools.SHCoeffs.from_array(x, normalization=NORMALIZATIONS[source], csphase=1)
    expected = made.convert(normalization=NORMALIZATIONS[target], csphase=1).to_array()
    assert_same(tp.convert(x, LMAX, source=source, target=target, real=not is_complex), expected)


@pytest.mark.parametrize("name", NORMALIZATIONS)
def test_a_real_function_in_complex_harmonics(name):
    x = random_coefficients(is_complex=False)
    made = pyshtools.SHCoeffs.from_array(x, normalization=NORMALIZATIONS[name], csphase=1)
    expected = made.convert(kind="complex").to_array()
    expected[1, :, 0] = 0  # pyshtools fills these places, which belong to no harmonic
    c = tp.convert(x, LMAX, source=name, target="scipy")
    assert_same(tp.convert(c, LMAX, source="scipy", target=name, real=False), expected)
    assert_same(tp.convert(c, LMAX, source="scipy", target=name), x)
