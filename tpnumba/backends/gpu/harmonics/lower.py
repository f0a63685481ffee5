"""Spherical harmonics on the GPU: the kernel's tables, how many points a block works on, and launches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod, sqrt
from typing import Any

import numpy as np
import numpy.typing as npt

from tpnumba.backends.blocks import blocks, rows_of
from tpnumba.backends.gpu.device import C_TYPES, kernel, on_device, tables_of
from tpnumba.backends.gpu.launch import COPY_BYTES, MOST_BLOCKS, as_rows, as_target
from tpnumba.backends.gpu.program import MOST_ENTRIES
from tpnumba.backends.namespaces import Context
from tpnumba.plans.access import Access
from tpnumba.plans.harmonics import HIGHEST_SINGLE, Harmonics
from tpnumba.tables.couplings import harmonic_scale
from tpnumba.tables.spherical_harmonics import gradient_ladder, recursion, sectoral

Array = Any
Floats = npt.NDArray[np.float64]

SOURCE = "harmonics.cu"
#: As in harmonics.cu: the numbers of a point, without and with its tangent, and those of an order that are kept between
#: chunks, without and with sums.
_POINT, _POINT_AND_TANGENT, _KEPT, _SUMS = 6, 9, 4, 3
#: Points of a block: as many as threads at most; in the harmonics of so many lanes a warp differs in nothing else.
_MOST_POINTS, _WARP = 256, 32
#: Shared memory of a block, in bytes: with more points than a warp has; with a chunk of several degrees; the most.
_SMALL_BYTES, _USUAL_BYTES, _MOST_BYTES = 24 * 2**10, 48 * 2**10, 96 * 2**10
#: Blocks have no more points than leave so many of them, some for each multiprocessor. Not measured.
_ENOUGH_BLOCKS = 512
#: Degrees of a chunk, by the highest: with usual memory; at least, as the Jacobian needs the degree before as well.
_USUAL_DEGREES, _LEAST_DEGREES = 4, 2
#: Bytes of shared memory that are read at once.
_BANKS_BYTES = 128
_THREADS = (256, 224, 192, 160, 128)

_KINDS = {"values": 0, "value_and_jacobian": 1, "jvp": 2}


@dataclass(frozen=True, eq=False)
class HarmonicsProgram:
    """What the kernel of harmonics reads of one plan, and how it is launched; hashed by identity.

    ``name``: the instance; ``samples``: points of a block at most, ``pitch`` from one of their numbers to the next;
    ``threads`` of a block; ``shared_bytes``; ``table``: the chunks, first and last degree, then the numbers of a point
    in the tile; ``coefficients``: of recursions, and from ``ladder`` on of gradients.
    """

    name: str
    samples: int
    pitch: int
    threads: int
    shared_bytes: int
    chunks: int
    table: npt.NDArray[np.int32]
    coefficients: npt.NDArray[np.floating]
    ladder: int


def instance(kind: str, dtype: str, work: str) -> str:
    """The instance of the kernel for harmonics of ``kind``, of points in ``dtype``, that works in ``work``."""
    types = f"{C_TYPES[dtype]}, {C_TYPES[work]}"
    return f"pull_back<{types}>" if kind == "vjp" else f"harmonics<{types}, {_KINDS[kind]}>"


@lru_cache(maxsize=512)
def program_of(plan: Harmonics, dtype: str) -> HarmonicsProgram | None:
    """The program of ``plan``; None if its tables or the harmonics of one point are too large: degrees above 1,100."""
    work = "float64" if plan.lmax > HIGHEST_SINGLE else dtype
    item = np.dtype(work).itemsize
    entries = (plan.lmax + 1) * (plan.lmax + 2) // 2 * (2 if plan.kind == "values" else 6)
    fitting = _fitting(plan, item)
    if entries > MOST_ENTRIES or fitting is None:
        return None
    samples, numbers, bounds = fitting
    pitch = _pitch(plan, samples, item)
    steps, ladder = _steps(plan), np.zeros(0) if plan.kind == "values" else _ladder(plan)
    start = -(-steps.size // 4) * 4  # ladders are read four numbers at once
    coefficients = np.concatenate([steps, np.zeros(start - steps.size), ladder]).astype(work)
    tile = max((_tile(*bound) for bound in bounds), default=0)
    table = np.array([*(degree for bound in bounds for degree in bound), tile], dtype=np.int32)
    for array in (coefficients, table):
        array.flags.writeable = False
    return HarmonicsProgram(
        name=instance(plan.kind, dtype, work),
        samples=samples,
        pitch=pitch,
        threads=_threads(plan) if len(bounds) == 1 else _THREADS[0],
        shared_bytes=numbers * pitch * item,
        chunks=len(bounds),
        table=table,
        coefficients=coefficients,
        ladder=start,
    )


def _width(plan: Harmonics) -> int:
    """The length of the rows that are read or written."""
    return plan.inputs[1] if plan.kind == "vjp" else prod(plan.outputs[-1])


def _pitch(plan: Harmonics, samples: int, item: int) -> int:
    """So much more than the number of points that numbers that are stored at once are in different banks, or nearly."""
    return samples + max(1, _BANKS_BYTES // item // _width(plan)) if samples > 1 else 1


def _tile(begin: int, end: int) -> int:
    return end**2 - begin**2


def _fitting(plan: Harmonics, item: int) -> tuple[int, int, list[tuple[int, int]]] | None:
    """Points of a block, numbers of each of them, and chunks of degrees."""
    back = plan.kind == "vjp"
    # The degrees in the tile: of cotangents, or of harmonics, which derivatives take from the degree below.
    first = 1 if back else 0
    end = max(plan.lmax, 1) if plan.kind == "jvp" else plan.lmax + 1
    orders = plan.lmax if back else end
    point = (_POINT_AND_TANGENT if plan.kind == "jvp" else _POINT) + (_SUMS * orders if back else 0)
    # At once, for as many points as possible.
    whole = [(first, end)] if end > first else []
    samples = _MOST_POINTS
    while samples >= _WARP:
        numbers = point + _tile(first, end)
        if numbers * _pitch(plan, samples, item) * item <= (_USUAL_BYTES if samples == _WARP else _SMALL_BYTES):
            return samples, numbers, whole
        samples //= 2
    # In chunks, with whatever is left of the memory.
    kept = _KEPT * orders
    for most, degrees in ((_USUAL_BYTES, _USUAL_DEGREES), (_MOST_BYTES, _LEAST_DEGREES)):
        samples = _WARP
        while samples:
            room = most // (_pitch(plan, samples, item) * item) - point - kept
            if room >= degrees * (2 * end - 1):
                bounds = _chunks(first, end, room, overlap=plan.kind == "value_and_jacobian")
                return samples, point + kept + max((_tile(*bound) for bound in bounds), default=0), bounds
            samples //= 2
    return None


def _chunks(first: int, end: int, room: int, *, overlap: bool) -> list[tuple[int, int]]:
    """Ranges of degrees of which each has at most ``room`` numbers; with ``overlap`` from the last degree before."""
    bounds = []
    known = first
    while known < end:
        begin = max(known - overlap, first)
        stop = known + 1
        while stop < end and _tile(begin, stop + 1) <= room:
            stop += 1
        bounds.append((begin, stop))
        known = stop
    return bounds


def _threads(plan: Harmonics) -> int:
    """So many threads that most have a column of the rows that they read or write."""
    width = _width(plan)

    def busy(threads: int) -> float:
        if width < threads:
            return threads // width * width / threads
        return width / (-(-width // threads) * threads)

    return max(_THREADS, key=busy)


def _scales(plan: Harmonics) -> Floats:
    """The size of a degree, where the constant is exactly 1 before it is scaled."""
    degrees = range(plan.lmax + 1)
    return np.array([harmonic_scale(plan.normalization, n) / harmonic_scale("component", n) for n in degrees])


def _steps(plan: Harmonics) -> Floats:
    """``(a, b)`` of every degree and order that is not negative; of the degree that is the order, its first factor."""
    lmax, scale = plan.lmax, _scales(plan)
    both = np.zeros((lmax + 1, lmax + 1, 2))
    first = sectoral(lmax) / sectoral(lmax)[0] * scale * np.where(np.arange(lmax + 1) > 0, sqrt(2), 1.0)
    for degree in range(lmax + 1):
        both[degree, degree, 0] = first[degree]
        if degree:
            a, b = recursion(degree)
            both[degree, :degree, 0] = a * scale[degree] / scale[degree - 1]
            both[degree, :degree, 1] = b * scale[degree] / scale[degree - 2]
    return both[np.tril_indices(lmax + 1)].ravel()


def _ladder(plan: Harmonics) -> Floats:
    """Weights of every degree and order that is not negative, of the harmonics of the degree below.

    Of that of the same order, of that nearer to zero and of that further from it: for a result; or, to pull back, for
    those results that the harmonic of this order of the degree below is in.
    """
    lmax = plan.lmax
    degree, order = np.tril_indices(lmax + 1)
    # From orthonormal harmonics of the degree below to those that the recursion makes.
    below = np.array([harmonic_scale(plan.normalization, max(n - 1, 0)) for n in range(lmax + 1)])[degree]
    ladder = gradient_ladder(lmax, plan.normalization)
    weights = np.zeros((lmax + 1, lmax + 2, 4))
    rows = ladder.weights[:, degree * (degree + 1) + order]
    weights[degree, order, :3] = (np.array([rows[2], rows[3], -rows[4]]) / below).T
    if plan.kind == "vjp":
        turned = weights.copy()
        turned[:, :-1, 1] = weights[:, 1:, 1]
        turned[:, 0, 2] = 0.0
        turned[:, 1:, 2] = weights[:, :-1, 2]
        weights = turned
    return weights[degree, order].ravel()


def run(
    plan: Harmonics,
    arrays: tuple[Array, ...],
    context: Context,
    out: Array | None,
    num_threads: int | None = None,  # noqa: ARG001
) -> tuple[Array, ...]:
    """Evaluate ``plan``; see :func:`tpnumba.backends.generic.harmonics.run` for the arguments."""
    xp, _, dtype = context
    program = program_of(plan, context.dtype_name)
    assert program is not None  # asked for before the plan came here
    with on_device(arrays[0]):
        arrays = tuple(xp.astype(array, dtype, copy=False) for array in arrays)
        full = tuple(arrays[0].shape[:-1])
        results = [xp.empty((*full, *core), dtype=dtype) for core in plan.outputs] if out is None else [out]
        found = [as_rows(array, Access.BATCH, full) for array in arrays]
        targets = [as_target(result, prod(core)) for result, core in zip(results, plan.outputs, strict=True)]
        count = prod(full)
        if count == 0:
            return tuple(results)
        rows, to = [row for row in found if row is not None], [target for target in targets if target is not None]
        if len(rows) == len(found) and len(to) == len(targets):
            _launch(program, plan, rows, to, count)
            return tuple(results)
        # In blocks, with rows copied together.
        numbers = sum(plan.inputs) + sum(prod(core) for core in plan.outputs)
        for block in blocks(full, max(1, COPY_BYTES // (numbers * context.itemsize))):
            shape = tuple(cut.stop - cut.start for cut in block)
            count = prod(shape)
            rows = [(xp.ascontiguousarray(rows_of(xp, array, block, full)), array.shape[-1]) for array in arrays]
            parts = [xp.empty((count, prod(core)), dtype=dtype) for core in plan.outputs]
            _launch(program, plan, rows, parts, count)
            for result, part in zip(results, parts, strict=True):
                result[block] = xp.reshape(part, (*shape, *result.shape[len(full) :]))
    return tuple(results)


def _launch(
    program: HarmonicsProgram, plan: Harmonics, rows: Sequence[tuple[Array, int]], to: Sequence[Array], count: int
) -> None:
    table, coefficients = tables_of(program)
    samples = program.samples
    while samples > _WARP and count < samples * _ENOUGH_BLOCKS:
        samples //= 2
    points, *second = [(array, np.int64(step)) for array, step in rows]
    arrays = [*points, *(second[0] if second else points)]
    # What a kind has no use for is there as well, and left alone.
    arrays += to if plan.kind in ("vjp", "value_and_jacobian") else [*to, *to]
    kernel(program.name, program.shared_bytes, file=SOURCE)(
        (min(-(-count // samples), MOST_BLOCKS),),
        (program.threads,),
        (
            *(*arrays, coefficients, np.int32(program.ladder), table, np.int32(program.chunks)),
            *(np.int32(plan.lmax), np.int32(plan.normalize), np.int32(samples.bit_length() - 1)),
            *(np.int32(program.pitch), np.int64(count)),
        ),
        shared_mem=program.shared_bytes,
    )
