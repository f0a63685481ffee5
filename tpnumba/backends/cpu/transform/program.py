"""The program of a transform."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tpnumba.backends.cpu.program import Ints, Program
from tpnumba.backends.cpu.transform.entry import transform_entry


@dataclass(frozen=True)
class TransformProgram(Program):
    """Linear maps to the domain, products there, and a linear map back, as a list of operations."""

    operations: Ints
    places: npt.NDArray[np.int32]

    def native(self) -> tuple[int, Any]:
        """See :class:`Program`."""
        return transform_entry(self.vectors, self.dtype.name)

    def tables(self) -> tuple[npt.NDArray[Any] | int, ...]:
        """See :class:`Program`."""
        lists = self.operations, self.places, self.values
        return len(self.arrays), self.tile_size, *lists, self.buffer, self.outputs[0]
