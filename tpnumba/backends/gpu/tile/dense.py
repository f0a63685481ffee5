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

from tpnumba.backends.gpu import layout
from tpnumba.backends.gpu.device import VECTOR_BYTES
from tpnumba.backends.gpu.layout import DENSE_SHAPES, QUAD, THREADS, Kind, Mode
from tpnumba.backends.gpu.tile.program import Dense
from tpnumba.backends.lowering.matrices import ConstantMatrix, Floats, Ints
from tpnumba.backends.lowering.parity import mirrored_columns, representatives

#: Multiply-adds of a warp that a multiprocessor does while it serves one request to memory, of four bytes a lane.
_MULTIPLY_ADDS = 4
#: What a warp that comes last and waits counts of one that works. Not measured.
_WAITING = 0.25


class Writer(Protocol):
    """What appends to the tables."""

    pitch: int

    def ints(self, array: Ints) -> int:
        """Append, at a multiple of what is read at once; returns where it is."""

    def coefficients(self, array: Floats) -> int:
        """Append, at a multiple of what is read at once; returns where it is."""


@dataclass(frozen=True, eq=False)
class Scheme:
    """A matrix as it is done. Sums come from the left in every mode, and but for plain ones from the right as well.

    ``sources``: the places of a term, one or two, shape ``(terms, halves)``; ``values``: coefficients of both halves,
    ``(terms, results)`` each; ``targets``: the places of their results, -1 where there is none.
    """

    matrix: ConstantMatrix
    mode: Mode
    sources: Ints
    values: tuple[Floats, ...]
    targets: tuple[Ints, ...]


def schemes(matrix: ConstantMatrix) -> Iterator[Scheme]:
    """How products with a matrix can be done: plainly, or by whatever mirrors itself."""
    yield Scheme(matrix, Mode.PLAIN, matrix.source[:, None], (matrix.values,), (matrix.to,))
    found = mirrored_columns(matrix.values)
    if found is not None:
        mirror, even, odd = found
        terms = max(even.size, odd.size)
        first = representatives(mirror)
        values, sources = [], []
        for own in (even, odd):
            values.append(np.zeros((terms, first.size)))
            values[-1][: own.size] = matrix.values[np.ix_(own, first)]
            sources.append(np.resize(matrix.source[own] if own.size else matrix.source[:1], terms))
        second = np.where(mirror[first] > first, matrix.to[mirror[first]], -1)
        yield Scheme(matrix, Mode.AFTER, np.stack(sources, axis=1), tuple(values), (matrix.to[first], second))
    found = mirrored_columns(matrix.values.T)
    if found is not None:
        mirror, even, odd = found
        first = representatives(mirror)
        half = np.where(mirror[first] > first, 1.0, 0.5)[:, None]  # what mirrors itself is added to itself
        places = np.stack([matrix.source[first], matrix.source[mirror[first]]], axis=1)
        halves = tuple(matrix.values[np.ix_(first, own)] * half for own in (even, odd))
        yield Scheme(matrix, Mode.BEFORE, places, halves, (matrix.to[even], matrix.to[odd]))


def dense_record(operation: Dense, writer: Writer, samples: int, itemsize: int) -> list[int]:
    """Write the tables of an operation; returns its record."""
    shape, every = _cheapest(operation, samples, itemsize)
    # The threads of a warp differ in the sample first, then in the column, so that they read neighbours.
    items: list[list[int]] = []
    for scheme in sorted(every, key=lambda scheme: -len(scheme.sources)):
        items += _items(scheme, shape, operation.start, writer, itemsize)
    pitch = writer.pitch
    factors = writer.coefficients(np.array([update.factor for update in operation.updates]))
    updates = [
        layout.record(
            layout.UpdateRecord,
            TO=update.to * pitch,
            TIMES=-1 if update.times is None else update.times * pitch,
            UPDATE_FACTOR=factors + number,
            UPDATE_ADD=int(update.add),
        )
        for number, update in enumerate(operation.updates)
    ]
    head = layout.record(
        layout.OperationRecord,
        KIND=Kind.DENSE,
        ADD=0,
        TO_OUTPUT=int(operation.to_output),
        COEFFICIENTS=0,
        FACTOR=0,
    )
    return head + layout.record(
        layout.DenseRecord,
        SHAPE=DENSE_SHAPES.index(shape),
        N_ITEMS=len(items),
        ITEMS=writer.ints(np.array(items)),
        N_UPDATES=len(updates),
        UPDATES=writer.ints(np.array(updates)),
    )


