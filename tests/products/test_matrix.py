"""The matrix product is the product of operators on one irrep."""

from __future__ import annotations

from itertools import permutations
from math import log, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import random_arguments, tolerance

import tpnumba as tp
from tpnumba.tables.couplings import matrix_coupling

METHODS = ["direct", "matrix"]


def operator(x, a):
    """The matrix of a feature, by dense coefficients."""
    blocks = [x[degree**2 : (degree + 1) ** 2] for degree in range(round(sqrt(x.size)))]
    return sum(np.einsum("m,ikm->ik", part, tp.clebsch_gordan(a, a, degree)) for degree, part in enumerate(blocks))


@given(
    l1=st.integers(0, 4),
    l2=st.integers(0, 4),
    extra=st.integers(0, 2),
    method=st.sampled_from(METHODS),
    seed=st.integers(0, 1000),
)
def test_product_of_matrices(l1, l2, extra, method, seed):
    a = -(-(l1 + l2) // 2) + extra
    p = tp.MatrixTensorProduct(l1, l2, degree=a, method=method)
    x, y = random_arguments(p, seed=seed)
    expected = operator(x, a) @ operator(y, a)
    # C(a, a, l)[., ., m] has the squared norm 1 / (2 l + 1), so an expansion by it is undone with that factor
    factors = np.concatenate([[2 * degree + 1.0] * (2 * degree + 1) for degree in range(l1 + l2 + 1)])
    size = np.linalg.norm(x) * np.linalg.norm(y)
    found = operator(p(x, y) * factors, a)
    np.testing.assert_allclose(found, expected, rtol=0, atol=size * tolerance("float64", 2 * a, 10))


@pytest.mark.parametrize("method", METHODS)
def test_associative_with_orthonormal_conversions_one_degree_and_nothing_cut_off(method):
    """With sqrt(2 l + 1) C in every conversion the coefficients are those of one algebra of matrices."""
    L, a = 2, 3
    x, y, z = np.random.default_rng(0).standard_normal((3, (L + 1) ** 2))

    def scale(lmax):
        return np.concatenate([[sqrt(2 * degree + 1)] * (2 * degree + 1) for degree in range(lmax + 1)])

    def product(u, v, out):
        l1, l2 = round(sqrt(u.size)) - 1, round(sqrt(v.size)) - 1
        p = tp.MatrixTensorProduct(l1, l2, out, degree=a, method=method)
        return p(u * scale(l1), v * scale(l2)) * scale(out)

    top = 2 * L
    left, right = product(product(x, y, top), z, 6), product(x, product(y, z, top), 6)
    limit = np.max(np.abs(left)) * tolerance("float64", 6, 100)
    np.testing.assert_allclose(left, right, rtol=0, atol=limit)
    cut = product(product(x, y, top - 1), z, 6) - product(x, product(y, z, top - 1), 6)
    assert np.max(np.abs(cut)) > 1e-3


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("degrees", [(1, 1), (2, 3), (3, 3, 2)])
def test_split_is_the_anticommutator_and_the_commutator(method, degrees):
    p = tp.MatrixTensorProduct(*degrees, split=True, method=method)
    plain = tp.MatrixTensorProduct(*degrees, degree=p.degree)
    mirrored = tp.MatrixTensorProduct(degrees[1], degrees[0], *degrees[2:], degree=p.degree)
    x, y = random_arguments(p, (3,), (3,))
    even, odd = np.split(p(x, y), 2, axis=-1)
    xy, yx = plain(x, y), mirrored(y, x)
    limit = tolerance("float64", 6, 100) * 10
    np.testing.assert_allclose(even, (xy + yx) / 2, rtol=0, atol=limit)
    np.testing.assert_allclose(odd, (xy - yx) / 2, rtol=0, atol=limit)
    assert tp.equivariance_error(p) < 1e-13


def test_without_split_it_knows_rotations_only():
    p = tp.MatrixTensorProduct(2, 2)
    assert p.irreps_out == tp.Irreps("0e + 1e + 2e + 3e + 4e")
    assert tp.equivariance_error(p) < 1e-13


@pytest.mark.parametrize("lmax", range(1, 15))
def test_accidental_zeros_with_a_equal_to_l(lmax):
    """Only the six permutations of (3, 5, 6), at L = 6."""
    p = tp.MatrixTensorProduct(lmax, lmax, lmax, degree=lmax)
    expected = {(3, 5, 6), (3, 6, 5), (5, 3, 6), (5, 6, 3), (6, 3, 5), (6, 5, 3)} if lmax == 6 else set()
    assert set(p.lost) == expected
    assert ("lost to a zero 6j symbol: (3, 5, 6)" in repr(p)) == bool(expected)


@pytest.mark.parametrize(("a", "triple"), [(3, (3, 5, 5)), (4, (5, 6, 7)), (5, (4, 9, 9)), (6, (3, 5, 6))])
def test_accidental_zeros_of_integer_degrees_are_exact(a, triple):
    for permuted in permutations(triple):
        assert matrix_coupling(*permuted, a) == 0.0
    assert matrix_coupling(*triple, a + 1) != 0.0


def test_default_degree_cuts_nothing_off():
    assert tp.MatrixTensorProduct(2, 3).degree == 3
    assert tp.MatrixTensorProduct(2, 2).degree == 2
    assert tp.MatrixTensorProduct(2, 2, 7).degree == 4
    for l1, l2 in ((1, 1), (2, 3), (4, 4)):
        p = tp.MatrixTensorProduct(l1, l2)
        irreps = tp.Irreps([(1, (degree, 1)) for degree in range(l1 + 1)])
        other = tp.Irreps([(1, (degree, 1)) for degree in range(l2 + 1)])
        assert tp.interactability(p) | set(p.lost) == tp.interactability(tp.FullTensorProduct(irreps, other))


@pytest.mark.parametrize(("method", "exponent"), [("matrix", 3), ("direct", 5)])
def test_growth_of_the_operation_count(method, exponent):
    flops = [tp.MatrixTensorProduct(L, L, L, method=method).cost().flops for L in (6, 12)]
    assert exponent - 1 < log(flops[1] / flops[0], 2) < exponent + 0.3


def test_sparse_and_dense_changes_of_basis_agree(xp, monkeypatch):
    from tpnumba.backends.generic import stages

    p = tp.MatrixTensorProduct(3, 2, method="matrix")
    arguments = [xp.asarray(x) for x in random_arguments(p, (4,), (4,))]
    cotangent = xp.asarray(np.random.default_rng(0).standard_normal((4, p.irreps_out.dim)))
    dense = [p(*arguments), *p.vjp(*arguments, cotangent)]
    monkeypatch.setattr(stages, "_DENSE", 0)
    sparse = [p(*arguments), *p.vjp(*arguments, cotangent)]
    for one, other in zip(dense, sparse, strict=True):
        np.testing.assert_allclose(xp.to_numpy(one), xp.to_numpy(other), rtol=0, atol=tolerance("float64", 5, 100) * 10)


@pytest.mark.parametrize(
    ("error", "make", "message"),
    [
        (ValueError, lambda: tp.MatrixTensorProduct("1o", 1), r"lmax1 must have the parity \+1, .* got 1o"),
        (ValueError, lambda: tp.MatrixTensorProduct("1e", 1, split=True), r"lmax1 must have the parity \(-1\)\^l"),
        (
            ValueError,
            lambda: tp.MatrixTensorProduct(3, 3, degree=1),
            "degree must be at least half .* got 1 with lmax1",
        ),
        (ValueError, lambda: tp.MatrixTensorProduct(2, 2, 5, degree=2), "got 2 with lmax_out = 5"),
        (TypeError, lambda: tp.MatrixTensorProduct(2, 2, degree=1.5), "degree must be a non-negative integer, got 1.5"),
        (TypeError, lambda: tp.MatrixTensorProduct(2, 2, split=1), "split must be True or False, got 1"),
        (ValueError, lambda: tp.MatrixTensorProduct(2, 2, method="grid"), "method must be one of auto, direct, matrix"),
    ],
)
def test_bad_arguments(error, make, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize("split", [False, True])
def test_gradients_by_matrices_are_those_of_the_direct_form(split):
    """On the reference, for degrees that differ, so that no two factors can be exchanged."""
    rng = np.random.default_rng(0)
    by_matrices, direct = (tp.MatrixTensorProduct(3, 2, split=split, method=method) for method in ("matrix", "direct"))
    x, y = (rng.standard_normal((4, irreps.dim)) for irreps in (direct.irreps_in1, direct.irreps_in2))
    g = rng.standard_normal((4, direct.irreps_out.dim))
    wanted = direct(x, y), *direct.vjp(x, y, g)
    for backend in ("generic", "cpu"):
        found = by_matrices(x, y, backend=backend), *by_matrices.vjp(x, y, g, backend=backend)
        for one, other in zip(found, wanted, strict=True):
            limit = tolerance("float64", 5, other.shape[-1]) * float(np.abs(other).max())
            np.testing.assert_allclose(one, other, rtol=0, atol=limit)
