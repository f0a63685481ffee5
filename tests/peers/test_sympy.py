"""Agreement with sympy's exact values. sympy comes with torch; runs in the session ``peers``."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import tolerance

import tpnumba as tp
from tpnumba.tables.clebsch_gordan import wigner_3j
from tpnumba.tables.recoupling import wigner_6j, wigner_9j

wigner = pytest.importorskip("sympy.physics.wigner", reason="needs sympy (session peers)")

DEGREES = st.integers(0, 12)
EPS = float(np.finfo(float).eps)


@given(st.tuples(DEGREES, DEGREES, DEGREES).filter(lambda t: abs(t[0] - t[1]) <= t[2] <= t[0] + t[1]), st.data())
def test_3j(degrees, data):
    l1, l2, l3 = degrees
    m1, m2 = (data.draw(st.integers(-degree, degree)) for degree in (l1, l2))
    found = wigner_3j(l1, l2, l3)[l1 + m1, l2 + m2]
    expected = 0.0 if abs(m1 + m2) > l3 else float(wigner.wigner_3j(l1, l2, l3, m1, m2, -m1 - m2))
    assert abs(found - expected) <= 4 * EPS


@given(st.tuples(*[st.integers(0, 6)] * 6))
def test_6j(degrees):
    assert wigner_6j(*degrees) == pytest.approx(float(_or_zero(wigner.wigner_6j, degrees)), rel=8 * EPS, abs=0)


@given(st.tuples(*[st.integers(0, 3)] * 9))
def test_9j(degrees):
    assert wigner_9j(*degrees) == pytest.approx(float(_or_zero(wigner.wigner_9j, degrees)), rel=16 * EPS, abs=0)


def _or_zero(function, degrees):
    """sympy raises where a triad is no triangle; there the symbol is zero."""
    try:
        return function(*degrees)
    except ValueError:
        return 0


@pytest.mark.parametrize("degrees", [(1, 1, 0), (1, 1, 2), (2, 1, 3), (2, 2, 2), (3, 1, 2)])
def test_real_gaunt(degrees):
    """sympy's real harmonics: polar axis z, and the order of y and x that goes with it; a relabelling of the axes."""
    l1, l2, l3 = degrees
    expected = np.array(
        [
            [
                [float(wigner.real_gaunt(l1, l2, l3, m1, m2, m3)) for m3 in range(-l3, l3 + 1)]
                for m2 in range(-l2, l2 + 1)
            ]
            for m1 in range(-l1, l1 + 1)
        ]
    )
    np.testing.assert_allclose(tp.gaunt(l1, l2, l3), expected, rtol=0, atol=tolerance("float64", l3, 1))
