"""Reduced couplings: the number that each product puts in front of the Clebsch-Gordan coefficients of a triple."""

from __future__ import annotations

from functools import lru_cache
from math import factorial, pi, prod, sqrt

import numpy as np

from tpnumba.tables.clebsch_gordan import Array, check_triple, clebsch_gordan


@lru_cache(maxsize=65536)
def gaunt_coupling(l1: int, l2: int, l3: int) -> float:
    """``k`` with ``integral of Y_l1 Y_l2 Y_l3 over the sphere = k C(l1, l2, l3)``; zero where ``l1 + l2 + l3`` is odd.

    ``k = sqrt(prod(2 l_i + 1) / 4 pi) |3j(l1 l2 l3; 0 0 0)|``, evaluated in exact integers (Racah's closed form).
    """
    degrees = (l1, l2, l3)
    total = sum(degrees)
    if total % 2 or total < 2 * max(degrees):
        return 0.0
    q = total // 2
    ratio = factorial(q) ** 2 * prod(factorial(total - 2 * degree) for degree in degrees)
    over = factorial(total + 1) * prod(factorial(q - degree) for degree in degrees) ** 2
    return sqrt(prod(2 * degree + 1 for degree in degrees) * ratio / over / (4 * pi))


def gaunt(l1: int, l2: int, l3: int) -> Array:
    """Real Gaunt coefficients: the integral over the sphere of three orthonormal real harmonics.

    Args:
        l1, l2, l3: degrees with ``|l1 - l2| <= l3 <= l1 + l2``.

    Returns:
        A new float64 array of shape ``(2 l1 + 1, 2 l2 + 1, 2 l3 + 1)``; all zero if ``l1 + l2 + l3`` is odd.

    Raises:
        TypeError, ValueError, MemoryError: as :func:`tpnumba.clebsch_gordan`.

    Example:
        >>> float(np.round(gaunt(0, 0, 0)[0, 0, 0] * np.sqrt(4 * np.pi), 12))
        1.0
    """
    degrees = check_triple(l1, l2, l3)
    return clebsch_gordan(*degrees) * np.float64(gaunt_coupling(*degrees))


def harmonic_scale(normalization: str, degree: int) -> float:
    """``s`` with ``Y(normalization) = s Y(integral)`` for degree ``degree``.

    ``integral``: orthonormal; ``component``: ``|Y_l|^2 = 2 l + 1``; ``norm``: ``|Y_l|^2 = 1`` on the unit sphere.
    """
    return {"integral": 1.0, "component": sqrt(4 * pi), "norm": sqrt(4 * pi / (2 * degree + 1))}[normalization]


NORMALIZATIONS = ("integral", "component", "norm")
