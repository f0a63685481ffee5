"""The complete product by a grid: what one analysis of a pair of blocks holds, and that it is the direct form."""

from __future__ import annotations

from math import pi, sqrt

import numpy as np
import pytest
from harmonics_of_libraries import directions
from strategies import memory_beyond_results, random_arguments, tolerance

import tpnumba as tp
from tpnumba.products.pairwise_grid import pair_coupling
from tpnumba.tables.couplings import gaunt_coupling

#: Beside l3 = 0 and l3 = l1 + l2, two degrees whose bracket is zero, and two equal ones.
PAIRS = [(0, 0), (0, 3), (1, 1), (2, 3), (4, 4), (1, 6)]


def complete(lmax, **options):
    irreps = tp.Irreps.spherical_harmonics(lmax)
    return tp.FullTensorProduct(irreps, irreps, **options)


@pytest.mark.parametrize(("l1", "l2"), PAIRS)
def test_product_and_bracket_hold_even_and_odd_paths(l1, l2):
    """At points: F G is the sum of all even paths, and the bracket that of all odd ones, each times its number."""
    x, y = np.random.default_rng(0).standard_normal((2, 2 * max(l1, l2) + 1))
    coefficients = np.zeros((l1 + 1) ** 2), np.zeros((l2 + 1) ** 2)
    coefficients[0][l1**2 :], coefficients[1][l2**2 :] = x[: 2 * l1 + 1], y[: 2 * l2 + 1]
    points = directions(12)
    values, gradients = [], []
    for degree, own in zip((l1, l2), coefficients, strict=True):
        harmonics = tp.SphericalHarmonics(degree, normalization="integral")
        values.append(harmonics(points) @ own)
        gradients.append(harmonics.vjp(points.copy(), np.tile(own, (12, 1))))
    bracket = np.sum(points * np.cross(*gradients), axis=-1)
    if l1 and l2:
        bracket = bracket / sqrt(l1 * (l1 + 1) * l2 * (l2 + 1))
    found = [np.zeros(12), np.zeros(12)]
    for l3 in range(abs(l1 - l2), l1 + l2 + 1):
        z = np.einsum("a,b,abc->c", coefficients[0][l1**2 :], coefficients[1][l2**2 :], tp.clebsch_gordan(l1, l2, l3))
        at_points = tp.SphericalHarmonics(l3, normalization="integral")(points)[:, l3**2 :]
        found[(l1 + l2 + l3) % 2] += at_points @ z * pair_coupling(l1, l2, l3)
    limit = tolerance("float64", l1 + l2, 100) * np.linalg.norm(x) * np.linalg.norm(y)
    np.testing.assert_allclose(found[0], values[0] * values[1], rtol=0, atol=limit)
    np.testing.assert_allclose(found[1], bracket, rtol=0, atol=limit)
    assert np.abs(values[0] * values[1]).max() > 1e6 * limit
    assert (np.abs(bracket).max() > 1e6 * limit) == (l1 > 0 and l2 > 0)


def test_numbers_of_a_pair_never_vanish_and_are_of_one_size():
    """So that dividing by them costs at most the digits of a factor that is the number of degrees."""
    for l1 in range(25):
        for l2 in range(25):
            inside = range(abs(l1 - l2), l1 + l2 + 1)
            numbers = [pair_coupling(l1, l2, l3) / sqrt(2 * l3 + 1) for l3 in inside]
            assert min(numbers) > 0
            assert max(numbers) <= (min(l1, l2) + 1) * min(numbers) * (1 + tolerance("float64", 24, 1))
            assert pair_coupling(l1, l2, l1 + l2 + 1) == 0
            if l1 != l2:
                assert pair_coupling(l1, l2, abs(l1 - l2) - 1) == 0


def test_odd_numbers_are_those_of_unit_gradients():
    """With ``|grad Y_l|^2`` integrated to 1, the bracket of two degrees 1 is the cross product of two vectors."""
    assert abs(pair_coupling(1, 1, 1) - sqrt(9 / 8 / pi)) < tolerance("float64", 1, 1)
    assert pair_coupling(2, 3, 3) == gaunt_coupling(2, 3, 3)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("lmax", "backend"), [(1, "cpu"), (3, "cpu"), (6, "cpu"), (8, "generic"), (16, "generic")])
