"""The program of a contraction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tpnumba.backends.cpu.contraction.entry import contraction_entry
from tpnumba.backends.cpu.program import Ints, Program


@dataclass(frozen=True)
class ContractionProgram(Program):
    """Sums of products, group by group; the tables are those of :mod:`tpnumba.backends.cpu.layout`.

    Attributes:
        has_code: whether code may be made for it, see :mod:`tpnumba.backends.cpu.specialised`.
    """

    groups: Ints
    channels: Ints
    rows: Ints
    places: npt.NDArray[np.int32]
    sums: Ints
    factors: npt.NDArray[np.int32]
    signs: npt.NDArray[np.floating]
    zeros: Ints
    nodes: int
    has_code: bool = False

    def native(self) -> tuple[int, Any]:
        """See :class:`Program`."""
        return contraction_entry(self.vectors, self.dtype.name)

    def tables(self) -> tuple[npt.NDArray[Any] | int, ...]:
        """See :class:`Program`."""
        lists = self.groups, self.channels, self.rows, self.places, self.values, self.sums, self.factors, self.signs
        return len(self.arrays), self.tile_size, *lists, self.zeros, self.nodes, self.buffer, self.outputs[0]
