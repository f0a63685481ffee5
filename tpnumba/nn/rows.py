"""Rows of NumPy arrays in blocks of one shape."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tpnumba.backends.namespaces import Context

Array = Any

#: Rows of a block. On a Xeon with AVX-512, one thread, float32, OpenBLAS multiplies (256 x 64) by (64 x 64) at 128 and
#: by (64 x 1000) at 155 GFLOP/s; 128, 512 and 4096 rows are within 20 percent of that. 256 rows of 64 numbers take
#: 64 kB.
BLOCK_ROWS = 256


def row_blocks(context: Context, rows: Array) -> Iterator[tuple[slice, Array]]:
    """The places of blocks of ``BLOCK_ROWS`` rows, and the blocks, contiguous and in the dtype of the context.

    The last one is filled up with zeros. So matrix products have the same shape whatever the number of rows, and a row
    is the same bit for bit, wherever a batch is cut at a multiple of ``BLOCK_ROWS``.

    Args:
        rows: shape ``(n, size)``.
    """
    count = rows.shape[0]
    for start in range(0, count, BLOCK_ROWS):
        stop = min(start + BLOCK_ROWS, count)
        if stop - start == BLOCK_ROWS:
            part = np.ascontiguousarray(rows[start:stop], context.dtype)
        else:
            part = np.zeros((BLOCK_ROWS, rows.shape[1]), context.dtype)
            part[: stop - start] = rows[start:stop]
        yield slice(start, stop), part
