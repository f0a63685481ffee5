"""Words that stand guard before and after memory which a kernel is given."""

from __future__ import annotations

import numpy as np

from tpnumba.backends.cpu.layout import LINE

#: Numbers before and after every array, and what stands in them.
GUARDS, GUARD = 64, 12345.0


def guarded(count: int, dtype: str, align: int) -> tuple[np.ndarray, np.ndarray]:
    """Memory full of guards, and the part of it for ``count`` numbers: NaN, at ``align`` bytes past a line."""
    item = np.dtype(dtype).itemsize
    memory = np.full(count + 2 * GUARDS + LINE // item, GUARD, dtype=dtype)
    first = GUARDS + (align - memory.ctypes.data - GUARDS * item) % LINE // item
    memory[first : first + count] = np.nan
    return memory, memory[first : first + count]


def intact(memory: np.ndarray, part: np.ndarray) -> bool:
    """Whether all guards before and after a part of it stand."""
    first = (part.ctypes.data - memory.ctypes.data) // memory.itemsize
    before, after = memory[:first], memory[first + part.size :]
    assert min(before.size, after.size) >= GUARDS
    return bool((before == GUARD).all() and (after == GUARD).all())
