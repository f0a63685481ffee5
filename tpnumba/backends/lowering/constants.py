"""The numbers that a program's tables are put together from, where equal arrays stand once."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
import numpy.typing as npt


class ConstantPool:
    """Arrays of one dtype, flat and one after the other.

    Args:
        dtype: of all of them; what is added is converted.
    """

    def __init__(self, dtype: npt.DTypeLike) -> None:
        self.size = 0
        self._dtype = np.dtype(dtype)
        self._parts: list[npt.NDArray[Any]] = [np.zeros(0, dtype=self._dtype)]
        self._known: dict[Hashable, tuple[int, npt.NDArray[Any]]] = {}

    def append(self, array: npt.ArrayLike) -> int:
        """Add an array at the end; returns where it starts."""
        start = self.size
        self._parts.append(np.asarray(array, dtype=self._dtype).ravel())
        self.size += self._parts[-1].size
        return start

    def intern(self, array: npt.NDArray[Any], key: Hashable | None = None) -> int:
        """Add an array, unless one of the same key is there; returns where that starts.

        ``key``: the numbers of the array, if not given. It may be the array's place in memory: the array is held on to,
        so that no other can take this place.
        """
        if key is None:
            key = np.asarray(array, dtype=self._dtype).tobytes()
        if key not in self._known:
            self._known[key] = self.append(array), array
        return self._known[key][0]

    def array(self) -> npt.NDArray[Any]:
        """All of them, shape ``(size,)``."""
        return np.concatenate(self._parts)
