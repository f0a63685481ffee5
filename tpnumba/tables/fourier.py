"""Legendre functions as trigonometric series of the doubled circle: the tables of the Gaunt product by Fourier.

Continued from ``theta`` in ``[0, pi]`` to the whole circle with ``sin(theta)`` taken with its sign, ``P_lm`` is a
cosine series for even m and a sine series for odd m, of degree l. A function on the sphere so becomes one on a torus,
where products are cyclic convolutions.
"""

from __future__ import annotations

import numpy as np

from tpnumba.tables.clebsch_gordan import Array
from tpnumba.tables.quadrature import gauss_legendre
from tpnumba.tables.spherical_harmonics import legendre


def theta_series(lmax: int) -> Array:
    """``c[l, m, u]`` with ``P_lm(theta) = sum over u of c cos(u theta)`` (m even) or ``c sin(u theta)`` (m odd).

    From the values at ``2 lmax + 1`` equispaced angles, by a Fourier transform: exact, as the degree is ``lmax``.

    Returns:
        Shape ``(lmax + 1, lmax + 1, lmax + 1)``.
    """
    count = 2 * lmax + 1
    theta = 2 * np.pi * np.arange(count) / count
    odd = np.arange(lmax + 1) % 2 == 1
    # sin(theta) is negative on the second half of the circle, where the table of [0, pi] takes it as positive.
    signs = np.where(odd[:, None] & (theta > np.pi), -1.0, 1.0)
    spectrum = np.fft.rfft(legendre(lmax, np.cos(theta)) * signs, axis=-1) / count
    spectrum[..., 1:] *= 2
    return np.where(odd[:, None], -spectrum.imag, spectrum.real)


def dual_theta_series(lmax: int, highest: int) -> Array:
    """``d[l, m, u]``, ``u <= highest``: series whose mean with a function is its integral with ``P_lm``.

    ``mean over theta of H(theta) D_lm(theta) = integral from 0 to pi of H P_lm sin(theta) d theta`` for every cosine (m
    even) or sine (m odd) series ``H`` up to degree ``highest``; ``D`` has the coefficients ``d`` as in
    :func:`theta_series`. The integrals are of polynomials in ``cos(theta)``, so a Gauss-Legendre rule gives them.

    Returns:
        Shape ``(lmax + 1, lmax + 1, highest + 1)``.
    """
    nodes, weights = gauss_legendre((lmax + highest) // 2 + 1)
    weighted = legendre(lmax, nodes) * weights
    angles = np.arccos(nodes)[:, None] * np.arange(highest + 1)
    series = np.empty((*weighted.shape[:2], highest + 1))
    series[:, 0::2] = weighted[:, 0::2] @ np.cos(angles)
    series[:, 1::2] = weighted[:, 1::2] @ np.sin(angles)
    series[..., 1:] *= 2  # the mean of a squared cosine is 1/2, but 1 for the constant
    return series
