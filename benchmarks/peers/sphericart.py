"""sphericart: spherical harmonics in C++, with threads of OpenMP. Its polar axis is z."""

from __future__ import annotations

import numpy as np
import sphericart

from benchmarks.peers import Run
from benchmarks.point_works import HarmonicsWork, Points
from benchmarks.works import Task

#: Y(x, y, z) = Y_theirs(z, x, y): our axis that each of their coordinates holds, and the other way round.
_THEIRS, _OURS = [2, 0, 1], [1, 2, 0]


def prepare(work: HarmonicsWork, operands: Points) -> Run:
    """See :mod:`benchmarks.peers`."""
    points = np.ascontiguousarray(operands.array[:, _THEIRS])
    harmonics = sphericart.SphericalHarmonics(work.lmax)
    if work.task is not Task.JACOBIAN:
        return Run(lambda: (harmonics.compute(points),))
    size = (work.lmax + 1) ** 2  # derivatives have the shape (points, 3, size)
    order = np.arange(size)[:, None] + size * np.array(_OURS)
    return Run(lambda: tuple(harmonics.compute_with_gradients(points)), (None, order.ravel()))
