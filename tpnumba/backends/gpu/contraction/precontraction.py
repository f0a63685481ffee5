"""Precontraction, for gradients of products without channels: the coupling contracted with the cotangent first.

The gradient of ``sum of c[a, b, k] x[a] y[b] g[k]`` by x is ``T y`` with ``T[a, b] = sum of c[a, b, k] g[k]``. All
paths from two segments share their T, and its numbers of equal orders read the same g, so that each read serves several
sums; term by term, every coefficient takes reads of its own. Pairs of segments follow each other in phases, as the
cotangent of a large product does not fit into a tile.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby, pairwise

import numpy as np

from tpnumba.backends.gpu.layout import MOST_SAMPLES
from tpnumba.backends.gpu.tile import program as tile
from tpnumba.backends.gpu.tile import unrolled
from tpnumba.backends.gpu.tile.program import Part, Result, Sums
from tpnumba.backends.gpu.tile.split_reduction import split_sums
from tpnumba.backends.gpu.tile.tables import pack
from tpnumba.backends.lowering.paths import components_of, leg_of, weights_of
from tpnumba.plans.contraction import Contraction, Path

#: Coefficients for each number of the matrices from which on these take fewer reads than terms by themselves.
_LEAST_COEFFICIENTS = 2.5
#: Numbers of a tile that are left for sums that threads share.
_SPARE = 32
#: Of a matrix that are made at once, at least, also where there is not comfortable room.
_LEAST_NUMBERS = 64


@dataclass(frozen=True)
class _Pair:
    """A segment of the output and one of the other factor, with the paths from them."""

    out: int
    other: int
    paths: list[Path]


def lower(plan: Contraction, dtype: str) -> tile.Program | None:
    """The program of a gradient of a product without channels and weights; None for others, or if it costs more."""
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
    # As code, terms by themselves take fewer reads.
    if coefficients < max(_LEAST_COEFFICIENTS * numbers, unrolled.MOST_UNROLLED):
        return None
    return builder.program(pairs)


def _is_plain(plan: Contraction) -> bool:
    """Whether the output is a factor of every path, of three segments of one channel each."""
    roles = components_of(plan.paths[0])
    return plan.output in roles[:2] and all(
        components_of(path) == roles
        and len(roles) == 3
        and weights_of(path) is None
        and all(place is None or plan.operands[i].segments[place].mul == 1 for i, place in enumerate(path.segments))
        for path in plan.paths
    )


@dataclass(frozen=True)
class _Entry:
    """A number of a matrix: what makes it, and where its product with y is added to; equal keys are made together."""

    key: tuple[int, bytes]
    to: int
    y: int
    part: Part


class _Builder:
    """A tile has the other factor, the result, then for every phase the cotangent's numbers and the matrices."""

    def __init__(self, plan: Contraction, dtype: str, other: int, third: int) -> None:
        self.plan, self.dtype, self.other, self.third = plan, dtype, other, third
        self.output_start = plan.sizes[other]
        self.end = self.output_start + plan.sizes[plan.output]
        self.room = tile.comfortable_size(dtype, MOST_SAMPLES) - self.end - _SPARE

    def matrix_size(self, pair: _Pair) -> int:
        """Numbers of the matrix of a pair."""
        return self._dim(self.plan.output, pair.out) * self._dim(self.other, pair.other)

    def program(self, pairs: list[_Pair]) -> tile.Program | None:
        """The tables of everything."""
        phases: list[tile.Phase] = []
        size = self.end
        for own in self._cut(pairs):
            phase, end = self._phase(own, first=not phases)
            phases.append(phase)
            size = max(size, end)
        inputs = self.plan.inputs
        width = self.plan.sizes[self.plan.output]
        section = tile.Section(phases, self.output_start, np.arange(width), zero=True, size=size)
        sizes = tuple(self.plan.sizes[i] for i in inputs)
        return pack([section], inputs, sizes, width, -1, self.dtype, MOST_SAMPLES)

    def _dim(self, i: int, place: int) -> int:
        return self.plan.operands[i].segments[place].dim

    def _cotangents(self, pairs: list[_Pair]) -> list[int]:
        """The segments of the cotangent that pairs read."""
        found = {path.segments[self.third] for pair in pairs for path in pair.paths}
        return sorted(place for place in found if place is not None)

    def _cut(self, pairs: list[_Pair]) -> list[list[_Pair]]:
        """Pairs that are worked together: as many as there is room for."""
        cuts: list[list[_Pair]] = [[]]
        for pair in pairs:
            own = [*cuts[-1], pair]
            taken = sum(self.matrix_size(one) for one in own)
            taken += sum(self._dim(self.third, place) for place in self._cotangents(own))
            if cuts[-1] and taken > self.room:
                cuts.append([])
            cuts[-1].append(pair)
        return cuts

    def _phase(self, pairs: list[_Pair], *, first: bool) -> tuple[tile.Phase, int]:
        """The matrices of some pairs and what they add to the result; and where the tile ends."""
        starts: dict[int, int] = {}
        columns = []
        end = self.end
        for place in self._cotangents(pairs):
            segment = self.plan.operands[self.third].segments[place]
            starts[place] = end
            columns.append(np.arange(segment.offset, segment.offset + segment.dim))
            end += segment.dim
        found = [entry for number, pair in enumerate(pairs) for entry in self._matrix(pair, number, starts)]
        operations: list[Sums | tile.Matrix] = []
        last = end
        for entries in _blocks(found, max(self.room - (end - self.end), _LEAST_NUMBERS)):
            own, used = self._operations(entries, end)
            operations += own
            last = max(last, end + used)
        inputs = self.plan.inputs
        loads = {inputs.index(self.third): self.end, **({inputs.index(self.other): 0} if first else {})}
        return tile.Phase(loads, operations, {inputs.index(self.third): np.concatenate(columns)}), last

    def _operations(self, entries: list[_Entry], start: int) -> tuple[list[Sums], int]:
        """Make numbers of matrices, from ``start`` on, and add their products; also how many numbers that takes."""
        one = (np.array([0, 1]), np.zeros((1, 3), dtype=np.int64))
        matrices = Sums(product=False, combinations=[one])
        products = Sums(add=True, to_output=True, combinations=[one])
        sums: dict[int, list[tuple[int, int]]] = {}
        for place, entry in enumerate(entries, start):
            matrices.results.append(Result(entry.key, place, 0, 1, (entry.part,)))
            sums.setdefault(entry.to, []).append((place, entry.y))
        for to, terms in sums.items():
            products.results.append(Result(to, to, 0, 1, (Part(0, 0, np.array(terms), np.ones(len(terms))),)))
        samples, _ = tile.fitting(start + len(entries), self.dtype, MOST_SAMPLES)
        operations: list[Sums] = []
        end = start + len(entries)
        for whole in (matrices, products):
            own, used = split_sums(whole, samples, end)
            operations += own
            end += used
        return operations, end - start

    def _matrix(self, pair: _Pair, number: int, starts: dict[int, int]) -> list[_Entry]:
        """The numbers of the matrix of a pair, those that read the same cotangents beside each other."""
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
        number_of = np.concatenate(rows) * width + np.concatenate(columns)
        order = np.argsort(number_of, kind="stable")
        begin = np.searchsorted(number_of[order], np.arange(self.matrix_size(pair) + 1))
        at, by = np.concatenate(terms)[order], np.concatenate(values)[order]
        to = self.output_start + self.plan.operands[self.plan.output].segments[pair.out].offset
        y = self.plan.operands[self.other].segments[pair.other].offset
        entries = []
        for place, (start, stop) in enumerate(pairwise(begin.tolist())):
            if start == stop:
                continue
            own = at[start:stop]
            part = Part(0, 0, np.stack([own, np.zeros_like(own)], axis=1), by[start:stop])
            key = (number, np.unique(own).tobytes())
            entries.append(_Entry(key, to + place // width, y + place % width, part))
        return sorted(entries, key=lambda entry: entry.key)


def _blocks(entries: list[_Entry], most: int) -> list[list[_Entry]]:
    """Entries in turn, at most ``most`` at once; those of equal key stay together."""
    cuts: list[list[_Entry]] = [[]]
    for _, group in groupby(entries, key=lambda entry: entry.key):
        own = list(group)
        if cuts[-1] and len(cuts[-1]) + len(own) > most:
            cuts.append([])
        cuts[-1] += own
    return cuts
