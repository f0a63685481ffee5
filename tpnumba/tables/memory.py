"""A cache for tables, bounded by the bytes it holds rather than by their count."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import wraps
from threading import Lock
from typing import TypeVar, TypeVarTuple

import numpy as np

Degrees = TypeVarTuple("Degrees")
Table = TypeVar("Table")


def cached_within(limit: int) -> Callable[[Callable[[*Degrees], Table]], Callable[[*Degrees], Table]]:
    """Keep the results of a function, arrays or tuples with arrays, as long as they take at most ``limit`` bytes.

    The least recently used go first. A table of degree 512 weighs as much as ten thousand of degree 4, so a bound on
    their count would be useless for one or the other.

    Example:
        >>> @cached_within(1000)
        ... def table(degree):
        ...     return np.zeros(degree)
        >>> table(100) is table(100), table(200) is table(200)
        (True, False)
    """

    def decorate(function: Callable[[*Degrees], Table]) -> Callable[[*Degrees], Table]:
        entries: OrderedDict[tuple[*Degrees], tuple[Table, int]] = OrderedDict()
        held = 0
        lock = Lock()

        @wraps(function)
        def cached(*degrees: *Degrees) -> Table:
            nonlocal held
            with lock:
                if degrees in entries:
                    entries.move_to_end(degrees)
                    return entries[degrees][0]
            table = function(*degrees)
            parts = table if isinstance(table, tuple) else (table,)
            size = sum(part.nbytes for part in parts if isinstance(part, np.ndarray))
            with lock:
                if degrees not in entries and size <= limit:
                    entries[degrees] = table, size
                    held += size
                    while held > limit:
                        held -= entries.popitem(last=False)[1][1]
            return table

        return cached

    return decorate
