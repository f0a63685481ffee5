"""The groups of a contraction's table as straight-line code: small functions whose sums stay in registers.

Every operation and its order are those of :mod:`tpnumba.backends.cpu.contraction.kernel`, so that both give the same
bits: products are rounded, a sum begins with zero and takes term by term in one rounding each, factors follow, and what
is added to comes last.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tpnumba.backends.cpu import layout
from tpnumba.backends.cpu.contraction.program import ContractionProgram
from tpnumba.backends.cpu.specialised.text import Text, Value, function

#: Sums that are in registers at the same time, at most.
_SUMS = 20
#: Operations of a function, about; longer ones take the compiler longer, and it runs out of registers.
_OPERATIONS = 80

#: The arguments of a function: the tile, and the channel of each factor and of the result.
CHANNELS = ("left", "right", "first", "second", "result")


@dataclass(frozen=True)
class Row:
    """A sum of terms, times factors, to a result; places are columns from the start of the tile.

    Attributes:
        terms: the product (or column) of each term, in order, and its coefficient.
        first, second: factors: the column and the columns from channel to channel; None if there is none.
        result: the same.
        add: whether it is added to what is there.
    """

    terms: tuple[tuple[int, float], ...]
    first: tuple[int, int] | None
    second: tuple[int, int] | None
    result: tuple[int, int]
    add: bool


def operations(program: ContractionProgram) -> int:
    """The vector operations of the code of all groups, about."""
    total = 0
    for group in program.groups:
        rows = program.rows[group[layout.ROWS_BEGIN] : group[layout.ROWS_END]]
        total += int((rows[:, layout.END] - rows[:, layout.BEGIN]).sum()) + 2 * len(rows)
        if group[layout.RIGHT_SIZE] >= 0:
            total += int(group[layout.LEFT_SIZE] * group[layout.RIGHT_SIZE])
    return total


class GroupCode:
    """The functions of one group.

    Args:
        program: the contraction.
        number: of the group.
        dtype: of all numbers.
    """

    def __init__(self, program: ContractionProgram, number: int, dtype: str) -> None:
        self._program, self._group, self._dtype = program, program.groups[number], dtype
        self._name = f"group_{number}"
        begin, end = self._group[layout.CHANNELS_BEGIN], self._group[layout.CHANNELS_END]
        self.channels: list[tuple[int, ...]] = [tuple(map(int, line)) for line in program.channels[begin:end]]
        self._fixed = self.channels[0] if len(self.channels) == 1 else None
        self.functions: list[str] = []
        parts = self._parts_of_products() if self._group[layout.RIGHT_SIZE] >= 0 else self._parts_of_sums()
        for rows in parts:
            self._write(rows)

    def calls(self) -> Iterator[str]:
        """The calls of all functions, for every combination of channels, in order."""
        for channels in self.channels:
            arguments = "" if self._fixed else "".join(f", i64 {n}" for n in channels)
            for part in range(len(self.functions)):
                yield f"call void @{self._name}_{part}(ptr %tile{arguments})"

    # What there is to compute

    def _rows(self) -> list[Row]:
        program, width = self._program, self._program.tile_width

        def place(line: Any, column: int, step: int) -> tuple[int, int] | None:
            return (int(line[column]) // width, int(line[step]) // width) if line[column] >= 0 else None

        found = []
        for line in program.rows[self._group[layout.ROWS_BEGIN] : self._group[layout.ROWS_END]]:
            terms = range(int(line[layout.BEGIN]), int(line[layout.END]))
            result = place(line, layout.RESULT, layout.RESULT_CHANNEL)
            assert result is not None
            found.append(
                Row(
                    tuple((int(program.places[n]) // width, float(program.values[n])) for n in terms),
                    place(line, layout.FIRST, layout.FIRST_CHANNEL),
                    place(line, layout.SECOND, layout.SECOND_CHANNEL),
                    result,
                    bool(line[layout.ADD]),
                )
            )
        return found

    def _parts_of_sums(self) -> Iterator[list[Row]]:
        """Rows that follow each other, of as many operations as a function should have."""
        part: list[Row] = []
        done = 0
        for row in self._rows():
            cost = len(row.terms) + 2
            if part and done + cost > _OPERATIONS:
                yield part
                part, done = [], 0
            part.append(row)
            done += cost
        if part:
            yield part

    def _parts_of_products(self) -> Iterator[list[Row]]:
        """Rows that share products, of as many sums as registers hold."""
        part: list[Row] = []
        done = 0
        for rows in _connected(self._rows()):
            for begin in range(0, len(rows), _SUMS):
                some = rows[begin : begin + _SUMS]
                cost = sum(len(row.terms) + 2 for row in some) + len({n for row in some for n, _ in row.terms})
                if part and done + cost > _OPERATIONS:
                    yield part
                    part, done = [], 0
                part.extend(some)
                done += cost
        if part:
            yield part

    # Code

    def _write(self, rows: Sequence[Row]) -> None:
        text = Text(self._dtype)
        code = _Code(text, self._fixed)
        if self._group[layout.RIGHT_SIZE] >= 0:
            for some in _connected(rows):
                for begin in range(0, len(some), _SUMS):
                    self._write_products(code, some[begin : begin + _SUMS])
        else:
            self._write_sums(code, rows)
        code.flush()
        arguments = "" if self._fixed else "".join(f", i64 %c{n}" for n in range(len(CHANNELS)))
        signature = f"internal void @{self._name}_{len(self.functions)}(ptr noalias %tile{arguments})"
        self.functions.append(function(text, signature))

    def _write_products(self, code: _Code, rows: Sequence[Row]) -> None:
        """Product by product, each added to all sums that it is a term of."""
        group, width = self._group, self._program.tile_width
        readers: dict[int, list[tuple[int, float]]] = {}
        for r, row in enumerate(rows):
            for product, value in row.terms:
                readers.setdefault(product, []).append((r, value))
        totals = ["zeroinitializer"] * len(rows)
        size = int(group[layout.RIGHT_SIZE])
        left, left_step = int(group[layout.LEFT]) // width, int(group[layout.LEFT_STEP]) // width
        right, right_step = int(group[layout.RIGHT]) // width, int(group[layout.RIGHT_STEP]) // width
        by_left, by_right = int(group[layout.LEFT_CHANNEL]) // width, int(group[layout.RIGHT_CHANNEL]) // width
        for product in sorted(readers):
            a, b = divmod(product, size)
            one = code.column(left + a * left_step, by_left, layout.C_LEFT)
            other = code.column(right + b * right_step, by_right, layout.C_RIGHT)
            value = code.text.times(one, other)
            for r, factor in readers[product]:
                totals[r] = code.text.multiply_add(code.text.constant(factor), value, totals[r])
        for row, total in zip(rows, totals, strict=True):
            code.finish(row, total)

    def _write_sums(self, code: _Code, rows: Sequence[Row]) -> None:
        group, width = self._group, self._program.tile_width
        left, step = int(group[layout.LEFT]) // width, int(group[layout.LEFT_CHANNEL]) // width
        for row in rows:
            total = "zeroinitializer"
            for place, value in row.terms:
                column = code.column(left + place, step, layout.C_LEFT)
                total = code.text.multiply_add(code.text.constant(value), column, total)
            code.finish(row, total)


class _Code:
    """Loads and stores of columns by channel, with the last result kept in a register.

    Args:
        text: where lines go.
        fixed: the channel of each factor and of the result, where there is one combination.
    """

    def __init__(self, text: Text, fixed: Sequence[int] | None) -> None:
        self.text, self._fixed = text, fixed
        self._bases: dict[tuple[int, int], Value] = {}
        self._kept: tuple[tuple[int, int], Value] | None = None

    def column(self, place: int, step: int, channel: int) -> Value:
        """Read a column: ``place``, and ``step`` columns on for each channel."""
        return self.text.load(self._pointer(place, step, channel))

    def finish(self, row: Row, total: Value) -> None:
        """Multiply a sum by its factors, and put it where it belongs."""
        for factor, channel in ((row.first, layout.C_FIRST), (row.second, layout.C_SECOND)):
            if factor is not None:
                total = self.text.times(total, self.column(*factor, channel))
        if row.add:
            if self._kept is not None and self._kept[0] == row.result:
                before = self._kept[1]
            else:
                self.flush()
                before = self.column(*row.result, layout.C_RESULT)
            self._kept = row.result, self.text.plus(total, before)
        else:
            self.text.store(total, self._pointer(*row.result, layout.C_RESULT))

    def flush(self) -> None:
        """Store the result that is in a register."""
        if self._kept is not None:
            place, value = self._kept
            self.text.store(value, self._pointer(*place, layout.C_RESULT))
            self._kept = None

    def _pointer(self, place: int, step: int, channel: int) -> Value:
        text = self.text
        if self._fixed is not None or step == 0:
            moved = place + (0 if self._fixed is None else self._fixed[channel] * step)
            return text.moved("%tile", moved * text.count)
        key = (channel, step)
        if key not in self._bases:
            self._bases[key] = text.moved("%tile", text.value(f"mul i64 %c{channel}, {step * text.count}"))
        return text.moved(self._bases[key], place * text.count)


def _connected(rows: Sequence[Row]) -> list[list[Row]]:
    """Rows that share products, directly or by others, together; in the order of their first."""
    leader: dict[int, int] = {}

    def find(r: int) -> int:
        while leader[r] != r:
            leader[r] = leader[leader[r]]
            r = leader[r]
        return r

    first_reader: dict[int, int] = {}
    for r, row in enumerate(rows):
        leader[r] = r
        for product, _ in row.terms:
            other = first_reader.setdefault(product, r)
            one, two = sorted((find(r), find(other)))
            leader[two] = one
    gathered: dict[int, list[Row]] = {}
    for r, row in enumerate(rows):
        gathered.setdefault(find(r), []).append(row)
    return list(gathered.values())
