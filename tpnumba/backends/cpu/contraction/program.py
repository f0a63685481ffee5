"""The program of a contraction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tpnumba.backends.cpu.contraction.kernel import contract
from tpnumba.backends.cpu.layout import STREAM, WIDTHS
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

    def call(self, tile: Any, arrays: Ints, start: int, stop: int) -> None:
        """See :class:`Program`."""
        contract(
            WIDTHS[self.vectors],
            tile,
            arrays,
            self.groups,
            self.channels,
            self.rows,
            self.places,
            self.values,
            self.sums,
            self.factors,
            self.signs,
            self.zeros,
            self.nodes,
            self.buffer,
            start,
            stop,
            arrays[self.outputs[0], STREAM] != 0,
        )
