"""Memory that each thread works in, and where arrays stand in memory."""

from __future__ import annotations

import sys
import threading
from ctypes import c_size_t
from typing import Any

import numpy as np
import numpy.typing as npt

from tpnumba.backends.cpu.layout import LINE

#: An array begins with what every object of Python begins with, and then the address of its numbers: what extensions
#: of NumPy are compiled against. ``__array_interface__`` says the same, but takes 0.9 microseconds for it. In another
#: Python than CPython an ``id`` is no address.
_HEADER = object.__basicsize__ if sys.implementation.name == "cpython" else None

_local = threading.local()
_WIDEST = np.dtype(np.float64)


def address_of(array: npt.NDArray[Any]) -> int:
    """The address of the first number of an array."""
    if _HEADER is None:
        return int(array.__array_interface__["data"][0])
    return c_size_t.from_address(id(array) + _HEADER).value


def workspace(size: int, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """At least ``size`` numbers of this thread, aligned to 64 bytes, which the next call gets again."""
    tiles = getattr(_local, "tiles", None)
    if tiles is None:
        tiles = _local.tiles = {}
    tile = tiles.get(dtype)
    if tile is None or tile.size < size:
        tile = tiles[dtype] = empty_lines(size, dtype)
    return tile


def workspace_room(size: int) -> tuple[int, int, Any]:
    """At least ``size`` bytes of this thread, as :func:`workspace`: how many, their address, and what holds them.

    Whoever works there must hold on to that: a signal's handler may ask for more memory in the meantime.
    """
    room: tuple[int, int, Any] | None = getattr(_local, "room", None)
    if room is None or room[0] < size:
        tile = workspace(-(-size // _WIDEST.itemsize), _WIDEST)
        room = _local.room = tile.nbytes, address_of(tile), tile
    return room


def empty_lines(size: int, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """New memory for ``size`` numbers, aligned to 64 bytes."""
    raw = np.empty(size * dtype.itemsize + LINE, dtype=np.uint8)
    skip = -address_of(raw) % LINE
    return raw[skip : skip + size * dtype.itemsize].view(dtype)
