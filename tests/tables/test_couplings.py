"""Gaunt coefficients are integrals of three harmonics; k is their one number."""

from __future__ import annotations

import itertools
from fractions import Fraction
from math import factorial, pi, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import tolerance

import tpnumba as tp
from tpnumba.tables.couplings import NORMALIZATIONS, gaunt_coupling, harmonic_scale
from tpnumba.tables.quadrature import Grid

degrees_to_24 = st.tuples(st.integers(0, 24), st.integers(0, 24), st.integers(0, 24)).filter(
    lambda t: abs(t[0] - t[1]) <= t[2] <= t[0] + t[1]
)


def integral(l1, l2, l3):
    """The integral of three harmonics, on a grid that is exact for their product."""
    grid = Grid.exact(l1 + l2 + l3)
    values = tp.SphericalHarmonics(max(l1, l2, l3))(grid.points().reshape(-1, 3))
    weights = np.repeat(grid.ring_weights, grid.n_alpha)
    y1, y2, y3 = (values[:, degree**2 : (degree + 1) ** 2] for degree in (l1, l2, l3))
    pairs = (weights[:, None, None] * y1[:, :, None] * y2[:, None, :]).reshape(weights.size, -1)
    return (pairs.T @ y3).reshape(2 * l1 + 1, 2 * l2 + 1, 2 * l3 + 1)


@given(degrees_to_24)
def test_gaunt_is_the_integral(degrees):
    found = tp.gaunt(*degrees)
    points = (sum(degrees) + 1) ** 2
    # harmonics are as large as sqrt(2 l + 1)
    bound = tolerance("float64", max(degrees), points) * sqrt(2 * max(degrees) + 1)
    np.testing.assert_allclose(found, integral(*degrees), rtol=0, atol=bound)
    if sum(degrees) % 2:
        assert not np.any(found)
    else:
        assert np.any(found)


@given(degrees_to_24)
def test_coupling_is_the_3j_symbol_of_zeros(degrees):
    l1, l2, l3 = degrees
    total = Fraction(0)
    for t in range(max(0, l2 - l3, l1 - l3), min(l1 + l2 - l3, l1, l2) + 1):
        factors = (t, l3 - l2 + t, l3 - l1 + t, l1 + l2 - l3 - t, l1 - t, l2 - t)
        total += Fraction((-1) ** t, int(np.prod([factorial(n) for n in factors], dtype=object)))
    triangle = Fraction(factorial(l1 + l2 - l3) * factorial(l1 - l2 + l3) * factorial(l2 + l3 - l1))
    square = triangle / factorial(sum(degrees) + 1) * (factorial(l1) * factorial(l2) * factorial(l3) * total) ** 2
    expected = sqrt((2 * l1 + 1) * (2 * l2 + 1) * (2 * l3 + 1) * square / (4 * pi))
    assert gaunt_coupling(*degrees) == pytest.approx(expected, rel=tolerance("float64", 0, 1), abs=0)


@given(degrees_to_24, st.permutations(range(3)))
def test_coupling_is_symmetric_and_never_negative(degrees, order):
    k = gaunt_coupling(*degrees)
    assert k == gaunt_coupling(*(degrees[i] for i in order))
    assert k > 0 if sum(degrees) % 2 == 0 else k == 0


def test_coupling_outside_the_triangle_is_zero():
    for degrees in itertools.permutations((1, 1, 4)):
        assert gaunt_coupling(*degrees) == 0


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("degree", [0, 1, 5])
def test_harmonic_scale_gives_the_stated_length(normalization, degree):
    squared = {"integral": (2 * degree + 1) / (4 * pi), "component": 2 * degree + 1, "norm": 1.0}[normalization]
    orthonormal = tp.SphericalHarmonics(degree)(np.array([0.3, -0.5, 0.9]))[degree**2 :]
    found = np.sum((orthonormal * harmonic_scale(normalization, degree)) ** 2)
    assert found == pytest.approx(squared, rel=tolerance("float64", degree, 2 * degree + 1))
