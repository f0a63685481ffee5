"""Synthesis: coefficients carried by one separable map to values on a grid; as a form, so that its adjoint is there."""

from __future__ import annotations

from dataclasses import dataclass

from tpnumba.irreps import Irreps
from tpnumba.plans.base import Operand, Plan, Segment
from tpnumba.plans.stages import LinearMap, synthesis
from tpnumba.tables.quadrature import Grid


@dataclass(frozen=True, repr=False)
class Synthesis(Plan):
    """``sum over the grid of (weight *) field * A(coefficients)`` as a form in two operands.

    With the field as output it is the synthesis ``A``; with the coefficients as output its transpose, which with the
    weights of the quadrature is the analysis. The field's numbers stand ring by ring: ``(n_beta, n_alpha)``, row-major.
    """

    linear_map: LinearMap
    grid: Grid
    weighted: bool

    __hash__ = Plan.__hash__

    @classmethod
    def between(cls, lmax: int, grid: Grid, normalization: str, *, analysis: bool) -> Synthesis:
        """From harmonics up to ``lmax`` of a normalisation to ``grid``, or back from it by quadrature."""
        degrees = tuple(range(lmax + 1))
        linear_map = synthesis(degrees, lmax, grid, normalization, output=analysis)
        coefficients = Operand.of_irreps("coefficients", Irreps.spherical_harmonics(lmax))
        field = Operand("field", (Segment(0, 1, grid.n_beta * grid.n_alpha),))
        return cls((coefficients, field), 0 if analysis else 1, linear_map, grid, weighted=analysis)

    def __repr__(self) -> str:
        sizes = [f"{operand.name}: {operand.size} {operand.access}" for operand in self.operands]
        weighted = ", weighted" if self.weighted else ""
        return (
            f"Synthesis({sizes[self.inputs[0]]} -> {sizes[self.output]}"
            f" | {self.grid.n_beta} x {self.grid.n_alpha} grid{weighted})"
        )

    @property
    def flops(self) -> tuple[int, int]:
        """Operations a sample, and operations that are done once for all samples."""
        points = self.operands[1].size if self.weighted else 0
        return self.linear_map.flops + points, 0

    @property
    def workspace(self) -> int:
        """Numbers a sample that the reference backend keeps besides operands and result."""
        return 2 * self.operands[1].size + self.linear_map.workspace
