"""The one fixed rotation that Wigner D matrices are built from: it exchanges the polar axis with another."""

from __future__ import annotations

import numpy as np

from tpnumba.tables.clebsch_gordan import Array
from tpnumba.tables.memory import cached_within
from tpnumba.tables.tridiagonal import null_vectors


@cached_within(2**27)
def swap_matrix(degree: int) -> Array:
    """``D^l`` of ``(x, y, z) -> (y, x, -z)``: symmetric, its own inverse, read-only, shape ``(2 l + 1, 2 l + 1)``.

    Its elements are those of ``d = d^l(pi / 2)``, whose columns are the eigenvectors of ``J_x``, a tridiagonal matrix
    with the eigenvalues ``-l..l``. For orders ``m, m' >= 0`` let ``w = 2 (-i)^(m + m') d_mm'``, over ``sqrt(2)`` for
    each order that is zero. Then ``D[m, m'] = Re w`` and ``D[-m, m'] = Im w`` where ``l + m`` is even,
    ``D[-m, -m'] = Re w`` and ``D[m, -m'] = -Im w`` where it is odd; the others are zero.
    """
    orders = np.arange(-degree, degree + 1)[:, None]
    columns = np.arange(degree + 1)
    squares = ((degree - orders) * (degree + orders + 1))[:-1] * np.ones(columns.size)
    diagonal = np.ones(orders.shape) * (-2.0 * columns)
    vectors = null_vectors(diagonal, squares, np.ones(diagonal.shape, dtype=bool))
    # The component at the highest order has the sign (-1)^(l - m').
    d = vectors[degree:] * np.where((degree - columns) % 2 == 0, 1.0, -1.0)

    sums = columns[:, None] + columns
    d = (d + d.T * np.where(sums % 2 == 0, 1.0, -1.0)) / 2
    d[0, (degree + columns) % 2 == 1] = 0.0
    d[(degree + columns) % 2 == 1, 0] = 0.0
    d *= 2 ** (1 - ((columns[:, None] == 0) * 0.5 + (columns == 0) * 0.5))
    real = d * np.array([1, 0, -1, 0])[sums % 4]
    imaginary = d * np.array([0, -1, 0, 1])[sums % 4]
    even = (degree + columns[:, None]) % 2 == 0
    plus, minus = slice(degree, None), slice(degree, None, -1)
    matrix = np.zeros((2 * degree + 1, 2 * degree + 1))
    matrix[plus, plus] += np.where(even, real, 0.0)
    matrix[minus, plus] += np.where(even, imaginary, 0.0)
    matrix[minus, minus] += np.where(even, 0.0, real)
    matrix[plus, minus] -= np.where(even, 0.0, imaginary)
    matrix.flags.writeable = False
    return matrix


@cached_within(2**24)
def swapped_turns(degree: int) -> Array:
    """``P Y(b) P`` as a combination of ``sin(m b)``, m = 1..l, and ``cos(m b)``, m = 0..l: a row for each of them.

    ``P`` is :func:`swap_matrix`; ``Y(b)`` turns orders m and -m into each other by ``cos(m b)`` and ``sin(m b)``.

    Returns:
        Read-only, shape ``(2 l + 1, (2 l + 1)^2)``.
    """
    swap = swap_matrix(degree)
    plus, minus = swap[degree:], swap[degree::-1]  # rows of the orders m and -m; the matrix is symmetric
    sines = minus[1:, :, None] * plus[1:, None, :] - plus[1:, :, None] * minus[1:, None, :]
    cosines = plus[:, :, None] * plus[:, None, :] + minus[:, :, None] * minus[:, None, :]
    cosines[0] /= 2
    table: Array = np.concatenate([sines, cosines]).reshape(2 * degree + 1, -1)
    table.flags.writeable = False
    return table
