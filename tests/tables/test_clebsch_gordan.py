"""Identities of the real Clebsch-Gordan coefficients, and exact rationals as an oracle."""

from __future__ import annotations

import itertools
from fractions import Fraction
from math import comb, factorial, prod, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from strategies import tolerance

import tpnumba as tp
from tpnumba import limits
from tpnumba.tables.clebsch_gordan import _exact_3j, _stable_3j, clebsch_gordan_sparse, relative_sign, wigner_3j

EPS = float(np.finfo(float).eps)


@st.composite
def triples(draw, highest):
    l1, l2 = draw(st.integers(0, highest)), draw(st.integers(0, highest))
    return l1, l2, draw(st.integers(abs(l1 - l2), min(l1 + l2, highest)))


def exact_3j(j1, j2, j3, m1, m2, m3):
    """Racah's formula in rationals; sharing nothing with the package."""
    if m1 + m2 + m3 or abs(m1) > j1 or abs(m2) > j2 or abs(m3) > j3:
        return 0.0
    f = factorial
    total = Fraction(0)
    for t in range(max(0, j2 - j3 - m1, j1 - j3 + m2), min(j1 + j2 - j3, j1 - m1, j2 + m2) + 1):
        below = f(t) * f(j3 - j2 + t + m1) * f(j3 - j1 + t - m2) * f(j1 + j2 - j3 - t) * f(j1 - t - m1) * f(j2 - t + m2)
        total += Fraction((-1) ** t, below)
    delta = Fraction(f(j1 + j2 - j3) * f(j1 - j2 + j3) * f(-j1 + j2 + j3), f(j1 + j2 + j3 + 1))
    orders = f(j1 + m1) * f(j1 - m1) * f(j2 + m2) * f(j2 - m2) * f(j3 + m3) * f(j3 - m3)
    sign = ((total > 0) - (total < 0)) * (-1) ** (j1 - j2 - m3)
    return sign * sqrt(delta * orders * total**2)


def real_basis(degree, m):
    """Column m of the change of basis from complex to real harmonics as ``{complex order: Q}``."""
    root = 1 / np.sqrt(2)
    if m == 0:
        column = {0: 1.0}
    elif m > 0:
        column = {-m: root, m: (-1) ** abs(m) * root}
    else:
        column = {m: -1j * root, -m: 1j * (-1) ** abs(m) * root}
    return {i: (-1j) ** degree * q for i, q in column.items()}


def exact_coefficient(degrees, orders):
    """One real coefficient from the complex ones."""
    l1, l2, l3 = degrees
    columns = [real_basis(degree, m).items() for degree, m in zip(degrees, orders, strict=True)]
    total = 0j
    for (i, q1), (k, q2), (n, q3) in itertools.product(*columns):
        coefficient = (-1) ** (l1 - l2 + n) * exact_3j(l1, l2, l3, i, k, -n)
        total += q1 * q2 * np.conj(q3) * coefficient
    return total


def every_triple(highest):
    for l1, l2 in itertools.product(range(highest + 1), repeat=2):
        for l3 in range(abs(l1 - l2), l1 + l2 + 1):
            yield l1, l2, l3


def test_every_coefficient_is_the_exact_one_at_low_degree():
    for degrees in every_triple(2):
        table = tp.clebsch_gordan(*degrees)
        for orders in itertools.product(*(range(-degree, degree + 1) for degree in degrees)):
            exact = exact_coefficient(degrees, orders)
            found = table[tuple(degree + m for degree, m in zip(degrees, orders, strict=True))]
            # a sum of at most eight terms below 1
            assert abs(found - exact) <= 8 * EPS, (degrees, orders)


@settings(max_examples=100)
@given(triples(24), st.data())
def test_coefficients_are_exact_up_to_degree_24(degrees, data):
    sparse = clebsch_gordan_sparse(*degrees)
    table = tp.clebsch_gordan(*degrees)
    picks = [data.draw(st.integers(0, sparse.values.size - 1)) for _ in range(5)]
    places = [tuple(int(i) for i in sparse.coords[:, k]) for k in picks]
    places += [tuple(data.draw(st.integers(0, 2 * degree)) for degree in degrees) for _ in range(5)]
    for place in places:
        orders = tuple(i - degree for i, degree in zip(place, degrees, strict=True))
        assert abs(table[place] - exact_coefficient(degrees, orders)) <= 8 * EPS, (degrees, orders)


