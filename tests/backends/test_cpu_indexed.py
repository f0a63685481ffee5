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


def in_memory(memory, column_stride, index):
    """Where rows are, and their numbers, as the vector code takes them."""
    return memory.ctypes.data, memory.strides[0] // memory.itemsize, column_stride, index.ctypes.data


def widths_and_counts(dtype):
    """Widths of a tile, and numbers of samples in it."""
    lanes = LINE // np.dtype(dtype).itemsize
    return [(width, count) for width in (lanes, 4 * lanes) for count in (1, lanes - 1, lanes, width)]


def for_every_kind_of_row(test):
    """A test of the size, the stride and the dtype of rows."""
    for name, values in (("dtype", DTYPES), ("size", (1, 7, 8, 15, 16, 17, 35)), ("column_stride", (1, 2))):
        test = pytest.mark.parametrize(name, values)(test)
    return test


@for_every_kind_of_row
def test_rows_are_loaded_by_number(dtype, size, column_stride):
    rng = np.random.default_rng(size)
    memory, rows = rows_of(size, column_stride, dtype, rng)
    for width, count in widths_and_counts(dtype):
        index = rng.integers(0, ROWS, count).astype(np.int32)
        tile = aligned((size + 2) * width, dtype)
        load_indexed_rows(tile, width, width, size, count, *in_memory(memory, column_stride, index))
        columns = tile.reshape(size + 2, width)
        np.testing.assert_array_equal(columns[1:-1, :count], rows[index].T)
        np.testing.assert_array_equal(columns[1:-1, count:], 0)
        assert np.isnan(columns[[0, -1]]).all()


