"""The project's one timing harness: warm-up, interleaved repeats, median and spread.

Functions that are to be compared are timed in turns, so that a machine that slows down slows all of them.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Hashable, Mapping
from typing import NamedTuple, TypeVar

Key = TypeVar("Key", bound=Hashable)


class Timing(NamedTuple):
    """Seconds of one call: the median of the repeats, and half the distance between their quartiles."""

    seconds: float
    spread: float
    repeats: int


def interleaved(
    functions: Mapping[Key, Callable[[], object]],
    *,
    repeats: int = 9,
    repeat_seconds: float = 0.02,
    before: Callable[[], object] = lambda: None,
    fewest: int = 3,
    limit_seconds: float = math.inf,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[Key, Timing]:
    """Time functions against each other.

    Args:
        functions: what to call, by a name of any kind.
        repeats: how often each is timed; at least 1.
        repeat_seconds: a repeat calls its function as often as fits in this time (at least once).
        before: called before each repeat and not timed, to undo what the function before it left behind.
        limit_seconds: once the repeats of all functions have taken so long, no further ones begin, but each has
            ``fewest``.
        clock: seconds, rising.

    Returns:
        A timing for each name.
    """
    calls = {}
    for name, function in functions.items():
        function()  # warm-up: tables, caches, memory
        start = clock()
        function()
        once = max(clock() - start, 1e-9)
        calls[name] = max(1, int(repeat_seconds / once))
    samples: dict[Key, list[float]] = {name: [] for name in functions}
    begin = clock()
    for done in range(repeats):
        if done >= fewest and clock() - begin >= limit_seconds:
            break
        for name, function in functions.items():
            before()
            start = clock()
            for _ in range(calls[name]):
                function()
            samples[name].append((clock() - start) / calls[name])
    return {name: _summary(seconds) for name, seconds in samples.items()}


def _summary(seconds: list[float]) -> Timing:
    if len(seconds) < 2:
        return Timing(seconds[0], 0.0, len(seconds))
    low, median, high = statistics.quantiles(seconds, n=4, method="inclusive")
    return Timing(median, (high - low) / 2, len(seconds))
