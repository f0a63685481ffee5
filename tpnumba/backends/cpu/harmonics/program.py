"""The program of spherical harmonics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from tpnumba.backends.cpu.harmonics.entry import harmonics_entry
from tpnumba.backends.cpu.layout import FRESH_BYTES, HARMONICS_STREAM_BYTES
from tpnumba.backends.cpu.program import Program

Array = npt.NDArray[np.floating]


@dataclass(frozen=True)
class HarmonicsProgram(Program):
    """The tables of harmonics up to ``lmax``, or of a derivative of them; ``values`` are those of the recursion.

    Attributes:
        lmax: the largest degree.
        normalize: of the direction of a point; otherwise solid harmonics.
        derivative: which one the second result is.
        powers: the constant harmonic; then factors from ``S_{m-1,m-1}`` to ``S_mm``.
        values: the recursion's ``(a, b)``, order by order, by rising degree.
        places, weights: the ladder from the solid harmonics in the tile, and the degree of each harmonic.
    """

    lmax: int
    normalize: bool
    derivative: int
    powers: Array
    places: npt.NDArray[np.int32]
    weights: Array

    #: A thread that wakes late should find less to do.
    chunks_per_thread: ClassVar[int] = 4
    bytes_per_second: ClassVar[float] = 1e10

    def native(self) -> tuple[int, Any]:
        """See :class:`Program`."""
        return harmonics_entry(self.vectors, self.dtype.name)

    def tables(self) -> tuple[npt.NDArray[Any] | int, ...]:
        """See :class:`Program`."""
        numbers = self.derivative, self.lmax, int(self.normalize)
        lists = self.powers, self.values, self.places, self.weights
        return len(self.arrays), self.tile_size, *numbers, *lists, self.buffer

    def is_streamed(self, written: int, *, fresh: bool) -> bool:
        """See :class:`Program`."""
        return written > HARMONICS_STREAM_BYTES and not (fresh and written > FRESH_BYTES)

    @property
    def shortest_chunk(self) -> int:
        """An eighth of a chunk, in whole tiles."""
        return max(self.chunk_samples // (8 * self.tile_width), 1) * self.tile_width
