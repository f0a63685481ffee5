"""Normalised associated Legendre functions."""

from __future__ import annotations

from math import factorial, pi, sqrt

import numpy as np
import pytest
from scipy.special import lpmv
from strategies import tolerance

from tpnumba.tables.quadrature import gauss_legendre
from tpnumba.tables.spherical_harmonics import legendre, recursion, sectoral
from tpnumba.tables.wigner_d import swap_matrix


def test_values_are_those_of_scipy_without_the_phase():
    t = np.linspace(-1, 1, 23)
    table = legendre(24, t)
    for degree in range(25):
        for m in range(degree + 1):
            scale = (-1) ** m * sqrt((2 * degree + 1) / (4 * pi) * factorial(degree - m) / factorial(degree + m))
            bound = tolerance("float64", degree, degree + 1) * sqrt(2 * degree + 1)
            np.testing.assert_allclose(table[degree, m], scale * lpmv(m, degree, t), rtol=0, atol=bound)
        assert not np.any(table[degree, degree + 1 :])


@pytest.mark.parametrize("m", [0, 1, 2, 7, 24])
def test_functions_of_one_order_are_orthonormal(m):
    nodes, weights = gauss_legendre(25)
    table = legendre(24, nodes)[m:, m]
    gram = 2 * pi * (table * weights) @ table.T
    np.testing.assert_allclose(gram, np.eye(25 - m), rtol=0, atol=tolerance("float64", 24, 25))


def test_tables_cannot_be_changed():
    for array in (sectoral(3), *recursion(3), swap_matrix(3)):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0
