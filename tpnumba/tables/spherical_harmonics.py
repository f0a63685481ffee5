"""Associated Legendre functions and the recursion coefficients of real spherical harmonics.

Convention (as e3nn >= 0.5): no Condon-Shortley sign, polar axis y, ``y = cos b, z = sin b cos a, x = sin b sin a``,
``Y_lm = sqrt2 P_lm(b) cos(m a)`` for m > 0, ``sqrt2 P_l|m|(b) sin(|m| a)`` for m < 0, ``P_l0(b)`` for m = 0,
with ``P`` normalised so that ``Y`` is orthonormal.
"""

from __future__ import annotations

from functools import lru_cache
from math import pi, sqrt
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tpnumba.tables.clebsch_gordan import Array
from tpnumba.tables.couplings import harmonic_scale
from tpnumba.tables.memory import cached_within


@lru_cache(maxsize=512)
def sectoral(lmax: int) -> Array:
    """``P_mm / sin(beta)^m`` for ``m = 0..lmax``, read-only."""
    values = np.empty(lmax + 1)
    values[0] = sqrt(1 / (4 * pi))
    for m in range(1, lmax + 1):
        values[m] = values[m - 1] * sqrt((2 * m + 1) / (2 * m))
    values.flags.writeable = False
    return values


@lru_cache(maxsize=512)
def recursion(degree: int) -> tuple[Array, Array]:
    """``(a, b)`` with ``P_lm = a_m cos(beta) P_{l-1,m} - b_m P_{l-2,m}`` for ``m = 0..l-1``, read-only.

    ``b`` is zero where ``P_{l-2,m}`` does not exist (``m > l - 2``).
    """
    m = np.arange(degree, dtype=np.float64)
    a = np.sqrt((4 * degree**2 - 1) / (degree**2 - m**2))
    b = np.sqrt((2 * degree + 1) * ((degree - 1) ** 2 - m**2) / (max(2 * degree - 3, 1) * (degree**2 - m**2)))
    b[degree - 1 :] = 0.0
    a.flags.writeable = False
    b.flags.writeable = False
    return a, b


def legendre(lmax: int, cos_beta: Array) -> Array:
    """Normalised associated Legendre functions ``P[l, m, point]``, zero for ``m > l``.

    Args:
        lmax: the largest degree.
        cos_beta: shape ``(n,)``.

    Returns:
        Shape ``(lmax + 1, lmax + 1, n)``.
    """
    sin_beta = np.sqrt((1 - cos_beta) * (1 + cos_beta))
    table = np.zeros((lmax + 1, lmax + 1, cos_beta.size))
    orders = np.arange(lmax + 1)
    diagonal = sectoral(lmax)[:, None] * sin_beta ** orders[:, None]
    for degree in range(lmax + 1):
        table[degree, degree] = diagonal[degree]
        if degree:
            a, b = recursion(degree)
            below = table[degree - 2, :degree] if degree > 1 else 0.0
            table[degree, :degree] = a[:, None] * cos_beta * table[degree - 1, :degree] - b[:, None] * below
    return table


def legendre_slope(lmax: int, cos_beta: Array) -> Array:
    """``dP_lm / d beta``, of the shape of :func:`legendre`.

    ``1/2 [sqrt((l + m)(l - m + 1)) P_{l,m-1} - sqrt((l - m)(l + m + 1)) P_{l,m+1}]``, and ``-sqrt(l (l + 1)) P_l1`` for
    m = 0.
    """
    table = legendre(lmax, cos_beta)
    degree, order = np.arange(lmax + 1)[:, None, None], np.arange(lmax + 1)[None, :, None]
    lower = np.sqrt(np.maximum((degree + order) * (degree - order + 1), 0.0))
    raised = np.sqrt(np.maximum((degree - order) * (degree + order + 1), 0.0))
    below = np.concatenate([-table[:, 1:2], table[:, :-1]], axis=1) if lmax else np.zeros_like(table)
    above = np.concatenate([table[:, 1:], np.zeros_like(table[:, :1])], axis=1)
    slope: Array = (lower * below - raised * above) / 2
    return slope


