"""From harmonics of points to the tables that their kernels read, and how many points a block works on."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod, sqrt

import numpy as np
import numpy.typing as npt

from tpnumba.backends.gpu import device, layout, sources
from tpnumba.backends.gpu.tile.program import MOST_ENTRIES
from tpnumba.plans.harmonics import HIGHEST_SINGLE, Harmonics
from tpnumba.tables.couplings import harmonic_scale
from tpnumba.tables.spherical_harmonics import gradient_ladder, recursion, sectoral

Floats = npt.NDArray[np.float64]

#: Points of a block at most, one a thread; from a warp on its threads differ in nothing else.
_MOST_POINTS = layout.THREADS
#: Shared memory of a block, in bytes: with more points than a warp has; with several degrees at a time, which is what a
#: kernel gets without asking for more. The most is that of the device.
SMALL_BYTES, USUAL_BYTES = 24 * 2**10, device.GIVEN_BYTES
#: Degrees that are made at a time, by the size of the highest: with usual memory; at least, as the Jacobian needs the
#: degree before as well.
USUAL_DEGREES, _LEAST_DEGREES = 4, 2
_THREADS = (layout.THREADS, 224, 192, 160, 128)

_KINDS = {
    "values": layout.HarmonicsKind.VALUES,
    "value_and_jacobian": layout.HarmonicsKind.JACOBIAN,
    "jvp": layout.HarmonicsKind.TANGENT,
}


@dataclass(frozen=True, eq=False)
class HarmonicsProgram:
    """What the kernel of harmonics reads of one plan, and how it is launched; hashed by identity.

    ``name``: the instance; ``samples``: points of a block at most, ``pitch`` from one of their numbers to the next;
    ``threads`` of a block; ``shared_bytes``; ``ranges`` of degrees that follow each other; ``table``: for each range
    the first degree and the one after the last, then the numbers of a point in the tile; ``coefficients``: of
    recursions, and from ``ladder`` on of gradients.
    """

    name: str
    samples: int
    pitch: int
    threads: int
    shared_bytes: int
    ranges: int
    table: npt.NDArray[np.int32]
    coefficients: npt.NDArray[np.floating]
    ladder: int


def instance(kind: str, dtype: str, work: str) -> str:
    """The instance of the kernel for harmonics of ``kind``, of points in ``dtype``, that works in ``work``."""
    if kind == "vjp":
        return sources.instance("pull_back", (dtype, work))
    return sources.instance("harmonics", (dtype, work), _KINDS[kind])


def lower(plan: Harmonics, dtype: str) -> HarmonicsProgram | None:
    """The program of ``plan``; None if its tables or the harmonics of one point are too large: degrees above 1,100."""
    work = "float64" if plan.lmax > HIGHEST_SINGLE else dtype
    item = np.dtype(work).itemsize
    entries = (plan.lmax + 1) * (plan.lmax + 2) // 2 * (2 if plan.kind == "values" else 6)
    fitting = _fitting(plan, item)
    if entries > MOST_ENTRIES or fitting is None:
        return None
    samples, numbers, bounds = fitting
    pitch = _pitch(plan, samples, item)
    recursions, ladder = _recursions(plan), np.zeros(0) if plan.kind == "values" else _ladder(plan)
    at_once = len(layout.LADDER_FIELDS)
    start = -(-recursions.size // at_once) * at_once
    coefficients = np.concatenate([recursions, np.zeros(start - recursions.size), ladder]).astype(work)
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
        ranges=len(bounds),
        table=table,
        coefficients=coefficients,
        ladder=start,
    )


def _width(plan: Harmonics) -> int:
    """The length of the rows that are read or written."""
    return plan.input_sizes[1] if plan.kind == "vjp" else prod(plan.result_shapes[-1])


def _pitch(plan: Harmonics, samples: int, item: int) -> int:
    """From one number of a point to the next: padded, so that numbers stored at once are in different banks."""
    return samples + max(1, device.BANKS * 4 // item // _width(plan)) if samples > 1 else 1


def _tile(begin: int, end: int) -> int:
    return end**2 - begin**2


def _fitting(plan: Harmonics, item: int) -> tuple[int, int, list[tuple[int, int]]] | None:
    """Points of a block, numbers of each of them, and ranges of degrees, each with the one after its last."""
    back = plan.kind == "vjp"
    # The degrees in the tile: of cotangents, or of harmonics, which derivatives take from the degree below.
    first = 1 if back else 0
    end = max(plan.lmax, 1) if plan.kind == "jvp" else plan.lmax + 1
    orders = plan.lmax if back else end
    numbers_of = layout.PointRecord
    point = (numbers_of.POINT if plan.kind == "jvp" else numbers_of.TANGENTS) + (layout.SUMS * orders if back else 0)
    # At once, for as many points as possible.
    whole = [(first, end)] if end > first else []
    samples = _MOST_POINTS
    while samples >= device.WARP:
        numbers = point + _tile(first, end)
        if numbers * _pitch(plan, samples, item) * item <= (USUAL_BYTES if samples == device.WARP else SMALL_BYTES):
            return samples, numbers, whole
        samples //= 2
    # Range after range, with whatever is left of the memory.
    saved = layout.SavedRecord.SAVED * orders
    for most, degrees in ((USUAL_BYTES, USUAL_DEGREES), (device.MOST_SHARED_BYTES, _LEAST_DEGREES)):
        samples = device.WARP
        while samples:
            room = most // (_pitch(plan, samples, item) * item) - point - saved
            if room >= degrees * (2 * end - 1):
                bounds = _ranges(first, end, room, overlap=plan.kind == "value_and_jacobian")
                return samples, point + saved + max((_tile(*bound) for bound in bounds), default=0), bounds
            samples //= 2
    return None


def _ranges(first: int, end: int, room: int, *, overlap: bool) -> list[tuple[int, int]]:
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
    """The number of threads of which most have a column of the rows that they read or write."""
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


def _recursions(plan: Harmonics) -> Floats:
    """``(a, b)`` of every degree and order that is not negative; of the degree that is the order, its first factor."""
    lmax, scale = plan.lmax, _scales(plan)
    both = np.zeros((lmax + 1, lmax + 1, len(layout.RECURSION_FIELDS)))
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
    weights = np.zeros((lmax + 1, lmax + 2, len(layout.LADDER_FIELDS)))
    rows = ladder.weights[:, degree * (degree + 1) + order]
    weights[degree, order, :3] = (np.array([rows[2], rows[3], -rows[4]]) / below).T
    if plan.kind == "vjp":
        turned = weights.copy()
        turned[:, :-1, 1] = weights[:, 1:, 1]
        turned[:, 0, 2] = 0.0
        turned[:, 1:, 2] = weights[:, :-1, 2]
        weights = turned
    return weights[degree, order].ravel()
