"""Transform: operands carried by linear maps to a domain, a grid or matrices, and multiplied there."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from tpnumba.plans.access import Access
from tpnumba.plans.base import Plan
from tpnumba.plans.stages import Blocks, LinearMap
from tpnumba.tables.quadrature import Grid, Torus


@dataclass(frozen=True)
class Matrices:
    """Operands are multiplied as square matrices: the form is ``Tr(X Y Z^T)``."""

    size: int

    @property
    def shape(self) -> tuple[int, int]:
        """``(size, size)``."""
        return self.size, self.size


class Step(NamedTuple):
    """What makes one component of the output.

    Attributes:
        terms: those of the plan with this component.
        first_read, last_read: fields ``(operand, component)`` that no step before reads, and none after.
    """

    terms: tuple[tuple[tuple[int, ...], float], ...]
    first_read: tuple[tuple[int, int], ...]
    last_read: tuple[tuple[int, int], ...]


@dataclass(frozen=True, repr=False)
class Transform(Plan):
    """``sum over terms (i, j, k) of factor * <A_i(x), B_j(y), C_k(z)>`` as a form.

    ``maps[operand][component]`` carries an operand to the domain; ``terms`` lists which components are multiplied, with
    a factor. On a :class:`Grid` or :class:`Torus` that is point by point, ``<f, g, h>`` being the weighted sum over the
    points of ``f g h``; as :class:`Matrices` it is ``Tr(F G H^T)``.
    """

    maps: tuple[tuple[LinearMap, ...], ...]
    terms: tuple[tuple[tuple[int, ...], float], ...]
    domain: Grid | Torus | Matrices

    __hash__ = Plan.__hash__

    def __repr__(self) -> str:
        rows, columns = self.domain.shape
        where = {
            Grid: f"{rows} x {columns} grid",
            Torus: f"{rows} x {columns} torus",
            Matrices: f"{rows} x {columns} matrices",
        }[type(self.domain)]
        counts = "+".join(str(len(maps)) for maps in self.maps)
        return self.describe(f"{where}, {counts} transforms")

    @property
    def flops(self) -> tuple[int, int]:
        """Operations a sample, and operations that are done once for all samples."""
        rows, columns = self.domain.shape
        if isinstance(self.domain, Matrices):
            a_sample = len(self.terms) * 2 * rows**3
        else:
            a_sample = len(self.terms) * rows * columns * len(self.inputs)
        once = 0
        for operand, maps in zip(self.operands, self.maps, strict=True):
            work = sum(linear_map.flops for linear_map in maps)
            if operand.access == Access.BATCH:
                a_sample += work
            else:
                once += work
        return a_sample, once

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """A step for each component of the output, in order, so that few fields are held at a time."""
        terms: list[list[tuple[tuple[int, ...], float]]] = [[] for _ in self.maps[self.output]]
        for meeting, factor in self.terms:
            terms[meeting[self.output]].append((meeting, factor))
        read = [dict.fromkeys((i, meeting[i]) for i in self.inputs for meeting, _ in own) for own in terms]
        numbered = list(enumerate(read))
        first, last = ({place: n for n, own in order for place in own} for order in (numbered[::-1], numbered))
        return tuple(
            Step(
                tuple(own),
                tuple(place for place in read[n] if first[place] == n),
                tuple(place for place in read[n] if last[place] == n),
            )
            for n, own in enumerate(terms)
        )

    @cached_property
    def workspace(self) -> int:
        """Numbers a sample that the reference backend keeps besides operands and result."""
        rows, columns = self.domain.shape
        stages = max(linear_map.workspace for maps in self.maps for linear_map in maps)
        held = most = 0
        for step in self.steps:
            held += len(step.first_read)
            most = max(most, held)
            held -= len(step.last_read)
        blocks = isinstance(self.maps[self.output][0].stages[0], Blocks)
        return (3 + most) * rows * columns + stages + 2 * self.sizes[self.output] * blocks
