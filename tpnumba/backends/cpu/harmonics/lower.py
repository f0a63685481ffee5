"""From spherical harmonics to their program: the tables of the recursion and of the gradients."""

from __future__ import annotations

from math import prod, sqrt

import numpy as np
import numpy.typing as npt

from tpnumba.backends.cpu import layout
from tpnumba.backends.cpu.harmonics.program import HarmonicsProgram
from tpnumba.plans.harmonics import HIGHEST_SINGLE, Harmonics
from tpnumba.tables.couplings import harmonic_scale
from tpnumba.tables.memory import cached_within
from tpnumba.tables.spherical_harmonics import gradient_ladder, recursion, sectoral

Array = npt.NDArray[np.floating]
Ints = npt.NDArray[np.int64]

_DERIVATIVES = {
    "values": layout.NOTHING,
    "value_and_jacobian": layout.JACOBIAN,
    "vjp": layout.PULLED_BACK,
    "jvp": layout.PUSHED_FORWARD,
}


def lower_harmonics(plan: Harmonics, dtype: str, vectors: int | None = None) -> HarmonicsProgram | None:
    """The program of ``plan``; None if the kernel cannot run it: a tile would be too large, or float32 too narrow.

    ``vectors``: of a column of the tile, if not as fits.
    """
    if dtype == "float32" and plan.lmax > HIGHEST_SINGLE:
        return None
    if _tile(plan, dtype, 1)[1] * np.dtype(dtype).itemsize > layout.MOST_BYTES:
        return None
    return _program(plan, dtype, vectors)


@cached_within(2**26)
def _program(plan: Harmonics, dtype: str, vectors: int | None) -> HarmonicsProgram:
    item = np.dtype(dtype).itemsize
    if vectors is None:
        vectors = next(
            (v for v in layout.VECTORS if _tile(plan, dtype, v)[1] * item <= layout.TILE_BYTES), layout.VECTORS[-1]
        )
    tile_width = vectors * layout.LINE // item
    ends, tile_size = _tile(plan, dtype, vectors)
    arrays = np.zeros((4, layout.ARRAY_COLUMNS), dtype=np.int64)
    arrays[[layout.POINTS, layout.VALUES, layout.COMPANION, layout.DERIVATIVE], layout.AT] = (
        np.array([0, *ends[:3]]) * tile_width
    )
    arrays[layout.VALUES, layout.SIZE] = plan.size
    for row, size in zip((layout.POINTS, layout.COMPANION), plan.input_sizes, strict=False):
        arrays[row, layout.SIZE] = size
    for row, core in zip(_results(plan), plan.result_shapes, strict=True):
        arrays[row, layout.SIZE] = prod(core)
    places, weights = _ladder(plan, tile_width)
    powers, coefficients = _recursion(plan.lmax, plan.normalization)
    tables = arrays, powers.astype(dtype), coefficients.astype(dtype), places, weights.astype(dtype)
    for table in tables:
        table.flags.writeable = False
    return HarmonicsProgram(
        vectors=vectors,
        tile_width=tile_width,
        tile_size=tile_size,
        buffer=ends[3] * tile_width,
        arrays=arrays,
        outputs=_results(plan),
        flops=0,  # its time is that of its memory
        lmax=plan.lmax,
        normalize=plan.normalize,
        derivative=_DERIVATIVES[plan.kind],
        powers=tables[1],
        values=tables[2],
        places=tables[3],
        weights=tables[4],
    )


def _results(plan: Harmonics) -> tuple[int, ...]:
    """The rows of ``arrays`` that the plan's results are."""
    return {"values": (layout.VALUES,), "value_and_jacobian": (layout.VALUES, layout.DERIVATIVE)}.get(
        plan.kind, (layout.DERIVATIVE,)
    )


def _tile(plan: Harmonics, dtype: str, vectors: int) -> tuple[list[int], int]:
    """Where values, second input, second result and buffer begin, in columns; and the size of a tile, in numbers."""
    vector_length = layout.LINE // np.dtype(dtype).itemsize
    solid = plan.size if layout.VALUES in _results(plan) else max(1, plan.lmax**2)
    second = plan.input_sizes[1] if len(plan.input_sizes) > 1 else 0
    jacobian = plan.kind == "value_and_jacobian"  # whose rows are made in the buffer
    derivative = prod(plan.result_shapes[-1]) if layout.DERIVATIVE in _results(plan) and not jacobian else 0
    ends = [int(end) for end in np.cumsum([layout.POINT_COLUMNS, solid, second, derivative])]
    # whole rows that are put together; stretches of rows
    buffer = [
        layout.TOGETHER // np.dtype(dtype).itemsize,
        vector_length * layout.STRETCH * vector_length,
        vector_length * min(plan.size, layout.LONGEST),
    ]
    if jacobian:
        buffer.append(3 * vector_length * max(plan.size, vector_length))
    return ends, ends[3] * vectors * vector_length + max(buffer)


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


def _ladder(plan: Harmonics, tile_width: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float64]]:
    """``places`` and ``weights`` of a program; empty where no derivative is asked for."""
    if plan.kind == "values":
        return np.zeros(0, dtype=np.int32), np.zeros(0)
    degrees = np.arange(plan.lmax + 1)
    # From orthonormal harmonics of the degree below to those that the recursion makes.
    below = np.array([harmonic_scale(plan.normalization, max(n - 1, 0)) for n in range(plan.lmax + 1)])
    degree = np.repeat(degrees, 2 * degrees + 1)
    ladder = gradient_ladder(plan.lmax, plan.normalization)
    weights = np.concatenate([ladder.weights / below[degree], degree[None, :]]).T
    missing = ((0, max(0, layout.LINE - plan.size)), (0, 0))  # Jacobians are made of as many as a vector has numbers
    return (np.pad(ladder.places.T, missing).ravel() * tile_width).astype(np.int32), np.pad(weights, missing).ravel()
