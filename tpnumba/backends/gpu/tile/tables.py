"""From operations to tables, in the layout that ``program.cu`` reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tpnumba.backends.gpu.dense import dense_record
from tpnumba.backends.gpu.matrices import record
from tpnumba.backends.gpu.program import (
    AT_ONCE,
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

#: As in program.cu.
_CHUNK_SIZE, _PHASE_SIZE = 6, 2 + 3 * INPUTS
#: Reads of a row, a part and a list, about.
_READS_OF_A_ROW = 8
#: Bytes that a thread reads at once.
_AT_ONCE_BYTES = 16


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
    phases = [phase for chunk in chunks for phase in chunk.phases]
    dense = any(isinstance(operation, Dense) for phase in phases for operation in phase.operations)
    samples, shared = fitting(size, dtype, wanted, dense=dense)
    pitch = pitch_of(samples, dense=dense)
    merged = [
        [_merge(operation) if isinstance(operation, Rows) else [] for operation in phase.operations] for phase in phases
    ]
    groups = [group for phase in merged for operation in phase for group in operation]
    code = Code(dtype) if not dense and _nonzeros(groups) <= MOST_UNROLLED else None
    repeat = _cheapest_repeat(groups, dtype, code=code is not None)
    writer = _Writer(pitch, repeat, AT_ONCE[shared], code)
    header = [samples.bit_length() - 1, pitch, width, *sizes, *(0,) * (INPUTS - len(sizes))]
    # The records of chunks, then of phases, then of operations.
    first = len(header) + _CHUNK_SIZE * len(chunks)
    at = first + _PHASE_SIZE * len(phases)
    writer.length = at + OP_SIZE * sum(len(phase.operations) for phase in phases)
    writer.table = [np.zeros(writer.length, dtype=np.int64)]
    head = writer.table[0]
    head[: len(header)] = header
    place = len(header)
    for chunk in chunks:
        end = first + _PHASE_SIZE * len(chunk.phases)
        columns = writer.ints(chunk.columns)
        record = [first, end, chunk.slots * pitch, chunk.columns.size, columns, int(chunk.zero)]
        head[place : place + _CHUNK_SIZE] = record
        place, first = place + _CHUNK_SIZE, end
    # Code is compiled for this program alone, tables are read by few instances of the kernel.
    kinds = 0 if code else 1 << LINEAR | 1 << PRODUCT
    for phase, own in zip(phases, merged, strict=True):
        loads = [phase.loads[i] * pitch if i in phase.loads else -1 for i in range(INPUTS)]
        picked = [writer.ints(phase.picked[i]) if i in phase.picked else -1 for i in range(INPUTS)]
        widths = [phase.picked[i].size if i in phase.picked else header[3 + i] for i in range(INPUTS)]
        record = [at, at + OP_SIZE * len(phase.operations), *loads, *picked, *widths]
        head[place : place + _PHASE_SIZE] = record
        place += _PHASE_SIZE
        for operation, groups in zip(phase.operations, own, strict=True):
            match operation:
                case Rows():
                    body = writer.rows(operation, groups)
                case Matrix():
                    body = writer.matrix(operation)
                case Dense():
                    body = dense_record(operation, writer, samples, np.dtype(dtype).itemsize)
            if body is None or writer.length + writer.n_values > MOST_ENTRIES:
                return None
            head[at : at + len(body)] = body
            kinds |= 1 << body[0]
            at += OP_SIZE
    table = np.concatenate(writer.table)
    values = np.concatenate([np.zeros(0), *writer.values])
    return Program(
        samples=samples,
        repeat=repeat,
        kinds=kinds,
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

    def __init__(self, pitch: int, repeat: int, at_once: int, code: Code | None) -> None:
        self.pitch, self.repeat, self.at_once, self.code = pitch, repeat, at_once, code
        self.table: list[Ints] = []
        self.values: list[Floats] = []
        self.length = self.n_values = 0
        self.listed: dict[bytes, tuple[int, int]] = {}

    def ints(self, array: Ints) -> int:
        """Append, at a multiple of four as so many are read at once; returns where it is."""
        fill = -self.length % 4
        self.table.append(np.zeros(fill, dtype=np.int64))
        self.length += fill
        start = self.length
        flat = np.asarray(array, dtype=np.int64).ravel()
        self.table.append(flat)
        self.length += flat.size
        return start

    def coefficients(self, array: Floats) -> int:
        """Append, at a place that is a multiple of eight as several are read at once; returns where it is."""
        fill = -self.n_values % REPEATS["float32"][-1]
        start = self.n_values + fill
        self.values += [np.zeros(fill), array.ravel()]
        self.n_values = start + array.size
        return start

    def matrix(self, operation: Matrix) -> list[int]:
        """The record of a matrix product; what the kernel reads at once is at a place that is a multiple of four."""
        fill = -self.length % 4
        self.table.append(np.zeros(fill, dtype=np.int64))
        self.length += fill
        return [
            *(MATRIX, int(operation.add), int(operation.to_slots)),
            *(self.coefficients(np.array([operation.scale])), operation.factor),
            self.ints(np.array(record(operation, self.pitch))),
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
                        # Up to a multiple of what is read at once.
                        fill = ((0, -len(pack) % self.at_once), (0, 0))
                        terms.append(np.pad(own_pairs, fill))
                        values.append(np.pad(pack, fill))
                        n_kept += len(terms[-1])
                    by = [None if place is None else (place[0] * by_tile, place[1] * by_tile) for place in factors]
                    parts.append(self._record((list_of, *ends), by[cut : cut + repeat]))
                    n_terms += len(pack)
                outs: list[tuple[int, int] | None] = [
                    (result.start * self.pitch, result.step * self.pitch) for result in chosen
                ]
                tasks.append((n_terms - count, len(rows)))
                rows.append(self._record((chosen[0].channels, begin, len(parts)), outs))
            if n_kept * (2 + repeat) > MOST_ENTRIES:
                return None
        return self._append_rows(operation, tasks, (rows, parts), (terms, values))

    def _record(self, head: tuple[int, int, int], places: list[tuple[int, int] | None]) -> list[int]:
        """A row or a part: three numbers, then a place and a step for each result; as long as whole reads of four."""
        record = [*head, 0]
        for place in [*places, *(None,) * (self.repeat - len(places))]:
            record += (-1, 0) if place is None else place
        return record + [0] * (-len(record) % 4)

    def _append_rows(
        self,
        operation: Rows,
        tasks: list[tuple[int, int]],
        records: tuple[list[list[int]], list[list[int]]],
        sums: tuple[list[Ints], list[Floats]],
    ) -> list[int] | None:
        """The longest rows go first, so that no warp is late; a task for each channel of a row."""
        width = len(self._record((0, 0, 0), []))
        rows, parts = (np.array(record, dtype=np.int64).reshape(-1, width) for record in records)
        order = [row for _, row in sorted(tasks, key=lambda task: -task[0])]
        counts = rows[order, 0]
        if counts.sum() > MOST_ENTRIES:
            return None
        rows[order, 0] = np.cumsum(counts) - counts
        lists = [self._list(begin, pairs) for begin, pairs in operation.combinations]
        terms = np.concatenate([np.zeros((0, 2), dtype=np.int64), *sums[0]])
        if self.at_once == AT_ONCE[True]:
            terms = (terms[:, 0] | terms[:, 1] << 16).astype(np.uint32).view(np.int32)
        values = np.concatenate([np.zeros((0, self.repeat)), *sums[1]])
        return [
            *(PRODUCT if operation.product else LINEAR, int(operation.add), int(operation.to_slots)),
            *(self.coefficients(values), operation.factor),
            *(int(counts.sum()), self.ints(np.repeat(np.array(order, dtype=np.int64), counts))),
            *(self.ints(rows), self.ints(parts), self.ints(np.array(lists, dtype=np.int64)), self.ints(terms)),
        ]

    def _list(self, begin: Ints, pairs: Ints) -> list[int]:
        """Which channels meet: by steps, where they are even; else from a table."""
        scaled = pairs * np.array([self.pitch, self.pitch, 1])
        channels, count = begin.size - 1, int(begin[1] - begin[0])
        if count and np.array_equal(begin, count * np.arange(channels + 1)):
            found = scaled.reshape(channels, count, 3)
            start = found[0, 0]
            step, other = (np.diff(axis[:2], axis=0).sum(axis=0) for axis in (found[:, 0], found[0]))
            grid = start + step * np.arange(channels)[:, None, None] + other * np.arange(count)[:, None]
            if np.array_equal(found, grid):
                (x, y, factor) = np.stack([start, step, other], axis=1).tolist()
                return [*x, count, *y, 0, *factor, 0]
        name = begin.tobytes() + scaled.tobytes()
        if name not in self.listed:
            self.listed[name] = self.ints(begin), self.ints(np.pad(scaled, ((0, 0), (0, 1))))
        pointers, places = self.listed[name]
        return [0, 0, 0, -1, 0, 0, 0, pointers, 0, 0, 0, places]


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


def _cheapest_repeat(groups: list[_Group], dtype: str, *, code: bool) -> int:
    """How many results a thread should make at a time: what takes a warp the fewest reads, all of which cost alike.

    A term takes two reads of the tile and, where it is in tables, a quarter for its places and one for each 16 bytes of
    its coefficients, also where they are zero. Results that are made together share half a dozen reads of a row and
    a part, and half a one for each.
    """
    sizes = [(len(group), group[0].channels, sum(len(terms) for terms, *_ in parts)) for group, parts in groups]

    def price(repeat: int) -> float:
        a_term = 2 if code else 2.25 + max(1, repeat * np.dtype(dtype).itemsize // _AT_ONCE_BYTES)
        rows = _READS_OF_A_ROW + repeat / 4
        return sum(-(-results // repeat) * channels * (rows + terms * a_term) for results, channels, terms in sizes)

    return min(REPEATS[dtype], key=price)
