"""Reduced couplings: the number that each product puts in front of the Clebsch-Gordan coefficients of a triple."""

from __future__ import annotations

from functools import lru_cache
from math import factorial, pi, prod, sqrt

import numpy as np

from tpnumba.tables.clebsch_gordan import Array, check_triple, clebsch_gordan
from tpnumba.tables.recoupling import wigner_6j, wigner_9j


@lru_cache(maxsize=65536)
def gaunt_coupling(l1: int, l2: int, l3: int) -> float:
    """``k`` with ``integral of Y_l1 Y_l2 Y_l3 over the sphere = k C(l1, l2, l3)``; zero where ``l1 + l2 + l3`` is odd.

    ``k = sqrt(prod(2 l_i + 1) / 4 pi) |3j(l1 l2 l3; 0 0 0)|``, evaluated in exact integers (Racah's closed form).
    """
    total = l1 + l2 + l3
    if total % 2 or total < 2 * max(l1, l2, l3):
        return 0.0
    return _closed_form((l1, l2, l3), total // 2)


@lru_cache(maxsize=65536)
def bracket_coupling(l1: int, l2: int, l3: int) -> float:
    """``k_B`` with ``{Y_l1, Y_l2} = k_B C(l1, l2, l3)`` in the harmonics of degree ``l3``; zero where the sum is even.

    The Poisson bracket ``{F, G} = r . (grad F x grad G)`` on the sphere, orthonormal harmonics. With
    ``J = l1 + l2 + l3`` odd, ``k_B = (-1)^((J + 1) / 2) sqrt(prod(2 l_i + 1) / 4 pi) sqrt(l1 (l1 + 1) l2 (l2 + 1))
    3j(l1 l2 l3; 1 -1 0)``, evaluated in exact integers by a closed form like Racah's; positive inside the triangle.

    Example:
        >>> round(bracket_coupling(1, 1, 1) ** 2 * pi, 12), bracket_coupling(1, 1, 2)
        (4.5, 0.0)
    """
    total = l1 + l2 + l3
    if total % 2 == 0 or total < 2 * max(l1, l2, l3):
        return 0.0
    return (total + 1) * _closed_form((l1, l2, l3), (total - 1) // 2)


def _closed_form(degrees: tuple[int, int, int], q: int) -> float:
    """``sqrt(prod(2 l_i + 1) / 4 pi) sqrt(prod(J - 2 l_i)! / (J + 1)!) q! / prod(q - l_i)!``."""
    total = sum(degrees)
    square = factorial(q) ** 2 * prod((2 * degree + 1) * factorial(total - 2 * degree) for degree in degrees)
    over = factorial(total + 1) * prod(factorial(q - degree) for degree in degrees) ** 2
    return sqrt(square / over / (4 * pi))


def matrix_coupling(l1: int, l2: int, l3: int, a: int) -> float:
    """``(-1)^l3 6j{l1 l2 l3; a a a}``: the product of two operators on the irrep of degree ``a``.

    With ``X = sum x_m C(a, a, l1)[., ., m]``, likewise Y, and Z = X Y expanded with the same C, the product gives
    ``z = coupling C(l1, l2, l3) x y``. Zero outside the triangles (a degree above ``2 a`` too) and, exactly, at the
    accidental zeros of the 6j symbol.

    Example:
        >>> matrix_coupling(5, 7, 6, 4), round(matrix_coupling(1, 1, 0, 1), 12)
        (0.0, -0.333333333333)
    """
    return (-1.0 if l3 % 2 else 1.0) * wigner_6j(l1, l2, l3, a, a, a)


def cross_coupling(l1: int, j1: int, l2: int, j2: int, l3: int, j3: int) -> float:
    """The factor of ``C(j1, j2, j3)`` in the pointwise cross product of two vector spherical harmonics.

    ``sqrt(6 (2 j1 + 1) (2 j2 + 1) (2 j3 + 1)) k(l1, l2, l3) 9j{l1 l2 l3; 1 1 1; j1 j2 j3}``, where ``k`` is
    :func:`gaunt_coupling` and ``Y_jlm = sqrt(2 j + 1) sum C(l, 1, j)[a, b, m] Y_la e_b``.

    Zero outside the triangles, and exactly zero where the 9j symbol vanishes by symmetry: exchanging two equal rows or
    columns gives its sign ``(-1)^(sum of all nine)``. No other allowed coupling vanishes.

    Example:
        >>> cross_coupling(1, 1, 1, 1, 2, 2), round(cross_coupling(0, 1, 0, 1, 0, 1) ** 2 * 4 * pi, 12)
        (0.0, 6.0)
    """
    k = gaunt_coupling(l1, l2, l3)
    if k == 0:
        return 0.0
    return sqrt(6 * (2 * j1 + 1) * (2 * j2 + 1) * (2 * j3 + 1)) * k * wigner_9j(l1, l2, l3, 1, 1, 1, j1, j2, j3)


def dot_coupling(l1: int, j1: int, l2: int, j2: int, j3: int) -> float:
    """The factor of ``C(j1, j2, j3)`` in the pointwise dot product of two vector spherical harmonics.

    ``(-1)^(l2 + j2 + 1) sqrt((2 j1 + 1) (2 j2 + 1)) k(l1, l2, j3) 6j{l1 l2 j3; j2 j1 1}``, with the names of
    :func:`cross_coupling`; the result is a scalar function, of degree ``j3``. Zero outside the triangles.

    Example:
        >>> round(dot_coupling(0, 1, 0, 1, 0) ** 2 * 4 * pi, 12)
        3.0
    """
    k = gaunt_coupling(l1, l2, j3)
    if k == 0:
        return 0.0
    sign = 1.0 if (l2 + j2) % 2 else -1.0
    return sign * sqrt((2 * j1 + 1) * (2 * j2 + 1)) * k * wigner_6j(l1, l2, j3, j2, j1, 1)


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
