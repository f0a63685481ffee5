"""One operand of a specialised kernel: its row of the table of arrays, and the ways between memory and its columns."""

from __future__ import annotations

from enum import IntEnum

from tpnumba.backends.cpu import layout
from tpnumba.backends.cpu.specialised.rows import unit
from tpnumba.backends.cpu.specialised.text import Text, Value


class Ways(IntEnum):
    """How the rows of a result are written."""

    #: Number by number, wherever they stand.
    ANY = 0
    #: Stretch by stretch, as numbers of a row follow each other.
    STRETCHES = 1
    #: The same past the caches, as rows are whole lines.
    LINES = 2
    #: Past the caches, put together first, as rows follow each other.
    TOGETHER = 3


class Operand:
    """Writes what is done with an operand in the kernel.

    Args:
        text: of the kernel, whose argument ``%arrays`` is the table of arrays.
        number: of the operand.
        size: the numbers of a row.
        column: its first column in the tile.
    """

    def __init__(self, text: Text, number: int, size: int, column: int) -> None:
        self._text, self._number, self._size = text, number, size
        self._offset = column * text.count
        #: Whether a row is a number of whole lines.
        self.has_lines = size % text.count == 0
        self._address = self._field(layout.ADDRESS)
        self._memory = text.value(f"inttoptr i64 {self._address} to ptr")
        row_stride, column_stride = self._field(layout.ROW_STRIDE), self._field(layout.COLUMN_STRIDE)
        self.row_bytes = text.value(f"mul i64 {row_stride}, {text.item_bytes}")
        self._column_bytes = text.value(f"mul i64 {column_stride}, {text.item_bytes}")
        fast = text.value(f"icmp eq i64 {column_stride}, 1")
        whole = text.value(f"icmp eq i64 {row_stride}, {size}")
        self._is_whole = text.value(f"and i1 {fast}, {whole}")
        self._is_fast = self._is_whole if size < unit(text) else fast

    def _field(self, field: int) -> Value:
        place = self._number * layout.ARRAY_COLUMNS + field
        return self._text.value(f"load i64, ptr {self._text.value(f'getelementptr i64, ptr %arrays, i64 {place}')}")

    def is_set(self, field: int) -> Value:
        """Whether a field of the table is not zero."""
        return self._text.value(f"icmp ne i64 {self._field(field)}, 0")

    def rows(self, first: Value) -> Value:
        """Where the rows from a sample on stand."""
        return self._text.moved_bytes(self._memory, self._text.value(f"mul i64 {first}, {self.row_bytes}"))

    def load_shared(self, distance: int) -> None:
        """Its one row for all samples, if it has: into both tiles, which are so many numbers apart."""
        text = self._text
        self._shared = self.is_set(layout.SHARED)
        calls = [
            f"call void @spread(ptr {text.moved('%tile', start + self._offset)}, ptr {self._memory}, "
            f"i64 {self._column_bytes}, i64 {self._size})"
            for start in (0, distance)
        ]
        self._if("shared", self._shared, calls, [])

    def load(self, tile: Value, first: Value) -> None:
        """Rows of a whole tile."""
        rows = self.rows(first)
        with self._unless_shared("load"):
            to = self._text.moved(tile, self._offset)
            fast = f"call void @load_{self._number}(ptr {to}, ptr {rows}, i64 {self.row_bytes})"
            self._if("fast_load", self._is_fast, [fast], [self._any("gather", tile, rows, self._text.count)])

    def gather(self, first: Value, count: Value) -> None:
        """Rows of fewer samples than a tile has."""
        rows = self.rows(first)
        with self._unless_shared("gather"):
            self._text.say(self._any("gather", "%tile", rows, count))

    def way(self) -> Value:
        """One of :class:`Ways`, which is the same for all tiles."""
        text = self._text
        past = text.value(f"and i1 {self.is_set(layout.STREAM)}, {self._is_whole}")
        way = text.value(f"select i1 {self._is_fast}, i32 {Ways.STRETCHES}, i32 {Ways.ANY}")
        way = text.value(f"select i1 {past}, i32 {Ways.TOGETHER}, i32 {way}")
        if self.has_lines:
            aligned = text.value(f"icmp eq i64 {text.value(f'and i64 {self._address}, {layout.LINE - 1}')}, 0")
            lines = text.value(f"and i1 {past}, {aligned}")
            way = text.value(f"select i1 {lines}, i32 {Ways.LINES}, i32 {way}")
        return way

    def store(self, tile: Value, rows: Value, buffer: Value, way: Value) -> None:
        """Rows of a whole tile, in a way."""
        text = self._text
        together = f"ptr {tile}, ptr {buffer}, i64 {self._size * text.item_bytes}"
        calls = {
            Ways.STRETCHES: [f"call void @store(ptr {tile}, ptr {rows}, i64 {self.row_bytes})"],
            Ways.TOGETHER: [f"call void @store({together})", f"call void @copy(ptr {buffer}, ptr {rows})"],
        }
        if self.has_lines:
            calls[Ways.LINES] = [f"call void @store_lines(ptr {tile}, ptr {rows}, i64 {self.row_bytes})"]
        cases = " ".join(f"i32 {each}, label %store_{each.name}" for each in calls)
        calls[Ways.ANY] = [self._any("scatter", tile, rows, text.count)]
        text.say(f"switch i32 {way}, label %store_{Ways.ANY.name} [ {cases} ]")
        for each, lines in calls.items():
            text.label(f"store_{each.name}")
            for line in lines:
                text.say(line)
            text.say("br label %stored")
        text.label("stored")

    def scatter(self, first: Value, count: Value) -> None:
        """Rows of fewer samples than a tile has."""
        self._text.say(self._any("scatter", "%tile", self.rows(first), count))

    def _any(self, name: str, tile: Value, rows: Value, count: int | Value) -> str:
        return (
            f"call void @{name}(ptr {self._text.moved(tile, self._offset)}, ptr {rows}, i64 {self.row_bytes}, "
            f"i64 {self._column_bytes}, i64 {self._size}, i64 {count})"
        )

    def _unless_shared(self, name: str) -> _Unless:
        return _Unless(self._text, f"{name}_{self._number}", self._shared)

    def _if(self, name: str, condition: Value, then: list[str], otherwise: list[str]) -> None:
        text, name = self._text, f"{name}_{self._number}"
        text.say(f"br i1 {condition}, label %{name}_yes, label %{name}_no")
        for label, lines in (("yes", then), ("no", otherwise)):
            text.label(f"{name}_{label}")
            for line in lines:
                text.say(line)
            text.say(f"br label %{name}_done")
        text.label(f"{name}_done")


class _Unless:
    """What is written inside of ``with`` is done where a condition does not hold."""

    def __init__(self, text: Text, name: str, condition: Value) -> None:
        self._text, self._name, self._condition = text, name, condition

    def __enter__(self) -> None:
        self._text.say(f"br i1 {self._condition}, label %{self._name}_over, label %{self._name}_do")
        self._text.label(f"{self._name}_do")

    def __exit__(self, *_: object) -> None:
        self._text.say(f"br label %{self._name}_over")
        self._text.label(f"{self._name}_over")
