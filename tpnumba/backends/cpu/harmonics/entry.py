"""The kernel of spherical harmonics as a native function."""

from __future__ import annotations

from functools import cache
from typing import Any

import numba
import numpy as np

from tpnumba.backends.cpu.harmonics.kernel import harmonics
from tpnumba.backends.cpu.layout import WIDTHS
from tpnumba.backends.cpu.runtime.native import native_function
from tpnumba.backends.cpu.runtime.pointers import arrays_at, list_at, number_at, tables_of


@cache
def harmonics_entry(vectors: int, dtype: str) -> tuple[int, Any]:
    """Its address and what keeps it, for columns of so many vectors; it reads what ``HarmonicsProgram`` lists."""
    width = WIDTHS[vectors]

    def enter(tile, arrays, start, stop):
        tables = tables_of(arrays)
        harmonics(
            width,
            numba.carray(tile, number_at(tables, 1)),
            arrays_at(arrays, number_at(tables, 0)),
            number_at(tables, 2),
            number_at(tables, 3),
            number_at(tables, 4) != 0,
            list_at(tables, 5, tile),
            list_at(tables, 6, tile),
            list_at(tables, 7, np.int32),
            list_at(tables, 8, tile),
            number_at(tables, 9),
            start,
            stop,
        )

    return native_function(enter, f"harmonics_{vectors}_{dtype}", dtype)
