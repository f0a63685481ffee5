"""Memory by its address in compiled code: numbers, tables of a program, and native functions."""

from __future__ import annotations

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from tpnumba.backends.cpu.layout import ARRAY_COLUMNS, ENTRY_ENOUGH, ENTRY_KERNEL, ENTRY_SAMPLES, TABLE_FIELDS, TABLES
from tpnumba.backends.cpu.runtime.compiler import jit, part


@intrinsic
def pointer_to(typing_context, address, like):
    """A pointer to numbers of a type at an address; ``like``: the type, or a pointer to such numbers."""
    kind = like if isinstance(like, types.CPointer) else types.CPointer(like.dtype)

    def generate(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], context.get_value_type(kind))

    return kind(types.int64, like), generate


@intrinsic
def call_native(typing_context, function, tile, arrays, start, stop):
    """Call a native function by its address, with addresses of its tile and of the table of arrays."""

    def generate(context, builder, signature, arguments):
        word = ir.IntType(64)
        kind = ir.FunctionType(ir.VoidType(), [word] * 4)
        builder.call(builder.inttoptr(arguments[0], kind.as_pointer()), arguments[1:])
        return context.get_dummy_value()

    return types.void(*[types.int64] * 5), generate


@jit
def call_entry(entry, tile, arrays, start, stop):
    """Call the kernel that an entry names, without the interpreter lock; all are addresses.

    Gives whether so many samples were evaluated that it pays to make code for the program.
    """
    fields = pointer_to(entry, np.int64)
    call_native(fields[ENTRY_KERNEL], tile, arrays, start, stop)
    fields[ENTRY_SAMPLES] += stop - start
    return fields[ENTRY_SAMPLES] > fields[ENTRY_ENOUGH]


@part
def tables_of(arrays):
    """The list of tables that belongs to a table of arrays."""
    return pointer_to(arrays[TABLES], np.int64)


@part
def number_at(tables, i):
    """A number of the list."""
    return tables[i * TABLE_FIELDS]


@part
def list_at(tables, i, like):
    """A table with one axis."""
    return numba.carray(pointer_to(tables[i * TABLE_FIELDS], like), tables[i * TABLE_FIELDS + 1])


@part
def table_at(tables, i, like):
    """A table with two axes."""
    shape = tables[i * TABLE_FIELDS + 1], tables[i * TABLE_FIELDS + 2]
    return numba.carray(pointer_to(tables[i * TABLE_FIELDS], like), shape)


@part
def arrays_at(arrays, count):
    """The table of arrays as an array."""
    return numba.carray(arrays, (count, ARRAY_COLUMNS))
