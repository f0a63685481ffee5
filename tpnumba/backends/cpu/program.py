"""What every program has: the table of arrays, the size of a tile, and how its batch is cut into chunks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from tpnumba.backends.cpu import layout
from tpnumba.backends.cpu.layout import CHUNK_SECONDS, MOST_BYTES, SIZE, STREAM_BYTES
from tpnumba.backends.cpu.runtime.native import list_tables
from tpnumba.backends.cpu.runtime.pointers import call_entry
from tpnumba.backends.cpu.runtime.workspace import address_of
from tpnumba.backends.lowering.arena import Arena
from tpnumba.plans.base import Plan

Ints = npt.NDArray[np.int64]


def place_arrays(plan: Plan, starts: Sequence[int], arena: Arena, vector_length: int) -> tuple[int, Ints]:
    """Find room in a tile for what puts together and sums the rows of the result.

    Args:
        plan: what is evaluated.
        starts: where its operands stand in the tile, in numbers.
        arena: the tile.
        vector_length: numbers in 64 bytes.

    Returns:
        Where the buffer is in which rows are put together, and the table of arrays.
    """
    size = plan.sizes[plan.output]
    whole = min(-(-size // vector_length) * vector_length, layout.LONGEST)
    buffer = arena.allocate(vector_length * max(layout.STRETCH * vector_length, whole))
    arrays = np.zeros((len(plan.operands), layout.ARRAY_COLUMNS), dtype=np.int64)
    arrays[:, layout.AT] = starts
    arrays[:, layout.SIZE] = plan.sizes
    arrays[:, layout.COLUMN_STRIDE] = 1
    arrays[plan.output, layout.OUTPUT] = arena.allocate(size)
    return buffer, arrays


@dataclass(frozen=True)
class Program:
    """A plan lowered to the tables that a kernel reads, in one dtype; read-only.

    Attributes:
        vectors: the 64-byte vectors of a column of the tile.
        tile_width: the samples of a tile, which are the numbers of a column.
        tile_size: the numbers of a tile.
        arrays: the table of arrays, see :data:`tpnumba.backends.cpu.layout.AT`; addresses are filled in by a call.
        outputs: the records of ``arrays`` that are results.
        buffer: the place in the tile where rows are put together.
        flops: additions and multiplications a sample.
        values: the numbers of the tables, in the program's dtype.
    """

    vectors: int
    tile_width: int
    tile_size: int
    arrays: Ints
    outputs: tuple[int, ...]
    buffer: int
    flops: int
    values: npt.NDArray[np.floating]

    #: Chunks that each thread gets at least, where the batch allows it.
    chunks_per_thread: ClassVar[int] = 1
    #: What one core does in a second, roughly.
    flops_per_second: ClassVar[float] = 2e10
    bytes_per_second: ClassVar[float] = 5e9
    #: Whether rows of the result that have an index are added to, and must be zero before.
    adds_rows: ClassVar[bool] = True

    def native(self) -> tuple[int, Any]:
        """The address of the kernel that reads tables, as a native function, and what keeps that."""
        raise NotImplementedError

    def tables(self) -> tuple[npt.NDArray[Any] | int, ...]:
        """The tables and numbers that this kernel reads, in its order."""
        raise NotImplementedError

    @property
    def entry(self) -> Ints:
        """By what address the kernel is called, at an address that stays: see ``ENTRY_KERNEL`` in ``layout``.

        Whoever puts another kernel there, of the same numbers, keeps it alive.
        """
        return self._native[0]

    @property
    def entry_address(self) -> int:
        """The address of ``entry``."""
        return self._native[1]

    @property
    def _native(self) -> tuple[Ints, int, Any]:
        """The entry, its address, and what keeps the kernel."""
        known: tuple[Ints, int, Any] | None = self.__dict__.get("_entry")
        if known is None:
            entry = np.zeros(layout.ENTRY_FIELDS, dtype=np.int64)
            entry[layout.ENTRY_ENOUGH] = layout.NEVER
            entry[layout.ENTRY_KERNEL], kept = self.native()
            # Of threads that come at once, one's stays: a cached property might give out an address of another's.
            known = self.__dict__.setdefault("_entry", (entry, address_of(entry), kept))
        return known

    @property
    def _table(self) -> tuple[Ints, Ints]:
        """``arrays`` with the address of the list of tables, and that list."""
        known: tuple[Ints, Ints] | None = self.__dict__.get("_listed")
        if known is None:
            listed = list_tables(*self.tables())
            table = self.arrays.copy()
            table[0, layout.TABLES] = address_of(listed)
            known = self.__dict__.setdefault("_listed", (table, listed))  # likewise
        return known

    def new_table(self) -> Ints:
        """The table of arrays for a call, but for their addresses."""
        return self._table[0].copy()

    def call(self, tile: Any, arrays: Ints, start: int, stop: int) -> bool:
        """Evaluate the samples from ``start`` to ``stop`` in the memory ``tile``; ``arrays``: with their addresses.

        Gives whether so many samples were evaluated that it pays to make code for the program.
        """
        return bool(call_entry(self.entry_address, address_of(tile), address_of(arrays), start, stop))

    def is_streamed(self, written: int, *, fresh: bool) -> bool:  # noqa: ARG002
        """Whether a result of ``written`` bytes goes past the caches; ``fresh``: its memory was allocated just now."""
        return written > STREAM_BYTES

    @cached_property
    def dtype(self) -> np.dtype[np.floating]:
        """The dtype of all arrays."""
        return self.values.dtype

    @property
    def tile_bytes(self) -> int:
        """The memory that a thread works in."""
        return self.tile_size * self.dtype.itemsize

    @cached_property
    def most_threads(self) -> int:
        """The number of threads whose tiles fit into ``MOST_BYTES`` together; at least 1."""
        return max(1, MOST_BYTES // self.tile_bytes)

    @cached_property
    def seconds(self) -> float:
        """About the time of a sample on one core; a rough guess is enough to cut a batch by."""
        numbers = 1 + int(self.arrays[:, SIZE].sum())
        return self.flops / self.flops_per_second + numbers * self.dtype.itemsize / self.bytes_per_second

    @cached_property
    def chunk_samples(self) -> int:
        """The samples of a chunk where nothing asks for shorter ones, in whole tiles."""
        return max(1, int(CHUNK_SECONDS / self.seconds) // self.tile_width) * self.tile_width

    @property
    def shortest_chunk(self) -> int:
        """The samples below which a chunk is not shortened to give every thread one."""
        return self.tile_width

    def chunk(self, count: int, threads: int) -> int:
        """The samples of a chunk, of a batch of ``count`` samples on ``threads`` threads, in whole tiles."""
        if threads == 1:
            return self.chunk_samples
        equal = -(-count // (self.chunks_per_thread * threads * self.tile_width)) * self.tile_width
        return min(self.chunk_samples, max(equal, self.shortest_chunk))
