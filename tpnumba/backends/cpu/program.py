"""What a kernel reads: the tables of one plan in one dtype."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from tpnumba.backends.cpu.contraction.kernel import contract
from tpnumba.backends.cpu.simd.operands import SIZE
from tpnumba.backends.cpu.transform.kernel import transform

Ints = npt.NDArray[np.int64]
#: Bytes of a vector, and of a line of the caches.
LINE = 64
#: How many vectors a run may have.
VECTORS = (4, 2, 1)
#: What the tiles of all threads may take together. A plan whose shortest tile is larger has no program.
MOST_BYTES = 2**25
#: A piece of work takes about so many seconds: long enough to be worth a call, short enough to answer Ctrl-C.
_PIECE_SECONDS = 1e-3
_FLOPS_A_SECOND, _BYTES_A_SECOND = 2e10, 5e9
#: The type that says how long a run is.
WIDTHS = {vectors: (0,) * vectors for vectors in VECTORS}


@dataclass(frozen=True)
class Program:
    """Read-only; positions in numbers from the start of the tile."""

    vectors: int
    lanes: int
    tile_size: int
    operands: Ints
    buffer: int
    flops: int
    values: npt.NDArray[np.floating]

    def call(self, tile: Any, operands: Ints, start: int, stop: int, stream: bool) -> None:
        """Run the kernel for some samples, in memory of this thread; ``operands``: with their addresses."""
        raise NotImplementedError

    @property
    def tile_bytes(self) -> int:
        """The memory that a thread works in."""
        return self.tile_size * self.values.itemsize

    @cached_property
    def most_threads(self) -> int:
        """How many threads may work at once, for the sake of their tiles."""
        return max(1, MOST_BYTES // self.tile_bytes)

    @cached_property
    def seconds(self) -> float:
        """About how long a sample takes on one core; a rough guess is enough to cut work by."""
        numbers = 1 + int(self.operands[:, SIZE].sum())
        return self.flops / _FLOPS_A_SECOND + numbers * self.values.itemsize / _BYTES_A_SECOND

    @cached_property
    def samples(self) -> int:
        """How many samples make a piece of work, in whole tiles."""
        return max(1, int(_PIECE_SECONDS / self.seconds) // self.lanes) * self.lanes


@dataclass(frozen=True)
class ContractionProgram(Program):
    """Sums of products, group by group."""

    groups: Ints
    channels: Ints
    rows: Ints
    places: npt.NDArray[np.int32]
    zeros: Ints
    products: int

    def call(self, tile: Any, operands: Ints, start: int, stop: int, stream: bool) -> None:
        """See :class:`Program`."""
        contract(
            WIDTHS[self.vectors],
            tile,
            operands,
            self.groups,
            self.channels,
            self.rows,
            self.places,
            self.values,
            self.zeros,
            self.products,
            self.buffer,
            start,
            stop,
            stream,
        )


@dataclass(frozen=True)
class FieldProgram(Program):
    """Linear maps to where the operands meet, step by step."""

    steps: Ints
    places: npt.NDArray[np.int32]

    def call(self, tile: Any, operands: Ints, start: int, stop: int, stream: bool) -> None:
        """See :class:`Program`."""
        width = WIDTHS[self.vectors]
        transform(width, tile, operands, self.steps, self.places, self.values, self.buffer, start, stop, stream)
