"""The text of LLVM's intermediate language: values of one vector of samples, line by line.

A *column* is one vector of 64 bytes, the samples of a tile for one component. Columns are counted from the start of the
tile.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np

from tpnumba.backends.cpu.layout import LINE

Value = str


class Text:
    """The body of one function.

    Args:
        dtype: of all numbers.
    """

    def __init__(self, dtype: str) -> None:
        self.item_bytes = np.dtype(dtype).itemsize
        self.count = LINE // self.item_bytes
        self.scalar = {4: "float", 8: "double"}[self.item_bytes]
        self.vector = self.vector_of(self.count)
        self.lines: list[str] = []
        self._convert = np.dtype(dtype).type
        self._values = 0

    def vector_of(self, count: int) -> str:
        """The type of a vector of ``count`` numbers."""
        return f"<{count} x {self.scalar}>"

    def say(self, line: str) -> None:
        """One line without a value."""
        self.lines.append(f"  {line}")

    def label(self, name: str) -> None:
        """The start of a block."""
        self.lines.append(f"{name}:")

    def value(self, expression: str) -> Value:
        """A new value."""
        self._values += 1
        self.lines.append(f"  %v{self._values} = {expression}")
        return f"%v{self._values}"

    # Where numbers stand

    def moved(self, pointer: Value, numbers: int | Value) -> Value:
        """A pointer moved by a count of numbers."""
        return pointer if numbers == 0 else self.value(f"getelementptr {self.scalar}, ptr {pointer}, i64 {numbers}")

    def moved_bytes(self, pointer: Value, count: Value) -> Value:
        """A pointer moved by a count of bytes."""
        return self.value(f"getelementptr i8, ptr {pointer}, i64 {count}")

    def load(self, pointer: Value, count: int | None = None, align: int = LINE) -> Value:
        """``count`` numbers as a vector; a column, if nothing else is said."""
        kind = self.vector if count is None else self.vector_of(count)
        return self.value(f"load {kind}, ptr {pointer}, align {align}")

    def store(self, value: Value, pointer: Value, count: int | None = None, align: int = LINE) -> None:
        """Put a vector somewhere."""
        kind = self.vector if count is None else self.vector_of(count)
        self.say(f"store {kind} {value}, ptr {pointer}, align {align}")

    # Arithmetic, sample by sample

    def constant(self, number: float) -> Value:
        """One number for every sample, rounded to the dtype."""
        bits = struct.pack(">d", float(self._convert(number))).hex().upper()
        return f"splat ({self.scalar} 0x{bits})"

    def times(self, one: Value, other: Value) -> Value:
        """The product."""
        return self.value(f"fmul {self.vector} {one}, {other}")

    def plus(self, one: Value, other: Value) -> Value:
        """The sum."""
        return self.value(f"fadd {self.vector} {one}, {other}")

    def negated(self, value: Value) -> Value:
        """The value with the other sign."""
        return self.value(f"fneg {self.vector} {value}")

    def multiply_add(self, one: Value, other: Value, total: Value) -> Value:
        """``one * other + total``, rounded once."""
        kind = self.vector
        arguments = ", ".join(f"{kind} {value}" for value in (one, other, total))
        return self.value(f"call {kind} @llvm.fma.v{self.count}f{8 * self.item_bytes}({arguments})")

    def shuffled(self, one: Value, other: Value, mask: Sequence[int], count: int | None = None) -> Value:
        """The numbers of two vectors of ``count``, counted through, that ``mask`` names; -1 for any number."""
        kind = self.vector if count is None else self.vector_of(count)
        numbers = ", ".join(f"i32 {n}" if n >= 0 else "i32 poison" for n in mask)
        return self.value(f"shufflevector {kind} {one}, {kind} {other}, <{len(mask)} x i32> <{numbers}>")

    # Control

    def loop(self, name: str, end: int | Value, step: int = 1) -> Loop:
        """``with text.loop(...) as i``: i from 0 up to ``end``."""
        return Loop(self, name, end, step)


class Loop:
    """A loop, whose body is written inside of ``with``."""

    def __init__(self, text: Text, name: str, end: int | Value, step: int) -> None:
        self._text, self._name, self._end, self._step = text, name, end, step

    def __enter__(self) -> Value:
        text, name = self._text, self._name
        text.say(f"br label %{name}_before")
        text.label(f"{name}_before")
        text.say(f"br label %{name}_head")
        text.label(f"{name}_head")
        text.say(f"%{name} = phi i64 [ 0, %{name}_before ], [ %{name}_next, %{name}_last ]")
        text.say(f"%{name}_more = icmp slt i64 %{name}, {self._end}")
        text.say(f"br i1 %{name}_more, label %{name}_body, label %{name}_done")
        text.label(f"{name}_body")
        return f"%{name}"

    def __exit__(self, *_: object) -> None:
        text, name = self._text, self._name
        text.say(f"br label %{name}_last")
        text.label(f"{name}_last")
        text.say(f"%{name}_next = add i64 %{name}, {self._step}")
        text.say(f"br label %{name}_head")
        text.label(f"{name}_done")


def function(text: Text, signature: str) -> str:
    """The definition of a function with this body; ``signature``: its name and its arguments."""
    return "\n".join([f"define {signature} nounwind {{", *text.lines, "  ret void", "}", ""])
