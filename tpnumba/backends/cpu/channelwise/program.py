"""The program of a channelwise contraction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from tpnumba.backends.cpu.channelwise.kernel import combine_channels
from tpnumba.backends.cpu.layout import ADD_TO_ROWS, OUTPUT
from tpnumba.backends.cpu.program import Ints, Program


@dataclass(frozen=True)
class ChannelwiseProgram(Program):
    """Small matrices for all channels, path by path; the tables are those of :mod:`tpnumba.backends.cpu.layout`.

    Attributes:
        plain: the operand without channels.
        roles: the table of the source, the target and the weights.
        output: which of them is computed.
        segments, paths, ends, offsets: tables.
        places: places in the tile, see :func:`tpnumba.backends.cpu.channelwise.kernel.combine_channels`.
    """

    plain: int
    roles: Ints
    output: int
    segments: Ints
    paths: Ints
    ends: Ints
    offsets: npt.NDArray[np.int32]
    places: tuple[int, ...]

    #: Rows with an index are written once, when the samples that add to them have been summed.
    adds_rows: ClassVar[bool] = False

    def tables(self) -> tuple[npt.NDArray[Any] | int, ...]:
        """None that a list has: the kernel is called with them."""
        return ()

    def call(self, tile: Any, arrays: Ints, start: int, stop: int) -> bool:
        """See :class:`Program`."""
        combine_channels(
            tile,
            arrays,
            self.plain,
            self.roles,
            self.output,
            self.segments,
            self.paths,
            self.ends,
            self.offsets,
            self.values,
            self.places,
            arrays[self.outputs[0], OUTPUT] == ADD_TO_ROWS,
            start,
            stop,
        )
        return False
