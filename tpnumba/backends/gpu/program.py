"""Programs: what the kernel reads. Operations on the tile of a sample, collected by plan and packed into tables.

Positions are in numbers of a sample's tile until :func:`pack` knows how many samples a tile has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

#: As in program.cu.
INPUTS = 3
OP_SIZE = 20
LINEAR, PRODUCT, MATRIX = 0, 1, 2
NO_FACTOR, FROM_TILE = -2, -1
#: Sums that one thread may keep.
REPEATS = (1, 2, 4, 8)

#: Entries of tables beyond which a plan has no program: they would take longer to read than they save.
MOST_ENTRIES = 2**22
#: Samples of a tile: enough that the threads of a warp differ in nothing else.
MOST_SAMPLES = 32
#: Shared memory, in bytes, that leaves room for several blocks on a multiprocessor; and what every device from sm_80 on
#: gives to one.
_COMFORTABLE_BYTES, _MOST_BYTES = 48 * 2**10, 96 * 2**10


@dataclass(frozen=True)
class Part:
    """A contribution to one result: ``sum over channels and terms of coefficient * x * y``, times a factor.

    Parts with equal ``key`` are taken together where results are. ``combinations`` says which pairs of channels meet
    (a place in the list of the operation); ``terms`` are places in x and y, shape ``(n, 2)``, with their ``values``;
    ``factor`` is where the factor starts and its step from channel to channel, or None.
    """

    key: object
    combinations: int
    terms: Ints
    values: Floats
    factor: tuple[int, int] | None = None


@dataclass(frozen=True)
class Result:
    """Numbers ``start + step * channel`` of the tile, each a sum of parts; those of equal ``key`` are made together."""

    key: object
    start: int
    step: int
    channels: int
    parts: tuple[Part, ...]


@dataclass
class Rows:
    """An operation that makes results as sums over tables.

    ``combinations``: for each list, where the pairs of every channel begin, and the pairs: the start of x, the start of
    y, and the channel of the factor. ``factor``: NO_FACTOR, FROM_TILE, or the input that is read where it stands.
    """

    results: list[Result] = field(default_factory=list)
    combinations: list[tuple[Ints, Ints]] = field(default_factory=list)
    product: bool = True
    add: bool = False
    to_slots: bool = False
    factor: int = NO_FACTOR


@dataclass
class Matrix:
    """A matrix product ``c[i, k] = scale * sum over j of a[i, j] b[j, k]``; places are starts and steps.

    ``factor``: FROM_TILE, or the input that ``a`` is read from where it stands.
    """

    extents: tuple[int, int, int]
    a: tuple[int, int, int]
    b: tuple[int, int, int]
    c: tuple[int, int, int]
    scale: float = 1.0
    add: bool = False
    to_slots: bool = False
    factor: int = FROM_TILE


@dataclass
class Chunk:
    """What makes some columns of the result: inputs to load and where to, operations, and where the columns stand."""

    loads: dict[int, int]
    operations: list[Rows | Matrix]
    slots: int
    columns: Ints
    zero: bool
    size: int


@dataclass(frozen=True, eq=False)
class Program:
    """The tables of a plan in one dtype; hashed by identity, as the programs of plans are kept.

    ``samples`` of a tile; ``repeat``: results that a thread makes at a time; ``tile``: its numbers, and ``shared``
    whether they fit into shared memory; ``inputs``: the operands in the order of the kernel; ``direct``: the place
    among them of the one that is read where it stands, or -1.
    """

    samples: int
    repeat: int
    tile: int
    shared: bool
    inputs: tuple[int, ...]
    direct: int
    chunks: int
    table: npt.NDArray[np.int32]
    coefficients: npt.NDArray[np.floating]


def pitch_of(samples: int) -> int:
    """Numbers from one number of a tile to the next: padded, so that rows are loaded without conflicts of banks."""
    return samples + 1 if samples >= 8 else samples


def fitting(size: int, dtype: str, wanted: int) -> tuple[int, bool]:
    """How many samples a tile of ``size`` numbers each has, and whether it is in shared memory."""
    itemsize = np.dtype(dtype).itemsize
    for most in (_COMFORTABLE_BYTES, _MOST_BYTES):
        # Fewer samples a tile than a quarter of what is wanted, only if there is no other way.
        samples = wanted
        while samples >= max(1, wanted // 4 if most == _COMFORTABLE_BYTES else 1):
            if size * pitch_of(samples) * itemsize <= most:
                return samples, True
            samples //= 2
    return wanted, False


def pack(
    chunks: Sequence[Chunk],
    inputs: tuple[int, ...],
    sizes: tuple[int, ...],
    width: int,
    direct: int,
    dtype: str,
    wanted: int,
) -> Program | None:
    """Make the tables; None if they would be too large."""
    size = max(chunk.size for chunk in chunks)
    samples, shared = fitting(size, dtype, wanted)
    pitch = pitch_of(samples)
    merged = [
        [_merge(operation) if isinstance(operation, Rows) else [] for operation in chunk.operations] for chunk in chunks
    ]
    repeat = _cheapest_repeat(merged)
    writer = _Writer(pitch, repeat)
    header = [samples.bit_length() - 1, pitch, width, *sizes, *(0,) * (INPUTS - len(sizes))]
    record = 6 + INPUTS
    start = len(header) + record * len(chunks)
    operations = sum(len(chunk.operations) for chunk in chunks)
    writer.table = [np.zeros(start + OP_SIZE * operations, dtype=np.int64)]
    writer.length = start + OP_SIZE * operations
    head = writer.table[0]
    head[: len(header)] = header
    at = start
    for number, chunk in enumerate(chunks):
        columns = writer.ints(chunk.columns)
        loads = [chunk.loads[i] * pitch if i in chunk.loads else -1 for i in range(INPUTS)]
        end = at + OP_SIZE * len(chunk.operations)
        place = len(header) + record * number
        head[place : place + record] = [
            *(at, end, chunk.slots * pitch, chunk.columns.size, columns, int(chunk.zero)),
            *loads,
        ]
        for operation, groups in zip(chunk.operations, merged[number], strict=True):
            body = writer.rows(operation, groups) if isinstance(operation, Rows) else writer.matrix(operation)
            if body is None or writer.length + writer.n_values > MOST_ENTRIES:
                return None
            head[at : at + len(body)] = body
            at += OP_SIZE
    table = np.concatenate(writer.table)
    values = np.concatenate([np.zeros(0), *writer.values])
    return Program(
        samples=samples,
        repeat=repeat,
        tile=size * pitch,
        shared=shared,
        inputs=inputs,
        direct=direct,
        chunks=len(chunks),
        table=_frozen(table.astype(np.int32)),
        coefficients=_frozen(values.astype(dtype)),
    )


def _frozen(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    array.flags.writeable = False
    return array


class _Writer:
    """Appends to the tables."""

    def __init__(self, pitch: int, repeat: int) -> None:
        self.pitch, self.repeat = pitch, repeat
        self.table: list[Ints] = []
        self.values: list[Floats] = []
        self.length = self.n_values = 0

    def ints(self, array: Ints) -> int:
        """Append, at an even place as pairs are read at once; returns where it is."""
        if self.length % 2:
            self.table.append(np.zeros(1, dtype=np.int64))
            self.length += 1
        start = self.length
        flat = np.asarray(array, dtype=np.int64).ravel()
        self.table.append(flat)
        self.length += flat.size
        return start

    def coefficients(self, array: Floats) -> int:
        """Append, at a place that is a multiple of eight as several are read at once; returns where it is."""
        fill = -self.n_values % REPEATS[-1]
        start = self.n_values + fill
        self.values += [np.zeros(fill), array.ravel()]
        self.n_values = start + array.size
        return start

    def matrix(self, operation: Matrix) -> list[int]:
        """The record of a matrix product."""
        pitch = self.pitch
        a_pitch = pitch if operation.factor == FROM_TILE else 1
        return [
            *(MATRIX, int(operation.add), int(operation.to_slots)),
            *(self.coefficients(np.array([operation.scale])), operation.factor),
            *operation.extents,
            *(place * a_pitch for place in operation.a),
            *(place * pitch for place in operation.b),
            *(place * pitch for place in operation.c),
        ]

    def rows(self, operation: Rows, groups: list[_Group]) -> list[int] | None:
        """The record of an operation on rows; None if its tables would be too large."""
        repeat = self.repeat
        by_tile = self.pitch if operation.factor == FROM_TILE else 1
        rows: list[list[int]] = []
        parts: list[list[int]] = []
        terms: list[Ints] = []
        values: list[Floats] = []
        n_terms = 0
        tasks: list[tuple[int, int]] = []  # terms, row
        for group, own in groups:
            for cut in range(0, len(group), repeat):
                chosen = group[cut : cut + repeat]
                begin = len(parts)
                count = n_terms
                for pairs, numbers, list_of, factors in own:
                    kept = np.any(numbers[:, cut : cut + repeat] != 0, axis=1)
                    if not kept.any():
                        continue
                    pack = np.zeros((int(kept.sum()), repeat))
                    pack[:, : len(chosen)] = numbers[kept, cut : cut + repeat]
                    ends = (n_terms, n_terms + len(pack))
                    places = [(-1, 0)] * repeat
                    places[: len(chosen)] = [
                        (-1, 0) if place is None else (place[0] * by_tile, place[1] * by_tile)
                        for place in factors[cut : cut + repeat]
                    ]
                    parts.append([list_of, *ends, *(number for place in places for number in place)])
                    terms.append(pairs[kept])
                    values.append(pack)
                    n_terms += len(pack)
                outs = [(-1, 0)] * repeat
                outs[: len(chosen)] = [(result.start * self.pitch, result.step * self.pitch) for result in chosen]
                tasks.append((n_terms - count, len(rows)))
                rows.append([chosen[0].channels, begin, len(parts), *(number for out in outs for number in out)])
            if n_terms * (2 + repeat) > MOST_ENTRIES:
                return None
        return self._append_rows(operation, tasks, (rows, parts), (terms, values))

    def _append_rows(
        self,
        operation: Rows,
        tasks: list[tuple[int, int]],
        records: tuple[list[list[int]], list[list[int]]],
        sums: tuple[list[Ints], list[Floats]],
    ) -> list[int] | None:
        """The longest rows go first, so that no warp is late; a task for each channel of a row."""
        repeat = self.repeat
        rows, parts = (np.array(record, dtype=np.int64).reshape(-1, 3 + 2 * repeat) for record in records)
        order = [row for _, row in sorted(tasks, key=lambda task: -task[0])]
        counts = rows[order, 0]
        if counts.sum() > MOST_ENTRIES:
            return None
        rows[order, 0] = np.cumsum(counts) - counts
        starts = np.cumsum([0, *(pointers.size for pointers, _ in operation.combinations)])
        firsts = np.cumsum([0, *(len(pairs) for _, pairs in operation.combinations)])
        pointers = [begin + int(first) for (begin, _), first in zip(operation.combinations, firsts, strict=False)]
        combinations = np.concatenate(
            [np.zeros((0, 3), dtype=np.int64), *(pairs for _, pairs in operation.combinations)]
        )
        if parts.size:
            parts[:, 0] = starts[parts[:, 0]]
        scaled = combinations * np.array([self.pitch, self.pitch, 1])
        terms = np.concatenate([np.zeros((0, 2), dtype=np.int64), *sums[0]]) * self.pitch
        values = np.concatenate([np.zeros((0, repeat)), *sums[1]])
        return [
            *(PRODUCT if operation.product else LINEAR, int(operation.add), int(operation.to_slots)),
            *(self.coefficients(values), operation.factor),
            *(int(counts.sum()), self.ints(np.repeat(np.array(order, dtype=np.int64), counts))),
            *(self.ints(rows), self.ints(parts)),
            *(self.ints(np.concatenate([np.zeros(0, dtype=np.int64), *pointers])), self.ints(scaled), self.ints(terms)),
        ]


#: The parts of results that are made together: terms, a column of coefficients a result, combinations, factors.
_Merged = tuple[Ints, Floats, int, list[tuple[int, int] | None]]
_Group = tuple[list[Result], list[_Merged]]


def _merge(operation: Rows) -> list[_Group]:
    """The results that are made together."""
    groups: dict[object, list[Result]] = {}
    for result in operation.results:
        if result.channels:
            groups.setdefault((result.key, result.channels), []).append(result)
    return [_merged(group) for group in groups.values()]


def _merged(group: list[Result]) -> _Group:
    """Put the parts of results side by side: the terms of any of them, with zero where a result has none."""
    gathered: dict[object, list[tuple[int, Part]]] = {}
    for number, result in enumerate(group):
        for part in result.parts:
            gathered.setdefault((part.key, part.combinations), []).append((number, part))
    merged = []
    for found in gathered.values():
        terms, inverse = np.unique(np.concatenate([part.terms for _, part in found]), axis=0, return_inverse=True)
        values = np.zeros((len(terms), len(group)))
        column = np.repeat([number for number, _ in found], [len(part.terms) for _, part in found])
        np.add.at(values, (inverse.ravel(), column), np.concatenate([part.values for _, part in found]))
        factors: list[tuple[int, int] | None] = [None] * len(group)
        for number, part in found:
            factors[number] = part.factor
        merged.append((terms, values, found[0][1].combinations, factors))
    return group, merged


def _cheapest_repeat(chunks: Sequence[Sequence[list[_Group]]]) -> int:
    """How many results a thread should make at a time.

    A term costs two reads of the tile, one of the table and, for every result, a multiplication with its coefficient.
    """
    sizes = [
        (len(group), group[0].channels * sum(len(terms) for terms, *_ in parts))
        for chunk in chunks
        for groups in chunk
        for group, parts in groups
    ]

    def price(repeat: int) -> float:
        return sum(-(-results // repeat) * terms * (3 + 0.6 * repeat) for results, terms in sizes)

    return min(REPEATS, key=price)


def comfortable_size(dtype: str, samples: int) -> int:
    """Numbers of a tile that leave room for several blocks on a multiprocessor."""
    return _COMFORTABLE_BYTES // (np.dtype(dtype).itemsize * pitch_of(samples))