@given(triples(24), st.data())
def test_3j_symbols_are_rounded_once(degrees, data):
    table = wigner_3j(*degrees)
    for _ in range(5):
        m1, m2 = (data.draw(st.integers(-degree, degree)) for degree in degrees[:2])
        exact = exact_3j(*degrees, m1, m2, -m1 - m2)
        assert table[degrees[0] + m1, degrees[1] + m2] == pytest.approx(exact, rel=4 * EPS, abs=0)


def test_the_two_invariants_of_vectors():
    epsilon = np.zeros((3, 3, 3))
    for a, b, c in itertools.permutations(range(3)):
        epsilon[a, b, c] = np.linalg.det(np.eye(3)[[a, b, c]])
    np.testing.assert_allclose(np.sqrt(6) * tp.clebsch_gordan(1, 1, 1), epsilon, rtol=0, atol=4 * EPS)
    np.testing.assert_allclose(np.sqrt(3) * tp.clebsch_gordan(1, 1, 0)[:, :, 0], np.eye(3), rtol=0, atol=4 * EPS)


@pytest.mark.parametrize("degree", [0, 1, 4, 24])
def test_scalars_couple_by_the_identity(degree):
    identity = np.eye(2 * degree + 1) / np.sqrt(2 * degree + 1)
    np.testing.assert_allclose(tp.clebsch_gordan(0, degree, degree)[0], identity, rtol=0, atol=4 * EPS)


@given(triples(24))
def test_frobenius_norm_is_one(degrees):
    table = tp.clebsch_gordan(*degrees)
    assert table.shape == tuple(2 * degree + 1 for degree in degrees)
    assert np.sum(table**2) == pytest.approx(1, abs=tolerance("float64", 0, table.size))


@pytest.mark.parametrize(("l1", "l2"), [(0, 0), (1, 1), (2, 1), (3, 5), (6, 6), (12, 9)])
def test_stacked_coefficients_are_an_orthogonal_matrix(l1, l2):
    columns = [
        np.sqrt(2 * l3 + 1) * tp.clebsch_gordan(l1, l2, l3).reshape(-1, 2 * l3 + 1)
        for l3 in range(abs(l1 - l2), l1 + l2 + 1)
    ]
    matrix = np.concatenate(columns, axis=1)
    n = (2 * l1 + 1) * (2 * l2 + 1)
    assert matrix.shape == (n, n)
    np.testing.assert_allclose(matrix.T @ matrix, np.eye(n), rtol=0, atol=tolerance("float64", l1 + l2, n))


@given(triples(10), st.permutations(range(3)))
def test_legs_permute_with_a_sign(degrees, order):
    odd = np.linalg.det(np.eye(3)[order]) < 0
    sign = (-1) ** sum(degrees) if odd else 1
    permuted = tp.clebsch_gordan(*(degrees[i] for i in order))
    expected = sign * np.transpose(tp.clebsch_gordan(*degrees), order)
    np.testing.assert_allclose(permuted, expected, rtol=0, atol=8 * EPS)


def generators(degree):
    """Generators of rotations in the real basis, from the ladder operators: antisymmetric, shape (3, n, n)."""
    m = np.arange(-degree, degree + 1)
    raising = np.diag(np.sqrt(degree * (degree + 1) - m[:-1] * (m[:-1] + 1)), -1)
    hermitian = [(raising + raising.T) / 2, (raising - raising.T) / 2j, np.diag(m)]
    basis = np.zeros((m.size, m.size), dtype=complex)
    for column in m:
        for row, q in real_basis(degree, column).items():
            basis[degree + row, degree + column] = q
    return np.stack([basis.conj().T @ (-1j * matrix) @ basis for matrix in hermitian])


@given(triples(10))
def test_generators_annihilate_the_coefficients(degrees):
    table = tp.clebsch_gordan(*degrees)
    legs = [generators(degree) for degree in degrees]
    for generator in legs:
        assert np.max(np.abs(generator.imag)) <= tolerance("float64", max(degrees), 10)
    total = (
        np.einsum("gax,xbc->gabc", legs[0], table)
        + np.einsum("gbx,axc->gabc", legs[1], table)
        + np.einsum("gcx,abx->gabc", legs[2], table)
    )
    # a generator's entries are as large as the degree
    assert np.max(np.abs(total)) <= max(1, sum(degrees)) * tolerance("float64", max(degrees), 10)


@given(triples(8), st.integers(0, 2**32 - 1))
def test_coefficients_are_invariant_under_rotations(degrees, seed):
    rotation = Rotation.random(rng=np.random.default_rng(seed))
    table = tp.clebsch_gordan(*degrees)
    turned = np.einsum(
        "ax,by,cz,xyz->abc", *(tp.wigner_d(degree, rotation) for degree in degrees), table, optimize=True
    )
    np.testing.assert_allclose(turned, table, rtol=0, atol=tolerance("float64", sum(degrees), table.size))


