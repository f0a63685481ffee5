"""Spherical harmonics of NumPy arrays: the kernel's tables, rows found in memory, pieces given to threads."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod, sqrt
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tpnumba.backends.blocks import Shape, blocks, rows_of
from tpnumba.backends.cpu.contraction.lower import _TILE_BYTES
from tpnumba.backends.cpu.driver import _COPY_BYTES, _find, _workspace
from tpnumba.backends.cpu.harmonics.kernel import (
    ADDRESS,
    AT,
    DERIVATIVE,
    JACOBIAN,
    NOTHING,
    POINTS,
    PULLED_BACK,
    PUSHED_FORWARD,
    SECOND,
    SIZE,
    STREAM,
    TOGETHER,
    VALUES,
    harmonics,
)
from tpnumba.backends.cpu.harmonics.recursion import POINT_RUNS
from tpnumba.backends.cpu.program import LINE, MOST_BYTES, VECTORS, WIDTHS
from tpnumba.backends.cpu.runtime.threads import WORTH_SHARING, default_threads, share
from tpnumba.backends.cpu.simd.rows import LONGEST, STRETCH
from tpnumba.backends.namespaces import Context
from tpnumba.plans.harmonics import HIGHEST_SINGLE, Harmonics
from tpnumba.tables.couplings import NORMALIZATIONS, harmonic_scale
from tpnumba.tables.memory import cached_within
from tpnumba.tables.spherical_harmonics import gradient_ladder, recursion, sectoral

Array = npt.NDArray[np.floating]
Ints = npt.NDArray[np.int64]

#: Results of so many bytes are written past the caches, which they would only empty. Not those of more than the second
#: number that are allocated here: their pages come from the system, which has just filled them with zeros, so that
#: their lines are in a cache (100,000 points, degree 12, float32, one core: 10.5 ms so, 12.5 past the caches).
_STREAM_BYTES, _FRESH_BYTES = 2**24, 2**25
#: A piece of work takes about so many seconds.
_PIECE_SECONDS = 1e-3
_BYTES_A_SECOND = 1e10

_DERIVATIVES = {
    "values": NOTHING,
    "value_and_jacobian": JACOBIAN,
    "vjp": PULLED_BACK,
    "jvp": PUSHED_FORWARD,
}


class HarmonicsProgram(NamedTuple):
    """The tables of one plan in one dtype, read-only; positions in numbers from the start of the tile.

    Attributes:
        vectors, lanes, tile_size, buffer: as of a contraction.
        arrays: the rows of :data:`tpnumba.backends.cpu.harmonics.kernel.VALUES` and others, without addresses.
        derivative: which one the second result is.
        powers: the constant harmonic; then factors from ``S_{m-1,m-1}`` to ``S_mm``.
        values: the recursion's ``(a, b)``, order by order, by rising degree.
        places, weights: the ladder from the solid harmonics in the tile, and the degree of each harmonic.
    """

    vectors: int
    lanes: int
    tile_size: int
    buffer: int
    arrays: Ints
    derivative: int
    powers: Array
    values: Array
    places: npt.NDArray[np.int32]
    weights: Array

    @property
    def seconds(self) -> float:
        """About how long a point takes on one core."""
        return int(self.arrays[:, SIZE].sum()) * self.values.itemsize / _BYTES_A_SECOND

    @property
    def samples(self) -> int:
        """How many points make a piece of work, in whole tiles."""
        return max(1, int(_PIECE_SECONDS / self.seconds) // self.lanes) * self.lanes


def program_of(plan: Harmonics, dtype: str) -> HarmonicsProgram | None:
    """The program of ``plan``; None if the kernel cannot run it: a tile would be too large, or float32 too narrow."""
    if dtype == "float32" and plan.lmax > HIGHEST_SINGLE:
        return None
    if _tile(plan, dtype, 1)[1] * np.dtype(dtype).itemsize > MOST_BYTES:
        return None
    return _program(plan, dtype, None)


@cached_within(2**26)
def _program(plan: Harmonics, dtype: str, vectors: int | None) -> HarmonicsProgram:
    item = np.dtype(dtype).itemsize
    if vectors is None:
        vectors = next((v for v in VECTORS if _tile(plan, dtype, v)[1] * item <= _TILE_BYTES), VECTORS[-1])
    lanes = vectors * LINE // item
    ends, tile_size = _tile(plan, dtype, vectors)
    arrays = np.zeros((4, STREAM + 1), dtype=np.int64)
    arrays[[POINTS, VALUES, SECOND, DERIVATIVE], AT] = np.array([0, *ends[:3]]) * lanes
    arrays[VALUES, SIZE] = plan.size
    for row, size in zip((POINTS, SECOND), plan.inputs, strict=False):
        arrays[row, SIZE] = size
    for row, core in zip(_results(plan), plan.outputs, strict=True):
        arrays[row, SIZE] = prod(core)
    places, weights = _ladder(plan, lanes)
    powers, coefficients = _recursion(plan.lmax, plan.normalization)
    tables = arrays, powers.astype(dtype), coefficients.astype(dtype), places, weights.astype(dtype)
    for table in tables:
        table.flags.writeable = False
    return HarmonicsProgram(
        vectors=vectors,
        lanes=lanes,
        tile_size=tile_size,
        buffer=ends[3] * lanes,
        arrays=arrays,
        derivative=_DERIVATIVES[plan.kind],
        powers=tables[1],
        values=tables[2],
        places=tables[3],
        weights=tables[4],
    )


def _results(plan: Harmonics) -> tuple[int, ...]:
    """The rows of ``arrays`` that the plan's results are."""
    return {"values": (VALUES,), "value_and_jacobian": (VALUES, DERIVATIVE)}.get(plan.kind, (DERIVATIVE,))


