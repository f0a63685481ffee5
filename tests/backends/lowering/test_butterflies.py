"""Products that are put together: the same sums, of fewer operations, and exact zeros of what changes its sign."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tpnumba as tp
from tpnumba.backends.lowering.butterflies import Nodes, combine_products


@st.composite
def sums(draw):
    """Terms with few coefficients, so that many agree."""
    count = draw(st.integers(1, 60))
    numbers = st.lists(st.integers(0, 4), min_size=count, max_size=count)
    left, right, row = (np.array(draw(numbers)) for _ in range(3))
    value = np.array(draw(st.lists(st.sampled_from((-2.0, -0.5, 0.5, 2.0)), min_size=count, max_size=count)))
    first = np.unique(np.stack([left, right, row]), axis=1, return_index=True)[1]
    return left[first], right[first], row[first], value[first]


def evaluated(nodes: Nodes, x: np.ndarray, y: np.ndarray, rows: int) -> np.ndarray:
    products = nodes.sign * x[nodes.left] * y[nodes.right]
    of_node = np.add.reduceat(products, nodes.begin[:-1])
    result = np.zeros(rows)
    np.add.at(result, nodes.row, nodes.value * of_node[nodes.node])
    return result


@given(sums(), st.booleans())
def test_the_sums_stay_what_they_are(terms, pair):
    left, right, row, value = terms
    rng = np.random.default_rng(0)
    x, y = rng.integers(-9, 9, (2, 5)).astype(float)
    expected = np.zeros(5)
    np.add.at(expected, row, value * x[left] * y[right])
    nodes = combine_products(left, right, row, value, pair=pair)
    np.testing.assert_array_equal(evaluated(nodes, x, y, 5), expected)  # of whole numbers, so exact
    assert (nodes.sign[nodes.begin[:-1]] == 1).all()
    order = np.lexsort((nodes.node, nodes.row))
    np.testing.assert_array_equal(order, np.arange(order.size))
    assert not any(array.flags.writeable for array in vars(nodes).values())


@given(sums())
def test_there_are_never_more_operations(terms):
    one, other = (combine_products(*terms, pair=pair) for pair in (False, True))
    assert other.left.size + other.value.size <= one.left.size + one.value.size
    assert one.left.size == one.begin.size - 1  # each product by itself


def test_a_sum_and_a_difference():
    """``r0 = 3 (p + q), r1 = 3 (p - q), r2 = 5 (p - q)``, for which p and q are terms six times."""
    a, b, r = np.array([0, 1] * 3), np.array([1, 0] * 3), np.array([0, 0, 1, 1, 2, 2])
    nodes = combine_products(a, b, r, np.array([3.0, 3, 3, -3, 5, -5]), pair=True)
    assert nodes.begin.tolist() == [0, 2, 4]
    assert sorted(nodes.sign.tolist()) == [-1, 1, 1, 1]
    assert nodes.value.size == 3


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_changes_its_sign_with_its_factors_is_zero_for_equal_ones(dtype):
    x = np.random.default_rng(0).standard_normal((100, 3)).astype(dtype)
    p = tp.FullTensorProduct("1o", "1o", "1e")
    assert not p(x, x, backend="cpu").any()
    p.specialize(dtype)
    assert not p(x, x, backend="cpu").any()
