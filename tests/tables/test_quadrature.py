"""Grids integrate what they say, and not one degree more."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import tolerance

import tpnumba as tp
from tpnumba.tables.quadrature import Grid, fast_length, gauss_legendre


def integrals(grid, degree):
    """The integrals of all harmonics up to ``degree`` by the grid."""
    values = tp.SphericalHarmonics(degree)(grid.points())
    return np.einsum("b,bam->m", grid.ring_weights, values)


@given(st.integers(1, 12), st.integers(1, 24))
def test_every_harmonic_up_to_exactness_is_integrated(n_beta, n_alpha):
    grid = Grid(n_beta, n_alpha)
    found = integrals(grid, grid.exactness)
    expected = np.zeros(found.size)
    expected[0] = np.sqrt(4 * np.pi)
    bound = tolerance("float64", grid.exactness, n_beta * n_alpha) * np.sqrt(2 * grid.exactness + 1)
    np.testing.assert_allclose(found, expected, rtol=0, atol=bound)


@given(st.integers(1, 12), st.integers(1, 24))
def test_some_harmonic_of_the_next_degree_is_not(n_beta, n_alpha):
    grid = Grid(n_beta, n_alpha)
    degree = grid.exactness + 1
    found = integrals(grid, degree)[degree**2 :]
    # The rule in cos(beta) misses P_2n, the one in alpha takes cos(n alpha) for 1: both miss by more than 0.1.
    assert np.max(np.abs(found)) > 0.1


@pytest.mark.parametrize("degree", range(30))
def test_the_exact_grid_is_the_smallest(degree):
    grid = Grid.exact(degree)
    assert grid.exactness >= degree
    assert 2 * (grid.n_beta - 1) - 1 < degree
    assert grid.n_alpha == fast_length(degree + 1)
    assert np.sum(grid.ring_weights) * grid.n_alpha == pytest.approx(4 * np.pi, rel=tolerance("float64", 0, degree + 1))


def test_points_are_unit_vectors_with_polar_axis_y():
    grid = Grid(5, 8)
    points = grid.points()
    assert points.shape == (5, 8, 3)
    np.testing.assert_allclose(np.linalg.norm(points, axis=-1), 1, rtol=tolerance("float64", 0, 3))
    np.testing.assert_array_equal(points[..., 1], np.broadcast_to(grid.cos_beta[:, None], (5, 8)))
    longitude = np.arctan2(points[..., 0], points[..., 2]) % (2 * np.pi)
    np.testing.assert_allclose(longitude, np.broadcast_to(grid.alpha, (5, 8)), rtol=0, atol=tolerance("float64", 0, 3))


def test_weights_are_those_of_every_point():
    grid = Grid(4, 7)
    assert grid.shape == grid.weights.shape == (4, 7)
    assert np.sum(grid.weights) == pytest.approx(4 * np.pi, rel=tolerance("float64", 0, 28))
    np.testing.assert_array_equal(grid.weights, np.repeat(grid.ring_weights[:, None], 7, axis=1))
    with pytest.raises(ValueError, match="read-only"):
        grid.weights[0, 0] = 0


def test_grids_are_values():
    grid = tp.Grid(np.int64(3), np.int32(5))
    assert grid == tp.Grid(3, 5) == tp.Grid(n_beta=3, n_alpha=5) != tp.Grid(5, 3)
    assert len({grid, tp.Grid(3, 5), tp.Grid(3, 6)}) == 2
    assert repr(grid) == "Grid(n_beta=3, n_alpha=5)"
    assert pickle.loads(pickle.dumps(grid)) == eval(repr(grid), {"Grid": tp.Grid}) == grid
    with pytest.raises(AttributeError, match="cannot assign"):
        grid.n_beta = 4


@pytest.mark.parametrize("n", [1, 2, 3, 7, 41, 129])
def test_gauss_legendre_integrates_polynomials(n):
    nodes, weights = gauss_legendre(n)
    assert np.all(weights > 0)
    np.testing.assert_array_equal(nodes, -nodes[::-1])
    np.testing.assert_array_equal(weights, weights[::-1])
    powers = np.arange(2 * n)
    moments = weights @ nodes[:, None] ** powers
    np.testing.assert_allclose(moments, (1 + (-1.0) ** powers) / (powers + 1), rtol=0, atol=tolerance("float64", 0, n))
    # orthonormal Legendre polynomials stay orthonormal: the error of each weight shows
    legendre = np.polynomial.legendre.legvander(nodes, n - 1) * np.sqrt(np.arange(n) + 0.5)
    gram = (legendre * weights[:, None]).T @ legendre
    np.testing.assert_allclose(gram, np.eye(n), rtol=0, atol=tolerance("float64", n, n))


@pytest.mark.parametrize("n", [1, 2, 3, 7])
def test_gauss_legendre_misses_degree_2n_by_what_the_theory_says(n):
    nodes, weights = gauss_legendre(n)
    monic = np.prod(nodes[:, None] - nodes[None, :], axis=1)  # zero at every node
    assert not np.any(monic)
    fine_nodes, fine_weights = gauss_legendre(n + 1)
    square = np.prod(fine_nodes[:, None] - nodes[None, :], axis=1) ** 2
    assert fine_weights @ square > 0  # the integral of a square, which the n nodes give as zero
    assert weights @ monic**2 == 0


def test_rules_cannot_be_changed():
    for array in gauss_legendre(4):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


@given(st.integers(0, 2000))
def test_fast_length_is_the_next_product_of_2_3_5(n):
    def rest(k):
        for prime in (2, 3, 5):
            while k % prime == 0:
                k //= prime
        return k

    length = fast_length(n)
    assert length >= max(n, 1)
    assert rest(length) == 1
    assert all(rest(k) > 1 for k in range(max(n, 1), length))


@pytest.mark.parametrize(
    ("error", "make", "message"),
    [
        (ValueError, lambda: Grid.exact(-1), "degree .* got -1"),
        (TypeError, lambda: Grid.exact(1.5), "degree .* got 1.5"),
        (ValueError, lambda: Grid(0, 3), "n_beta must be a positive integer, got 0"),
        (ValueError, lambda: Grid(3, 0), "n_alpha must be a positive integer, got 0"),
        (ValueError, lambda: Grid(-1, 3), "n_beta .* got -1"),
        (TypeError, lambda: Grid(2, 3.0), "n_alpha .* got 3.0"),
    ],
)
def test_bad_sizes_are_refused(error, make, message):
    with pytest.raises(error, match=message):
        make()