def _items(scheme: Scheme, shape: tuple[int, int], start: int, writer: Writer, itemsize: int) -> list[list[int]]:
    """The records of what threads make of one matrix, whose tables are written; it reads from ``start`` on."""
    (results, columns), pitch = shape, writer.pitch
    matrix, halves = scheme.matrix, len(scheme.values)
    own = results // halves
    blocks, across = _blocks(scheme, results), -(-matrix.columns // columns)
    values = np.zeros((len(scheme.sources), blocks, halves, own))
    targets = np.full((blocks, halves, own), -1)
    for half in range(halves):
        padding = blocks * own - scheme.targets[half].size
        values[:, :, half] = np.pad(scheme.values[half], ((0, 0), (0, padding))).reshape(-1, blocks, own)
        to = np.where(scheme.targets[half] < 0, -1, scheme.targets[half] * pitch)
        targets[:, half] = np.pad(to, (0, padding), constant_values=-1).reshape(blocks, own)
    first = writer.coefficients(values)
    sources, places = writer.ints((scheme.sources + start) * pitch), writer.ints(targets)
    return [
        layout.record(
            layout.ItemRecord,
            PACK=first + block * results,
            PACKS=blocks * results * itemsize // VECTOR_BYTES,
            DEPTH=len(scheme.sources),
            SOURCES=sources,
            IN=column * matrix.step_source * pitch,
            STEP_IN=across * matrix.step_source * pitch,
            TARGETS=places + block * results,
            OUT=column * matrix.step_to * pitch,
            STEP_OUT=across * matrix.step_to * pitch,
            N_COLUMNS=-(-(matrix.columns - column) // across),
            MODE=scheme.mode,
            UNUSED=0,
        )
        for block, column in product(range(blocks), range(across))
    ]


def _cheapest(operation: Dense, samples: int, itemsize: int) -> tuple[tuple[int, int], list[Scheme]]:
    """The shape, and how each matrix is done, of the lowest price.

    That is what a warp asks of memory, all together, where warps that come last and wait count a part.
    """
    updates = len(operation.updates)
    candidates = [list(schemes(matrix)) for matrix in operation.matrices]

    def price(shape: tuple[int, int], chosen: list[Scheme]) -> float:
        counts = [_blocks(scheme, shape[0]) * -(-scheme.matrix.columns // shape[1]) for scheme in chosen]
        number = sum(counts)
        work = sum(n * _item_price(scheme, shape, itemsize, updates) for n, scheme in zip(counts, chosen, strict=True))
        rounds = ceil(number * samples / THREADS)
        return work * (number + _WAITING * (rounds * THREADS / samples - number)) / number

    found = []
    for shape in DENSE_SHAPES if itemsize == 4 else DENSE_SHAPES[: layout.N_DOUBLE_SHAPES]:
        chosen = [min(own, key=lambda scheme, shape=shape: price(shape, [scheme])) for own in candidates]  # type: ignore[misc]
        found.append((price(shape, chosen), shape, chosen))
    _, shape, chosen = min(found, key=lambda one: one[0])
    return shape, chosen


def _blocks(scheme: Scheme, results: int) -> int:
    own = results // len(scheme.targets)
    return max(-(-targets.size // own) for targets in scheme.targets)


def _item_price(scheme: Scheme, shape: tuple[int, int], itemsize: int, updates: int) -> float:
    results, columns = shape
    words, halves = itemsize / 4, len(scheme.values)
    term = results * words / QUAD + halves * (columns * words + 1 / QUAD)
    own = 3 + results / QUAD + updates * (2 + results * columns * words)
    return own + len(scheme.sources) * max(term, results * columns * words / _MULTIPLY_ADDS)
