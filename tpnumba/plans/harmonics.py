"""Spherical harmonics of points: what is computed, values or a derivative."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from tpnumba.plans.base import Operand, Recomputed, Segment

#: What is computed: the values; these and the Jacobian; the gradient of ``<cotangent, values>``; the values' derivative
#: along a tangent.
KINDS = ("values", "value_and_jacobian", "vjp", "jvp")

#: Above this degree float32 points are worked in float64. A harmonic of degree l that is of order 1 rises from
#: sin(beta)^m with m about l sin(beta), which is at least exp(-l / e): near the end of float32's range.
#: (Without float64, jax stays in float32 there.)
HIGHEST_SINGLE = 192


@dataclass(frozen=True)
class Harmonics(Recomputed):
    """Harmonics of degrees 0 to ``lmax`` at points, or a derivative by the points.

    Not a form, as it is not linear in the points. But the gradient of a solid harmonic of degree l is a linear map of
    those of degree l - 1, so that every derivative is Harmonics of lower degree and a contraction, see
    :meth:`tpnumba.SphericalHarmonics.derivative`.

    Attributes:
        lmax: the largest degree.
        normalization: ``integral``, ``component`` or ``norm``.
        normalize: of the direction of a point; otherwise solid harmonics.
        kind: one of ``KINDS``.
    """

    lmax: int
    normalization: str = "integral"
    normalize: bool = True
    kind: str = "values"

    @property
    def size(self) -> int:
        """How many harmonics there are."""
        return (self.lmax + 1) ** 2

    @property
    def input_sizes(self) -> tuple[int, ...]:
        """The length of the last axis of each array that is given: points; then a cotangent or a tangent."""
        return {"vjp": (3, self.size), "jvp": (3, 3)}.get(self.kind, (3,))

    @property
    def operands(self) -> tuple[Operand, ...]:
        """What is given, as operands."""
        names = ("points", "tangent" if self.kind == "jvp" else "cotangent")
        return tuple(Operand(name, (Segment(0, 1, size),)) for name, size in zip(names, self.input_sizes, strict=False))

    @property
    def row_numbers(self) -> int:
        """The numbers of one sample, of what is given and of the results."""
        return sum(self.input_sizes) + sum(self.result_sizes)

    @property
    def result_sizes(self) -> tuple[int, ...]:
        """The numbers a sample of each result."""
        return tuple(map(prod, self.result_shapes))

    @property
    def shared_operands(self) -> frozenset[int]:
        """The operands with one row for all samples: there are none."""
        return frozenset()

    @property
    def sums_samples(self) -> bool:
        """Whether the result is one row for all samples: it never is."""
        return False

    @property
    def result_shapes(self) -> tuple[tuple[int, ...], ...]:
        """The last axes of each result."""
        match self.kind:
            case "value_and_jacobian":
                return (self.size,), (self.size, 3)
            case "vjp":
                return ((3,),)
        return ((self.size,),)
