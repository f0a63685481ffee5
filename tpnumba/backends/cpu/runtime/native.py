"""Kernels as native functions: made, and found by their address; and the list of the tables that they read.

A native function is ``void kernel(void *tile, const int64_t *arrays, int64_t start, int64_t stop)``. What a program has
besides the table of arrays, its list of tables says, whose address stands in the first record of that one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
from numba import types

from tpnumba.backends.cpu.layout import TABLE_FIELDS
from tpnumba.backends.cpu.runtime.compiler import jit
from tpnumba.backends.cpu.runtime.workspace import address_of

Ints = npt.NDArray[np.int64]

_INTEGERS: Any = types.CPointer(types.int64)  # type: ignore[no-untyped-call]


def native_function(function: Callable[..., None], name: str, dtype: str) -> tuple[int, Any]:
    """Compile ``function(tile, arrays, start, stop)``, or take it from the cache.

    Args:
        function: reads typed pointers and integers.
        name: of the machine code in the cache, where closures of one function must not be taken for each other.
        dtype: of the tile.

    Returns:
        The address of the native function, and what must live as long as it is called.
    """
    function.__name__ = function.__qualname__ = name
    compiled = jit(function)
    tile: Any = types.CPointer(numba.from_dtype(np.dtype(dtype)))  # type: ignore[no-untyped-call]
    arguments = tile, _INTEGERS, types.int64, types.int64
    compiled.compile(arguments)
    made = compiled.overloads[arguments]
    return int(made.library.get_pointer_to_function(made.fndesc.llvm_cfunc_wrapper_name)), compiled


def list_tables(*tables: npt.NDArray[Any] | int) -> Ints:
    """The list of a program's tables and numbers; the tables must live as long as it is read."""
    listed = np.zeros((len(tables), TABLE_FIELDS), dtype=np.int64)
    for row, table in zip(listed, tables, strict=True):
        if isinstance(table, np.ndarray):
            assert table.flags.c_contiguous
            assert table.flags.aligned
            row[:] = address_of(table), table.shape[0], table.shape[1] if table.ndim == 2 else 1
        else:
            row[0] = table
    return listed
