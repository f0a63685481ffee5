"""Gradients of products without channels: the matrices that the cotangent makes, and their products with a factor.

The gradient of ``sum of c[a, b, k] x[a] y[b] g[k]`` by x is ``T y`` with ``T[a, b] = sum of c[a, b, k] g[k]``. All paths
from two segments share their T, and its numbers of equal orders read the same g, so that each read serves several sums;
term by term, every coefficient takes reads of its own. Pairs of segments follow each other in phases, as
the cotangent of a large product does not fit into a tile.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tpnumba.backends.gpu.program import (
    MOST_SAMPLES,
    Chunk,
    Ints,
    Matrix,
    Part,
    Phase,
    Program,
    Result,
    Rows,
    comfortable_size,
    fitting,
)
from tpnumba.backends.gpu.slices import sliced
from tpnumba.backends.gpu.tables import pack
from tpnumba.backends.paths import components_of, leg_of, weights_of
from tpnumba.plans.contraction import Contraction, Path

#: Coefficients for each number of the matrices from which on these take fewer reads than terms by themselves.
_LEAST_COEFFICIENTS = 2.5


@dataclass(frozen=True)
class _Pair:
    """A segment of the output and one of the other factor, with the paths from them."""

    out: int
    other: int
    paths: list[Path]


def make_program(plan: Contraction, dtype: str) -> Program | None:
    """The program of a gradient of a product without channels and weights; None for other plans, or if it costs more."""
    if not plan.paths or len(plan.inputs) != 2 or not _is_plain(plan):
        return None
    left, right, third = components_of(plan.paths[0])
    other = right if plan.output == left else left
    gathered: dict[tuple[int, int], list[Path]] = {}
    for path in plan.paths:
        place, factor = path.segments[plan.output], path.segments[other]
        if place is not None and factor is not None and path.scale != 0:
            gathered.setdefault((place, factor), []).append(path)
    pairs = [_Pair(*places, paths) for places, paths in gathered.items()]
    builder = _Builder(plan, dtype, other, third)
    numbers = sum(builder.matrix_size(pair) for pair in pairs)
    coefficients = sum(path.coupling.sparse.values.size for pair in pairs for path in pair.paths)
    if coefficients < _LEAST_COEFFICIENTS * numbers:
        return None
    return builder.program(pairs)


def _is_plain(plan: Contraction) -> bool:
    """Whether the output is a factor of every path, of three segments of one channel each."""
    roles = components_of(plan.paths[0])
    return plan.output in roles[:2] and all(
        components_of(path) == roles
        and len(roles) == 3
        and weights_of(path) is None
        and all(
            place is None or plan.operands[i].segments[place].mul == 1 for i, place in enumerate(path.segments)
        )
        for path in plan.paths
    )


class _Builder:
    """A tile has the other factor, the result, then for every phase the cotangent's numbers and the matrices."""

    def __init__(self, plan: Contraction, dtype: str, other: int, third: int) -> None:
        self.plan, self.dtype, self.other, self.third = plan, dtype, other, third
        self.slots = plan.sizes[other]
        self.end = self.slots + plan.sizes[plan.output]

    def matrix_size(self, pair: _Pair) -> int:
        """Numbers of the matrix of a pair."""
        return self._dim(self.plan.output, pair.out) * self._dim(self.other, pair.other)

    def program(self, pairs: list[_Pair]) -> Program | None:
        """The tables of everything."""
        phases, size = [], self.end
        room = comfortable_size(self.dtype, MOST_SAMPLES) - self.end
        for own in self._cut(pairs, room):
            phase, end = self._phase(own, first=not phases)
            phases.append(phase)
            size = max(size, end)
        inputs = self.plan.inputs
        width = self.plan.sizes[self.plan.output]
        chunk = Chunk(phases, self.slots, np.arange(width), zero=True, size=size)
        sizes = tuple(self.plan.sizes[i] for i in inputs)
        return pack([chunk], inputs, sizes, width, -1, self.dtype, MOST_SAMPLES)

    def _dim(self, i: int, place: int) -> int:
        return self.plan.operands[i].segments[place].dim

    def _cotangents(self, pairs: list[_Pair]) -> list[int]:
        """The segments of the cotangent that pairs read."""
        found = {path.segments[self.third] for pair in pairs for path in pair.paths}
        return sorted(place for place in found if place is not None)

    def _cut(self, pairs: list[_Pair], room: int) -> list[list[_Pair]]:
        """Pairs that are worked together: as many as there is room for."""
        cuts: list[list[_Pair]] = [[]]
        for pair in pairs:
            own = [*cuts[-1], pair]
            taken = sum(self.matrix_size(one) for one in own)
            taken += sum(self._dim(self.third, place) for place in self._cotangents(own))
            if cuts[-1] and taken > room:
                cuts.append([])
            cuts[-1].append(pair)
        return cuts

    def _phase(self, pairs: list[_Pair], *, first: bool) -> tuple[Phase, int]:
        """The matrices of some pairs and what they add to the result; and where the tile ends."""
        starts: dict[int, int] = {}
        columns = []
        end = self.end
        for place in self._cotangents(pairs):
            segment = self.plan.operands[self.third].segments[place]
            starts[place] = end
            columns.append(np.arange(segment.offset, segment.offset + segment.dim))
            end += segment.dim
        matrices = Rows(product=False)
        matrices.combinations.append((np.array([0, 1]), np.zeros((1, 3), dtype=np.int64)))
        sums: dict[int, list[Ints]] = {}
        for number, pair in enumerate(pairs):
            matrices.results += self._matrix(pair, number, starts, end)
            rows, width = self._dim(self.plan.output, pair.out), self._dim(self.other, pair.other)
            y = self.plan.operands[self.other].segments[pair.other].offset + np.arange(width)
            for a in range(rows):
                to = self.slots + self.plan.operands[self.plan.output].segments[pair.out].offset + a
                sums.setdefault(to, []).append(np.stack([end + a * width + np.arange(width), y], axis=1))
            end += rows * width
        products = Rows(add=True, to_slots=True, combinations=list(matrices.combinations))
        for to, terms in sums.items():
            both = np.concatenate(terms)
            products.results.append(Result(to, to, 0, 1, (Part(0, 0, both, np.ones(len(both))),)))
        samples, _ = fitting(end, self.dtype, MOST_SAMPLES)
        operations: list[Rows | Matrix] = []
        for step in (matrices, products):
            steps, used = sliced(step, samples, end)
            operations += steps
            end += used
        inputs = self.plan.inputs
        loads = {inputs.index(self.third): self.end, **({inputs.index(self.other): 0} if first else {})}
        return Phase(loads, operations, {inputs.index(self.third): np.concatenate(columns)}), end

    def _matrix(self, pair: _Pair, number: int, starts: dict[int, int], to: int) -> list[Result]:
        """What makes the matrix of a pair, row by row from ``to`` on."""
        width = self._dim(self.other, pair.other)
        rows, columns, terms, values = [], [], [], []
        for path in pair.paths:
            table = path.coupling.sparse
            row, column, k = (table.coords[leg_of(path, i)] for i in (self.plan.output, self.other, self.third))
            place = path.segments[self.third]
            assert place is not None
            rows.append(row)
            columns.append(column)
            terms.append(starts[place] + k)
            values.append(table.values * path.scale)
        entry = np.concatenate(rows) * width + np.concatenate(columns)
        order = np.argsort(entry, kind="stable")
        begin = np.searchsorted(entry[order], np.arange(self.matrix_size(pair) + 1))
        at, by = np.concatenate(terms)[order], np.concatenate(values)[order]
        results = []
        for place, (start, stop) in enumerate(zip(begin[:-1], begin[1:], strict=True)):
            own = at[start:stop]
            both = np.stack([own, np.zeros_like(own)], axis=1)
            parts = (Part(0, 0, both, by[start:stop]),) if own.size else ()
            # Numbers that read the same cotangents are made together.
            results.append(Result((number, np.unique(own).tobytes()), to + place, 0, 1, parts))
        return results