def _tile(plan: Harmonics, dtype: str, vectors: int) -> tuple[list[int], int]:
    """Where values, second input, second result and buffer begin, in runs; and the size of a tile, in numbers."""
    line = LINE // np.dtype(dtype).itemsize
    solid = plan.size if VALUES in _results(plan) else max(1, plan.lmax**2)
    second = plan.inputs[1] if len(plan.inputs) > 1 else 0
    jacobian = plan.kind == "value_and_jacobian"  # whose rows are made in the buffer
    derivative = prod(plan.outputs[-1]) if DERIVATIVE in _results(plan) and not jacobian else 0
    ends = [int(end) for end in np.cumsum([POINT_RUNS, solid, second, derivative])]
    # whole rows that are put together; stretches of rows
    buffer = [TOGETHER // np.dtype(dtype).itemsize, line * STRETCH * line, line * min(plan.size, LONGEST)]
    if jacobian:
        buffer.append(3 * line * max(plan.size, line))
    return ends, ends[3] * vectors * line + max(buffer)


def _recursion(lmax: int, normalization: str) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """``powers`` and ``values`` of a program."""
    scale = np.array([harmonic_scale(normalization, n) / harmonic_scale("component", n) for n in range(lmax + 1)])
    # With |Y_l|^2 = 2 l + 1 the constant is exactly 1.
    sectors = sectoral(lmax) / sectoral(lmax)[0] * scale * np.where(np.arange(lmax + 1) > 0, sqrt(2), 1.0)
    powers = np.concatenate([sectors[:1], sectors[1:] / sectors[:-1]])
    both = np.zeros((lmax + 1, lmax + 1, 2))  # by order and degree
    for degree in range(1, lmax + 1):
        a, b = recursion(degree)
        both[:degree, degree, 0] = a * scale[degree] / scale[degree - 1]
        both[:degree, degree, 1] = b * scale[degree] / scale[degree - 2]
    return powers, both[np.triu_indices(lmax + 1, 1)].ravel()


def _ladder(plan: Harmonics, lanes: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float64]]:
    """``places`` and ``weights`` of a program; empty where no derivative is asked for."""
    if plan.kind == "values":
        return np.zeros(0, dtype=np.int32), np.zeros(0)
    degrees = np.arange(plan.lmax + 1)
    # From orthonormal harmonics of the degree below to those that the recursion makes.
    below = np.array([harmonic_scale(plan.normalization, max(n - 1, 0)) for n in range(plan.lmax + 1)])
    degree = np.repeat(degrees, 2 * degrees + 1)
    ladder = gradient_ladder(plan.lmax, plan.normalization)
    weights = np.concatenate([ladder.weights / below[degree], degree[None, :]]).T
    missing = ((0, max(0, LINE - plan.size)), (0, 0))  # Jacobians are made of as many as a vector has lanes
    return (np.pad(ladder.places.T, missing).ravel() * lanes).astype(np.int32), np.pad(weights, missing).ravel()


