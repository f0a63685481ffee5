"""The kernel of transforms as a native function."""

from __future__ import annotations

from functools import cache
from typing import Any

import numba
import numpy as np

from tpnumba.backends.cpu.layout import STREAM, WIDTHS
from tpnumba.backends.cpu.runtime.native import native_function
from tpnumba.backends.cpu.runtime.pointers import arrays_at, list_at, number_at, table_at, tables_of
from tpnumba.backends.cpu.transform.kernel import transform


@cache
def transform_entry(vectors: int, dtype: str) -> tuple[int, Any]:
    """Its address and what keeps it, for columns of so many vectors; it reads what ``TransformProgram`` lists."""
    width = WIDTHS[vectors]

    def enter(tile, arrays, start, stop):
        tables = tables_of(arrays)
        operands = arrays_at(arrays, number_at(tables, 0))
        transform(
            width,
            numba.carray(tile, number_at(tables, 1)),
            operands,
            table_at(tables, 2, np.int64),
            list_at(tables, 3, np.int32),
            list_at(tables, 4, tile),
            number_at(tables, 5),
            start,
            stop,
            operands[number_at(tables, 6), STREAM] != 0,
        )

    return native_function(enter, f"transform_{vectors}_{dtype}", dtype)
