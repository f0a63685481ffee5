"""Products with dense matrices, cut into what one thread makes: some results of some columns, kept in registers."""

from __future__ import annotations

from math import ceil
from typing import Protocol

import numpy as np

from tpnumba.backends.gpu.program import DENSE, Dense, Floats, Group, Ints

#: Results and columns that a thread makes, in the order of program.cu.
SHAPES = ((4, 1), (4, 2), (4, 4), (8, 1), (8, 2), (8, 4))
#: Integers that are read at once.
_QUAD = 4
_THREADS, _WARP = 256, 32
#: Multiply-adds of a warp that a multiprocessor does while it serves one request to memory, of four bytes a lane.
_MULTIPLY_ADDS = 4


class Writer(Protocol):
    """What appends to the tables."""

    pitch: int

    def ints(self, array: Ints, align: int = 2) -> int:
        """Append; returns where it is."""

    def coefficients(self, array: Floats) -> int:
        """Append, at a multiple of eight; returns where it is."""


def dense_record(operation: Dense, writer: Writer, samples: int, itemsize: int) -> list[int]:
    """Write the tables of an operation; returns its record."""
    pitch, start = writer.pitch, operation.start
    shape = min(SHAPES if itemsize == 4 else SHAPES[:-1], key=lambda shape: _price(operation, shape, samples, itemsize))
    results, columns = shape
    # The threads of a warp differ in the sample first. Then they read neighbours if they differ in the column; where
    # padding would bring them to the same banks, they read the same if they differ in the results.
    by_column = pitch == samples
    items: list[list[int]] = []
    for group in sorted(operation.groups, key=lambda group: -group.source.size):
        blocks, across = -(-group.to.size // results), -(-group.columns // columns)
        padded = np.zeros((group.source.size, blocks * results))
        padded[:, : group.to.size] = group.matrix
        first = writer.coefficients(padded)
        sources = writer.ints((group.source + start) * pitch, _QUAD)
        targets = writer.ints(np.pad(group.to * pitch, (0, blocks * results - group.to.size)), _QUAD)
        places = [(block, column) for block in range(blocks) for column in range(across)]
        for block, column in places if by_column else sorted(places, key=lambda place: place[1]):
            items.append(
                [
                    *(first + block * results, blocks * results * itemsize // 16, group.source.size),
                    *(sources, column * group.step_source * pitch, across * group.step_source * pitch),
                    *(targets + block * results, column * group.step_to * pitch, across * group.step_to * pitch),
                    *(min(results, group.to.size - block * results), -(-(group.columns - column) // across), 0),
                ]
            )
    factors = writer.coefficients(np.array([update.factor for update in operation.updates]))
    updates = [
        [update.to * pitch, -1 if update.times is None else update.times * pitch, factors + number, int(update.add)]
        for number, update in enumerate(operation.updates)
    ]
    return [
        *(DENSE, 0, int(operation.to_slots), 0, 0),
        *(SHAPES.index(shape), len(items), writer.ints(np.array(items), _QUAD)),
        *(len(updates), writer.ints(np.array(updates), _QUAD)),
    ]


def _price(operation: Dense, shape: tuple[int, int], samples: int, itemsize: int) -> float:
    """Requests to memory of a warp, all together; half of the warps that come last and wait count as if they worked."""
    updates = len(operation.updates)
    items = [(_item_price(group, shape, itemsize, updates), _count(group, shape)) for group in operation.groups]
    number = sum(count for _, count in items)
    work = sum(price * count for price, count in items) * samples / _WARP
    rounds = ceil(number * samples / _THREADS)
    idle = rounds * _THREADS / _WARP - number * samples / _WARP
    return work + 0.5 * idle * work / number


def _count(group: Group, shape: tuple[int, int]) -> int:
    return -(-group.to.size // shape[0]) * -(-group.columns // shape[1])


def _item_price(group: Group, shape: tuple[int, int], itemsize: int, updates: int) -> float:
    results, columns = shape
    words = itemsize / 4
    term = results * words / _QUAD + columns * words + 1 / _QUAD
    own = 3 + results / _QUAD + updates * (2 + results * columns * words)
    return own + group.source.size * max(term, results * columns * words / _MULTIPLY_ADDS)