def run(
    plan: Harmonics, arrays: tuple[Array, ...], context: Context, out: Array | None, num_threads: int | None
) -> tuple[Array, ...]:
    """Evaluate ``plan``; see :func:`tpnumba.backends.generic.harmonics.run` for the arguments."""
    dtype = np.dtype(context.dtype)
    program = program_of(plan, context.dtype_name)
    assert program is not None  # asked for before the plan came here
    full = arrays[0].shape[:-1]
    results = [np.empty((*full, prod(core)), dtype=dtype) for core in plan.outputs] if out is None else [out]
    count = prod(full)
    if count:
        threads = default_threads() if num_threads is None else num_threads
        threads = max(1, min(threads, MOST_BYTES // (program.tile_size * dtype.itemsize)))
        places = [_find(array, full, dtype) for array in (*arrays, *results)]
        found = [place for place in places if place is not None]
        if len(found) == len(places):
            _fill(program, plan, found, (*arrays, *results), count, threads, fresh=out is None)
        else:
            _in_blocks(program, plan, arrays, results, full, threads)
    if out is not None:
        return (out,)
    return tuple(np.reshape(result, (*full, *core)) for result, core in zip(results, plan.outputs, strict=True))


def _in_blocks(
    program: HarmonicsProgram,
    plan: Harmonics,
    arrays: tuple[Array, ...],
    results: list[Array],
    full: Shape,
    threads: int,
) -> None:
    """With rows that do not stand in memory as such copied together, block by block."""
    dtype = results[0].dtype
    numbers = sum(plan.inputs) + sum(prod(core) for core in plan.outputs)
    for block in blocks(full, max(1, _COPY_BYTES // (numbers * dtype.itemsize))):
        shape = tuple(cut.stop - cut.start for cut in block)
        count = prod(shape)
        rows = [np.require(rows_of(np, array, block, full), dtype, ("C", "A")) for array in arrays]
        parts = [np.empty((count, result.shape[-1]), dtype=dtype) for result in results]
        places = [_find(array, (count,), dtype) for array in (*rows, *parts)]
        found = [place for place in places if place is not None]
        assert len(found) == len(places)
        _fill(program, plan, found, (*rows, *parts), count, threads, fresh=True)
        for result, part in zip(results, parts, strict=True):
            result[block] = np.reshape(part, (*shape, part.shape[-1]))


def _fill(
    program: HarmonicsProgram,
    plan: Harmonics,
    found: list[tuple[int, int, int]],
    arrays: tuple[Array, ...],
    count: int,
    threads: int,
    *,
    fresh: bool,
) -> None:
    """Write the results of all points; ``found``: the places of inputs, then results, ``fresh`` if just allocated."""
    table = program.arrays.copy()
    used = (*(POINTS, SECOND)[: len(plan.inputs)], *_results(plan))
    for row, place in zip(used, found, strict=True):
        table[row, ADDRESS:STREAM] = place
    for row in _results(plan):
        written = count * int(table[row, SIZE]) * program.values.itemsize
        table[row, STREAM] = written > _STREAM_BYTES and not (fresh and written > _FRESH_BYTES)
    samples = program.samples
    if program.seconds * count < WORTH_SHARING:
        threads = 1
    elif threads > 1:  # some pieces for each thread, as one that wakes late should find less to do
        few = -(-count // (4 * threads * program.lanes)) * program.lanes
        samples = min(samples, max(few, samples // (8 * program.lanes) * program.lanes, program.lanes))
    if samples >= count:
        _call(program, plan, table, 0, count)
        return

    # A second Ctrl-C may end this call while a worker is at its piece: the work itself keeps all memory.
    def piece(i: int, _: object = arrays) -> None:
        _call(program, plan, table, i * samples, min(count, (i + 1) * samples))

    share(piece, -(-count // samples), threads)


def _call(program: HarmonicsProgram, plan: Harmonics, table: Ints, start: int, stop: int) -> None:
    """Run the kernel in the memory of this thread."""
    kept: Any = program
    harmonics(
        WIDTHS[program.vectors],
        _workspace(kept),
        table,
        program.derivative,
        plan.lmax,
        plan.normalize,
        program.powers,
        program.values,
        program.places,
        program.weights,
        program.buffer,
        start,
        stop,
    )


def compile_all() -> Iterator[str]:
    """Compile the kernel in every form it has, or take it from the cache; yields what was made ready."""
    plan = Harmonics(0, NORMALIZATIONS[0], True, "values")
    for dtype in ("float32", "float64"):
        for vectors in VECTORS:
            program = _program(plan, dtype, vectors)
            arrays = [np.zeros((1, 3), dtype=dtype), np.zeros((1, 1), dtype=dtype)]
            places = [_find(array, (1,), array.dtype) for array in arrays]
            _fill(program, plan, [place for place in places if place is not None], tuple(arrays), 1, 1, fresh=True)
            yield f"harmonics, {dtype}, runs of {program.lanes}"
