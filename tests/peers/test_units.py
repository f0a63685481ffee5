"""Arrays with units or labels are refused, for these would be lost in silence."""

from __future__ import annotations

import astropy.units
import numpy as np
import pint
import pytest
import xarray

import tpnumba as tp

X = np.arange(8.0).reshape(2, 4)
ARRAYS = {"astropy": X * astropy.units.m, "pint": X * pint.UnitRegistry().m, "xarray": xarray.DataArray(X)}


@pytest.mark.parametrize("library", ARRAYS)
def test_units_and_labels_are_not_lost(library):
    p = tp.GauntTensorProduct(1, 1)
    with pytest.raises(TypeError, match=r"x1 must be an array .* without units, masks or labels"):
        p(ARRAYS[library], X)
    np.testing.assert_array_equal(p(np.asarray(ARRAYS[library].data if library == "xarray" else X), X), p(X, X))
