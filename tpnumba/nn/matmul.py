"""Matrix products in pieces that BLAS leaves to the thread that calls it.

OpenBLAS, which NumPy brings, wakes threads of its own for a product of more than 2^18 multiplications (its
``SMP_THRESHOLD_MIN * GEMM_MULTITHREAD_THRESHOLD``). On a machine that has other work such threads wait for each other:
beside busy processes, on two cores, the gradient of a network fell from 38 to 0.4 GFLOP/s. In pieces, each of which is
below that, a product has the speed of one thread (a Xeon with AVX-512, float32, 256 rows, 64 terms, 416 to 992 columns:
149 to 178 GFLOP/s, and 147 to 156 in one piece), and rows can be shared by the threads of the caller. Its bits do not
depend on the number of threads.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tpnumba.backends.cpu.layout import MOST_MULTIPLICATIONS
from tpnumba.backends.namespaces import Context, is_numpy

Array = Any

#: Rows of a piece; what divides blocks of rows leaves no rest.
_ROWS = 64
#: Longer sums are cut, so that a piece has columns enough.
_LONGEST_SUM = 128


def matmul(context: Context, a: Array, b: Array, out: Array | None = None) -> Array:
    """The product of ``a``, shape ``(m, k)``, and ``b``, shape ``(k, n)``, of one dtype.

    Args:
        context: of the arrays.
        a, b: matrices, of which one axis is contiguous.
        out: where to write, rows of a contiguous array; for NumPy arrays only.
    """
    if not is_numpy(context.xp):
        return a @ b
    if out is None:
        out = np.empty((a.shape[0], b.shape[1]), a.dtype)
    if a.size * b.shape[1] <= MOST_MULTIPLICATIONS:
        return np.matmul(a, b, out=out)
    whole = a.shape[0] // _ROWS * _ROWS
    if whole:
        product = _product if a.shape[1] <= _LONGEST_SUM else _long_product
        product(a[:whole], b, out[:whole], _ROWS)
    if whole < a.shape[0]:
        product = _product if a.shape[1] <= _LONGEST_SUM else _long_product
        product(a[whole:], b, out[whole:], a.shape[0] - whole)
    return out


def _product(a: Array, b: Array, out: Array, rows: int) -> None:
    """Write the product, cut into pieces by rows and columns; ``rows`` divides those of ``a``."""
    (count, k), n = a.shape, b.shape[1]
    columns = max(1, MOST_MULTIPLICATIONS // (rows * k))
    parts = n // columns
    pieces = a.reshape(count // rows, 1, rows, k)
    if parts:
        cut = slice(parts * columns)
        right = b[:, cut].reshape(k, parts, columns).transpose(1, 0, 2)
        into = out[:, cut].reshape(count // rows, rows, parts, columns).transpose(0, 2, 1, 3)
        np.matmul(pieces, right, out=into)
    if parts * columns < n:
        cut = slice(parts * columns, n)
        np.matmul(pieces[:, 0], b[:, cut], out=out[:, cut].reshape(count // rows, rows, n - parts * columns))


def _long_product(a: Array, b: Array, out: Array, rows: int) -> None:
    """Write a product of many terms: those of each part of the sum side by side, and then added."""
    (count, k), n = a.shape, b.shape[1]
    rows = rows // 2 if rows % 2 == 0 else rows
    columns = max(1, MOST_MULTIPLICATIONS // (rows * _LONGEST_SUM))
    parts = k // _LONGEST_SUM
    cut = slice(parts * _LONGEST_SUM)
    left = a[:, cut].reshape(count // rows, rows, parts, _LONGEST_SUM).transpose(0, 2, 1, 3)
    for start in range(0, n, columns):
        some = slice(start, min(start + columns, n))
        width = some.stop - start
        right = b[cut, some].reshape(parts, _LONGEST_SUM, width)
        into = out[:, some]
        np.sum(np.matmul(left, right), axis=1, out=into.reshape(count // rows, rows, width))
        if cut.stop < k:
            rest = a[:, cut.stop :].reshape(count // rows, rows, k - cut.stop)
            into += np.matmul(rest, b[cut.stop :, some]).reshape(count, width)
