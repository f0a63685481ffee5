"""One operand of a specialised kernel: its row of the table of arrays, and the ways between memory and its columns."""

from __future__ import annotations

from tpnumba.backends.cpu import layout
from tpnumba.backends.cpu.specialised.rows import unit
from tpnumba.backends.cpu.specialised.text import Text, Value


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
        self._at = text.moved("%tile", column * text.count)
        self._memory = text.value(f"inttoptr i64 {self._field(layout.ADDRESS)} to ptr")
        row_stride, column_stride = self._field(layout.ROW_STRIDE), self._field(layout.COLUMN_STRIDE)
        self._row_bytes = text.value(f"mul i64 {row_stride}, {text.item_bytes}")
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

    def load_shared(self) -> None:
        """Its one row for all samples, if it has."""
        self._shared = self.is_set(layout.SHARED)
        arguments = f"ptr {self._at}, ptr {self._memory}, i64 {self._column_bytes}, i64 {self._size}"
        self._if("shared", self._shared, f"call void @spread({arguments})", None)

    def load(self, first: Value) -> None:
        """Rows of a whole tile."""
        rows = self._rows(first)
        with self._unless_shared("load"):
            fast = f"call void @load_{self._number}(ptr {self._at}, ptr {rows}, i64 {self._row_bytes})"
            self._if("fast_load", self._is_fast, fast, self._any("gather", rows, self._text.count))

    def gather(self, first: Value, count: Value) -> None:
        """Rows of fewer samples than a tile has."""
        rows = self._rows(first)
        with self._unless_shared("gather"):
            self._text.say(self._any("gather", rows, count))

    def store(self, first: Value, buffer: Value) -> None:
        """Rows of a whole tile; past the caches by way of ``buffer`` where the table says so and rows are whole."""
        text, rows = self._text, self._rows(first)
        past = text.value(f"and i1 {self.is_set(layout.STREAM)}, {self._is_whole}")
        text.say(f"br i1 {past}, label %past, label %plain")
        text.label("past")
        text.say(f"call void @store(ptr {self._at}, ptr {buffer}, i64 {self._size * text.item_bytes})")
        text.say(f"call void @copy(ptr {buffer}, ptr {rows})")
        text.say("br label %stored")
        text.label("plain")
        fast = f"call void @store(ptr {self._at}, ptr {rows}, i64 {self._row_bytes})"
        self._if("fast_store", self._is_fast, fast, self._any("scatter", rows, text.count))
        text.say("br label %stored")
        text.label("stored")

    def scatter(self, first: Value, count: Value) -> None:
        """Rows of fewer samples than a tile has."""
        self._text.say(self._any("scatter", self._rows(first), count))

    def _rows(self, first: Value) -> Value:
        return self._text.moved_bytes(self._memory, self._text.value(f"mul i64 {first}, {self._row_bytes}"))

    def _any(self, name: str, rows: Value, count: int | Value) -> str:
        return (
            f"call void @{name}(ptr {self._at}, ptr {rows}, i64 {self._row_bytes}, i64 {self._column_bytes}, "
            f"i64 {self._size}, i64 {count})"
        )

    def _unless_shared(self, name: str) -> _Unless:
        return _Unless(self._text, f"{name}_{self._number}", self._shared)

    def _if(self, name: str, condition: Value, then: str, otherwise: str | None) -> None:
        text, name = self._text, f"{name}_{self._number}"
        text.say(f"br i1 {condition}, label %{name}_yes, label %{name}_no")
        text.label(f"{name}_yes")
        text.say(then)
        text.say(f"br label %{name}_done")
        text.label(f"{name}_no")
        if otherwise is not None:
            text.say(otherwise)
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
