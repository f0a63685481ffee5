"""LowRankTransform: a sum of transforms, each between weights of the degrees of its operands."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from tpnumba.plans.base import Plan
from tpnumba.plans.transform import Transform

#: The operands that a transform joins, and those that hold the weights of each.
FEATURES, WEIGHTS = (0, 1, 5), (2, 3, 4)


@dataclass(frozen=True)
class Part:
    """A transform that is taken ``rank`` times, each time with weights of its own.

    Attributes:
        transform: joins a block of each of the features.
        rank: how many times.
        starts: where the block of each feature starts.
        weight_starts: where the weights of each start, an array (degrees, rank).
        dims: the components of each degree of each block.
    """

    transform: Transform
    rank: int
    starts: tuple[int, int, int]
    weight_starts: tuple[int, int, int]
    dims: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]

    def block(self, k: int) -> slice:
        """The block of feature ``k``."""
        return slice(self.starts[k], self.starts[k] + self.transform.sizes[k])

    def weights(self, k: int) -> slice:
        """The weights of feature ``k``."""
        return slice(self.weight_starts[k], self.weight_starts[k] + len(self.dims[k]) * self.rank)

    def degree_places(self, k: int) -> npt.NDArray[np.int64]:
        """For each component of the block of feature ``k``, the place of its degree."""
        return np.repeat(np.arange(len(self.dims[k])), self.dims[k])


@dataclass(frozen=True, repr=False)
class LowRankTransform(Plan):
    """``sum over parts and r of <part>(a_r x, b_r y, c_r z)`` as a form in x, y, the weights a, b, c, and z.

    ``a_r x`` is x with each degree multiplied by a number. One transform after the other is evaluated, in the same
    workspace, whatever the rank.
    """

    parts: tuple[Part, ...]

    __hash__ = Plan.__hash__

    def __repr__(self) -> str:
        described = [f"{operand.name}: {operand.size} {operand.access}" for operand in self.operands]
        listed = "; ".join(f"{part.rank} x {part.transform!r}" for part in self.parts)
        inputs = ", ".join(described[i] for i in self.inputs)
        return f"LowRankTransform({inputs} -> {described[self.output]} | {listed})"

    @cached_property
    def feature(self) -> int:
        """The feature, counted among the three, that is the output or whose weights are."""
        return (FEATURES if self.output in FEATURES else WEIGHTS).index(self.output)

    @cached_property
    def transforms(self) -> tuple[Transform, ...]:
        """The transform of each part, as it is evaluated for this output."""
        return tuple(part.transform.adjoint(self.feature) for part in self.parts)

    @property
    def flops(self) -> tuple[int, int]:
        """Operations a sample, and operations that are done once for all samples."""
        a_sample = 0
        for part, transform in zip(self.parts, self.transforms, strict=True):
            a_sample += part.rank * (transform.flops[0] + sum(transform.sizes) + transform.sizes[self.feature])
        return a_sample, 0

    @property
    def workspace(self) -> int:
        """Numbers a sample that the reference backend keeps besides operands and result."""
        most = max(transform.workspace + 2 * sum(transform.sizes) for transform in self.transforms)
        return most + 2 * self.sizes[self.output]
