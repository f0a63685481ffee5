"""Null vectors of symmetric tridiagonal matrices whose eigenvalue is known without error."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def null_vectors(diagonal: Array, squares: Array, inside: npt.NDArray[np.bool_]) -> Array:
    """Unit null vectors of many tridiagonal matrices at once, by twisted factorisation.

    The matrix is eliminated from both ends, up to a row in the middle of the oscillating part of the vector; from there
    the vector follows by ratios towards either end. So it only ever runs from large components to small ones, the
    stable direction, and a component below the least float64 becomes zero: nothing has to be rescaled at any degree.
    (Dhillon, Parlett: *Orthogonal eigenvectors and relative gaps*, SIAM J. Matrix Anal. 25, 2004; as the eigenvalue is
    exact, the twist is chosen by the size of the components and not by the pivots left over, which are rounding.)

    Args:
        diagonal: shape ``(n, matrices)``.
        squares: of the off-diagonal elements, which are taken as positive; shape ``(n - 1, matrices)``.
        inside: shape ``(n, matrices)``; the rows that each matrix has, one run of them. The others are ignored.

    Returns:
        Shape ``(n, matrices)``, zero outside; the last component inside is positive (before it underflows).
    """
    n = diagonal.shape[0]
    squares = np.where(inside[1:] & inside[:-1], squares, 0.0)
    diagonal = np.where(inside, diagonal, 1.0)
    # Both eliminations in one loop: [step, direction, matrix].
    both = np.stack([diagonal, diagonal[::-1]], axis=1)
    both_squares = np.stack([squares, squares[::-1]], axis=1)
    pivots = np.empty_like(both)
    pivots[0] = both[0]
    for step in range(n):
        if step:
            np.divide(both_squares[step - 1], pivots[step - 1], out=pivots[step])
            np.subtract(both[step], pivots[step], out=pivots[step])
        # A zero of the vector on the neighbouring row; any tiny pivot does, as the next ratio undoes it.
        np.copyto(pivots[step], 1e-250, where=pivots[step] == 0)
    backward = pivots[::-1, 1]
    rows = np.arange(n)[:, None]
    above = np.sqrt(np.concatenate([squares, np.zeros_like(diagonal[:1])]))  # couples a row to the next
    below = np.concatenate([np.zeros_like(diagonal[:1]), above[:-1]])
    twist = np.argmin(np.where(inside, np.abs(diagonal) / np.maximum(above + below, 1e-250), np.inf), axis=0)[None]
    # The component there may be next to zero; then the following one is not.
    root, pivot = (np.take_along_axis(table, twist, axis=0) for table in (above, pivots[:, 0]))
    twist += (root > 0) & (np.abs(pivot) > root)

    start = np.where(rows == twist, 1.0, 0.0)
    # ratios[step, 0] leads from row step to step + 1, ratios[step, 1] from row n - 1 - step to the one before.
    ratios = -np.sqrt(both_squares) / pivots[-2::-1, ::-1]
    vectors = np.stack([start, start[::-1]], axis=1)
    for step in range(n - 1):
        vectors[step + 1] += ratios[step] * vectors[step]
    result: Array = vectors[:, 0] + vectors[::-1, 1] - start
    result /= np.sqrt(np.sum(result**2, axis=0))
    flips = np.count_nonzero((backward > 0) & inside & (rows > twist), axis=0)
    result *= np.where(flips % 2 == 0, 1.0, -1.0)
    return result
