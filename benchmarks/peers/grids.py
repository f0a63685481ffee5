"""The Gaunt product as one writes it by hand: to a grid by a matrix product, multiply, and back by another one.

The harmonics at the points are tpnumba's; the arithmetic is not.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

import tpnumba as tp
from benchmarks.product_works import ProductWork

Array = npt.NDArray[Any]


class DenseGrid(NamedTuple):
    """Harmonics at every point, shape ``(dim, points)``; those of the output times the weights of the points."""

    in1: Array
    in2: Array
    out: Array


def dense_grid(work: ProductWork, grid: tp.Grid) -> DenseGrid:
    """For the product of functions of degree L, kept to degree 2L: ``((x1 @ in1) * (x2 @ in2)) @ out.T``."""
    assert work.lmax is not None
    points = grid.points().reshape(-1, 3)
    inputs = tp.SphericalHarmonics(work.lmax)(points).T
    out = tp.SphericalHarmonics(2 * work.lmax)(points).T * grid.weights.reshape(-1)
    first, last = (np.ascontiguousarray(array.astype(work.dtype)) for array in (inputs, out))
    return DenseGrid(first, first, last)


def smallest_grid(work: ProductWork) -> tp.Grid:
    """The smallest that is exact, not padded to a length that Fourier transforms like: there are none here."""
    assert work.lmax is not None
    return tp.Grid(2 * work.lmax + 1, 4 * work.lmax + 1)