@pytest.mark.parametrize(("highest", "even", "odd"), [(2, 162, 82), (4, 2229, 1512), (6, 12322, 9440)])
def test_number_of_non_zeros(highest, even, odd):
    counts = [0, 0]
    for degrees in every_triple(highest):
        counts[sum(degrees) % 2] += clebsch_gordan_sparse(*degrees).values.size
    assert counts == [even, odd]


@given(triples(12))
def test_sparse_table_is_the_dense_one(degrees):
    sparse = clebsch_gordan_sparse(*degrees)
    dense = tp.clebsch_gordan(*degrees)
    assert sparse.shape == dense.shape
    np.testing.assert_array_equal(sparse.coords, np.nonzero(dense))  # in row-major order, each place once
    np.testing.assert_array_equal(sparse.values, dense[tuple(sparse.coords)])


def test_cached_tables_cannot_be_changed():
    table = tp.clebsch_gordan(1, 2, 3)
    table[...] = 0.0  # a copy
    assert np.any(tp.clebsch_gordan(1, 2, 3))
    for cached in (*clebsch_gordan_sparse(1, 2, 3)[1:], wigner_3j(1, 2, 3)):
        with pytest.raises(ValueError, match="read-only"):
            cached[...] = 0


@given(triples(4), st.sampled_from(["float32", "float64"]), st.sampled_from([1.0, -1.0]))
def test_signs_of_stored_coefficients(degrees, dtype, sign):
    stored = (sign * tp.clebsch_gordan(*degrees)).astype(dtype)
    assert relative_sign(stored, *degrees) == sign
    l1, l2, l3 = degrees
    for other in (2 * stored, stored[..., None], stored + 1e-3):
        with pytest.raises(ValueError, match=f"the coefficients of old are not those of the degrees {l1}, {l2}, {l3}"):
            relative_sign(other, *degrees, name="of old")


@pytest.mark.parametrize("function", [tp.clebsch_gordan, tp.gaunt])
@pytest.mark.parametrize(
    ("error", "degrees", "message"),
    [
        (ValueError, (1, 1, 3), r"\(1, 1, 3\) lies outside the triangle .* l3 from 0 to 2"),
        (ValueError, (3, 1, 1), r"\(3, 1, 1\) lies outside the triangle .* l3 from 2 to 4"),
        (ValueError, (1, -1, 0), "l2 must be a non-negative integer, got -1"),
        (TypeError, (1.0, 1, 0), "l1 must be a non-negative integer, got 1.0 of type float"),
        (TypeError, (0, True, 0), "l2 must be a non-negative integer, got True of type bool"),
        (TypeError, (0, 0, "0"), "l3 must be a non-negative integer, got '0' of type str"),
        (TypeError, (0, 0, None), "l3 must be a non-negative integer, got None"),
    ],
)
def test_bad_degrees_are_refused(function, error, degrees, message):
    with pytest.raises(error, match=message):
        function(*degrees)


@pytest.mark.parametrize("function", [tp.clebsch_gordan, tp.gaunt])
def test_a_table_that_does_not_fit_is_refused_with_its_size(function, monkeypatch):
    monkeypatch.setattr(limits, "available_bytes", lambda: 2**20)
    with pytest.raises(MemoryError, match=r"clebsch_gordan\(128, 128, 128\) would take 129.5 MiB.* 1.0 MiB"):
        function(128, 128, 128)


def test_integers_of_numpy_are_degrees():
    np.testing.assert_array_equal(tp.clebsch_gordan(*np.array([1, 2, 3])), tp.clebsch_gordan(1, 2, 3))


def exact_by_binomials(l1, l2, l3, m1, m2):
    """Racah's formula with binomials, quick enough for high degrees; rounded once."""
    a, b, d, m3 = l1 + l2 - l3, l1 - l2 + l3, -l1 + l2 + l3, -m1 - m2
    if abs(m3) > l3:
        return 0.0
    total = 0
    for k in range(max(0, l1 - m1 - b, l2 + m2 - d), min(a, l1 - m1, l2 + m2) + 1):
        total += (-1) ** k * comb(a, k) * comb(b, l1 - m1 - k) * comb(d, l2 + m2 - k)
    orders = [factorial(degree + sign * m) for degree, m in ((l1, m1), (l2, m2), (l3, m3)) for sign in (1, -1)]
    triangle = factorial(a) * factorial(b) * factorial(d) * factorial(l1 + l2 + l3 + 1)
    magnitude = sqrt(Fraction(total**2 * prod(orders), triangle))
    return (-1) ** (l1 - l2 - m3) * (-magnitude if total < 0 else magnitude)


