"""Arrays that mean more than their numbers are refused, and the message says how to get at the numbers."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

import tpnumba as tp

p = tp.GauntTensorProduct(1, 1)
X = np.arange(8.0).reshape(2, 4)


class Metres(np.ndarray):
    """An array with a unit, as libraries make them."""


@pytest.mark.parametrize("array", [X.view(Metres), np.ma.array(X)], ids=["subclass", "masked"])
def test_arrays_that_mean_more(array):
    with pytest.raises(TypeError, match=r"x2 must be an array .* would be lost, got .*; strip them first"):
        p(X, array)
    with pytest.raises(TypeError, match="xyz must be an array"):
        tp.SphericalHarmonics(1)(array[..., :3])
    with pytest.raises(TypeError, match="out must be an array of numpy"):
        p(X, X, out=np.empty((2, 9)).view(type(array)) if type(array) is Metres else np.ma.empty((2, 9)))


def test_memory_maps_and_fields_of_records_are_plain(tmp_path):
    mapped = np.memmap(tmp_path / "x", dtype="float64", mode="w+", shape=X.shape)
    mapped[...] = X
    records = np.zeros(2, dtype=[("x", "float64", (4,)), ("tag", "int8")]).view(np.recarray)
    records.x[...] = X
    for array in (mapped, records.x, records["x"]):
        np.testing.assert_array_equal(p(array, X), p(X, X))


def test_another_byte_order_names_the_remedy():
    swapped = X.astype(X.dtype.newbyteorder("S"))
    with pytest.raises(TypeError, match=r"x1 must have the machine's byte order, got dtype '.f8'; use x1\.astype"):
        p(swapped, X)
    np.testing.assert_array_equal(p(swapped.astype(swapped.dtype.newbyteorder("=")), X), p(X, X))


WITHOUT_COMPILER = """
import warnings, numpy as np, tpnumba as tp
p, x = tp.GauntTensorProduct(1, 1), np.ones((2, 4))
try:  # asked for by name first: the warning of auto is still to come
    p(x, x, backend="cpu")
except RuntimeError:
    pass
with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always")
    first = p(x, x)
    tp.SphericalHarmonics(1)(x[:, :3])
    p.vjp(x, x, first)
assert [str(one.message).split(":")[0] for one in seen] == ["backend 'auto' does without 'cpu'"], seen
assert np.array_equal(first, p(x, x, backend="generic"))
try:
    p(x, x, backend="cpu")
except RuntimeError as error:
    assert "backend 'cpu' needs Numba's compiler: NUMBA_DISABLE_JIT is set" in str(error), error
else:
    raise AssertionError("nothing was raised")
"""


def test_numba_switched_off():
    """In a process of its own, as Numba reads the variable when it is imported."""
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    subprocess.run([sys.executable, "-c", WITHOUT_COMPILER], check=True, env=environment)
