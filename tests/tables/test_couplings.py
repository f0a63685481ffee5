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
from tpnumba.tables.clebsch_gordan import wigner_3j
from tpnumba.tables.couplings import (
    NORMALIZATIONS,
    bracket_coupling,
    cross_coupling,
    dot_coupling,
    gaunt_coupling,
    harmonic_scale,
    matrix_coupling,
)
from tpnumba.tables.quadrature import Grid

EPS = float(np.finfo(float).eps)

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


triples_to_128 = st.tuples(st.integers(1, 128), st.integers(1, 128), st.integers(1, 128)).filter(
    lambda t: abs(t[0] - t[1]) <= t[2] <= t[0] + t[1]
)


@given(triples_to_128, st.permutations(range(3)))
def test_bracket_coupling_is_a_3j_symbol_and_never_vanishes(degrees, order):
    l1, l2, l3 = degrees
    found = bracket_coupling(*degrees)
    assert found == bracket_coupling(*(degrees[i] for i in order))
    if sum(degrees) % 2 == 0:
        assert found == 0
        return
    assert found > 0
    factor = sqrt((2 * l1 + 1) * (2 * l2 + 1) * (2 * l3 + 1) / (4 * pi)) * sqrt(l1 * (l1 + 1) * l2 * (l2 + 1))
    sign = (-1) ** ((sum(degrees) + 1) // 2)
    symbol = wigner_3j(*degrees)[l1 + 1, l2 - 1]
    assert found == pytest.approx(sign * factor * symbol, abs=factor * 8 * EPS)


@given(triples_to_128)
def test_gaunt_coupling_is_a_3j_symbol_up_to_degree_128(degrees):
    l1, l2, l3 = degrees
    factor = sqrt((2 * l1 + 1) * (2 * l2 + 1) * (2 * l3 + 1) / (4 * pi))
    expected = factor * abs(wigner_3j(*degrees)[l1, l2])
    assert gaunt_coupling(*degrees) == pytest.approx(expected, abs=factor * 8 * EPS)


@pytest.mark.parametrize("coupling", [gaunt_coupling, bracket_coupling])
def test_couplings_of_very_high_degree_are_finite(coupling):
    for degrees in [(512, 512, 512), (512, 512, 1023), (512, 511, 2), (512, 512, 1), (256, 512, 400), (256, 512, 401)]:
        value = coupling(*degrees)
        assert np.isfinite(value)
        assert (value > 0) == (sum(degrees) % 2 == (coupling is bracket_coupling))


def test_bracket_of_harmonics_on_the_sphere():
    """``r . (grad Y1 x grad Y2)``, expanded on a grid that is exact for it."""
    highest = 4
    grid = Grid.exact(3 * highest)
    points, weights = grid.points().reshape(-1, 3), np.repeat(grid.ring_weights, grid.n_alpha)
    harmonics = tp.SphericalHarmonics(highest)
    values, cotangents = harmonics(points), np.eye(harmonics.irreps.dim)
    gradients = [harmonics.vjp(points, np.broadcast_to(row, values.shape)) for row in cotangents]
    for l1, l2, l3 in [(1, 1, 1), (2, 2, 1), (2, 2, 3), (3, 2, 2), (4, 3, 4), (2, 2, 2)]:
        found = np.zeros((2 * l1 + 1, 2 * l2 + 1, 2 * l3 + 1))
        for i, j in itertools.product(range(2 * l1 + 1), range(2 * l2 + 1)):
            bracket = np.sum(points * np.cross(gradients[l1**2 + i], gradients[l2**2 + j]), axis=-1)
            found[i, j] = (weights * bracket) @ values[:, l3**2 : (l3 + 1) ** 2]
        expected = bracket_coupling(l1, l2, l3) * tp.clebsch_gordan(l1, l2, l3)
        limit = highest**2 * tolerance("float64", highest, len(points))
        np.testing.assert_allclose(found, expected, rtol=0, atol=limit)


@pytest.mark.parametrize("degrees", [(1, 2, 2), (2, 2, 4), (3, 3, 3), (6, 4, 2), (3, 5, 5), (5, 6, 7)])
@pytest.mark.parametrize("a", [3, 4])
def test_matrix_coupling_is_the_product_of_operators(degrees, a):
    tables = [tp.clebsch_gordan(a, a, degree) if degree <= 2 * a else None for degree in degrees]
    found = matrix_coupling(*degrees, a)
    if any(table is None for table in tables):
        assert found == 0
        return
    product = np.einsum("ijx,jky,ikz->xyz", *tables, optimize=True)
    expected = found * tp.clebsch_gordan(*degrees)
    np.testing.assert_allclose(product, expected, rtol=0, atol=tolerance("float64", a, 4 * a * a))


def vector_harmonics(values, j, degree):
    """``Y_jlm = sqrt(2 j + 1) sum C(l, 1, j)[a, b, m] Y_la e_b`` at points, shape (points, m, 3)."""
    table = sqrt(2 * j + 1) * tp.clebsch_gordan(degree, 1, j)
    return np.einsum("abm,na->nmb", table, values[:, degree**2 : (degree + 1) ** 2])


def vector_degrees(highest):
    """All ``(j, l)`` with l up to ``highest``."""
    return [(j, degree) for degree in range(highest + 1) for j in range(abs(degree - 1), degree + 2)]


def test_couplings_of_vector_harmonics_are_integrals():
    highest = 3
    grid = Grid.exact(3 * highest)
    weights = np.repeat(grid.ring_weights, grid.n_alpha)
    values = tp.SphericalHarmonics(highest)(grid.points().reshape(-1, 3))
    fields = {(j, degree): vector_harmonics(values, j, degree) for j, degree in vector_degrees(highest)}
    epsilon = sqrt(6) * tp.clebsch_gordan(1, 1, 1)
    rng = np.random.default_rng(5)
    keys = list(fields)
    limit = tolerance("float64", highest, len(weights)) * (2 * highest + 3) ** 1.5
    for number in rng.permutation(len(keys) ** 2)[:60]:
        (j1, l1), (j2, l2) = keys[number // len(keys)], keys[number % len(keys)]
        one, other = fields[j1, l1], fields[j2, l2]
        crossed = np.einsum("nax,nby,xyz,n->nabz", one, other, epsilon, weights, optimize=True)
        dotted = np.einsum("nax,nbx,n->nab", one, other, weights, optimize=True)
        for (j3, l3), third in fields.items():
            inside = abs(j1 - j2) <= j3 <= j1 + j2
            table = tp.clebsch_gordan(j1, j2, j3) if inside else 0.0
            found = np.einsum("nabz,ncz->abc", crossed, third, optimize=True)
            expected = cross_coupling(l1, j1, l2, j2, l3, j3) * table + np.zeros_like(found)
            np.testing.assert_allclose(found, expected, rtol=0, atol=limit)
        for j3 in range(highest + 1):
            table = tp.clebsch_gordan(j1, j2, j3) if abs(j1 - j2) <= j3 <= j1 + j2 else 0.0
            found = np.einsum("nab,nc->abc", dotted, values[:, j3**2 : (j3 + 1) ** 2])
            expected = dot_coupling(l1, j1, l2, j2, j3) * table + np.zeros_like(found)
            np.testing.assert_allclose(found, expected, rtol=0, atol=limit)


def test_cross_couplings_vanish_by_symmetry_alone():
    """An odd sum with two equal rows or columns of the 9j symbol; every other allowed coupling is far from zero."""
    columns = vector_degrees(4)
    for one, two, three in itertools.product(columns, repeat=3):
        (j1, l1), (j2, l2), (j3, l3) = one, two, three
        value = cross_coupling(l1, j1, l2, j2, l3, j3)
        if gaunt_coupling(l1, l2, l3) == 0 or not abs(j1 - j2) <= j3 <= j1 + j2:
            assert value == 0
            continue
        rows = ((l1, l2, l3), (1, 1, 1), (j1, j2, j3))
        odd = sum(map(sum, rows)) % 2 == 1
        if odd and (len({one, two, three}) < 3 or len(set(rows)) < 3):
            assert value == 0
        else:
            assert abs(value) > 1e-3
