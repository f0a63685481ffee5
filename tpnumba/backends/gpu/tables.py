"""From operations to tables, in the layout that ``program.cu`` reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tpnumba.backends.gpu.dense import dense_record
from tpnumba.backends.gpu.program import (
    FROM_TILE,
    INPUTS,
    LINEAR,
    MATRIX,
    MOST_ENTRIES,
    OP_SIZE,
    PRODUCT,
    REPEATS,
    Chunk,
    Dense,
    Floats,
    Ints,
    Matrix,
    Part,
    Program,
    Result,
    Rows,
    fitting,
    pitch_of,
)
from tpnumba.backends.gpu.unrolled import MOST_UNROLLED, Code


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
    dense = any(isinstance(operation, Dense) for chunk in chunks for operation in chunk.operations)
    samples, shared = fitting(size, dtype, wanted, dense=dense)
    pitch = pitch_of(samples, dense=dense)
    merged = [
        [_merge(operation) if isinstance(operation, Rows) else [] for operation in chunk.operations] for chunk in chunks
    ]
    groups = [group for chunk in merged for operation in chunk for group in operation]
    code = Code(dtype) if not dense and _nonzeros(groups) <= MOST_UNROLLED else None
    repeat = _cheapest_repeat(groups, 0.0 if code else 0.6)
    writer = _Writer(pitch, repeat, code)
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
        for operation, own in zip(chunk.operations, merged[number], strict=True):
            match operation:
                case Rows():
                    body = writer.rows(operation, own)
                case Matrix():
                    body = writer.matrix(operation)
                case Dense():
                    body = dense_record(operation, writer, samples, np.dtype(dtype).itemsize)
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
        unrolled=code.source() if code else "",
    )


def _frozen(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    array.flags.writeable = False
    return array


class _Writer:
    """Appends to the tables. With ``code``, terms go there."""

    def __init__(self, pitch: int, repeat: int, code: Code | None) -> None:
        self.pitch, self.repeat, self.code = pitch, repeat, code
        self.table: list[Ints] = []
        self.values: list[Floats] = []
        self.length = self.n_values = 0

    def ints(self, array: Ints, align: int = 2) -> int:
        """Append, at an even place as pairs are read at once, or a multiple of ``align``; returns where it is."""
        fill = -self.length % align
        self.table.append(np.zeros(fill, dtype=np.int64))
        self.length += fill
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
        n_terms = n_kept = 0
        places_of: dict[bytes, tuple[int, int]] = {}  # equal terms stand in the tables once
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
                    own_pairs = pairs[kept] * self.pitch
                    name = own_pairs.tobytes() + pack.tobytes()
                    if self.code is not None:
                        ends = (self.code.add(own_pairs, pack, product=operation.product), 0)
                    elif name in places_of:
                        ends = places_of[name]
                    else:
                        ends = places_of[name] = (n_kept, n_kept + len(pack))
                        terms.append(own_pairs)
                        values.append(pack)
                        n_kept += len(pack)
                    places = [(-1, 0)] * repeat
                    places[: len(chosen)] = [
                        (-1, 0) if place is None else (place[0] * by_tile, place[1] * by_tile)
                        for place in factors[cut : cut + repeat]
                    ]
                    parts.append([list_of, *ends, *(number for place in places for number in place)])
                    n_terms += len(pack)
                outs = [(-1, 0)] * repeat
                outs[: len(chosen)] = [(result.start * self.pitch, result.step * self.pitch) for result in chosen]
                tasks.append((n_terms - count, len(rows)))
                rows.append([chosen[0].channels, begin, len(parts), *(number for out in outs for number in out)])
            if n_kept * (2 + repeat) > MOST_ENTRIES:
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
        terms = np.concatenate([np.zeros((0, 2), dtype=np.int64), *sums[0]])
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


def _nonzeros(groups: list[_Group]) -> int:
    return sum(int(np.count_nonzero(values)) for _, parts in groups for _, values, *_ in parts)


def _cheapest_repeat(groups: list[_Group], multiplication: float) -> int:
    """How many results a thread should make at a time.

    A term costs two reads of the tile and, where it is in tables, one of these; for every result it costs a
    ``multiplication`` with its coefficient, also where that is zero; code leaves zeros out.
    """
    sizes = [(len(group), group[0].channels * sum(len(terms) for terms, *_ in parts)) for group, parts in groups]

    def price(repeat: int) -> float:
        return sum(-(-results // repeat) * terms * (3 + multiplication * repeat) for results, terms in sizes)

    return min(REPEATS, key=price)