def test_grid_is_the_direct_form_and_so_are_its_gradients(lmax, backend, dtype):
    p, q = complete(lmax), complete(lmax, method="grid")
    assert (p.method, q.method) == ("direct", "grid")
    assert p.irreps_out == q.irreps_out
    x, y = random_arguments(p, (3,), (3,))
    g = np.random.default_rng(1).standard_normal((3, p.irreps_out.dim))
    expected = p(x, y), *p.vjp(x, y, g), p.jvp(x, y, y, x), p.adjoint(0).adjoint(1)(g, x)
    x, y, g = (array.astype(dtype) for array in (x, y, g))
    found = (
        q(x, y, backend=backend),
        *q.vjp(x, y, g, backend=backend),
        q.jvp(x, y, y, x, backend=backend),
        q.adjoint(0).adjoint(1)(g, x, backend=backend),
    )
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == dtype
        np.testing.assert_allclose(one, other, rtol=0, atol=np.abs(other).max() * tolerance(dtype, lmax, 100))


@pytest.mark.parametrize("layout", ["mul_ir", "ir_mul"])
@pytest.mark.parametrize("normalization", ["component", "norm", "none"])
@pytest.mark.parametrize("keep", [None, "1o + 2e + 3o", "2o + 1e", "0e"])
def test_copies_parities_layouts_and_filters(layout, normalization, keep):
    """A filter may leave only even or only odd sums of a pair, and blocks without any path."""
    options = {"layout": layout, "irrep_normalization": normalization}
    arguments = "2x0e + 3x1o + 2e + 2x1e", "1o + 2x2o + 0e", keep
    p, q = tp.FullTensorProduct(*arguments, **options), tp.FullTensorProduct(*arguments, **options, method="grid")
    x, y = random_arguments(p, (4,), (4,))
    g = np.random.default_rng(1).standard_normal((4, p.irreps_out.dim))
    for backend in ("cpu", "generic"):
        found = q(x, y, backend=backend), *q.vjp(x, y, g, backend=backend)
        for one, other in zip(found, (p(x, y), *p.vjp(x, y, g)), strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=np.abs(other).max() * tolerance("float64", 4, 100))


def test_auto_is_direct_and_other_methods_are_refused():
    p = complete(2)
    assert p.method == "direct"
    assert p.methods == complete(2, method="direct").methods
    assert "method grid" in repr(complete(2, method="grid"))
    assert complete(2, method="grid") != p
    with pytest.raises(ValueError, match="method must be one of auto, direct, grid, got 'fourier'"):
        complete(2, method="fourier")


@pytest.mark.parametrize("of", [None, 0, 1])
def test_few_fields_are_held_at_a_time(of):
    """Of the values of all pairs, of which there are as many as (L + 1)^2, those of one block of an input."""
    lmax = 12
    p = complete(lmax, method="grid")
    plan = p.plan if of is None else p.adjoint(of).plan
    blocks, points = lmax + 1, np.prod(plan.domain.shape)
    held = most = 0
    for step in plan.steps:
        held += len(step.first_read)
        most = max(most, held)
        held -= len(step.last_read)
    assert held == 0
    assert most <= (6 if of is None else 4) * blocks
    assert blocks**2 < sum(len(maps) for maps in plan.maps)
    assert plan.workspace <= (6 * blocks + 3 + 4) * points + 3 * p.irreps_out.dim


@pytest.mark.parametrize("backend", ["cpu", "generic"])
def test_memory_beyond_the_results_is_bounded(backend):
    p = complete(4, method="grid")
    x, y = random_arguments(p, (2000,), (2000,), dtype="float32")
    g = np.ones((2000, p.irreps_out.dim), dtype=np.float32)
    p.vjp(x[:2], y[:2], g[:2], backend=backend)  # what is made once
    p(x[:2], y[:2], backend=backend)
    assert memory_beyond_results(lambda: p(x, y, backend=backend)) <= 2**26
    assert memory_beyond_results(lambda: p.vjp(x, y, g, backend=backend)) <= 2**26