def legendre_over_sine(lmax: int, cos_beta: Array) -> Array:
    """``m P_lm / sin(beta)``, of the shape of :func:`legendre`; finite at the poles.

    ``1/2 sqrt((2 l + 1) / (2 l - 1)) [sqrt((l + m)(l + m - 1)) P_{l-1,m-1} + sqrt((l - m)(l - m - 1)) P_{l-1,m+1}]``.
    """
    table = legendre(lmax, cos_beta)
    degree, order = np.arange(1, lmax + 1)[:, None, None], np.arange(1, lmax + 1)[None, :, None]
    plus = np.sqrt((degree + order) * (degree + order - 1.0))
    minus = np.sqrt(np.maximum((degree - order) * (degree - order - 1.0), 0.0))
    above = np.concatenate([table[:-1, 2:], np.zeros_like(table[:-1, :1])], axis=1) if lmax else table[:0, :0]
    result = np.zeros_like(table)
    factor = np.sqrt((2 * degree + 1) / (2 * degree - 1.0)) / 2
    result[1:, 1:] = np.where(order <= degree, factor * (plus * table[:-1, :-1] + minus * above), 0.0)
    return result


class Ladder(NamedTuple):
    """Gradients of solid harmonics: ``sum over terms of weights[term, k] S[places[term, k]]`` for the k-th harmonic.

    Terms 0 and 1 make the derivative by x, term 2 that by y, terms 3 and 4 that by z.
    """

    places: npt.NDArray[np.int64]
    weights: Array


@cached_within(2**26)
def gradient_ladder(lmax: int, normalization: str) -> Ladder:
    """From orthonormal solid harmonics ``S_l = |r|^l Y_l`` to the gradients of those of another normalisation.

    With ``n = sqrt((2 l + 1) / (2 l - 1))`` and complex ``S``, about a polar axis Z (here y, with X = z and Y = x),
    ``dS_lm / dZ = n sqrt(l^2 - m^2) S_{l-1,m}`` and ``(d/dX +- i d/dY) S_lm = +- n sqrt((l -+ m)(l -+ m - 1))
    S_{l-1,m+-1}``. In the real basis ``d/dz`` keeps the kind, cosine or sine, and ``d/dx`` exchanges it.

    Args:
        lmax: the largest degree; places are below ``lmax^2``.
        normalization: as for :func:`tpnumba.SphericalHarmonics`.

    Returns:
        Read-only arrays of shape ``(5, (lmax + 1)^2)``; a weight is zero where its term does not exist.
    """
    degrees = np.arange(lmax + 1)
    degree = np.repeat(degrees, 2 * degrees + 1)
    m = np.arange(degree.size) - degree * (degree + 1)
    order = np.abs(m)
    kind = np.where(m < 0, -1, 1)
    scale = np.sqrt((2 * degree + 1) / np.maximum(2 * degree - 1, 1))
    scale *= np.array([harmonic_scale(normalization, each) for each in range(lmax + 1)])[degree]

    along = scale * np.sqrt(degree**2 - order**2)
    outer = scale / 2 * np.sqrt(np.maximum((degree - order) * (degree - order - 1), 0))
    inner = scale / 2 * np.sqrt((degree + order) * (degree + order - 1))
    # The cosine of order zero is sqrt(2) larger than the others of its kind, the sine of order zero is zero.
    outer = np.where(order == 0, outer * sqrt(2), outer)
    inner = np.where(order == 1, inner * sqrt(2), np.where(order == 0, 0.0, inner))
    weights = np.stack(
        [
            np.where((order == 1) & (kind == 1), 0.0, -kind * inner),
            np.where(order == 0, -1, -kind) * outer,
            along,
            np.where((order == 1) & (kind == -1), 0.0, inner),
            -outer,
        ]
    )
    targets = np.stack([-kind * (order - 1), -kind * (order + 1), m, kind * (order - 1), kind * (order + 1)])
    weights[:, 0] = 0.0
    places = np.where(weights != 0, (degree - 1) * degree + targets, 0)
    places.flags.writeable = False
    weights.flags.writeable = False
    return Ladder(places, weights)
