"""Matrices of the Wigner-D recursion in the degree; no Euler angles, so no gimbal lock."""

from __future__ import annotations

from functools import lru_cache
from math import sqrt

import numpy as np

from tpnumba.tables.clebsch_gordan import Array, clebsch_gordan


@lru_cache(maxsize=512)
def raising_matrix(degree: int) -> Array:
    """``A[b, a, m] = sqrt(2 l + 1) C(l - 1, 1, l)[a, b, m]``, read-only, shape ``(3, 2 l - 1, 2 l + 1)``.

    ``C`` intertwines, so ``D^l = sum_{b, b'} R[b, b'] A[b]^T D^{l-1} A[b']``, starting from ``D^1 = R``.
    """
    matrix = np.ascontiguousarray(np.moveaxis(clebsch_gordan(degree - 1, 1, degree), 1, 0)) * sqrt(2 * degree + 1)
    matrix.flags.writeable = False
    return matrix
