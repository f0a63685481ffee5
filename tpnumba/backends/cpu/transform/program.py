"""The program of a transform."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tpnumba.backends.cpu.layout import STREAM, WIDTHS
from tpnumba.backends.cpu.program import Ints, Program
from tpnumba.backends.cpu.transform.kernel import transform


@dataclass(frozen=True)
class TransformProgram(Program):
    """Linear maps to the domain, products there, and a linear map back, as a list of operations."""

    operations: Ints
    places: npt.NDArray[np.int32]

    def call(self, tile: Any, arrays: Ints, start: int, stop: int) -> None:
        """See :class:`Program`."""
        transform(
            WIDTHS[self.vectors],
            tile,
            arrays,
            self.operations,
            self.places,
            self.values,
            self.buffer,
            start,
            stop,
            arrays[self.outputs[0], STREAM] != 0,
        )
