"""The bracket is the Poisson bracket of functions on the sphere, and completes the Gaunt product."""

from __future__ import annotations

from math import log, pi, sqrt

import numpy as np
import pytest
from harmonics_of_libraries import directions
from strategies import random_arguments, tolerance

import tpnumba as tp
from tpnumba.tables.couplings import bracket_coupling, gaunt_coupling

METHODS = ["direct", "grid"]
NORMALIZATIONS = ["integral", "component", "norm"]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("degrees", [(1, 1), (3, 2), (4, 4), (1, 6)])
def test_bracket_of_functions_point_by_point(method, normalization, degrees):
    """r . (grad F x grad G), with the gradients of the harmonics of points: another way to the same numbers."""
    p = tp.BracketTensorProduct(*degrees, method=method, normalization=normalization)
    assert p.method == method
    x, y = random_arguments(p, (4,), (4,))
    points = directions(15)
    gradients = []
    for coefficients, degree in ((x, degrees[0]), (y, degrees[1])):
        harmonics = tp.SphericalHarmonics(degree, normalization=normalization)
        shape = (4, 15, 3)
        gradients.append(harmonics.vjp(np.broadcast_to(points, shape).copy(), np.repeat(coefficients[:, None], 15, 1)))
    expected = np.sum(points * np.cross(*gradients), axis=-1)
    values = tp.SphericalHarmonics(sum(degrees) - 1, normalization=normalization)(points)
    size = np.max(np.linalg.norm(gradients[0], axis=-1)) * np.max(np.linalg.norm(gradients[1], axis=-1))
    limit = size * tolerance("float64", sum(degrees) ** 2, 10)
    np.testing.assert_allclose(p(x, y) @ values.T, expected, rtol=0, atol=limit)


def test_coordinates_rotate_into_each_other():
    p = tp.BracketTensorProduct(1, 1, normalization="norm")
    x, y, z = np.eye(4)[1:]
    for first, second, third in ((x, y, z), (y, z, x), (z, x, y)):
        np.testing.assert_allclose(p(first, second), third, rtol=0, atol=tolerance("float64", 1, 3))
        np.testing.assert_allclose(p(second, first), -third, rtol=0, atol=tolerance("float64", 1, 3))


@pytest.mark.parametrize("method", METHODS)
def test_jacobi_identity(method):
    """With intermediates up to degree 2 L - 1; cut one lower, it fails."""
    L = 3
    x, y, z = np.random.default_rng(1).standard_normal((3, (L + 1) ** 2))

    def cyclic(lmax):
        inner = tp.BracketTensorProduct(L, L, lmax, method=method)
        outer = tp.BracketTensorProduct(L, lmax, L, method=method)
        # The intermediate has the other parity, which is not what Jacobi's identity is about.
        return sum(outer(a, inner(b, c)) for a, b, c in ((x, y, z), (y, z, x), (z, x, y)))

    size = max(np.abs(tp.BracketTensorProduct(L, 2 * L - 1, L)(x, tp.BracketTensorProduct(L, L)(y, z))))
    assert np.max(np.abs(cyclic(2 * L - 1))) < size * tolerance("float64", 3 * L, 100)
    assert np.max(np.abs(cyclic(2 * L - 2))) > 0.01 * size


@pytest.mark.parametrize("method", METHODS)
def test_leibniz_rule(method):
    """{x, F G} = {x, F} G + F {x, G}."""
    L = 3
    x, f, g = np.random.default_rng(2).standard_normal((3, (L + 1) ** 2))
    top = 3 * L - 1
    left = tp.BracketTensorProduct(L, 2 * L, top, method=method)(x, tp.GauntTensorProduct(L, L)(f, g))
    bracket, product = tp.BracketTensorProduct(L, L, method=method), tp.GauntTensorProduct(2 * L - 1, L, top)
    right = product(bracket(x, f), g) + product(bracket(x, g), f)
    np.testing.assert_allclose(left, right, rtol=0, atol=np.max(np.abs(left)) * tolerance("float64", top, 100))


@pytest.mark.parametrize("product", [tp.GauntTensorProduct, tp.BracketTensorProduct])
def test_gradients_are_products_of_the_same_kind(product):
    p = product(3, 4, 5)
    x, y = random_arguments(p, (4,), (4,))
    g = np.random.default_rng(3).standard_normal((4, 36))
    g1, g2 = p.vjp(x, y, g)
    limit = tolerance("float64", 5, 36 * 25) * 10
    np.testing.assert_allclose(g1, product(4, 5, 3)(y, g), rtol=0, atol=limit)
    np.testing.assert_allclose(g2, product(5, 3, 4)(g, x), rtol=0, atol=limit)


