"""6j and 9j symbols: exact rationals, orthogonality, and the contractions that define them."""

from __future__ import annotations

import itertools
from math import sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import tolerance
from tables.symbols import exact_6j, is_triad

import tpnumba as tp
from tpnumba.tables.recoupling import wigner_6j, wigner_9j

EPS = float(np.finfo(float).eps)


@st.composite
def tetrahedra(draw, highest):
    """Six degrees whose four triads are triangles."""
    a, b, d = (draw(st.integers(0, highest)) for _ in range(3))
    c = draw(st.integers(abs(a - b), min(a + b, highest)))
    e = draw(st.integers(abs(c - d), min(c + d, highest)))
    low, high = max(abs(a - e), abs(b - d)), min(a + e, b + d)
    return a, b, c, d, e, draw(st.integers(low, high)) if low <= high else 0


@given(tetrahedra(24))
def test_6j_symbols_are_rounded_once(degrees):
    assert wigner_6j(*degrees) == pytest.approx(exact_6j(*degrees), rel=4 * EPS, abs=0)


@settings(max_examples=10)
@given(tetrahedra(128))
def test_6j_symbols_are_rounded_once_up_to_degree_128(degrees):
    assert wigner_6j(*degrees) == pytest.approx(exact_6j(*degrees), rel=4 * EPS, abs=0)


@given(tetrahedra(24))
def test_symmetries_of_the_tetrahedron(degrees):
    a, b, c, d, e, f = degrees
    value = wigner_6j(*degrees)
    for i, j, k in itertools.permutations(range(3)):
        assert wigner_6j(*((a, b, c)[n] for n in (i, j, k)), *((d, e, f)[n] for n in (i, j, k))) == value
    assert wigner_6j(d, e, c, a, b, f) == value


@pytest.mark.parametrize(("a", "b", "c", "d"), [(3, 2, 4, 3), (12, 9, 10, 11), (64, 60, 50, 70), (128, 120, 125, 128)])
def test_orthogonality_of_6j_symbols(a, b, c, d):
    """``sum over x of (2 x + 1) (2 p + 1) 6j{a b x; c d p} 6j{a b x; c d q}`` is 1 for p = q, else 0."""
    p, q = max(abs(a - d), abs(b - c)), min(a + d, b + c)
    x = range(max(abs(a - b), abs(c - d)), min(a + b, c + d) + 1)
    numbers = sorted({p, p + 1, (p + q) // 2, q})
    table = np.array([[sqrt((2 * n + 1) * (2 * k + 1)) * wigner_6j(a, b, k, c, d, n) for k in x] for n in numbers])
    limit = tolerance("float64", 0, len(x))
    np.testing.assert_allclose(table @ table.T, np.eye(len(numbers)), rtol=0, atol=limit)


def test_6j_symbol_is_the_contraction_of_a_tetrahedron():
    """``sum C(l1, l2, l3) C(l1, a, b) C(c, l2, b) C(c, a, l3) = 6j{l1 l2 l3; c a b}``."""
    C = tp.clebsch_gordan
    for l1, l2, l3, c, a, b in [(1, 1, 1, 1, 1, 1), (2, 1, 2, 1, 2, 1), (2, 3, 4, 3, 2, 2), (1, 2, 3, 2, 4, 3)]:
        tables = C(l1, l2, l3), C(l1, a, b), C(c, l2, b), C(c, a, l3)
        found = np.einsum("ijk,iab,cjb,cak->", *tables, optimize=True)
        assert found == pytest.approx(wigner_6j(l1, l2, l3, c, a, b), abs=tolerance("float64", 4, 9))


def test_9j_symbol_is_the_contraction_of_its_rows_and_columns():
    C = tp.clebsch_gordan
    for rows in [
        ((1, 1, 1), (1, 1, 2), (1, 2, 2)),
        ((2, 1, 2), (2, 2, 3), (2, 3, 4)),
        ((1, 2, 3), (1, 1, 1), (2, 2, 2)),
    ]:
        (a, b, c), (d, e, f), (g, h, i) = rows
        tables = C(a, b, c), C(d, e, f), C(a, d, g), C(b, e, h), C(c, f, i)
        found = np.einsum("abc,def,adg,beh,cfi->ghi", *tables, optimize=True)
        expected = wigner_9j(*rows[0], *rows[1], *rows[2]) * C(g, h, i)
        np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance("float64", 4, 9))


@settings(max_examples=15)
@given(tetrahedra(24))
def test_9j_symbol_with_a_zero_is_a_6j_symbol(degrees):
    """``{a b c; d e c; g g 0} = (-1)^(b + c + d + g) 6j{a b c; e d g} / sqrt((2 c + 1)(2 g + 1))``."""
    a, b, c, e, d, g = degrees
    expected = (-1) ** (b + c + d + g) * wigner_6j(a, b, c, e, d, g) / sqrt((2 * c + 1) * (2 * g + 1))
    assert wigner_9j(a, b, c, d, e, c, g, g, 0) == pytest.approx(expected, rel=8 * EPS, abs=0)


@pytest.mark.parametrize("top", [2, 16, 128])
def test_9j_symbol_is_the_sum_over_6j_symbols(top):
    a, b, c, d, e, f, g, h, i = top, top - 1, top, top, top, top - 2, top - 1, top, top
    terms = [
        (2 * x + 1) * wigner_6j(a, b, c, f, i, x) * wigner_6j(d, e, f, b, x, h) * wigner_6j(g, h, i, x, a, d)
        for x in range(2 * top + 1)
    ]
    found = wigner_9j(a, b, c, d, e, f, g, h, i)
    assert found == pytest.approx(sum(terms), abs=4 * EPS * sum(abs(term) for term in terms))
    # exchanging rows gives the sign of the total, whatever the degree
    assert wigner_9j(d, e, f, a, b, c, g, h, i) == pytest.approx((-1) ** (9 * top - 4) * found, rel=4 * EPS, abs=0)
    assert wigner_9j(a, d, g, b, e, h, c, f, i) == pytest.approx(found, rel=4 * EPS, abs=0)


def test_9j_symbols_that_vanish_by_symmetry_are_exactly_zero():
    assert wigner_9j(2, 2, 3, 1, 1, 1, 2, 2, 3) == 0.0  # odd sum, first two columns equal
    assert wigner_9j(64, 64, 63, 64, 64, 63, 63, 63, 65) == 0.0  # odd sum, first two rows equal


@pytest.mark.parametrize(
    ("a", "triples"),
    [(3, [(3, 5, 5)]), (4, [(5, 6, 7)]), (5, [(4, 9, 9)]), (6, [(3, 5, 6)])],
)
def test_accidental_zeros_of_the_matrix_product(a, triples):
    degrees = itertools.combinations_with_replacement(range(2 * a + 1), 3)
    zeros = [t for t in degrees if is_triad(*t) and wigner_6j(*t, a, a, a) == 0.0]
    assert zeros == triples


def test_outside_the_triangles_symbols_are_zero():
    assert wigner_6j(1, 1, 3, 1, 1, 1) == wigner_6j(1, 1, 1, 1, 1, 3) == wigner_6j(1, 1, 1, 3, 1, 1) == 0.0
    assert wigner_9j(1, 1, 3, 1, 1, 1, 1, 1, 1) == wigner_9j(1, 1, 1, 1, 1, 1, 1, 3, 1) == 0.0