@for_every_kind_of_row
def test_columns_are_added_to_rows_by_number(dtype, size, column_stride):
    """One sample after the other, so that the sum of a row that comes again has the bits of ``np.add.at``."""
    rng = np.random.default_rng(size)
    memory, _ = rows_of(size, column_stride, dtype, rng)
    lanes = LINE // memory.itemsize
    for width, count in widths_and_counts(dtype):
        index = rng.integers(0, ROWS // 2, count).astype(np.int32)
        tile = aligned(size * width + lanes * lanes, dtype)
        columns = tile[: size * width].reshape(size, width)
        columns[:, :count] = rng.standard_normal((size, count))
        wanted = memory.copy()
        np.add.at(wanted[:, : size * column_stride : column_stride], index, columns[:, :count].T)
        found = memory.copy()
        add_indexed_rows(tile, 0, width, size, count, *in_memory(found, column_stride, index), size * width)
        np.testing.assert_array_equal(found, wanted)


#: Samples of which those from FIRST to LAST are worked.
SAMPLES, FIRST, LAST = 5, 1, 4


class Path:
    """Numbers for one path of some samples, where the vector code reads them: each row begins a line before them."""

    def __init__(self, dtype, vectors, terms, outputs, weighted, rng, computed=False):
        item = np.dtype(dtype).itemsize
        self.lanes, blocks = LINE // item, 3
        wide = vectors * blocks * self.lanes
        entries = SAMPLES * terms * outputs if computed else terms * outputs
        rows = SAMPLES * (3 * self.lanes + (terms + outputs + 1) * wide)
        self.tile = aligned(rows + (entries + 4) * self.lanes, dtype)
        self.tile[:] = rng.standard_normal(self.tile.size)
        self.at = 0
        self.source, self.sources = self._rows(terms, wide)
        self.target, self.targets = self._rows(outputs, wide)
        self.weights, self.rows_of_weights = self._rows(wide)
        if not weighted:
            ones, address = self._take(4 * self.lanes)
            ones[:] = 1.0
            self.weights, self.rows_of_weights = np.ones((SAMPLES, wide), dtype), np.full(SAMPLES, address - LINE)
        shape = (SAMPLES, terms, outputs) if computed else (terms, outputs)
        self.matrix, matrix = self._take(*shape, self.lanes)
        self.adds = np.array([0, 1, 0, 1, 0])
        step = wide * item
        places = (LINE, step, terms, LINE, step, LINE, LINE if weighted else 0, matrix, outputs * LINE)
        self.place = Coupled(*places, terms * outputs * LINE if computed else item, blocks, FIRST, LAST)

    def _take(self, *shape):
        """The next numbers of the tile, and their address."""
        count = int(np.prod(shape))
        part = self.tile[self.at : self.at + count].reshape(shape)
        self.at += count
        return part, part.ctypes.data

    def _rows(self, *shape):
        """Rows of the samples, without the line that each begins with, and their addresses."""
        count = self.lanes + int(np.prod(shape))
        part, address = self._take(SAMPLES, count)
        rows = part[:, self.lanes :].reshape(SAMPLES, *shape)
        assert np.shares_memory(rows, part)
        return rows, address + np.arange(SAMPLES) * count * part.itemsize

    def wide(self):
        """The matrices, sources, targets and weights of the samples in float64, before they are changed."""
        matrices = np.moveaxis(self.matrix[..., :SAMPLES], -1, 0) if self.matrix.ndim == 3 else self.matrix[..., 0]
        parts = (matrices, self.source, self.target, self.weights)
        return [part[FIRST:LAST].astype("f8") for part in parts]

    def by_lane(self):
        """Sources, targets and weights as vectors."""
        return [part.reshape(*part.shape[:-1], -1, self.lanes) for part in self.wide()[1:]]

    def changed(self, name, part, *width_and_outputs, more=()):
        """What an operation made of ``part``; the rest of the tile is as before."""
        before = self.tile.copy()
        adds = (self.adds,) if name.startswith("pull_weights") else ()
        tables = self.sources, self.targets, self.rows_of_weights, *adds
        compiled(name, *width_and_outputs)(self.tile, *tables, *more, self.place)
        found = part.copy()
        part[...] = 0.0
        rest = self.tile.copy()
        self.tile[:] = before
        part[...] = 0.0
        np.testing.assert_array_equal(rest, self.tile)
        return found


def assert_near(found, wanted, dtype):
    np.testing.assert_allclose(found, wanted, rtol=0, atol=20 * tolerance(dtype, 4, 100))


def compiled(name, width, outputs):
    """One of the operations, as a function of the tile and what else it takes."""
    operation = getattr(channels, name)
    functions = {
        "add_coupled": lambda tile, s, t, w, at: operation(width, tile, outputs, s, t, w, at),
        "add_scaled": lambda tile, s, t, w, at: operation(width, tile, s, t, w, at),
        "pull_weights": lambda tile, s, t, w, a, more, at: operation(width, tile, outputs, s, t, w, a, more, at),
        "pull_weights_scaled": lambda tile, s, t, w, a, at: operation(width, tile, s, t, w, a, at),
        "pull_matrix": lambda tile, s, t, w, at: operation(tile, outputs, s, t, w, at),
        "pull_matrix_scaled": lambda tile, s, t, w, at: operation(tile, s, t, w, at),  # noqa: PLW0108  # for Numba
    }
    return numba.njit(functions[name])


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("vectors", [1, 2, 4])
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_target_of_a_path(dtype, vectors, outputs, weighted):
    path = Path(dtype, vectors, 5, outputs, weighted, np.random.default_rng(0))
    matrix, source, target, weights = path.wide()
    found = path.changed("add_coupled", path.target[FIRST], (0,) * vectors, (0,) * outputs)
    assert_near(found, target[0] + np.einsum("ec,eio,eic->oc", weights, matrix, source), dtype)

    path = Path(dtype, vectors, outputs, outputs, weighted, np.random.default_rng(1))
    matrix, source, target, weights = path.wide()
    found = path.changed("add_scaled", path.target[FIRST], (0,) * vectors, ())
    assert_near(found, target[0] + np.einsum("ec,e,eoc->oc", weights, matrix[:, 0, 0], source), dtype)


@pytest.mark.parametrize("more", [0, 3])
@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("vectors", [1, 2, 4])
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_weights_of_a_path(dtype, vectors, outputs, more):
    path = Path(dtype, vectors, 5, outputs, True, np.random.default_rng(2))
    matrix, source, target, weights = path.wide()
    part, adds = path.weights[FIRST:LAST], path.adds[FIRST:LAST, None]
    found = path.changed("pull_weights", part, (0,) * vectors, (0,) * outputs, more=(more,))
    held = weights if more else adds * weights
    assert_near(found, held + np.einsum("eio,eic,eoc->ec", matrix, source, target), dtype)

    path = Path(dtype, vectors, outputs, outputs, True, np.random.default_rng(3))
    matrix, source, target, weights = path.wide()
    found = path.changed("pull_weights_scaled", path.weights[FIRST:LAST], (0,) * vectors, ())
    assert_near(found, adds * weights + np.einsum("e,eoc,eoc->ec", matrix[:, 0, 0], source, target), dtype)


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_matrix_of_a_path(dtype, outputs, weighted):
    """Summed over vectors of channels, lane by lane; the samples are counted from the first."""
    path = Path(dtype, 1, 5, outputs, weighted, np.random.default_rng(4), computed=True)
    wanted = np.einsum("eibl,eobl,ebl->eiol", *path.by_lane())
    assert_near(path.changed("pull_matrix", path.matrix[: LAST - FIRST], (), (0,) * outputs), wanted, dtype)

    path = Path(dtype, 1, outputs, outputs, weighted, np.random.default_rng(5), computed=True)
    wanted = np.einsum("eibl,eibl,ebl->el", *path.by_lane())
    assert_near(path.changed("pull_matrix_scaled", path.matrix[: LAST - FIRST, 0, 0], (), ()), wanted, dtype)
