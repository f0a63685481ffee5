"""From operations to tables, in the layout that ``tile.cu`` reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tpnumba.backends.gpu import device, layout
from tpnumba.backends.gpu.layout import Factor, Kind
from tpnumba.backends.gpu.tile import matrix_products, program, unrolled
from tpnumba.backends.gpu.tile.dense import dense_record
from tpnumba.backends.gpu.tile.program import MOST_ENTRIES, Part, Program, Result, Sums
from tpnumba.backends.lowering.matrices import Floats, Ints

#: Reads of a row, a part and a list, about.
_READS_OF_A_ROW = 8


def pack(
    sections: Sequence[program.Section],
    inputs: tuple[int, ...],
    sizes: tuple[int, ...],
    width: int,
    direct: int,
    dtype: str,
    wanted: int,
) -> Program | None:
    """Make the tables of a program, see :class:`Program`; None if they would be too large.

    ``sizes`` of the inputs' rows; ``width`` of those of the result; ``wanted``: samples of a tile, if they fit.
    """
    size = max(section.size for section in sections)
    phases = [phase for section in sections for phase in section.phases]
    dense = any(isinstance(operation, program.Dense) for phase in phases for operation in phase.operations)
    samples, shared = program.fitting(size, dtype, wanted, dense=dense)
    pitch = program.pitch_of(samples, dense=dense)
    merged = [
        [_merge(operation) if isinstance(operation, Sums) else [] for operation in phase.operations] for phase in phases
    ]
    groups = [group for phase in merged for operation in phase for group in operation]
    code = unrolled.Code(dtype) if not dense and _nonzeros(groups) <= unrolled.MOST_UNROLLED else None
    repeat = _cheapest_repeat(groups, dtype, code=code is not None)
    writer = _Writer(pitch, repeat, layout.TERMS_AT_ONCE[shared], code)
    padded = (*sizes, *(0,) * (layout.INPUTS - len(sizes)))
    header = layout.record(layout.HeaderRecord, SHIFT=samples.bit_length() - 1, PITCH=pitch, WIDTH=width, SIZES=padded)
    head, place, at = _begin(writer, header, sections)
    # Code is compiled for this program alone, tables are read by few instances of the kernel.
    kinds = 0 if code else 1 << Kind.LINEAR | 1 << Kind.PRODUCT
    for phase, own in zip(phases, merged, strict=True):
        record = _phase_record(writer, phase, at, padded)
        head[place : place + len(record)] = record
        place += len(record)
        for operation, groups in zip(phase.operations, own, strict=True):
            body = writer.operation(operation, groups, samples, np.dtype(dtype).itemsize)
            if body is None or writer.length + writer.n_values > MOST_ENTRIES:
                return None
            head[at : at + len(body)] = body
            kinds |= 1 << body[layout.OperationRecord.KIND]
            at += layout.OperationRecord.OP_SIZE
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
        sections=len(sections),
        table=read_only(table.astype(np.int32)),
        coefficients=read_only(values.astype(dtype)),
        terms=code.source() if code else "",
    )


def _begin(writer: _Writer, header: list[int], sections: Sequence[program.Section]) -> tuple[Ints, int, int]:
    """Begin the table: the header, the records of sections, then room for those of phases and those of operations.

    Returns this part of the table, and where the records of phases and those of operations begin.
    """
    section_size, phase_size = layout.SectionRecord.SECTION_SIZE, layout.PhaseRecord.PHASE_SIZE
    phases = [phase for section in sections for phase in section.phases]
    first = phases_begin = len(header) + section_size * len(sections)
    operations_begin = phases_begin + phase_size * len(phases)
    writer.length = operations_begin + layout.OperationRecord.OP_SIZE * sum(len(phase.operations) for phase in phases)
    head = np.zeros(writer.length, dtype=np.int64)
    writer.table = [head]
    head[: len(header)] = header
    place = len(header)
    for section in sections:
        end = first + phase_size * len(section.phases)
        head[place : place + section_size] = layout.record(
            layout.SectionRecord,
            PHASES=first,
            PHASES_END=end,
            OUTPUT=section.output_start * writer.pitch,
            N_OUTPUTS=section.columns.size,
            COLUMNS=writer.ints(section.columns),
            ZERO=int(section.zero),
        )
        place, first = place + section_size, end
    return head, phases_begin, operations_begin


def _phase_record(writer: _Writer, phase: program.Phase, at: int, sizes: Sequence[int]) -> list[int]:
    """The record of a phase whose operations' records begin ``at``; ``sizes`` of the inputs."""
    inputs = range(layout.INPUTS)
    return layout.record(
        layout.PhaseRecord,
        OPS=at,
        OPS_END=at + layout.OperationRecord.OP_SIZE * len(phase.operations),
        LOADS=[phase.loads[i] * writer.pitch if i in phase.loads else -1 for i in inputs],
        PICKED=[writer.ints(phase.picked[i]) if i in phase.picked else -1 for i in inputs],
        WIDTHS=[phase.picked[i].size if i in phase.picked else sizes[i] for i in inputs],
    )


