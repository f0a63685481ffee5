"""Products between weights of the degrees of their operands: as a sum of transforms, and as one contraction."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np
import numpy.typing as npt

from tpnumba.plans.base import Plan
from tpnumba.plans.contraction import Contraction
from tpnumba.plans.transform import Transform

#: The operands that are joined, and those that hold the weights of each.
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
        return self.describe("; ".join(f"{part.rank} x {part.transform!r}" for part in self.parts))

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


@dataclass(frozen=True)
class Terms:
    """Paths whose weights are sums of as many terms.

    Attributes:
        paths: the first of them, and the one after the last, in the weights of the contraction.
        rank: the number of terms.
        starts: where the weights of each feature start, an array (degrees, rank).
        degrees: for each feature how many there are.
        triples: for each path its degree of each feature, by number.
    """

    paths: tuple[int, int]
    rank: int
    starts: tuple[int, int, int]
    degrees: tuple[int, int, int]
    triples: tuple[tuple[int, int, int], ...]

    @property
    def size(self) -> int:
        """How many triples there are, whether they are paths or not."""
        return prod(self.degrees)

    @cached_property
    def places(self) -> npt.NDArray[np.int64]:
        """Where each path stands among all triples, row-major."""
        _, n2, n_out = self.degrees
        triples = np.array(self.triples, dtype=np.int64).reshape(-1, 3)
        found: npt.NDArray[np.int64] = triples @ np.array([n2 * n_out, n_out, 1])
        return found

    @cached_property
    def scatter(self) -> npt.NDArray[np.int64]:
        """For each triple its path, by number; for those that are none the number after the last."""
        found = np.full(self.size, len(self.triples), dtype=np.int64)
        found[self.places] = np.arange(len(self.triples))
        return found

    def weights(self, k: int) -> slice:
        """The weights of feature ``k``."""
        return slice(self.starts[k], self.starts[k] + self.degrees[k] * self.rank)


@dataclass(frozen=True, repr=False)
class PathWeights(Plan):
    """``sum over r of a_r b_r c_r``, a number for each path, as a form in a, b, c and the numbers of the paths."""

    terms: tuple[Terms, ...]

    __hash__ = Plan.__hash__

    def __repr__(self) -> str:
        return self.describe(", ".join(f"{len(part.triples)} paths of rank {part.rank}" for part in self.terms))

    @property
    def flops(self) -> tuple[int, int]:
        """Operations a sample, and operations that are done once for all samples."""
        return sum(2 * part.rank * (len(part.triples) + part.degrees[0] * part.degrees[1]) for part in self.terms), 0

    @property
    def workspace(self) -> int:
        """Numbers a sample that the reference backend keeps besides operands and result."""
        pairs = sum(part.rank * part.degrees[0] * part.degrees[1] for part in self.terms)
        return 2 * (sum(part.size for part in self.terms) + pairs + self.sizes[3])


@dataclass(frozen=True, repr=False)
class LowRankContraction(Plan):
    """A contraction whose path weights are sums of products, as a form in x, y, the weights a, b, c, and z.

    The path weights are summed up first; then the work is that of the contraction, whatever the rank.
    """

    contraction: Contraction
    path_weights: PathWeights

    __hash__ = Plan.__hash__

    def __repr__(self) -> str:
        return f"LowRankContraction({self.inner!r}, {self.summed!r})"

    @cached_property
    def inner(self) -> Contraction:
        """The contraction with the output that is needed: that of the path weights for any of theirs."""
        return self.contraction.adjoint({0: 0, 1: 1, 5: 3}.get(self.output, 2))

    @cached_property
    def summed(self) -> PathWeights:
        """The sums of products, or the gradient of the factor that is the output."""
        return self.path_weights.adjoint(3 if self.output in FEATURES else WEIGHTS.index(self.output))

    @cached_property
    def fills_output(self) -> bool:
        """Whether every number of the output is written; the others are zero."""
        return self.output in WEIGHTS or self.inner.fills_output

    @property
    def flops(self) -> tuple[int, int]:
        """Operations a sample, and operations that are done once for all samples."""
        return self.inner.flops[0] + self.summed.flops[0], self.inner.flops[1]

    @property
    def workspace(self) -> int:
        """Numbers a sample that the reference backend keeps besides operands and result."""
        return self.inner.workspace + self.summed.workspace + 2 * self.summed.sizes[3] + self.sizes[self.output]
