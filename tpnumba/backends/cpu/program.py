"""What the kernel reads: the tables of one contraction."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from tpnumba.backends.cpu.lanes import SIZE

Ints = npt.NDArray[np.int64]
#: Bytes of a vector, and of a line of the caches.
LINE = 64
#: How many vectors a run may have.
VECTORS = (4, 2, 1)
#: A piece of work takes about so many seconds: long enough to be worth a call, short enough to answer Ctrl-C.
_PIECE_SECONDS = 1e-3
_FLOPS_A_SECOND, _BYTES_A_SECOND = 2e10, 5e9


@dataclass(frozen=True)
class Program:
    """The tables of one contraction in one dtype. Read-only; positions in numbers from the start of the tile."""

    vectors: int
    lanes: int
    tile_size: int
    operands: Ints
    groups: Ints
    channels: Ints
    rows: Ints
    places: npt.NDArray[np.int32]
    values: npt.NDArray[np.floating]
    zeros: Ints
    products: int
    buffer: int
    flops: int

    @cached_property
    def seconds(self) -> float:
        """About how long a sample takes on one core; a rough guess is enough to cut work by."""
        numbers = 1 + int(self.operands[:, SIZE].sum())
        return self.flops / _FLOPS_A_SECOND + numbers * self.values.itemsize / _BYTES_A_SECOND

    @cached_property
    def samples(self) -> int:
        """How many samples make a piece of work, in whole tiles."""
        return max(1, int(_PIECE_SECONDS / self.seconds) // self.lanes) * self.lanes
