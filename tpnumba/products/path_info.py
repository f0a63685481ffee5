"""What a product says of one of its paths."""

from __future__ import annotations

from typing import NamedTuple

from tpnumba.irreps import Irrep


class PathInfo(NamedTuple):
    """One path of a product: blocks, irreps, channels, and the number in front of the Clebsch-Gordan coefficients."""

    i1: int
    i2: int
    i_out: int
    ir1: Irrep
    ir2: Irrep
    ir_out: Irrep
    channels: str
    scale: float

    def __str__(self) -> str:
        return f"{self.ir1} x {self.ir2} -> {self.ir_out}"
