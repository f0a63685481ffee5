"""Kernels that find rows by number write their workspace and their results, and read nothing beside their operands."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from backends.test_cpu_guards import GUARD, GUARDS, guarded
from convolutions import CHANNELWISE, PRODUCTS, assert_close, expected, graph, operands

import tpnumba as tp
from tpnumba.backends.cpu import evaluation, indexed
from tpnumba.backends.cpu.channelwise.program import ChannelwiseProgram
from tpnumba.backends.cpu.layout import VECTORS
from tpnumba.backends.cpu.lowering import lower_with, program_of

#: Numbers between the rows of an array.
GAP = 5
#: The vectors of a column, where samples are lanes; or what a convolution takes by itself, which may be channels.
KERNELS = ("auto", *VECTORS)
NAMES = (
    "whole vectors",
    "whole vectors, ir_mul",
    "filled vectors",
    "filled vectors, ir_mul",
    "few channels",
    "weights mix channels",
    "no weights",
    "an unused block",
    "some paths without weights",
    "first input without channels",
)


class Memory:
    """An array whose rows stand between guards: NaN beside what is read, ``GUARD`` beside what is written."""

    def __init__(self, rows: int, size: int, dtype: str, guard: float) -> None:
        self.whole, part = guarded(rows * (size + GAP), dtype, align=np.dtype(dtype).itemsize)
        self.whole[:] = guard
        self.array = part.reshape(rows, size + GAP)[:, :size]

    @classmethod
    def of(cls, array: np.ndarray, guard: float) -> Memory:
        """With these numbers in it."""
        rows = array.reshape(-1, array.shape[-1])
        memory = cls(*rows.shape, str(array.dtype), guard)
        memory.array[...] = rows
        if array.ndim == 1:
            memory.array = memory.array[0]
        return memory

    def assert_guarded(self) -> None:
        """Nothing beside the array was written."""
        beside = self.whole.copy()
        first = (self.array.ctypes.data - self.whole.ctypes.data) // self.whole.itemsize
        assert first >= GUARDS
        rows, size = self.array.shape
        beside[first : first + rows * (size + GAP)].reshape(rows, -1)[:, :size] = GUARD
        np.testing.assert_array_equal(beside, GUARD)


@pytest.fixture
def tiles(monkeypatch):
    """Every workspace that was asked for, with guards around it and NaN in it."""
    given = []

    def workspace(size, dtype):
        memory, tile = guarded(size, str(np.dtype(dtype)), align=0)
        given.append((memory, tile))
        return tile

    monkeypatch.setattr(indexed, "workspace", workspace)
    monkeypatch.setattr(evaluation, "workspace", workspace)
    return given


def choose_kernel(monkeypatch, kernel):
    """Have edges evaluated by this kernel; gives a list of the programs that were run."""
    programs = []

    def program(plan, dtype):
        programs.append(program_of(plan, dtype) if kernel == "auto" else lower_with(plan, dtype, kernel))
        return programs[-1]

    monkeypatch.setattr(indexed, "program_of", program)
    return programs


def assert_tiles_guarded(tiles):
    assert tiles
    for memory, tile in tiles:
        first = (tile.ctypes.data - memory.ctypes.data) // memory.itemsize
        np.testing.assert_array_equal(memory[:first], GUARD)
        np.testing.assert_array_equal(memory[first + tile.size :], GUARD)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", NAMES)
def test_nothing_beside_workspace_and_results_is_written(name, dtype, kernel, tiles, monkeypatch):
    p, rng = PRODUCTS[name], np.random.default_rng(0)
    conv = tp.TensorProductConvolution(p)
    programs = choose_kernel(monkeypatch, kernel)
    outputs = range(-1, 3 if p.weight_numel else 2)
    for kind in ("random", "isolated", "one edge", "bipartite", "pairs", "sorted pairs"):
        edges = graph(kind, rng)
        x, y, w, g = operands(p, edges, rng, dtype)
        wide = [None if a is None else a.astype("float64") for a in (x, y, w, g)]
        out, gradients = expected(p, *wide, edges)
        for i in outputs:
            given = [x, y, w]
            operator = conv
            if i >= 0:
                given[i], operator = g, conv.adjoint(i)
            given = [None if a is None else Memory.of(a, np.nan).array for a in given]
            wanted = out if i < 0 else gradients[i]
            for add in (False, True) if i < 1 else (False,):
                result = Memory(*wanted.shape, dtype, GUARD)
                result.array[...] = 1.0 if add else np.nan
                operator(*given, edges, out=result.array, add=add, num_threads=1)
                assert_close(result.array, wanted + add, dtype)
                result.assert_guarded()
    assert_tiles_guarded(tiles)
    if name in CHANNELWISE:
        assert {isinstance(program, ChannelwiseProgram) for program in programs} == {kernel == "auto"}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", NAMES)
def test_one_row_for_all_edges(name, dtype, tiles):
    """Rows that serve all edges, and gradients that are sums over them."""
    p, rng = PRODUCTS[name], np.random.default_rng(1)
    conv, edges = tp.TensorProductConvolution(p), graph("random", rng)
    x, y, w, g = operands(p, edges, rng, dtype, shared=("attributes", "weights"))
    out, gradients = expected(p, *(None if a is None else a.astype("float64") for a in (x, y, w, g)), edges)
    x, y, w, g = (None if a is None else Memory.of(a, np.nan).array for a in (x, y, w, g))
    assert_close(conv(x, y, w, edges, num_threads=1), out, dtype)
    for found, wanted in zip(conv.vjp(x, y, g, edges, weights=w, num_threads=1), gradients, strict=True):
        assert_close(found, wanted, dtype)
    assert_tiles_guarded(tiles)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_buffer_behind_the_tile_is_noticed(dtype, monkeypatch):
    """The guards stand where the kernel would write if its buffer began behind the tile."""
    p, rng = PRODUCTS["whole vectors"], np.random.default_rng(2)
    conv, edges = tp.TensorProductConvolution(p), graph("random", rng)
    memories = []

    def program(plan, dtype):
        found = program_of(plan, dtype)
        assert isinstance(found, ChannelwiseProgram)
        return replace(found, places=(*found.places[:4], found.tile_size, *found.places[5:]))

    def workspace(size, dtype):
        memories.append(guarded(2 * size, str(np.dtype(dtype)), align=0)[1])
        memories[-1][size:] = GUARD
        return memories[-1][:size]

    monkeypatch.setattr(indexed, "program_of", program)
    monkeypatch.setattr(indexed, "workspace", workspace)
    x, y, w, _ = operands(p, edges, rng, dtype)
    conv(x, y, w, edges, num_threads=1)
    (memory,) = memories
    assert (memory[memory.size // 2 :][:GUARDS] != GUARD).any()
