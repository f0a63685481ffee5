"""Arrays with units or labels are refused, for these would be lost in silence."""

from __future__ import annotations

import astropy.units
import numpy as np
import pint
import pytest
import xarray

import tpnumba as tp

X = np.arange(8.0).reshape(2, 4)
#: What means more than its numbers, and how its library strips it.
ARRAYS = {
    "astropy": (X * astropy.units.m, lambda array: array.value),
    "pint": (X * pint.UnitRegistry().m, lambda array: array.magnitude),
    "xarray": (xarray.DataArray(X), lambda array: array.values),
}


@pytest.mark.parametrize("library", ARRAYS)
def test_units_and_labels_are_not_lost(library):
    p, (array, strip) = tp.GauntTensorProduct(1, 1), ARRAYS[library]
    with pytest.raises(TypeError, match=r"x1 must be an array .* without units, masks or labels"):
        p(array, X)
    np.testing.assert_array_equal(p(strip(array), X), p(X, X))
