"""Products with dense matrices, cut into what one thread makes: some results of some columns, kept in registers.

Cosines are even, sines odd about the middle of what they are sampled on, and so are Legendre functions. So two results
that mirror each other are the sum and the difference of the same two sums; backwards, two numbers that are read are
added and subtracted first. Both halve the multiplications.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from math import ceil
from typing import Protocol

import numpy as np

from tpnumba.backends.gpu.program import DENSE, Dense, Floats, Group, Ints

#: Results and columns that a thread makes, in the order of dense.cuh; those of twice as many would take more registers
#: than there are in float64.
SHAPES = ((4, 2), (8, 1), (8, 2), (8, 4), (16, 2))
DOUBLE_SHAPES = SHAPES[:3]
#: Sums that are made from numbers as they stand; that are added and subtracted; of numbers that are first.
PLAIN, AFTER, BEFORE = 0, 1, 2
#: Integers that are read at once.
_QUAD = 4
_THREADS, _WARP = 256, 32
#: Multiply-adds of a warp that a multiprocessor does while it serves one request to memory, of four bytes a lane.
_MULTIPLY_ADDS = 4
#: What a warp that comes last and waits counts of one that works. Not measured.
_WAITING = 0.25
#: Coefficients that differ by less are the same, next to the largest.
_ROUNDING = 1e-13


class Writer(Protocol):
    """What appends to the tables."""

    pitch: int

    def ints(self, array: Ints) -> int:
        """Append, at a multiple of four; returns where it is."""

    def coefficients(self, array: Floats) -> int:
        """Append, at a multiple of eight; returns where it is."""


@dataclass(frozen=True, eq=False)
class Sums:
    """A group as it is done. Sums come from the left in every mode, and but for plain ones from the right as well.

    ``sources``: the places of a term, one or two, shape ``(terms, sides)``; ``values``: coefficients of both sides,
    ``(terms, results)`` each; ``targets``: the places of their results, -1 where there is none.
    """

    group: Group
    mode: int
    sources: Ints
    values: tuple[Floats, ...]
    targets: tuple[Ints, ...]


def ways(group: Group) -> Iterator[Sums]:
    """How a group can be done: plainly, or by whatever mirrors itself."""
    yield Sums(group, PLAIN, group.source[:, None], (group.matrix,), (group.to,))
    found = _mirrored(group.matrix)
    if found is not None:
        mirror, even, odd = found
        terms = max(even.size, odd.size)
        first = np.flatnonzero(np.arange(mirror.size) <= mirror)
        values, sources = [], []
        for own in (even, odd):
            values.append(np.zeros((terms, first.size)))
            values[-1][: own.size] = group.matrix[np.ix_(own, first)]
            sources.append(np.resize(group.source[own] if own.size else group.source[:1], terms))
        second = np.where(mirror[first] > first, group.to[mirror[first]], -1)
        yield Sums(group, AFTER, np.stack(sources, axis=1), tuple(values), (group.to[first], second))
    found = _mirrored(group.matrix.T)
    if found is not None:
        mirror, even, odd = found
        first = np.flatnonzero(np.arange(mirror.size) <= mirror)
        half = np.where(mirror[first] > first, 1.0, 0.5)[:, None]  # what mirrors itself is added to itself
        places = np.stack([group.source[first], group.source[mirror[first]]], axis=1)
        sides = tuple(group.matrix[np.ix_(first, own)] * half for own in (even, odd))
        yield Sums(group, BEFORE, places, sides, (group.to[even], group.to[odd]))


def _mirrored(matrix: Floats) -> tuple[Ints, Ints, Ints] | None:
    """Which columns mirror which, so that all rows are even or odd; and the rows that are; None if none do."""
    n = matrix.shape[1]
    bound = _ROUNDING * np.abs(matrix).max(initial=0.0)
    for mirror in (np.arange(n)[::-1], -np.arange(n) % n):
        even, odd = (np.all(np.abs(matrix - sign * matrix[:, mirror]) <= bound, axis=1) for sign in (1, -1))
        if n > 1 and np.all(even | odd):
            return mirror, np.flatnonzero(even), np.flatnonzero(odd & ~even)
    return None


def dense_record(operation: Dense, writer: Writer, samples: int, itemsize: int) -> list[int]:
    """Write the tables of an operation; returns its record."""
    pitch, start = writer.pitch, operation.start
    shape, every = _cheapest(operation, samples, itemsize)
    results, columns = shape
    # The threads of a warp differ in the sample first, then in the column, so that they read neighbours.
    items: list[list[int]] = []
    for sums in sorted(every, key=lambda sums: -len(sums.sources)):
        group, sides = sums.group, len(sums.values)
        own = results // sides
        blocks, across = _blocks(sums, results), -(-group.columns // columns)
        values = np.zeros((len(sums.sources), blocks, sides, own))
        targets = np.full((blocks, sides, own), -1)
        for side in range(sides):
            padding = blocks * own - sums.targets[side].size
            values[:, :, side] = np.pad(sums.values[side], ((0, 0), (0, padding))).reshape(-1, blocks, own)
            to = np.where(sums.targets[side] < 0, -1, sums.targets[side] * pitch)
            targets[:, side] = np.pad(to, (0, padding), constant_values=-1).reshape(blocks, own)
        first = writer.coefficients(values)
        places = writer.ints((sums.sources + start) * pitch), writer.ints(targets)
        for block, column in product(range(blocks), range(across)):
            items.append(
                [
                    *(first + block * results, blocks * results * itemsize // 16, len(sums.sources)),
                    *(places[0], column * group.step_source * pitch, across * group.step_source * pitch),
                    *(places[1] + block * results, column * group.step_to * pitch, across * group.step_to * pitch),
                    *(-(-(group.columns - column) // across), sums.mode, 0),
                ]
            )
    factors = writer.coefficients(np.array([update.factor for update in operation.updates]))
    updates = [
        [update.to * pitch, -1 if update.times is None else update.times * pitch, factors + number, int(update.add)]
        for number, update in enumerate(operation.updates)
    ]
    return [
        *(DENSE, 0, int(operation.to_slots), 0, 0),
        *(SHAPES.index(shape), len(items), writer.ints(np.array(items))),
        *(len(updates), writer.ints(np.array(updates))),
    ]


def _cheapest(operation: Dense, samples: int, itemsize: int) -> tuple[tuple[int, int], list[Sums]]:
    """The shape, and how each group is done, of the lowest price.

    That is what a warp asks of memory, all together, where warps that come last and wait count a part.
    """
    updates = len(operation.updates)
    candidates = [list(ways(group)) for group in operation.groups]

    def price(shape: tuple[int, int], chosen: list[Sums]) -> float:
        counts = [_blocks(sums, shape[0]) * -(-sums.group.columns // shape[1]) for sums in chosen]
        number = sum(counts)
        work = sum(n * _item_price(sums, shape, itemsize, updates) for n, sums in zip(counts, chosen, strict=True))
        rounds = ceil(number * samples / _THREADS)
        return work * (number + _WAITING * (rounds * _THREADS / samples - number)) / number

    found = []
    for shape in SHAPES if itemsize == 4 else DOUBLE_SHAPES:
        chosen = [min(own, key=lambda sums, shape=shape: price(shape, [sums])) for own in candidates]  # type: ignore[misc]
        found.append((price(shape, chosen), shape, chosen))
    _, shape, chosen = min(found, key=lambda one: one[0])
    return shape, chosen


def _blocks(sums: Sums, results: int) -> int:
    own = results // len(sums.targets)
    return max(-(-targets.size // own) for targets in sums.targets)


def _item_price(sums: Sums, shape: tuple[int, int], itemsize: int, updates: int) -> float:
    results, columns = shape
    words, sides = itemsize / 4, len(sums.values)
    term = results * words / _QUAD + sides * (columns * words + 1 / _QUAD)
    own = 3 + results / _QUAD + updates * (2 + results * columns * words)
    return own + len(sums.sources) * max(term, results * columns * words / _MULTIPLY_ADDS)
