"""Instructions of LLVM, as an emitter: a function in the module of whoever calls it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from llvmlite import ir

from tpnumba.inline.emitter import Emitter, Value

_PLACE = ir.IntType(64)
_BYTES = ir.IntType(8)
_SCALARS = {"float32": ir.FloatType(), "float64": ir.DoubleType()}


class Argument(NamedTuple):
    """How the numbers of an argument are found.

    Attributes:
        address: of the first, a pointer to bytes.
        stride: bytes from one to the next; None if they follow each other.
        is_aligned: whether they stand at multiples of their size.
    """

    address: Value
    stride: Value | None
    is_aligned: bool


class Shape(NamedTuple):
    """What the code depends on, of an argument: whether its numbers follow each other, and are aligned."""

    is_contiguous: bool
    is_aligned: bool


class LlvmEmitter(Emitter):
    """Writes instructions into a function ``void(address, stride, address, stride, ...)``, the result's pair last."""

    def __init__(self, module: ir.Module, name: str, dtype: str, shapes: Sequence[Shape]) -> None:
        super().__init__(dtype)
        self._module = module
        self._scalar = _SCALARS[dtype]
        types = [kind for _ in shapes for kind in (_BYTES.as_pointer(), _PLACE)]
        self.function = ir.Function(module, ir.FunctionType(ir.VoidType(), types), name)
        self.function.linkage = "internal"
        self.function.attributes.add("nounwind")
        self._name = name
        self._arguments = []
        for address, stride, shape in zip(self.function.args[::2], self.function.args[1::2], shapes, strict=True):
            address.add_attribute("noalias")
            self._arguments.append(Argument(address, None if shape.is_contiguous else stride, shape.is_aligned))
        self._entry = ir.IRBuilder(self.function.append_basic_block("entry"))
        self._builder = ir.IRBuilder(self.function.append_basic_block("body"))
        self._tables: dict[bytes, ir.GlobalVariable] = {}

    def finish(self) -> None:
        """End the function."""
        self._entry.branch(self.function.basic_blocks[1])
        self._builder.ret_void()

    def number(self, value: float) -> Value:
        """A constant."""
        return ir.Constant(self._scalar, float(self.dtype.type(value)))

    def integer(self, value: int) -> Value:
        """A constant place."""
        return ir.Constant(_PLACE, value)

    def add_integers(self, a: Value, b: Value) -> Value:
        """The sum of two places."""
        return self._builder.add(a, b)

    def scale_integer(self, a: Value, by: int) -> Value:
        """A place times a constant."""
        return self._builder.mul(a, ir.Constant(_PLACE, by))

    def pair(self, u: Value, v: Value, count: int) -> Value:
        """``u (2 count - u - 1) / 2 + v - u - 1``."""
        builder = self._builder
        rows = builder.mul(u, builder.sub(ir.Constant(_PLACE, 2 * count - 1), u))
        before = builder.ashr(rows, ir.Constant(_PLACE, 1))
        return builder.add(before, builder.sub(builder.sub(v, u), ir.Constant(_PLACE, 1)))

    def add(self, a: Value, b: Value) -> Value:
        """``a + b``."""
        return self._builder.fadd(a, b)

    def subtract(self, a: Value, b: Value) -> Value:
        """``a - b``."""
        return self._builder.fsub(a, b)

    def multiply(self, a: Value, b: Value) -> Value:
        """``a * b``."""
        return self._builder.fmul(a, b)

    def multiply_add(self, a: Value, b: Value, c: Value) -> Value:
        """``a * b + c``, rounded once where the processor does so as quickly."""
        return self._call("llvm.fmuladd", a, b, c)

    def square_root(self, a: Value) -> Value:
        """The square root."""
        return self._call("llvm.sqrt", a)

    def reciprocal(self, a: Value) -> Value:
        """``1 / a``."""
        return self._builder.fdiv(self.number(1.0), a)

    def magnitude(self, a: Value) -> Value:
        """The absolute value."""
        return self._call("llvm.fabs", a)

    def if_above(self, a: Value, b: Value, then: Value, other: Value) -> Value:
        """``then`` where ``a > b``, else ``other``."""
        return self._builder.select(self._builder.fcmp_ordered(">", a, b), then, other)

    def _call(self, name: str, *values: Value) -> Value:
        kind = ir.FunctionType(self._scalar, [self._scalar] * len(values))
        return self._builder.call(self._module.declare_intrinsic(name, [self._scalar], kind), values)

    def _address(self, argument: int, place: Value) -> tuple[Value, int]:
        """Where a number stands, and the multiple of bytes that it stands at."""
        address, stride, is_aligned = self._arguments[argument]
        size = self.dtype.itemsize
        step = ir.Constant(_PLACE, size) if stride is None else stride
        if stride is None:  # places, not bytes, so that the compiler sees an array
            whole = self._builder.gep(self._builder.bitcast(address, self._scalar.as_pointer()), [place])
        else:
            moved = self._builder.gep(address, [self._builder.mul(place, step)])
            whole = self._builder.bitcast(moved, self._scalar.as_pointer())
        return whole, size if is_aligned else 1

    def load(self, argument: int, place: Value) -> Value:
        """A number of an argument."""
        where, align = self._address(argument, place)
        return self._builder.load(where, align=align)

    def store(self, argument: int, place: Value, value: Value) -> None:
        """Write a number of an argument."""
        where, align = self._address(argument, place)
        self._builder.store(value, where, align=align)

    @contextmanager
    def loop(self, start: Value, stop: Value) -> Iterator[Value]:
        """What is written inside is done for each integer from ``start`` to before ``stop``."""
        before = self._builder.block
        head, body, after = (self.function.append_basic_block(name) for name in ("head", "loop", "after"))
        self._builder.branch(head)
        self._builder.position_at_end(head)
        at = self._builder.phi(_PLACE)
        at.add_incoming(start, before)
        self._builder.cbranch(self._builder.icmp_signed("<", at, stop), body, after)
        self._builder.position_at_end(body)
        yield at
        following = self._builder.add(at, ir.Constant(_PLACE, 1), flags=["nsw"])
        at.add_incoming(following, self._builder.block)
        self._builder.branch(head)
        self._builder.position_at_end(after)

    def variable(self, value: Value) -> Value:
        """A number that changes: memory, which the compiler makes a register."""
        where = self._entry.alloca(self._scalar)
        self._builder.store(value, where)
        return where

    def get(self, variable: Value) -> Value:
        """The value of a variable."""
        return self._builder.load(variable)

    def set(self, variable: Value, value: Value) -> None:
        """Change a variable."""
        self._builder.store(value, variable)

    def table(self, array: npt.NDArray[Any]) -> Value:
        """A constant array in the module, written as bytes."""
        content = array.tobytes()
        key = array.dtype.str.encode() + content
        if key not in self._tables:
            kind = ir.ArrayType(_BYTES, len(content))
            made = ir.GlobalVariable(self._module, kind, f"{self._name}_table_{len(self._tables)}")
            made.linkage, made.global_constant, made.unnamed_addr = "internal", True, True
            made.align = 64
            made.initializer = ir.Constant(kind, bytearray(content))
            self._tables[key] = made
        item = ir.IntType(32) if np.issubdtype(array.dtype, np.integer) else self._scalar
        return self._builder.bitcast(self._tables[key], item.as_pointer())

    def item(self, table: Value, place: Value) -> Value:
        """An entry of a table; integers as places."""
        found = self._builder.load(self._builder.gep(table, [place]))
        return self._builder.sext(found, _PLACE) if isinstance(found.type, ir.IntType) else found
