"""The sparse table of a product goes to scipy.sparse and comes back unchanged, and is the product."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st
from strategies import operands_of, products, random_arguments, tolerance

import tpnumba as tp
from tpnumba import limits
from tpnumba.products.entries import Coefficients

SCIPY = tuple(int(part) for part in scipy.__version__.split(".")[:2])
many_axes = pytest.mark.skipif(SCIPY < (1, 15), reason="scipy before 1.15 has sparse arrays of two axes only")


def assert_same(found, expected):
    assert found.shape == expected.shape
    np.testing.assert_array_equal(found.coords, expected.coords)
    np.testing.assert_array_equal(found.values, expected.values)


@st.composite
def tables(draw):
    """A table with any number of axes, some of length zero or one."""
    shape = tuple(draw(st.lists(st.integers(0, 4), min_size=2, max_size=4)))
    rng = np.random.default_rng(draw(st.integers(0, 9)))
    dense = rng.standard_normal(shape) * (rng.random(shape) < 0.3)
    return Coefficients(shape, np.argwhere(dense).T.astype(np.int64), dense[dense != 0]), dense


@given(tables(), st.data())
def test_round_trip_by_any_axes(drawn, data):
    table, dense = drawn
    np.testing.assert_array_equal(table.to_dense(), dense)
    axes = data.draw(st.permutations(range(dense.ndim)))
    rows = tuple(axes[: data.draw(st.integers(0, dense.ndim))])
    columns = [axis for axis in range(dense.ndim) if axis not in rows]
    matrix = table.to_scipy(rows)
    sizes = [int(np.prod([dense.shape[axis] for axis in part], dtype=int)) for part in (rows, columns)]
    assert matrix.shape == tuple(sizes)
    if min(sizes):  # scipy makes no dense array out of nothing in some versions
        np.testing.assert_array_equal(matrix.toarray(), dense.transpose(*rows, *columns).reshape(sizes))
    assert_same(Coefficients.from_scipy(matrix, table.shape, rows), table)


@many_axes
@given(tables())
def test_round_trip_with_all_axes(drawn):
    table, dense = drawn
    array = table.to_scipy(None)
    assert array.shape == dense.shape
    assert_same(Coefficients.from_scipy(array), table)


@pytest.mark.parametrize("form", ["csr", "csc", "bsr", "dok", "lil", "dia"])
def test_every_format_and_matrices_are_read(form):
    table = tp.GauntTensorProduct(2, 1).coefficients()
    matrix = table.to_scipy()
    assert_same(Coefficients.from_scipy(matrix.asformat(form), table.shape), table)
    assert_same(Coefficients.from_scipy(scipy.sparse.coo_matrix(matrix), table.shape), table)


def test_equal_coordinates_are_summed_and_zeros_dropped():
    matrix = scipy.sparse.coo_array(([1.0, 2.0, 0.0, 3.0, -3.0], ([1, 1, 0, 0, 0], [2, 2, 0, 1, 1])), shape=(2, 3))
    assert_same(Coefficients.from_scipy(matrix), Coefficients((2, 3), np.array([[1], [2]]), np.array([3.0])))


@given(products(), st.integers(0, 3))
def test_the_matrix_times_the_outer_product_is_the_product(p, seed):
    arguments = random_arguments(p, seed=seed)
    table = p.coefficients()
    operands = operands_of(p, arguments)
    if table.shape[:-1] != tuple(x.size for x in operands):
        operands[2] = np.append(operands[2], 1.0)  # paths without a weight stand behind the weights
    outer = np.ones(())
    for x in operands:
        outer = np.multiply.outer(outer, x)
    matrix = table.to_scipy()
    assert matrix.shape == (p.irreps_out.dim, outer.size)
    if matrix.nnz:
        expected = p(*arguments)
        size = (abs(matrix) @ np.abs(outer.ravel())).max()
        np.testing.assert_allclose(matrix @ outer.ravel(), expected, rtol=0, atol=size * tolerance("float64", 4, 50))
    assert_same(Coefficients.from_scipy(matrix, table.shape), table)


def test_other_rows_give_the_matrix_of_an_operand():
    p = tp.FullyConnectedTensorProduct("2x0e + 1o", "0e + 1o", "2x0e + 2x1o + 1e")
    x1, x2, weights = random_arguments(p)
    table = p.coefficients()
    assert len(table.shape) == 4
    matrix = table.to_scipy((0, 3))  # (x1, out) against (x2, weights)
    map_of_x1 = (matrix @ np.outer(x2, weights).ravel()).reshape(p.irreps_in1.dim, p.irreps_out.dim)
    np.testing.assert_allclose(x1 @ map_of_x1, p(x1, x2, weights), rtol=0, atol=10 * tolerance("float64", 2))


@many_axes
def test_nothing_is_shared_with_the_table():
    table = tp.GauntTensorProduct(1, 1).coefficients()
    values, coords = table.values.copy(), table.coords.copy()
    for rows in (-1, None):
        array = table.to_scipy(rows)
        array.data[:] = 7
        for places in array.coords:
            places[:] = 0
    np.testing.assert_array_equal(table.values, values)
    np.testing.assert_array_equal(table.coords, coords)


@pytest.mark.parametrize(
    ("error", "rows", "message"),
    [
        (ValueError, 3, "rows must name different axes of 3, got 3"),
        (ValueError, -4, "rows must name different axes of 3, got -4"),
        (ValueError, (0, -3), r"rows must name different axes of 3, got \(0, -3\)"),
        (TypeError, 1.0, "rows must be an axis, a tuple of axes or None, got 1.0"),
        (TypeError, True, "rows must be an axis, a tuple of axes or None, got True"),
        (TypeError, "last", "rows must be an axis, a tuple of axes or None, got 'last'"),
    ],
)
def test_bad_axes_are_refused(error, rows, message):
    table = tp.GauntTensorProduct(1, 1).coefficients()
    with pytest.raises(error, match=message):
        table.to_scipy(rows)
    with pytest.raises(error, match=message):
        Coefficients.from_scipy(table.to_scipy(), table.shape, rows)


def test_what_is_no_such_table_is_refused():
    table = tp.GauntTensorProduct(1, 1).coefficients()
    matrix = table.to_scipy()
    with pytest.raises(ValueError, match=r"array must have shape \(4, 36\) for a table \(4, 4, 9\) with rows 0, got"):
        Coefficients.from_scipy(matrix, table.shape, 0)
    with pytest.raises(ValueError, match=r"array must have shape \(4, 4, 9\), got \(9, 16\)"):
        Coefficients.from_scipy(matrix, table.shape, None)
    with pytest.raises(TypeError, match=r"array must be sparse \(scipy.sparse\), got numpy.ndarray"):
        Coefficients.from_scipy(matrix.toarray())
    with pytest.raises(TypeError, match="array must be real, got dtype complex128"):
        Coefficients.from_scipy(matrix * 1j)
    with pytest.raises(ValueError, match="shape must be a non-negative integer, got -9"):
        Coefficients.from_scipy(matrix, (4, 4, -9))


def test_tables_too_large_are_refused(monkeypatch):
    wide = Coefficients((2**40, 2**40, 2), np.zeros((3, 1), dtype=np.int64), np.ones(1))
    with pytest.raises(ValueError, match=r"axes \(0, 1\) of lengths .* more places than 64-bit indices count"):
        wide.to_scipy()
    monkeypatch.setattr(limits, "available_bytes", lambda: 2**20)
    with pytest.raises(MemoryError, match=r"a dense table of shape \(1000, 1000, 10\) would take 76.3 MiB"):
        Coefficients((1000, 1000, 10), np.zeros((3, 0), dtype=np.int64), np.zeros(0)).to_dense()


def test_many_axes_need_a_recent_scipy(monkeypatch):
    table = tp.GauntTensorProduct(1, 1).coefficients()
    monkeypatch.setattr(scipy, "__version__", "1.13.1")
    with pytest.raises(RuntimeError, match=r"sparse arrays of 3 axes need scipy 1\.15 or later, this is 1\.13\.1"):
        table.to_scipy(None)
    assert table.to_scipy().shape == (9, 16)
