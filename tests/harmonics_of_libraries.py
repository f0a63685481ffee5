"""Harmonics as the manuals of other libraries define them, written out without the code under test."""

from __future__ import annotations

from math import factorial, pi, sqrt

import numpy as np
from scipy.special import lpmv, sph_harm_y

import tpnumba as tp


def directions(n, seed=0):
    points = np.random.default_rng(seed).standard_normal((n, 3))
    return points / np.linalg.norm(points, axis=-1, keepdims=True)


def angles(points):
    """Colatitude from z and longitude from x."""
    return np.arccos(points[..., 2]), np.arctan2(points[..., 1], points[..., 0])


def legendre(degree, order, z):
    """Associated Legendre functions without the Condon-Shortley sign, which scipy's lpmv has."""
    return (-1) ** order * lpmv(order, degree, z)


def shtools_harmonic(degree, order, points, normalization):
    """As the manual of SHTools writes it: cosines for m >= 0, sines for m < 0, no Condon-Shortley sign."""
    theta, phi = angles(points)
    m = abs(order)
    ratio = (2 - (m == 0)) * factorial(degree - m) / factorial(degree + m)
    factor = {"4pi": 2 * degree + 1, "ortho": (2 * degree + 1) / (4 * pi), "schmidt": 1}[normalization]
    trigonometric = np.cos(m * phi) if order >= 0 else np.sin(m * phi)
    return sqrt(factor * ratio) * legendre(degree, m, np.cos(theta)) * trigonometric


def shtools_complex_harmonic(degree, order, points, normalization):
    """As the manual of SHTools writes it: ``Y_l,-m = (-1)^m conj(Y_lm)``, no Condon-Shortley sign at m > 0."""
    theta, phi = angles(points)
    m = abs(order)
    ratio = factorial(degree - m) / factorial(degree + m)
    factor = {"4pi": 2 * degree + 1, "ortho": (2 * degree + 1) / (4 * pi), "schmidt": 1}[normalization]
    positive = sqrt(factor * ratio) * legendre(degree, m, np.cos(theta)) * np.exp(1j * m * phi)
    return positive if order >= 0 else (-1) ** m * np.conj(positive)


def ambisonic_harmonic(degree, order, points, normalization):
    """As AmbiX defines it: azimuth from the front (x) to the left (y), elevation upwards (z)."""
    azimuth, elevation = np.arctan2(points[..., 1], points[..., 0]), np.arcsin(points[..., 2])
    m = abs(order)
    semi = sqrt((2 - (m == 0)) * factorial(degree - m) / factorial(degree + m))
    factor = semi * (sqrt(2 * degree + 1) if normalization == "n3d" else 1.0)
    trigonometric = np.cos(m * azimuth) if order >= 0 else np.sin(m * azimuth)
    return factor * legendre(degree, m, np.sin(elevation)) * trigonometric


def scipy_harmonic(degree, order, points):
    return sph_harm_y(degree, order, *angles(points))


def e3nn_harmonic(degree, order, points, normalization):
    return tp.SphericalHarmonics(degree, normalization=normalization)(points)[..., degree**2 + degree + order]


def sphericart_harmonic(degree, order, points):
    """Orthonormal, polar axis z, written as products of the coordinates; the peers' tests ask sphericart itself."""
    theta, _ = angles(points)
    m = abs(order)
    ratio = (2 - (m == 0)) * (2 * degree + 1) / (4 * pi) * factorial(degree - m) / factorial(degree + m)
    power = (points[..., 0] + 1j * points[..., 1]) ** m / np.sin(theta) ** m
    return sqrt(ratio) * legendre(degree, m, np.cos(theta)) * (power.real if order >= 0 else power.imag)


HARMONICS = {
    "e3nn": lambda degree, m, points: e3nn_harmonic(degree, m, points, "integral"),
    "e3nn-component": lambda degree, m, points: e3nn_harmonic(degree, m, points, "component"),
    "e3nn-norm": lambda degree, m, points: e3nn_harmonic(degree, m, points, "norm"),
    "sphericart": sphericart_harmonic,
    "scipy": scipy_harmonic,
    "shtools": lambda degree, m, points: shtools_harmonic(degree, m, points, "4pi"),
    "shtools-ortho": lambda degree, m, points: shtools_harmonic(degree, m, points, "ortho"),
    "shtools-schmidt": lambda degree, m, points: shtools_harmonic(degree, m, points, "schmidt"),
    "n3d": lambda degree, m, points: ambisonic_harmonic(degree, m, points, "n3d"),
    "sn3d": lambda degree, m, points: ambisonic_harmonic(degree, m, points, "sn3d"),
}


def values_at(name, points, lmax=6):
    """All harmonics of a convention at points, in its layout."""
    dtype = complex if name == "scipy" else float
    shtools = name.startswith("shtools")
    shape = (2, lmax + 1, lmax + 1) if shtools else ((lmax + 1) ** 2,)
    values = np.zeros((*points.shape[:-1], *shape), dtype=dtype)
    for degree in range(lmax + 1):
        for m in range(-degree, degree + 1):
            place = (int(m < 0), degree, abs(m)) if shtools else (degree**2 + degree + m,)
            values[(..., *place)] = HARMONICS[name](degree, m, points)
    return values


def random_sample(name, shape=(), lmax=6, seed=0, dtype="float64"):
    """Coefficients of a real function in a convention, made without the code under test."""
    rng = np.random.default_rng(seed)
    if name.startswith("shtools"):
        x = np.tril(rng.standard_normal((*shape, 2, lmax + 1, lmax + 1)))
        x[..., 1, :, 0] = 0
        return x.astype(dtype)
    x = rng.standard_normal((*shape, (lmax + 1) ** 2))
    if name != "scipy":
        return x.astype(dtype)
    x = x.astype(complex)
    for degree in range(lmax + 1):
        centre = degree**2 + degree
        for m in range(1, degree + 1):
            x[..., centre + m] += 1j * rng.standard_normal(shape)
            x[..., centre - m] = (-1) ** m * np.conj(x[..., centre + m])
    return x.astype("complex64" if dtype == "float32" else "complex128")
