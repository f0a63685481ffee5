"""CUDA, as an emitter: the text of a function of the device."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from tpnumba.inline.emitter import Emitter, Value
from tpnumba.inline.recipes import Recipe

_TYPES = {"float32": "float", "float64": "double"}
_TABLE_TYPES = {"int32": "int", "float32": "float", "float64": "double"}
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
#: Entries of a table in a line.
_IN_A_LINE = 8


def cuda_source(recipe: Recipe, dtype: str, name: str) -> str:
    """The text of a function ``name`` of the device."""
    if not isinstance(name, str) or not _IDENTIFIER.fullmatch(name):
        raise ValueError(f"name must be an identifier of C++, got {name!r}")
    recipe.check(dtype)
    emit = CudaEmitter(dtype, name, recipe.names)
    recipe.emit(emit)
    return emit.source(recipe.names, recipe.sizes, recipe.described)


class CudaEmitter(Emitter):
    """Collects the lines of a function; integers and numbers are expressions, or names of what has been computed."""

    def __init__(self, dtype: str, name: str, names: Sequence[str]) -> None:
        super().__init__(dtype)
        self._type = _TYPES[dtype]
        self._name = name
        self._names = names
        self._lines: list[str] = []
        self._depth = 1
        self._count = 0
        self._tables: dict[bytes, tuple[str, npt.NDArray[Any]]] = {}

    def source(self, names: Sequence[str], sizes: Sequence[int], described: str) -> str:
        """The whole text: tables, then the function."""
        tables = "".join(map(_declared, (name for name, _ in self._tables.values()), self._arrays()))
        kinds = (f"{self._type}*", *[f"const {self._type}*"] * (len(names) - 1))
        ordered, counts = (names[-1], *names[:-1]), (sizes[-1], *sizes[:-1])
        listed = ", ".join(f"{own}[{size}]" for own, size in zip(ordered, counts, strict=True))
        given = ", ".join(f"{kind} __restrict__ {own}" for kind, own in zip(kinds, ordered, strict=True))
        inline = "" if self._tables else " __forceinline__"  # so that arrays of the caller become registers
        return (
            f"// {described}: {listed}.\n{tables}"
            f"__device__{inline} void {self._name}(\n    {given}) {{\n" + "\n".join(self._lines) + "\n}\n"
        )

    def _arrays(self) -> list[npt.NDArray[Any]]:
        return [array for _, array in self._tables.values()]

    def _line(self, text: str) -> None:
        self._lines.append("    " * self._depth + text)

    def _named(self, kind: str, expression: str) -> str:
        """A new constant."""
        name = f"{'t' if kind == self._type else 'i'}{self._count}"
        self._count += 1
        self._line(f"const {kind} {name} = {expression};")
        return name

    def number(self, value: float) -> Value:
        """A constant, with all digits that it has."""
        text = repr(float(self.dtype.type(value))) if self.dtype == np.float64 else f"{np.float32(value)!s}"
        text = text if any(mark in text for mark in ".e") else f"{text}.0"
        text = text + ("f" if self.dtype == np.float32 else "")
        return f"({text})" if text.startswith("-") else text

    def integer(self, value: int) -> Value:
        """A constant place."""
        return str(value) if value >= 0 else f"({value})"

    def add_integers(self, a: Value, b: Value) -> Value:
        """The sum of two places."""
        return b if a == "0" else a if b == "0" else f"({a} + {b})"

    def scale_integer(self, a: Value, by: int) -> Value:
        """A place times a constant."""
        return f"({a} * {self.integer(by)})"

    def pair(self, u: Value, v: Value, count: int) -> Value:
        """``u (2 count - u - 1) / 2 + v - u - 1``."""
        return self._named("int", f"{u} * ({2 * count - 1} - {u}) / 2 + {v} - {u} - 1")

    def add(self, a: Value, b: Value) -> Value:
        """``a + b``."""
        return self._named(self._type, f"{a} + {b}")

    def subtract(self, a: Value, b: Value) -> Value:
        """``a - b``."""
        return self._named(self._type, f"{a} - {b}")

    def multiply(self, a: Value, b: Value) -> Value:
        """``a * b``."""
        return self._named(self._type, f"{a} * {b}")

    def multiply_add(self, a: Value, b: Value, c: Value) -> Value:
        """``a * b + c``, which CUDA's compiler contracts unless it is told not to."""
        return self._named(self._type, f"{a} * {b} + {c}")

    def square_root(self, a: Value) -> Value:
        """The square root."""
        return self._named(self._type, f"{'sqrtf' if self.dtype == np.float32 else 'sqrt'}({a})")

    def reciprocal(self, a: Value) -> Value:
        """``1 / a``."""
        return self._named(self._type, f"{self.number(1.0)} / {a}")

    def magnitude(self, a: Value) -> Value:
        """The absolute value."""
        return self._named(self._type, f"{'fabsf' if self.dtype == np.float32 else 'fabs'}({a})")

    def if_above(self, a: Value, b: Value, then: Value, other: Value) -> Value:
        """``then`` where ``a > b``, else ``other``."""
        return self._named(self._type, f"{a} > {b} ? {then} : {other}")

    def load(self, argument: int, place: Value) -> Value:
        """A number of an argument."""
        return self._named(self._type, f"{self._names[argument]}[{_bare(place)}]")

    def store(self, argument: int, place: Value, value: Value) -> None:
        """Write a number of an argument."""
        self._line(f"{self._names[argument]}[{_bare(place)}] = {value};")

    @contextmanager
    def loop(self, start: Value, stop: Value) -> Iterator[Value]:
        """What is written inside is done for each integer from ``start`` to before ``stop``."""
        name = f"n{self._count}"
        self._count += 1
        self._line(f"for (int {name} = {_bare(start)}; {name} < {_bare(stop)}; ++{name}) {{")
        self._depth += 1
        yield name
        self._depth -= 1
        self._line("}")

    def variable(self, value: Value) -> Value:
        """A number that changes."""
        name = f"v{self._count}"
        self._count += 1
        self._line(f"{self._type} {name} = {value};")
        return name

    def get(self, variable: Value) -> Value:
        """The value that a variable has now, under a name of its own."""
        return self._named(self._type, variable)

    def set(self, variable: Value, value: Value) -> None:
        """Change a variable."""
        self._line(f"{variable} = {value};")

    def table(self, array: npt.NDArray[Any]) -> Value:
        """A constant array in front of the function."""
        key = array.dtype.str.encode() + array.tobytes()
        return self._tables.setdefault(key, (f"{self._name}_table_{len(self._tables)}", array))[0]

    def item(self, table: Value, place: Value) -> Value:
        """An entry of a table."""
        kind = next(_TABLE_TYPES[array.dtype.name] for name, array in self._tables.values() if name == table)
        return self._named(kind, f"{table}[{_bare(place)}]")


def _declared(name: str, array: npt.NDArray[Any]) -> str:
    """A table in the memory of the device, as threads of a warp read different entries when they leave a loop apart."""
    kind = _TABLE_TYPES[array.dtype.name]
    entries = [str(entry) for entry in array.tolist()]
    if array.dtype == np.float32:
        entries = [f"{entry}f" for entry in map(str, array)]
    lines = (", ".join(entries[i : i + _IN_A_LINE]) for i in range(0, len(entries), _IN_A_LINE))
    return f"__device__ const {kind} {name}[{len(entries)}] = {{\n    " + ",\n    ".join(lines) + "};\n"


def _bare(place: str) -> str:
    """Without the parentheses around all of it."""
    return place[1:-1] if place.startswith("(") and place.endswith(")") and place.count("(") == 1 else place