def test_antisymmetric_and_zero_at_degree_zero():
    for method in METHODS:
        p = tp.BracketTensorProduct(3, 3, method=method)
        x, y = random_arguments(p, (4,), (4,))
        size = np.max(np.abs(p(x, y)))
        limit = size * tolerance("float64", 5, 100)
        np.testing.assert_allclose(p(x, y), -p(y, x), rtol=0, atol=limit)
        np.testing.assert_allclose(p(x, x), 0, rtol=0, atol=limit)
        np.testing.assert_allclose(p(x, y)[:, 0], 0, rtol=0, atol=limit)
    assert tp.BracketTensorProduct(0, 3)(np.ones(1), np.ones(16)).tolist() == [0.0] * 9


def test_every_odd_path_has_a_number():
    p = tp.BracketTensorProduct(4, 4)
    assert p.irreps_out == tp.Irreps([(1, (degree, -((-1) ** degree))) for degree in range(8)])
    odd = {
        (a, b, c) for a in range(5) for b in range(5) for c in range(9) if abs(a - b) <= c <= a + b and (a + b + c) % 2
    }
    assert tp.interactability(p) == odd
    assert all(path.scale > 0 for path in p.paths)


def test_couplings_of_low_degree():
    """{x, y} = z for coordinates, which are sqrt(4 pi / 3) Y_1, and eps = sqrt6 C(1, 1, 1)."""
    assert bracket_coupling(1, 1, 1) == pytest.approx(sqrt(6) * sqrt(3 / (4 * pi)), rel=tolerance("float64", 1, 1))
    assert gaunt_coupling(0, 0, 0) == pytest.approx(1 / sqrt(4 * pi), rel=tolerance("float64", 0, 1))


@pytest.mark.parametrize(("method", "exponent"), [("grid", 3), ("direct", 5)])
def test_growth_of_the_operation_count(method, exponent):
    flops = [tp.BracketTensorProduct(L, L, L, method=method).cost().flops for L in (8, 16)]
    assert exponent - 1 < log(flops[1] / flops[0], 2) < exponent + 0.2


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("degrees", [(0, 0), (2, 3), (3, 3, 2), (2, 2, 6)])
def test_both_halves_side_by_side(normalization, degrees):
    for method in METHODS:
        both = tp.GauntBracketTensorProduct(*degrees, method=method, normalization=normalization)
        x, y = random_arguments(both, (4,), (4,))
        top = both.irreps_out.lmax
        gaunt = tp.GauntTensorProduct(*degrees[:2], top, normalization=normalization)
        bracket = tp.BracketTensorProduct(*degrees[:2], top, normalization=normalization)
        assert both.irreps_out == gaunt.irreps_out + bracket.irreps_out
        expected = np.concatenate([gaunt(x, y), bracket(x, y)], axis=-1)
        size = np.max(np.linalg.norm(x, axis=-1)) * np.max(np.linalg.norm(y, axis=-1)) * 4 * pi * (top + 1) ** 2
        np.testing.assert_allclose(both(x, y), expected, rtol=0, atol=size * tolerance("float64", top, 10))


def test_both_halves_are_complete():
    p = tp.GauntBracketTensorProduct(3, 3)
    irreps = tp.Irreps.spherical_harmonics(3)
    assert tp.interactability(p) == tp.interactability(tp.FullTensorProduct(irreps, irreps))
    assert "3+3+2 transforms" in repr(tp.GauntBracketTensorProduct(3, 3, method="grid").plan)


@pytest.mark.parametrize("cls", [tp.BracketTensorProduct, tp.GauntBracketTensorProduct])
def test_bad_arguments(cls):
    with pytest.raises(ValueError, match="method must be one of auto, direct, grid, got 'fourier'"):
        cls(1, 1, method="fourier")
    with pytest.raises(ValueError, match=r"lmax1 must have the parity \(-1\)\^l of functions on the sphere, got 1e"):
        cls("1e", 1)
    with pytest.raises(ValueError, match="lmax2 must be a non-negative integer, got -1"):
        cls(1, -1)
    with pytest.raises(ValueError, match="normalization must be one of"):
        cls(1, 1, normalization="unit")
    with pytest.raises(ValueError, match=r"lmax_out must have the parity -\(-1\)\^l .* got 1o"):
        tp.BracketTensorProduct(1, 1, "1o")
