"""Whether arrays are those that a call was prepared for, and where they stand: read off NumPy's objects.

What an array is, is compared field by field, and no address of an object is remembered: one that was freed and made
anew is looked at anew. All of this holds the interpreter's lock.
"""

from __future__ import annotations

import numpy as np

from tpnumba.backends.cpu.layout import (
    ADDRESS,
    ARRAY_COLUMNS,
    ENTRY_ENOUGH,
    ENTRY_KERNEL,
    ENTRY_SAMPLES,
    H_CHECKED,
    H_HEADER,
    H_ITEMS,
    H_LENGTH,
    H_OUT,
    H_STEPS,
    H_STEPS_BEGIN,
    H_TILE_BYTES,
    HEAD_FIELDS,
    I_AXES,
    I_DTYPE,
    I_FLAGS,
    I_HIGH,
    I_LOW,
    I_SET,
    I_SHAPE,
    I_TYPE,
    IMAGE_FIELDS,
    NUMPY_AXES,
    NUMPY_DATA,
    NUMPY_DTYPE,
    NUMPY_FLAGS,
    NUMPY_SHAPE,
    NUMPY_STRIDES,
    S_COUNT,
    S_ENTRY,
    S_NUMBERS,
    S_PAIRS_BEGIN,
    S_PAIRS_END,
    S_TABLE,
    S_TO,
    STEP_FIELDS,
)
from tpnumba.backends.cpu.runtime.compiler import holding, part
from tpnumba.backends.cpu.runtime.pointers import call_native, pointer_to

WORD = 8


@holding
def evaluate_briefly(prepared, tile, arrays):
    """Evaluate a prepared call here and now, if it fits.

    Gives 0 if it does not, 1 if it does, and 2 if also it pays to make code for one of its programs.

    Args:
        prepared: the address of its numbers.
        tile: the address of memory to work in, with room for the tables of arrays behind the tile.
        arrays: the address of a tuple of arguments and results.
    """
    call = pointer_to(prepared, np.int64)
    if not _fits(call, arrays):
        return 0
    answer = 1
    tables = tile + call[H_TILE_BYTES]
    for i in range(call[H_STEPS]):
        step = call[H_STEPS_BEGIN] + i * STEP_FIELDS
        table = tables + call[step + S_TO] * WORD
        _fill(call, step, table, arrays)
        entry = pointer_to(call[step + S_ENTRY], np.int64)
        entry[ENTRY_SAMPLES] += call[step + S_COUNT]
        call_native(entry[ENTRY_KERNEL], tile, table, 0, call[step + S_COUNT])
        if entry[ENTRY_SAMPLES] > entry[ENTRY_ENOUGH]:
            answer = 2
    return answer


@holding
def fill_tables(prepared, tables, arrays):
    """Write the tables of arrays of a prepared call to an address, if it fits; gives whether it does."""
    call = pointer_to(prepared, np.int64)
    if not _fits(call, arrays):
        return False
    for i in range(call[H_STEPS]):
        step = call[H_STEPS_BEGIN] + i * STEP_FIELDS
        _fill(call, step, tables + call[step + S_TO] * WORD, arrays)
    return True


@part
def _item(call, arrays, i):
    """The address of an item of a tuple."""
    return pointer_to(arrays + call[H_ITEMS], np.int64)[i]


@part
def _data(call, arrays, i):
    """The address of the first number of an array in a tuple."""
    return pointer_to(_item(call, arrays, i) + call[H_HEADER] + NUMPY_DATA, np.int64)[0]


@part
def _fill(call, step, table, arrays):
    """The table of arrays of a step, with the places of these arrays."""
    to, source = pointer_to(table, np.int64), pointer_to(call[step + S_TABLE], np.int64)
    for i in range(call[step + S_NUMBERS]):
        to[i] = source[i]
    for pair in range(call[step + S_PAIRS_BEGIN], call[step + S_PAIRS_END], 2):
        to[call[pair] * ARRAY_COLUMNS + ADDRESS] = _data(call, arrays, call[pair + 1])


@holding
def _fits(call, arrays):
    """Whether the arrays are those that the call is for, and none overlaps what it must not."""
    if pointer_to(arrays + call[H_HEADER], np.int64)[0] != call[H_LENGTH]:
        return False
    for i in range(call[H_CHECKED]):
        if not _is_as_expected(call, HEAD_FIELDS + i * IMAGE_FIELDS, _item(call, arrays, i)):
            return False
    return not (call[H_OUT] and _overlaps(call, arrays, call[H_CHECKED] - 1))


@part
def _is_as_expected(call, image, found):
    """Whether an object is an array of the kind, shape and strides that the call is for."""
    fields = found + call[H_HEADER]
    axes, expected = call[image + I_AXES], call[image + I_SHAPE]
    # One after the other: an object of another type has no such fields.
    if (
        pointer_to(fields - WORD, np.int64)[0] != call[image + I_TYPE]
        or pointer_to(fields + NUMPY_AXES, np.int32)[0] != axes
        or pointer_to(fields + NUMPY_DTYPE, np.int64)[0] != call[image + I_DTYPE]
        or pointer_to(fields + NUMPY_FLAGS, np.int32)[0] & call[image + I_FLAGS] != call[image + I_SET]
    ):
        return False
    shape = pointer_to(pointer_to(fields + NUMPY_SHAPE, np.int64)[0], np.int64)
    strides = pointer_to(pointer_to(fields + NUMPY_STRIDES, np.int64)[0], np.int64)
    for axis in range(axes):
        if shape[axis] != call[expected + axis] or strides[axis] != call[expected + axes + axis]:
            return False
    return True


@part
def _overlaps(call, arrays, last):
    """Whether the memory from the first to the last number of one array meets that of an array before it."""
    image, data = HEAD_FIELDS + last * IMAGE_FIELDS, _data(call, arrays, last)
    begin, end = data + call[image + I_LOW], data + call[image + I_HIGH]
    for i in range(last):
        other, data = HEAD_FIELDS + i * IMAGE_FIELDS, _data(call, arrays, i)
        if begin < data + call[other + I_HIGH] and data + call[other + I_LOW] < end:
            return True
    return False
