"""Memory of large results, which goes back when they die and is used again.

What is freed below 32 MiB the C library keeps for whoever asks next. Above, it goes back to the system, and comes from
there page by page, each filled with zeros first, which takes as long as it takes to compute spherical harmonics of
degree 8 in float64. So such memory is kept here, up to a number of bytes; beyond that the oldest is let go. Nothing is
kept that was not a result before. The limit of 256 MiB is that of four results of 62 MiB (100,000 points in that
example), such as a few calls of an evaluation make, and little beside what a process has that makes them.

An array on such memory is as any other, but that its base is a :class:`_Lease`, through which the memory comes back
when no array reads it any more. That may happen anywhere, as the interpreter collects garbage at any place of any
thread, so nothing here waits for a lock.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import numpy.typing as npt

from tpnumba.backends.cpu.layout import LARGE_BYTES, POOL_BYTES, STREAM_BYTES
from tpnumba.backends.cpu.runtime.workspace import address_of, empty_lines

VARIABLE = "TPNUMBA_RESULT_POOL"

_Memory = npt.NDArray[np.uint8]
_BYTE = np.dtype(np.uint8)
#: Memory serves results that are smaller by at most this part of it.
_MOST_WASTE = 1 / 8


def pool_bytes() -> int:
    """The bytes that are kept at most: ``TPNUMBA_RESULT_POOL`` in MiB, 0 for none; else 256 MiB.

    Raises:
        ValueError: the variable is no such number.
    """
    text = os.environ.get(VARIABLE)
    if text is None:
        return POOL_BYTES
    if not text.strip().isdecimal():
        raise ValueError(f"the environment variable {VARIABLE} must be a number of MiB, 0 or more, got {text!r}")
    return int(text) << 20


def empty_result(shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """A new array, as ``np.empty`` gives it, if it is large on memory that was a result before.

    Results that are written past the caches begin with a line of these.
    """
    result: npt.NDArray[Any] = np.empty(shape, dtype)
    if result.nbytes < LARGE_BYTES:
        return result if result.nbytes <= STREAM_BYTES else empty_lines(result.size, result.dtype).reshape(shape)
    limit = pool_bytes()
    _pool.shrink(limit)
    if result.nbytes > limit:
        return result
    size, place = result.nbytes, result.__array_interface__
    del result  # whose memory nobody has touched
    memory = _pool.take(size)
    used_again = memory is not None
    if memory is None:
        memory = _new(size)
    place["data"] = address_of(memory), False
    return np.asarray(_Lease(place, memory, used_again=used_again))


def is_large(array: npt.NDArray[Any]) -> bool:
    """Whether the memory of such a result is kept when it dies."""
    return array.nbytes >= LARGE_BYTES


def is_used_again(array: npt.NDArray[Any]) -> bool:
    """Whether an array stands on memory that was a result before, so that its pages are there."""
    if array.nbytes < LARGE_BYTES:
        return False
    base: Any = array
    while isinstance(base, np.ndarray):
        base = base.base
    return isinstance(base, _Lease) and base.used_again


class _Pool:
    """Memory that no array reads; ``limit``: the bytes of it at most.

    Threads share it without a lock: every access is one operation of a dictionary.
    """

    def __init__(self) -> None:
        self.limit = 0
        #: By its ``id``, in the order in which it came back.
        self._kept: dict[int, _Memory] = {}

    def take(self, size: int) -> _Memory | None:
        """Memory of at least ``size`` bytes, that which came back last; None if there is none."""
        for memory in reversed(list(self._kept.copy().values())):
            if size <= memory.size and (memory.size - size) <= _MOST_WASTE * memory.size:
                taken = self._kept.pop(id(memory), None)
                if taken is not None:  # by another thread in the meantime
                    return taken
        return None

    def give_back(self, memory: _Memory) -> None:
        """Keep memory, in place of the oldest if it would be too much."""
        if memory.size <= self.limit:
            self._kept[id(memory)] = memory
            self.shrink(self.limit)

    def shrink(self, limit: int) -> None:
        """Let memory go, the oldest first, down to ``limit`` bytes."""
        self.limit = limit
        kept = list(self._kept.copy().values())
        size = sum(memory.size for memory in kept)
        for memory in kept:
            if size <= limit:
                break
            size -= memory.size
            self._kept.pop(id(memory), None)


class _Lease:
    """The base of an array on memory of the pool, to which that returns with the last such array."""

    __slots__ = ("__array_interface__", "__weakref__", "_memory", "_pool", "used_again")

    def __init__(self, place: dict[str, Any], memory: _Memory, *, used_again: bool) -> None:
        self.__array_interface__ = place
        self.used_again = used_again
        self._memory, self._pool = memory, _pool

    def __del__(self) -> None:
        self._pool.give_back(self._memory)

    def __reduce__(self) -> str:
        raise TypeError("the memory of an array cannot be copied by itself; copy the array")


def _new(size: int) -> _Memory:
    """Memory for ``size`` bytes, and up to a sixteenth more: of a batch that varies, calls find it again."""
    step = 1 << max(0, size.bit_length() - 5)
    return empty_lines(-(-size // step) * step, _BYTE)


_pool = _Pool()
