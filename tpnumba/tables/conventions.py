"""Conventions of spherical harmonics in other libraries, as data, and the numbers that lead from one to another.

Every convention is described by how its harmonics differ from real orthonormal ones in the same polar frame:
``sqrt2 P_lm(b) cos(m a)`` for m > 0, ``sqrt2 P_l|m|(b) sin(|m| a)`` for m < 0, ``P_l0(b)`` for m = 0, where ``b`` is
the angle from the polar axis, ``a`` the angle about it, and ``P`` bears no Condon-Shortley sign. Complex harmonics are
``Y_lm = (-1)^m P_lm(b) exp(i m a)`` for m >= 0 and ``Y_l,-m = (-1)^m conj(Y_lm)``, that is, with that sign; those
without it are ``(-1)^m`` times these, for m of either sign.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from math import sqrt
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from tpnumba.tables.couplings import harmonic_scale

Integers = npt.NDArray[np.int64]
Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Convention:
    """How a library writes spherical harmonics.

    Attributes:
        name: what users call it.
        polar_axis: ``y`` (then ``a`` runs from z to x) or ``z`` (from x to y).
        normalization: ``integral``: the integral of ``|Y_lm|^2`` over the sphere is 1; ``component``: 4 pi; ``norm``:
            ``4 pi / (2 l + 1)``.
        is_complex: complex harmonics.
        layout: ``flat``: one axis, place ``l^2 + l + m``; ``cosine_sine``: three axes ``[0 or 1, l, |m|]``, 0 for
            m >= 0, 1 for m < 0; the places that belong to no harmonic hold zero.
        condon_shortley: whether complex harmonics bear the Condon-Shortley sign; real ones have none.
        dtype_decides: complex arrays hold coefficients of complex harmonics, without the Condon-Shortley sign, and real
            arrays those of the real ones; see :meth:`of_complex_arrays`.
    """

    name: str
    polar_axis: str
    normalization: str
    is_complex: bool = False
    layout: str = "flat"
    condon_shortley: bool = True
    dtype_decides: bool = False

    def of_complex_arrays(self) -> Convention:
        """The convention in which the library reads an array of complex numbers."""
        return replace(self, is_complex=True, condon_shortley=False) if self.dtype_decides else self

    def shape(self, lmax: int) -> tuple[int, ...]:
        """The shape of one sample."""
        return ((lmax + 1) ** 2,) if self.layout == "flat" else (2, lmax + 1, lmax + 1)

    def places(self, lmax: int) -> Integers | None:
        """Where each component stands in a flattened sample, shape ``((lmax + 1)**2,)``; None: where it belongs."""
        return None if self.layout == "flat" else _cosine_sine_places(lmax)

    def scales(self, lmax: int) -> Array:
        """The length of each harmonic, in units of the orthonormal one, shape ``((lmax + 1)**2,)``."""
        return np.repeat(
            [harmonic_scale(self.normalization, degree) for degree in range(lmax + 1)], 2 * np.arange(lmax + 1) + 1
        )

    def signs(self, lmax: int) -> Array | None:
        """Each complex harmonic in units of the one with the Condon-Shortley sign, 1 or -1; None: all are 1."""
        return None if self.condon_shortley or not self.is_complex else mirror(lmax)[1]


CONVENTIONS: Mapping[str, Convention] = MappingProxyType(
    {
        convention.name: convention
        for convention in (
            Convention("e3nn", "y", "integral"),
            Convention("e3nn-component", "y", "component"),
            Convention("e3nn-norm", "y", "norm"),
            Convention("sphericart", "z", "integral"),
            Convention("scipy", "z", "integral", is_complex=True),
            Convention("shtools", "z", "component", layout="cosine_sine", dtype_decides=True),
            Convention("shtools-ortho", "z", "integral", layout="cosine_sine", dtype_decides=True),
            Convention("shtools-schmidt", "z", "norm", layout="cosine_sine", dtype_decides=True),
            Convention("n3d", "z", "component"),
            Convention("sn3d", "z", "norm"),
        )
    }
)


def degrees_and_orders(lmax: int) -> tuple[Integers, Integers]:
    """``l`` and ``m`` of every component, in the flat order."""
    count = 2 * np.arange(lmax + 1) + 1
    degrees = np.repeat(np.arange(lmax + 1), count)
    return degrees, np.arange(degrees.size) - degrees * (degrees + 1)


@lru_cache(maxsize=64)
def partners(lmax: int) -> tuple[Integers, Integers]:
    """The places of ``(l, |m|)`` and of ``(l, -|m|)`` for every component, read-only."""
    degrees, orders = degrees_and_orders(lmax)
    centres = degrees * (degrees + 1)
    return _frozen(centres + np.abs(orders)), _frozen(centres - np.abs(orders))


@lru_cache(maxsize=64)
def complex_from_real(lmax: int) -> tuple[Array, Array]:
    """``(a, b)`` with ``Y_lm(complex) = a Y_l|m|(real) + b Y_l,-|m|(real)``, read-only complex128."""
    _, m = degrees_and_orders(lmax)
    sign = np.where(m > 0, (-1.0) ** m, 1.0) / sqrt(2)
    return _frozen(np.where(m == 0, 1, sign + 0j)), _frozen(1j * np.sign(m) * sign)


@lru_cache(maxsize=64)
def real_from_complex(lmax: int) -> tuple[Array, Array]:
    """``(a, b)`` with ``Y_lm(real) = a Y_l|m|(complex) + b Y_l,-|m|(complex)``, read-only complex128."""
    _, m = degrees_and_orders(lmax)
    phase = np.where(m < 0, -1j, 1) / sqrt(2)
    return _frozen(np.where(m == 0, 1, (-1.0) ** m * phase)), _frozen(np.sign(m) * phase)


@lru_cache(maxsize=64)
def mirror(lmax: int) -> tuple[Integers, Array]:
    """The place of ``(l, -m)`` and ``(-1)^m``: a real function has ``f_l,-m = (-1)^m conj(f_lm)``; read-only."""
    degrees, orders = degrees_and_orders(lmax)
    return _frozen(degrees * (degrees + 1) - orders), _frozen((-1.0) ** orders)


@lru_cache(maxsize=64)
def _cosine_sine_places(lmax: int) -> Integers:
    degrees, orders = degrees_and_orders(lmax)
    return _frozen(((orders < 0) * (lmax + 1) + degrees) * (lmax + 1) + np.abs(orders))


def _frozen(array: Array) -> Array:
    array.flags.writeable = False
    return array
