"""Rows of NumPy arrays in blocks of one shape."""

from __future__ import annotations

from typing import Any

import numpy as np

from tpnumba.backends.namespaces import Context

Array = Any

#: Rows of a block. On a Xeon with AVX-512, one thread, float32, OpenBLAS multiplies (256 x 64) by (64 x 64) at 128 and
#: by (64 x 1000) at 155 GFLOP/s; 128, 512 and 4096 rows are within 20 percent of that. 256 rows of 64 numbers take
#: 64 kB.
BLOCK_ROWS = 256


def num_blocks(rows: Array) -> int:
    """The number of blocks of an array of shape ``(n, size)``."""
    return -(-int(rows.shape[0]) // BLOCK_ROWS)


def row_block(context: Context, rows: Array, number: int) -> tuple[slice, Array]:
    """The place of a block of ``BLOCK_ROWS`` rows, and the block, contiguous and in the dtype of the context.

    The last one is filled up with zeros. So matrix products have the same shape whatever the number of rows, and a row
    is the same bit for bit, wherever a batch is cut at a multiple of ``BLOCK_ROWS``.

    Args:
        context: of all arrays.
        rows: shape ``(n, size)``.
        number: of the block.
    """
    start = number * BLOCK_ROWS
    stop = min(start + BLOCK_ROWS, rows.shape[0])
    if stop - start == BLOCK_ROWS:
        return slice(start, stop), np.ascontiguousarray(rows[start:stop], context.dtype)
    block = np.zeros((BLOCK_ROWS, rows.shape[1]), context.dtype)
    block[: stop - start] = rows[start:stop]
    return slice(start, stop), block
