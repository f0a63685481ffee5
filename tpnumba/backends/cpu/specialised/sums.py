"""The groups of a contraction's table as straight-line code: small functions whose sums stay in registers.

Every operation and its order are those of :mod:`tpnumba.backends.cpu.contraction.kernel`, so that both give the same
bits: products are rounded, a sum begins with zero and takes term by term in one rounding each, factors follow, and what
is added to comes last.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeVar

from tpnumba.backends.cpu import layout
from tpnumba.backends.cpu.contraction.program import ContractionProgram
from tpnumba.backends.cpu.specialised.text import Text, Value, function

#: Operations of a function, about; longer ones take the compiler longer, and it runs out of registers.
_OPERATIONS = 80

#: The arguments of a function beside the tile: the channel of each factor and of the result.
_CHANNELS = layout.C_RESULT + 1

Place = tuple[int, int]
"""A column, and the columns from channel to channel."""


@dataclass(frozen=True)
class Row:
    """A sum of terms, times factors, to a result.

    Attributes:
        terms: the column of each term, from the first of the group or among the nodes, and its coefficient.
        first, second: factors; None if there is none.
        result: where it goes.
        add: whether it is added to what is there.
    """

    terms: tuple[tuple[int, float], ...]
    first: Place | None
    second: Place | None
    result: Place
    add: bool


@dataclass(frozen=True)
class Sum:
    """A sum of products: the columns of both factors, from the first of the group or among the nodes, and its sign."""

    products: tuple[tuple[int, int, int], ...]
    result: Place
    add: bool


def operations(program: ContractionProgram) -> int:
    """The vector operations of the code of all groups, about."""
    rows, sums = program.rows, program.sums
    terms = int((rows[:, layout.END] - rows[:, layout.BEGIN]).sum()) + 2 * len(rows)
    return terms + int((sums[:, layout.SUM_END] - sums[:, layout.SUM_BEGIN]).sum())


class GroupCode:
    """The functions of one group.

    Args:
        program: the contraction.
        number: of the group.
        dtype: of all numbers.
        most_sums: those that are in registers at the same time.
    """

    def __init__(self, program: ContractionProgram, number: int, dtype: str, most_sums: int) -> None:
        self._program, self._group, self._dtype = program, program.groups[number], dtype
        self._most_sums = most_sums
        self._name = f"group_{number}"
        begin, end = self._group[layout.CHANNELS_BEGIN], self._group[layout.CHANNELS_END]
        self._channels: list[tuple[int, ...]] = [tuple(map(int, line)) for line in program.channels[begin:end]]
        self._fixed = self._channels[0] if len(self._channels) == 1 else None
        self.functions: list[str] = []
        self._rows = list(self._read_rows())
        self._sums = list(self._read_sums())
        if not self._group[layout.ROWS_FIRST]:
            self._push()
        elif self._sums:
            self._pull()
        else:
            raise ValueError("a group whose rows read columns themselves has no code")

    def calls(self) -> Iterator[str]:
        """The calls of all functions, for every combination of channels, in order."""
        for channels in self._channels:
            arguments = "" if self._fixed else "".join(f", i64 {n}" for n in channels)
            for part in range(len(self.functions)):
                yield f"call void @{self._name}_{part}(ptr %tile{arguments})"

    # What the tables say

    def _read_rows(self) -> Iterator[Row]:
        program, width = self._program, self._program.tile_width

        def place(line: Any, column: int, step: int) -> Place:
            return int(line[column]) // width, int(line[step]) // width

        for line in program.rows[self._group[layout.ROWS_BEGIN] : self._group[layout.ROWS_END]]:
            terms = range(int(line[layout.BEGIN]), int(line[layout.END]))
            yield Row(
                tuple((int(program.places[n]) // width, float(program.values[n])) for n in terms),
                place(line, layout.FIRST, layout.FIRST_CHANNEL) if line[layout.FIRST] >= 0 else None,
                place(line, layout.SECOND, layout.SECOND_CHANNEL) if line[layout.SECOND] >= 0 else None,
                place(line, layout.RESULT, layout.RESULT_CHANNEL),
                bool(line[layout.ADD]),
            )

    def _read_sums(self) -> Iterator[Sum]:
        program, width = self._program, self._program.tile_width
        for line in program.sums[self._group[layout.NODES_BEGIN] : self._group[layout.NODES_END]]:
            begin, end = int(line[layout.SUM_BEGIN]), int(line[layout.SUM_END])
            factors = (program.factors[begin:end] // width).tolist()
            signs = program.signs[begin:end].tolist()
            yield Sum(
                tuple((a, b, int(sign)) for (a, b), sign in zip(factors, signs, strict=True)),
                (int(line[layout.SUM_RESULT]) // width, int(line[layout.SUM_RESULT_CHANNEL]) // width),
                bool(line[layout.SUM_ADD]),
            )

    def _factor(self, start: int, step: int) -> Place:
        width = self._program.tile_width
        return int(self._group[start]) // width, int(self._group[step]) // width

    # Code

    def _push(self) -> None:
        """Rows that share nodes, of as many sums as registers hold; each node is added to all rows that read it."""
        whole = [some for rows in _connected(self._rows) for some in _slices(rows, self._most_sums)]
        costs = [self._cost(rows) for rows in whole]
        for numbers in _portions(costs):
            code = self._begin()
            for number in numbers:
                self._push_rows(code, whole[number])
            self._finish(code)

    def _cost(self, rows: Sequence[Row]) -> int:
        nodes = {node for row in rows for node, _ in row.terms}
        products = sum(len(self._sums[node].products) for node in nodes)
        return products + sum(len(row.terms) + 2 for row in rows)

    def _push_rows(self, code: _Code, rows: Sequence[Row]) -> None:
        readers: dict[int, list[tuple[int, float]]] = {}
        for r, row in enumerate(rows):
            for node, value in row.terms:
                readers.setdefault(node, []).append((r, value))
        text = code.text
        totals = ["zeroinitializer"] * len(rows)
        (left, by_left), (right, by_right) = (
            self._factor(layout.LEFT, layout.LEFT_CHANNEL),
            self._factor(layout.RIGHT, layout.RIGHT_CHANNEL),
        )
        for node in sorted(readers):
            total = ""
            for a, b, sign in self._sums[node].products:
                one = code.column((left + a, by_left), layout.C_LEFT)
                other = code.column((right + b, by_right), layout.C_RIGHT)
                total = code.add_to_node(one, other, sign, total)
            for r, factor in readers[node]:
                totals[r] = text.multiply_add(text.constant(factor), total, totals[r])
        for row, sum_of_terms in zip(rows, totals, strict=True):
            code.store_row(row, sum_of_terms)

    def _pull(self) -> None:
        """Node by node, each added to all sums of products that it is in, of which registers hold so many."""
        for sums in _slices(self._sums, self._most_sums):
            readers: dict[int, list[tuple[int, int, int]]] = {}
            for s, one in enumerate(sums):
                for node, other, sign in one.products:
                    readers.setdefault(node, []).append((s, other, sign))
            code = self._begin()
            totals = [""] * len(sums)
            source, source_step = self._factor(layout.LEFT, layout.LEFT_CHANNEL)
            right, right_step = self._factor(layout.RIGHT, layout.RIGHT_CHANNEL)
            for node in sorted(readers):
                row = self._rows[node]
                value = "zeroinitializer"
                for place, factor in row.terms:
                    column = code.column((source + place, source_step), layout.C_LEFT)
                    value = code.text.multiply_add(code.text.constant(factor), column, value)
                value = code.multiplied(row, value)
                for s, place, sign in readers[node]:
                    column = code.column((right + place, right_step), layout.C_RIGHT)
                    totals[s] = code.add_product(value, column, sign, totals[s])
            for one, sum_of_products in zip(sums, totals, strict=True):
                code.store(one.result, sum_of_products, add=one.add)
            self._finish(code)

    def _begin(self) -> _Code:
        return _Code(Text(self._dtype), self._fixed)

    def _finish(self, code: _Code) -> None:
        arguments = "" if self._fixed else "".join(f", i64 %c{n}" for n in range(_CHANNELS))
        signature = f"internal void @{self._name}_{len(self.functions)}(ptr noalias %tile{arguments})"
        self.functions.append(function(code.text, signature))


class _Code:
    """Loads and stores of columns by channel.

    Args:
        text: where lines go.
        fixed: the channel of each factor and of the result, where there is one combination.
    """

    def __init__(self, text: Text, fixed: Sequence[int] | None) -> None:
        self.text, self._fixed = text, fixed
        self._bases: dict[tuple[int, int], Value] = {}

    def column(self, place: Place, channel: int) -> Value:
        """Read a column."""
        return self.text.load(self._pointer(place, channel))

    def add_product(self, one: Value, other: Value, sign: int, total: Value) -> Value:
        """``total + sign * one * other``, rounded once; the product itself if there is no total yet."""
        if sign < 0:
            one = self.text.negated(one)
        return self.text.multiply_add(one, other, total) if total else self.text.times(one, other)

    def add_to_node(self, one: Value, other: Value, sign: int, total: Value) -> Value:
        """The same, but a product that is subtracted is rounded by itself: ``a b - b a`` is zero."""
        if sign > 0 or not total:
            return self.add_product(one, other, sign, total)
        return self.text.plus(total, self.text.times(self.text.negated(one), other))

    def multiplied(self, row: Row, total: Value) -> Value:
        """A sum times its factors."""
        for factor, channel in ((row.first, layout.C_FIRST), (row.second, layout.C_SECOND)):
            if factor is not None:
                total = self.text.times(total, self.column(factor, channel))
        return total

    def store_row(self, row: Row, total: Value) -> None:
        """Multiply a sum by its factors, and put it where it belongs."""
        self.store(row.result, self.multiplied(row, total), add=row.add)

    def store(self, result: Place, total: Value, *, add: bool) -> None:
        """Put a sum somewhere, or add it to what is there."""
        pointer = self._pointer(result, layout.C_RESULT)
        self.text.store(self.text.plus(total, self.text.load(pointer)) if add else total, pointer)

    def _pointer(self, place: Place, channel: int) -> Value:
        text, (column, step) = self.text, place
        if self._fixed is not None:
            return text.moved("%tile", (column + self._fixed[channel] * step) * text.count)
        if step == 0:
            return text.moved("%tile", column * text.count)
        key = channel, step
        if key not in self._bases:
            self._bases[key] = text.moved("%tile", text.value(f"mul i64 %c{channel}, {step * text.count}"))
        return text.moved(self._bases[key], column * text.count)


T = TypeVar("T")


def _slices(items: Sequence[T], most: int) -> Iterator[Sequence[T]]:
    """As few slices as have at most ``most`` items, of nearly equal length."""
    count = -(-len(items) // most)
    cuts = [len(items) * n // count for n in range(count + 1)]
    for begin, end in pairwise(cuts):
        yield items[begin:end]


def _portions(costs: Sequence[int]) -> Iterator[range]:
    """Numbers that follow each other, of as many operations as a function should have."""
    begin, total = 0, 0
    for n, cost in enumerate(costs):
        if n > begin and total + cost > _OPERATIONS:
            yield range(begin, n)
            begin, total = n, 0
        total += cost
    if begin < len(costs):
        yield range(begin, len(costs))


def _connected(rows: Sequence[Row]) -> list[list[Row]]:
    """Rows that share nodes or their result, directly or by others, together; in the order of their first.

    Within and between what belongs together the order of rows that add to one result stays.
    """
    leader = list(range(len(rows)))

    def find(r: int) -> int:
        while leader[r] != r:
            leader[r] = leader[leader[r]]
            r = leader[r]
        return r

    first_with: dict[int | Place, int] = {}
    for r, row in enumerate(rows):
        shares: list[int | Place] = [row.result, *(node for node, _ in row.terms)]
        for shared in shares:
            one, two = sorted((find(r), find(first_with.setdefault(shared, r))))
            leader[two] = one
    gathered: dict[int, list[Row]] = {}
    for r, row in enumerate(rows):
        gathered.setdefault(find(r), []).append(row)
    return list(gathered.values())
