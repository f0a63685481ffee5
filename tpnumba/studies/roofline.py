"""What the machine can do at most: how fast it copies, and how fast it multiplies and adds."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

COPY_BYTES = 2**28  # far larger than the caches
_RESIDENT = 4096  # numbers that stay in the first cache
_CHAIN = 16  # multiply-adds a number, one after the other; the processor overlaps those of many numbers
_ROUNDS = 4000


@dataclass(frozen=True)
class Roofline:
    """Bytes a second, read and written together, and operations a second by dtype; a multiply-add is two."""

    bytes_per_second: float
    flops_per_second: dict[str, float]

    def seconds(self, flops: int, traffic: int, dtype: str) -> float:
        """The least time that a work can take."""
        return max(traffic / self.bytes_per_second, flops / self.flops_per_second[dtype])


def measure_roofline(threads: int, *, repeats: int = 9, scale: float = 1.0) -> Roofline:
    """The best of some repeats, on so many threads. ``scale`` makes the work smaller."""
    with ThreadPoolExecutor(threads) as pool:
        rates = {dtype: _multiply_add(pool, threads, dtype, repeats, scale) for dtype in ("float32", "float64")}
        return Roofline(_copy(pool, threads, repeats, scale), rates)


def _copy(pool: ThreadPoolExecutor, threads: int, repeats: int, scale: float) -> float:
    source = np.ones(int(COPY_BYTES * scale) // 8)
    target = np.zeros_like(source)
    parts = list(zip(np.array_split(target, threads), np.array_split(source, threads), strict=True))
    seconds = _best(lambda: list(pool.map(lambda part: np.copyto(*part), parts)), repeats)
    return 2 * source.nbytes / seconds


def _multiply_add(pool: ThreadPoolExecutor, threads: int, dtype: str, repeats: int, scale: float) -> float:
    arrays = [np.ones(_RESIDENT, dtype) for _ in range(threads)]
    factor, term = np.array([0.5, 0.25], dtype)
    rounds = max(1, int(_ROUNDS * scale))
    seconds = _best(lambda: list(pool.map(lambda a: _chains(a, factor, term, rounds), arrays)), repeats)
    return 2 * _CHAIN * _RESIDENT * rounds * threads / seconds


@numba.njit(nogil=True, fastmath={"contract"})
def _chains(numbers: Array, factor: float, term: float, rounds: int) -> None:
    for _ in range(rounds):
        for i in range(numbers.shape[0]):
            value = numbers[i]
            for _ in range(_CHAIN):
                value = value * factor + term
            numbers[i] = value


def _best(work: Callable[[], object], repeats: int) -> float:
    """A limit is what was seen once, so the best; the first call compiles and is not counted."""
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)
