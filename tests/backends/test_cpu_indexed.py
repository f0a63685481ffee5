"""The vector code of rows that are found by number, and of channels as lanes, against NumPy."""

from __future__ import annotations

import numba
import numpy as np
import pytest
from strategies import tolerance

from tpnumba.backends.cpu.layout import LINE
from tpnumba.backends.cpu.simd import channels
from tpnumba.backends.cpu.simd.channels import Coupled
from tpnumba.backends.cpu.simd.indexed import add_indexed_rows, load_indexed_rows

DTYPES = ("float32", "float64")
ROWS = 11


def aligned(count, dtype, value=np.nan):
    """Memory at the beginning of a line."""
    lanes = LINE // np.dtype(dtype).itemsize
    memory = np.full(count + lanes, value, dtype)
    return memory[-(memory.ctypes.data // memory.itemsize) % lanes :][:count]


def rows_of(size, column_stride, dtype, rng):
    """Rows with gaps between them, in reverse or not, and what their numbers are in memory."""
    memory = rng.standard_normal((ROWS, size * column_stride + 3)).astype(dtype)
    return memory, memory[:, : size * column_stride : column_stride]


@pytest.mark.parametrize("column_stride", [1, 2])
@pytest.mark.parametrize("size", [1, 7, 8, 15, 16, 17, 35])
@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_are_loaded_by_number(dtype, size, column_stride):
    rng = np.random.default_rng(size)
    memory, rows = rows_of(size, column_stride, dtype, rng)
    lanes = LINE // memory.itemsize
    for width in (lanes, 4 * lanes):
        for count in (1, lanes - 1, lanes, width):
            index = rng.integers(0, ROWS, count).astype(np.int32)
            tile = aligned((size + 2) * width, dtype)
            load_indexed_rows(
                tile,
                width,
                width,
                size,
                count,
                memory.ctypes.data,
                memory.strides[0] // memory.itemsize,
                column_stride,
                index.ctypes.data,
            )
            columns = tile.reshape(size + 2, width)
            np.testing.assert_array_equal(columns[1:-1, :count], rows[index].T)
            np.testing.assert_array_equal(columns[1:-1, count:], 0)
            assert np.isnan(columns[[0, -1]]).all()


@pytest.mark.parametrize("column_stride", [1, 2])
@pytest.mark.parametrize("size", [1, 7, 8, 15, 16, 17, 35])
@pytest.mark.parametrize("dtype", DTYPES)
def test_columns_are_added_to_rows_by_number(dtype, size, column_stride):
    """One sample after the other, so that the sum of a row that comes again has the bits of ``np.add.at``."""
    rng = np.random.default_rng(size)
    memory, _ = rows_of(size, column_stride, dtype, rng)
    lanes = LINE // memory.itemsize
    for width in (lanes, 4 * lanes):
        for count in (1, lanes - 1, lanes, width):
            index = rng.integers(0, ROWS // 2, count).astype(np.int32)
            tile = aligned(size * width + lanes * lanes, dtype)
            columns = tile[: size * width].reshape(size, width)
            columns[:, :count] = rng.standard_normal((size, count))
            wanted = memory.copy()
            np.add.at(wanted[:, : size * column_stride : column_stride], index, columns[:, :count].T)
            found = memory.copy()
            add_indexed_rows(
                tile,
                0,
                width,
                size,
                count,
                found.ctypes.data,
                found.strides[0] // found.itemsize,
                column_stride,
                index.ctypes.data,
                size * width,
            )
            np.testing.assert_array_equal(found, wanted)


class Path:
    """Numbers for one path of one sample, in the places that the vector code reads."""

    def __init__(self, dtype, vectors, terms, outputs, weighted, rng):
        self.item = np.dtype(dtype).itemsize
        self.lanes, blocks = LINE // self.item, 3
        wide = vectors * blocks * self.lanes
        self.tile = aligned(2 * self.lanes + (terms + outputs + 1) * wide + terms * outputs * self.lanes, dtype)
        self.tile[:] = rng.standard_normal(self.tile.size)
        self.tile[: 2 * self.lanes] = 1.0
        self.at = 2 * self.lanes
        self.source, source = self._take(terms, wide)
        self.target, target = self._take(outputs, wide)
        self.weights, weights = self._take(wide)
        self.matrix, matrix = self._take(terms, outputs, self.lanes)
        if not weighted:
            self.weights, weights = np.ones(wide, dtype), self.tile.ctypes.data
        self.place = Coupled(
            source,
            wide * self.item,
            terms,
            target,
            wide * self.item,
            weights,
            LINE if weighted else 0,
            matrix,
            outputs * LINE,
            blocks,
        )

    def _take(self, *shape):
        """The next numbers of the tile, and their address."""
        count = int(np.prod(shape))
        part = self.tile[self.at : self.at + count].reshape(shape)
        self.at += count
        return part, part.ctypes.data

    def wide(self):
        """The matrix, source, target and weights in float64, before they are changed."""
        return (
            self.matrix[..., 0].astype("f8"),
            *(part.astype("f8") for part in (self.source, self.target, self.weights)),
        )


def assert_near(found, wanted, dtype):
    np.testing.assert_allclose(found, wanted, rtol=0, atol=10 * tolerance(dtype, 4, 100))


def compiled(name, width, outputs):
    """One of the operations, as a function of the tile and what else it takes."""
    operation = getattr(channels, name)
    functions = {
        "add_coupled": lambda tile, at: operation(width, tile, outputs, at),
        "add_scaled": lambda tile, at: operation(width, tile, at),
        "pull_weights": lambda tile, at, add: operation(width, tile, outputs, at, add),
        "pull_weights_scaled": lambda tile, at: operation(width, tile, at),
        "pull_matrix": lambda tile, at: operation(tile, outputs, at),
        "pull_matrix_scaled": lambda tile, at: operation(tile, at),  # noqa: PLW0108  # Numba compiles functions only
    }
    return numba.njit(functions[name])


def changed(path, part, call):
    """What an operation made of ``part``; the rest of the tile is as before."""
    before = path.tile.copy()
    call()
    found = part.copy()
    part[...] = 0.0
    rest = path.tile.copy()
    path.tile[:] = before
    part[...] = 0.0
    np.testing.assert_array_equal(rest, path.tile)
    return found


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("vectors", [1, 2])
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_target_of_a_path(dtype, vectors, outputs, weighted):
    path = Path(dtype, vectors, 5, outputs, weighted, np.random.default_rng(0))
    matrix, source, target, weights = path.wide()
    call = compiled("add_coupled", (0,) * vectors, (0,) * outputs)
    found = changed(path, path.target, lambda: call(path.tile, path.place))
    assert_near(found, target + weights * np.einsum("io,ic->oc", matrix, source), dtype)

    path = Path(dtype, vectors, outputs, outputs, weighted, np.random.default_rng(1))
    matrix, source, target, weights = path.wide()
    call = compiled("add_scaled", (0,) * vectors, ())
    found = changed(path, path.target, lambda: call(path.tile, path.place))
    assert_near(found, target + weights * matrix[0, 0] * source, dtype)


@pytest.mark.parametrize("add", [True, False])
@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("vectors", [1, 2])
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_weights_of_a_path(dtype, vectors, outputs, add):
    path = Path(dtype, vectors, 5, outputs, True, np.random.default_rng(2))
    matrix, source, target, weights = path.wide()
    call = compiled("pull_weights", (0,) * vectors, (0,) * outputs)
    found = changed(path, path.weights, lambda: call(path.tile, path.place, add))
    assert_near(found, add * weights + np.einsum("io,ic,oc->c", matrix, source, target), dtype)

    path = Path(dtype, vectors, outputs, outputs, True, np.random.default_rng(3))
    matrix, source, target, _ = path.wide()
    call = compiled("pull_weights_scaled", (0,) * vectors, ())
    found = changed(path, path.weights, lambda: call(path.tile, path.place))
    assert_near(found, matrix[0, 0] * (source * target).sum(axis=0), dtype)


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_matrix_of_a_path(dtype, outputs, weighted):
    """Summed over vectors of channels, lane by lane."""

    def by_lane(path):
        return [part.reshape(*part.shape[:-1], -1, path.lanes) for part in path.wide()[1:]]

    path = Path(dtype, 1, 5, outputs, weighted, np.random.default_rng(4))
    wanted, call = np.einsum("ibl,obl,bl->iol", *by_lane(path)), compiled("pull_matrix", (), (0,) * outputs)
    assert_near(changed(path, path.matrix, lambda: call(path.tile, path.place)), wanted, dtype)

    path = Path(dtype, 1, outputs, outputs, weighted, np.random.default_rng(5))
    wanted, call = np.einsum("ibl,ibl,bl->l", *by_lane(path)), compiled("pull_matrix_scaled", (), ())
    assert_near(changed(path, path.matrix[0, 0], lambda: call(path.tile, path.place)), wanted, dtype)
