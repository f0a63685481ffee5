"""Constant matrices: what is sparse, dense or transposed is the same map."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tpnumba.backends.lowering.matrices import ConstantMatrix, Sparse, matrix_factors
from tpnumba.plans.stages import SparseStage


def dense(matrix):
    found = np.zeros(matrix.shape)
    np.add.at(found, (matrix.rows, matrix.columns), matrix.values)
    return found


@st.composite
def sparse_matrices(draw):
    shape = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    count = draw(st.integers(0, shape[0] * shape[1]))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    chosen = rng.permutation(shape[0] * shape[1])[:count]
    return Sparse(shape, chosen // shape[1], chosen % shape[1], rng.standard_normal(count))


@given(sparse_matrices())
def test_compressed_rows_are_the_matrix(matrix):
    for own, expected in ((matrix, dense(matrix)), (matrix.transposed(), dense(matrix).T)):
        begin, columns, values = own.by_rows()
        assert begin.size == own.shape[0] + 1
        assert (begin[0], begin[-1]) == (0, values.size)
        found = np.zeros(own.shape)
        for row in range(own.shape[0]):
            reads = columns[begin[row] : begin[row + 1]]
            assert (np.diff(reads) > 0).all()
            found[row, reads] = values[begin[row] : begin[row + 1]]
        np.testing.assert_array_equal(found, expected)


@given(k=st.integers(1, 4), m=st.integers(1, 4), columns=st.integers(1, 3), seed=st.integers(0, 99))
def test_dense_matrices_as_a_sparse_one(k, m, columns, seed):
    rng = np.random.default_rng(seed)
    own = ConstantMatrix(
        rng.standard_normal((k, m)), columns * rng.permutation(m), columns * rng.permutation(k), columns, 1, 1
    )
    expected = np.zeros((m * columns, k * columns))
    for c in range(columns):
        expected[np.ix_(own.to + c, own.source + c)] = own.values.T
    np.testing.assert_array_equal(dense(Sparse.of([own], expected.shape)), expected)
    np.testing.assert_array_equal(dense(Sparse.of([own.transposed()], expected.T.shape)), expected.T)


def test_a_stage_that_reads_some_of_the_numbers_with_factors():
    stage = SparseStage("cartesian_component", (1, 2, (0, 1), (1, 0), (1, 2)))
    rng = np.random.default_rng(0)
    size = stage.sparse.shape[1]
    factors, places = rng.uniform(1, 2, size), rng.permutation(size + 3)[:size]
    plain = dense(Sparse.of_stage(stage, size, np.arange(size), np.ones(size)))
    assert np.abs(plain).max() > 0.1
    found = dense(Sparse.of_stage(stage, size + 3, places, factors))
    np.testing.assert_allclose(found[:, places], plain * factors, rtol=1e-15)
    assert not np.delete(found, places, axis=1).any()


@pytest.mark.parametrize("output", range(3))
def test_factors_of_a_product_of_matrices(output):
    """Its entries are the derivatives of ``Tr(X Y Z^T)``, which is linear in each of the three."""
    n = 3
    rng = np.random.default_rng(0)
    matrices = rng.standard_normal((3, n, n))
    (i, row_i, column_i), (j, row_j, column_j) = matrix_factors(output, n)
    assert {i, j, output} == {0, 1, 2}
    places = np.arange(n)
    left = matrices[i].ravel()[places[:, None] * row_i + places * column_i]
    right = matrices[j].ravel()[places[:, None] * row_j + places * column_j]
    X, Y, Z = matrices
    np.testing.assert_allclose(np.sum(left @ right * matrices[output]), np.trace(X @ Y @ Z.T), rtol=1e-13)
    for entry in np.ndindex(n, n):
        unit = matrices.copy()
        unit[output] = 0
        unit[output][entry] = 1
        X, Y, Z = unit
        np.testing.assert_allclose((left @ right)[entry], np.trace(X @ Y @ Z.T), rtol=0, atol=1e-13)