high_triples = [
    *((degree,) * 3 for degree in (25, 64, 127, 128)),
    *itertools.permutations((20, 60, 70)),
    *itertools.permutations((1, 127, 128)),
    *itertools.permutations((64, 64, 128)),
    *[(0, 128, 128), (2, 128, 127), (128, 100, 30), (128, 128, 3)],
]


@pytest.mark.parametrize("degrees", high_triples, ids=str)
def test_3j_symbols_of_high_degree_are_exact(degrees):
    """From null vectors; the eigenvalue is at least as far from the others as its degree, so nothing is lost."""
    table = wigner_3j(*degrees)
    rng = np.random.default_rng(sum(degrees))
    orders = rng.integers(-np.array(degrees[:2]), np.array(degrees[:2]) + 1, (60, 2)).tolist()
    # and the borders, where the symbols are small, and the middle, where odd sums vanish
    orders += [[degrees[0], -degrees[1]], [degrees[0], 0], [0, degrees[1]], [0, 0], [-degrees[0], degrees[1]]]
    for m1, m2 in orders:
        found = table[degrees[0] + m1, degrees[1] + m2]
        assert abs(found - exact_by_binomials(*degrees, m1, m2)) <= 8 * EPS, (m1, m2)


@settings(max_examples=20)
@given(triples(128), st.integers(0, 2**32 - 1))
def test_3j_symbols_are_exact_up_to_degree_128(degrees, seed):
    table = wigner_3j(*degrees)
    rng = np.random.default_rng(seed)
    for m1, m2 in rng.integers(-np.array(degrees[:2]), np.array(degrees[:2]) + 1, (10, 2)).tolist():
        found = table[degrees[0] + m1, degrees[1] + m2]
        assert abs(found - exact_by_binomials(*degrees, m1, m2)) <= 8 * EPS, (m1, m2)


@given(triples(24))
def test_the_two_ways_to_3j_symbols_agree(degrees):
    np.testing.assert_allclose(_stable_3j(*degrees), _exact_3j(*degrees), rtol=0, atol=4 * EPS)


@pytest.mark.parametrize("l1", [64, 128])
def test_orthogonality_at_high_degree(l1):
    """``sum over m1, m2 of (2 l3 + 1) 3j 3j'`` is 1 for equal degrees and 0 for others, at each m3."""
    degrees = (l1, l1 - 3)
    numbers = (3, 10, l1, l1 + 1, 2 * l1 - 3)
    tables = {l3: wigner_3j(*degrees, l3) for l3 in numbers}
    m3 = np.add.outer(np.arange(-degrees[0], degrees[0] + 1), np.arange(-degrees[1], degrees[1] + 1))
    for one, other in itertools.combinations_with_replacement(numbers, 2):
        sums = np.bincount(m3.ravel() + sum(degrees), (tables[one] * tables[other]).ravel(), 2 * sum(degrees) + 1)
        expected = np.where(np.abs(np.arange(-sum(degrees), sum(degrees) + 1)) <= one, one == other, 0)
        limit = tolerance("float64", 0, 2 * l1 + 1)
        np.testing.assert_allclose(sums * (2 * one + 1), expected, rtol=0, atol=limit)


@pytest.mark.parametrize("degrees", [(256, 256, 256), (512, 512, 512), (511, 512, 6), (300, 212, 512)], ids=str)
def test_symbols_of_very_high_degree_are_finite_and_normalised(degrees):
    table = wigner_3j(*degrees)
    assert np.all(np.isfinite(table))
    assert np.sum(table**2) == pytest.approx(1, abs=tolerance("float64", 0, table.shape[0]))
    if sum(degrees) % 2 == 0:
        np.testing.assert_array_equal(table[::-1, ::-1], table)


@pytest.mark.parametrize("degrees", [(64, 64, 64), (128, 128, 128), (128, 127, 6)], ids=str)
def test_sparse_tables_of_high_degree(degrees):
    sparse = clebsch_gordan_sparse(*degrees)
    assert np.sum(sparse.values**2) == pytest.approx(1, abs=tolerance("float64", 0, sparse.shape[0]))
    assert not sparse.values.flags.writeable
    # Only what symmetry allows: orders that add up, and an even sum of degrees and negative orders.
    m = sparse.coords - np.array(degrees)[:, None]
    mu = np.sort(np.abs(m), axis=0)
    assert np.all(mu[2] == mu[0] + mu[1])
    assert np.all((sum(degrees) + np.sum(m < 0, axis=0)) % 2 == 0)