def read_only(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The array itself, from now on not to be written into."""
    array.flags.writeable = False
    return array


class _Writer:
    """Appends to the tables. With ``code``, terms go there."""

    def __init__(self, pitch: int, repeat: int, at_once: int, code: unrolled.Code | None) -> None:
        self.pitch, self.repeat, self.at_once, self.code = pitch, repeat, at_once, code
        self.table: list[Ints] = []
        self.values: list[Floats] = []
        self.length = self.n_values = 0
        self.listed: dict[bytes, tuple[int, int]] = {}

    def ints(self, array: Ints) -> int:
        """Append, at a multiple of the integers that are read at once; returns where it is."""
        self._align()
        start = self.length
        flat = np.asarray(array, dtype=np.int64).ravel()
        self.table.append(flat)
        self.length += flat.size
        return start

    def coefficients(self, array: Floats) -> int:
        """Append, at a place where several can be read at once; returns where it is."""
        fill = -self.n_values % layout.COEFFICIENTS_ALIGNED
        start = self.n_values + fill
        self.values += [np.zeros(fill), array.ravel()]
        self.n_values = start + array.size
        return start

    def _align(self) -> None:
        """Fill up to a multiple of the integers that are read at once."""
        fill = -self.length % layout.QUAD
        self.table.append(np.zeros(fill, dtype=np.int64))
        self.length += fill

    def operation(
        self, operation: program.Operation, groups: list[_Group], samples: int, itemsize: int
    ) -> list[int] | None:
        """Write an operation; returns its record, or None if its tables would be too large."""
        match operation:
            case program.Matrix():
                return self.matrix(operation)
            case program.Dense():
                return dense_record(operation, self, samples, itemsize)
        return self.sums(operation, groups)

    def matrix(self, operation: program.Matrix) -> list[int]:
        """The record of a matrix product."""
        self._align()
        head = layout.record(
            layout.OperationRecord,
            KIND=Kind.MATRIX,
            ADD=int(operation.add),
            TO_OUTPUT=int(operation.to_output),
            COEFFICIENTS=self.coefficients(np.array([operation.scale])),
            FACTOR=operation.factor,
        )
        return [*head, self.ints(np.array(matrix_products.matrix_record(operation, self.pitch)))]

    def sums(self, operation: Sums, groups: list[_Group]) -> list[int] | None:
        """The record of sums over tables; None if its tables would be too large."""
        repeat = self.repeat
        by_tile = self.pitch if operation.factor == Factor.FROM_TILE else 1
        rows: list[list[int]] = []
        parts: list[list[int]] = []
        terms: list[Ints] = []
        values: list[Floats] = []
        n_terms = n_written = 0
        places_of: dict[bytes, tuple[int, int]] = {}  # equal terms stand in the tables once
        tasks: list[tuple[int, int]] = []  # terms, row
        for group, own in groups:
            for cut in range(0, len(group), repeat):
                chosen = group[cut : cut + repeat]
                begin = len(parts)
                count = n_terms
                for pairs, numbers, list_of, factors in own:
                    nonzero = np.any(numbers[:, cut : cut + repeat] != 0, axis=1)
                    if not nonzero.any():
                        continue
                    pack = np.zeros((int(nonzero.sum()), repeat))
                    pack[:, : len(chosen)] = numbers[nonzero, cut : cut + repeat]
                    own_pairs = pairs[nonzero] * self.pitch
                    name = own_pairs.tobytes() + pack.tobytes()
                    if self.code is not None:
                        ends = (self.code.add(own_pairs, pack, product=operation.product), 0)
                    elif name in places_of:
                        ends = places_of[name]
                    else:
                        ends = places_of[name] = (n_written, n_written + len(pack))
                        # Up to a multiple of what is read at once.
                        fill = ((0, -len(pack) % self.at_once), (0, 0))
                        terms.append(np.pad(own_pairs, fill))
                        values.append(np.pad(pack, fill))
                        n_written += len(terms[-1])
                    by = [None if place is None else (place[0] * by_tile, place[1] * by_tile) for place in factors]
                    parts.append(self._record((list_of, *ends), by[cut : cut + repeat]))
                    n_terms += len(pack)
                outs: list[tuple[int, int] | None] = [
                    (result.start * self.pitch, result.step * self.pitch) for result in chosen
                ]
                tasks.append((n_terms - count, len(rows)))
                rows.append(self._record((chosen[0].channels, begin, len(parts)), outs))
            if n_written * (2 + repeat) > MOST_ENTRIES:
                return None
        return self._append_sums(operation, tasks, (rows, parts), (terms, values))

    def _record(self, head: tuple[int, int, int], places: list[tuple[int, int] | None]) -> list[int]:
        """A row or a part: its head, then a place and a step for each result; as long as whole reads of integers."""
        record = [*head, *[0] * (layout.HEAD - len(head))]
        for place in [*places, *(None,) * (self.repeat - len(places))]:
            record += (-1, 0) if place is None else place
        return record + [0] * (-len(record) % layout.QUAD)

    def _append_sums(
        self,
        operation: Sums,
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
        if self.at_once == layout.TERMS_AT_ONCE[True]:
            terms = (terms[:, 0] | terms[:, 1] << layout.PLACE_BITS).astype(np.uint32).view(np.int32)
        values = np.concatenate([np.zeros((0, self.repeat)), *sums[1]])
        head = layout.record(
            layout.OperationRecord,
            KIND=Kind.PRODUCT if operation.product else Kind.LINEAR,
            ADD=int(operation.add),
            TO_OUTPUT=int(operation.to_output),
            COEFFICIENTS=self.coefficients(values),
            FACTOR=operation.factor,
        )
        body = layout.record(
            layout.SumsRecord,
            N_TASKS=int(counts.sum()),
            TASKS=self.ints(np.repeat(np.array(order, dtype=np.int64), counts)),
            ROWS=self.ints(rows),
            PARTS=self.ints(parts),
            LISTS=self.ints(np.array(lists, dtype=np.int64)),
            TERMS=self.ints(terms),
        )
        return head + body

    def _list(self, begin: Ints, pairs: Ints) -> list[int]:
        """Which channels are multiplied: by steps, where they are even; else from a table."""
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


def _merge(operation: Sums) -> list[_Group]:
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
        a_term = 2 if code else 2.25 + max(1, repeat * np.dtype(dtype).itemsize // device.VECTOR_BYTES)
        rows = _READS_OF_A_ROW + repeat / 4
        return sum(-(-results // repeat) * channels * (rows + terms * a_term) for results, channels, terms in sizes)

    return min(layout.REPEATS[dtype], key=price)
