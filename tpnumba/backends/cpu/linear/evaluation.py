"""Linear maps of features on rows of memory, shared by threads."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tpnumba.backends.cpu import layout
from tpnumba.backends.cpu.linear import kernel
from tpnumba.backends.cpu.linear.groups import Tables
from tpnumba.backends.cpu.runtime.blas import gemm_address
from tpnumba.backends.cpu.runtime.threads import WORTH_SHARING, share
from tpnumba.backends.cpu.runtime.workspace import address_of, workspace

Array = npt.NDArray[np.floating]

#: Multiplications that take as long as it takes to wake a thread, and to be worth it.
_WORTH_SHARING = int(WORTH_SHARING * 5e10)


def evaluate(
    tables: Tables,
    matrices: Sequence[Array],
    bias: Array | None,
    x: Array,
    out: Array,
    threads: int,
    *,
    spaced: bool,
) -> None:
    """Write the map of rows.

    Args:
        tables: of the groups; blocks of ``out`` that no group writes become zero.
        matrices: of the groups, contiguous.
        bias: what is added to every row, or None.
        x, out: rows of the dtype of the groups, the numbers of which follow each other.
        threads: that share the rows; the bits do not depend on it.
        spaced: whether the layout is ``mul_ir``.
    """
    count, item = out.shape[0], out.itemsize
    added = np.zeros(0, out.dtype) if bias is None else bias
    groups = tables.groups.copy()
    groups[:, layout.G_MATRIX] = [address_of(matrix) for matrix in matrices]
    size = 0 if tables.outputs == out.shape[1] else out.shape[1]

    def work(i: int) -> None:
        kernel.map_rows(
            workspace(tables.tile_size, out.dtype),
            gemm_address(str(out.dtype)),
            groups,
            tables.blocks,
            tables.products,
            added,
            spaced,
            address_of(x),
            x.strides[0] // item,
            address_of(out),
            out.strides[0] // item,
            size,
            i * layout.NETWORK_ROWS,
            min((i + 1) * layout.NETWORK_ROWS, count),
        )

    few = count * tables.multiplications < _WORTH_SHARING
    share(work, -(-count // layout.NETWORK_ROWS), 1 if few else threads)
