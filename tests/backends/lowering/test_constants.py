"""The numbers of tables: every array is found where it is said to be, and equal ones stand once."""

from __future__ import annotations

import weakref

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tpnumba.backends.lowering.constants import ConstantPool

arrays = st.lists(st.integers(0, 2), max_size=4).map(lambda numbers: np.array(numbers, dtype=np.int64))


@given(st.lists(st.tuples(arrays, st.booleans())))
def test_arrays_stand_where_they_are_said_to(added):
    pool = ConstantPool(np.float64)
    starts = [(pool.intern if interned else pool.append)(array) for array, interned in added]
    found = pool.array()
    assert found.dtype == np.float64
    assert found.size == pool.size
    for start, (array, _) in zip(starts, added, strict=True):
        np.testing.assert_array_equal(found[start : start + array.size], array)
    different = {array.tobytes(): array.size for array, interned in added if interned}
    assert pool.size == sum(array.size for array, interned in added if not interned) + sum(different.values())


def test_arrays_of_one_key_stand_once():
    pool = ConstantPool(np.float64)
    matrix = np.arange(6.0).reshape(2, 3)
    assert [pool.intern(matrix, key) for key in ("a", "b", "a")] == [0, 6, 0]
    # Transposed, it has the same memory but other numbers.
    assert pool.intern(matrix.T) == 12
    np.testing.assert_array_equal(pool.array()[12:], matrix.T.ravel())


def test_an_array_is_held_on_to():
    """Else a new array could take its place in memory, and be taken for it."""
    pool = ConstantPool(np.float64)
    matrix = np.ones((3, 2)).T
    alive = weakref.ref(matrix)
    pool.intern(matrix, matrix.__array_interface__["data"][0])
    del matrix
    assert alive() is not None
