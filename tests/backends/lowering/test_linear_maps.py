"""Linear maps as matrices, in one pass or two, whole and parity by parity: the numbers of the reference."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import sphere_products, tolerance

import tpnumba as tp
from tpnumba.backends.generic.stages import apply, transpose
from tpnumba.backends.lowering.linear_maps import one_pass, passes_of
from tpnumba.backends.lowering.matrices import Sparse
from tpnumba.backends.lowering.parity import ParityReduction, mirrored_columns, reflected, representatives, separate
from tpnumba.backends.namespaces import Context
from tpnumba.plans.stages import Blocks, DegreeScaling, LinearMap, Selection, synthesis
from tpnumba.plans.transform import Matrices, Transform

CONTEXT = Context(np, None, np.float64)
WEIGHTS = np.array([2.0, 3.0, 5.0, 7.0, 11.0])


def least_factor(axis):
    return next((factor for factor in range(2, axis.count) if axis.count % factor == 0), 1)


def multiply(matrices, x, size):
    y = np.zeros(size)
    if isinstance(matrices, Sparse):
        np.add.at(y, matrices.rows, matrices.values * x[matrices.columns])
        return y
    for own in matrices:
        for c in range(own.columns):
            y[own.to + c * own.step_to] += x[own.source + c * own.step_source] @ own.values
    return y


def forward(passes, x):
    for own in passes:
        x = multiply(own.matrices, x, own.made)
    return x


def backward(passes, g, size):
    sizes = [size, *(own.made for own in passes)]
    for own, width in reversed(list(zip(passes, sizes, strict=False))):
        assert own.taken == width
        g = multiply(own.transposed(), g, width)
    return g


def maps(p):
    """The maps of the plans that are transforms, with the size of what each takes and the domain."""
    for _, plan in p.methods.plans:
        if isinstance(plan, Transform):
            for size, own in zip(plan.sizes, plan.maps, strict=True):
                yield from ((linear_map, size, plan.domain) for linear_map in own)


def agree(found, expected, x, degree=8):
    assert found.shape == expected.shape
    scale = 1 + np.abs(expected).max(initial=0.0) + np.abs(x).max(initial=0.0)
    np.testing.assert_allclose(found, expected, rtol=0, atol=scale * tolerance("float64", degree, 1000))


@given(p=sphere_products(), first_factor=st.sampled_from([one_pass, least_factor]), seed=st.integers(0, 99))
def test_passes_are_the_map_and_its_transpose(p, first_factor, seed):
    rng = np.random.default_rng(seed)
    for linear_map, size, _ in maps(p):
        x = rng.standard_normal(size)
        passes = list(passes_of(linear_map, size, first_factor=first_factor))
        found = forward(passes, x)
        agree(found, apply(linear_map, CONTEXT, x[None]).ravel(), x)
        g = rng.standard_normal(found.size)
        back = backward(passes, g, size)
        product = np.linalg.norm(found) * np.linalg.norm(g)
        assert abs(back @ x - g @ found) <= (1 + product) * tolerance("float64", 8, found.size)


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_rings_and_longitudes_in_another_order_and_weighted(weights):
    """``[ring, longitude]`` in place of ``[longitude, ring]``, in one pass and in two."""
    grid = tp.Grid(5, 8)
    linear_map = LinearMap((DegreeScaling((0, 1, 2), "norm"), *stages_on(grid)))
    x = np.random.default_rng(0).standard_normal(9)
    expected = apply(linear_map, CONTEXT, x[None])[0].T * (1 if weights is None else weights[:, None])
    for first_factor in (one_pass, least_factor):
        found = forward(passes_of(linear_map, 9, (1, grid.n_alpha), weights, first_factor=first_factor), x)
        agree(found.reshape(grid.shape), expected, x)


def stages_on(grid):
    """From degrees 0 to 2 to the values on a grid."""
    return synthesis((0, 1, 2), 2, grid, "integral", output=False).stages


def test_selections_and_scaling_in_front_are_part_of_the_first_matrix():
    grid = tp.Grid(5, 8)
    scaling = DegreeScaling((0, 1, 2), "norm")
    linear_map = LinearMap((Selection(3, 15, 20), Selection(2, 11, 12), scaling, scaling, *stages_on(grid)))
    x = np.random.default_rng(0).standard_normal(20)
    passes = list(passes_of(linear_map, 20))
    assert len(passes) == 2
    agree(forward(passes, x), apply(linear_map, CONTEXT, x[None]).ravel(), x)
    agree(by_parities(linear_map, 20, grid, x), apply(linear_map, CONTEXT, x[None])[0], x)


@pytest.mark.parametrize("step", [1, 3])
def test_blocks_in_front_are_part_of_the_first_matrix(step):
    """Of two operands, one with the blocks in turn, the other with copies between the components of a block."""
    grid = tp.Grid(5, 8)
    blocks = Blocks((30, 2, 0), (1, 2, 0), (2.0, -0.5, 3.0), step, 45)
    linear_map = LinearMap((blocks, *synthesis((1, 2, 0), 2, grid, "integral", output=False).stages))
    x = np.random.default_rng(0).standard_normal(45)
    picked = np.concatenate([2 * x[30:][: 3 * step : step], -0.5 * x[2:][: 5 * step : step], 3 * x[:1]])
    expected = apply(LinearMap(linear_map.stages[1:]), CONTEXT, picked[None])
    agree(apply(linear_map, CONTEXT, x[None]), expected, x)
    passes = list(passes_of(linear_map, 45))
    assert len(passes) == 2
    agree(forward(passes, x), expected.ravel(), x)
    agree(by_parities(linear_map, 45, grid, x), expected[0], x)
    g = np.random.default_rng(1).standard_normal(expected.shape)
    agree(backward(passes, g.ravel(), 45), transpose(linear_map, CONTEXT, g).ravel(), g)


def by_parities(linear_map, size, domain, x):
    """The values at all points, ``(longitudes, rings)``, from those of each parity at a point of each mirror set."""
    reduction = ParityReduction.of(domain)
    parts = separate(linear_map, size, domain, reduction)
    if parts.sparse is not None:
        x = multiply(parts.sparse, x, parts.sparse.shape[0])
    orders = np.zeros((2, parts.orders, len(reduction.rings)))
    for block in parts.blocks:
        orders[block.odd, block.order_index] += x[block.places] @ block.matrix
        if block.both:
            orders[block.odd, block.order_index + 1] += x[block.places + block.mirror] @ block.matrix
    values = np.full(domain.shape[::-1], np.nan)
    for side in (0, 1):  # the second ring of a set, and the other longitudes: the signs of the parities
        rings = orders[0] + (-1) ** side * orders[1]
        for image in range(reduction.longitudes.shape[1]):
            own = sum(
                (-1) ** (image & parity).bit_count() * matrix.T @ rings[indices]
                for parity, (indices, matrix) in enumerate(parts.turns)
            )
            values[np.ix_(reduction.longitudes[:, image], reduction.rings[:, side])] = own
    return values


@given(p=sphere_products(), seed=st.integers(0, 99))
def test_parities_at_one_point_of_each_mirror_set_are_the_map(p, seed):
    rng = np.random.default_rng(seed)
    for linear_map, size, domain in maps(p):
        if not isinstance(domain, Matrices):
            x = rng.standard_normal(size)
            agree(by_parities(linear_map, size, domain, x), apply(linear_map, CONTEXT, x[None])[0], x)


@given(count=st.integers(1, 12), keeps_first=st.booleans())
def test_reflections_are_their_own_inverse(count, keeps_first):
    mirror = reflected(count, keeps_first=keeps_first)
    np.testing.assert_array_equal(mirror[mirror], np.arange(count))
    first = representatives(mirror)
    np.testing.assert_array_equal(np.union1d(first, mirror[first]), np.arange(count))
    assert len(first) == (count + (mirror == np.arange(count)).sum()) // 2
    if keeps_first:
        assert mirror[0] == 0


@given(
    signs=st.lists(st.sampled_from([1, -1]), min_size=1, max_size=5),
    count=st.integers(3, 9),
    keeps_first=st.booleans(),
    seed=st.integers(0, 99),
)
def test_even_and_odd_rows_are_found(signs, count, keeps_first, seed):
    mirror = reflected(count, keeps_first=keeps_first)
    values = np.random.default_rng(seed).standard_normal((len(signs), count))
    found = mirrored_columns(values + np.array(signs)[:, None] * values[:, mirror])
    assert found is not None
    np.testing.assert_array_equal(found[0], mirror)
    np.testing.assert_array_equal(found[1], np.flatnonzero(np.array(signs) > 0))
    np.testing.assert_array_equal(found[2], np.flatnonzero(np.array(signs) < 0))
    assert mirrored_columns(values) is None
