"""Envelopes: functions of a distance that fall from one to zero at the cutoff, so that energies are smooth.

Each is a frozen object; ``f(r)``, ``f.derivative(r)`` and ``f.vjp(r, cotangent)`` take distances of any shape. Beyond
the cutoff all of them are zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import pi
from typing import Any

from tpnumba.nn.checks import check_count, check_number, context_of
from tpnumba.products.form import require_shape

Array = Any


class Envelope:
    """What the envelopes share; :meth:`_evaluate` has the formula of each."""

    __slots__ = ()

    cutoff: float

    def __call__(self, r: Array) -> Array:
        """The envelope at distances.

        Args:
            r: any shape, float32 or float64, in the unit of ``cutoff``.

        Returns:
            Of the shape of ``r``.

        Raises:
            TypeError: not such an array.
        """
        return self.value_and_derivative(r)[0]

    def derivative(self, r: Array) -> Array:
        """The derivative by the distance, of the shape of ``r``."""
        return self.value_and_derivative(r)[1]

    def vjp(self, r: Array, cotangent: Array) -> Array:
        """The gradient of ``<cotangent, f(r)>``, of the shape of ``r``."""
        context_of({"r": r, "cotangent": cotangent})
        require_shape("cotangent", cotangent, tuple(r.shape))
        return cotangent * self.derivative(r)

    def value_and_derivative(self, r: Array) -> tuple[Array, Array]:
        """Both, each of the shape of ``r``."""
        xp = context_of({"r": r}).xp
        beyond = r >= self.cutoff
        value, derivative = self._evaluate(xp, r)
        zero = xp.zeros_like(r)
        return xp.where(beyond, zero, value), xp.where(beyond, zero, derivative)

    def _evaluate(self, xp: Any, r: Array) -> tuple[Array, Array]:
        """Value and derivative below the cutoff."""
        raise NotImplementedError


@dataclass(frozen=True)
class PolynomialEnvelope(Envelope):
    """The polynomial envelope, a power of the distance and its next two.

    ``1 - (p + 1)(p + 2)/2 x^p + p (p + 2) x^(p + 1) - p (p + 1)/2 x^(p + 2)`` with ``x = r / cutoff``. At the cutoff it
    is zero with its first two derivatives (Gasteiger, Gross, Guennemann, *Directional Message Passing for Molecular
    Graphs*, ICLR 2020, equation 8).

    Args:
        cutoff: the distance from which on it is zero.
        p: the power, 6 by default.

    Raises:
        TypeError, ValueError: a cutoff that is not above zero, or a power that is not a positive integer.

    Example:
        >>> import numpy as np
        >>> PolynomialEnvelope(5.0, p=6)(np.array([0.0, 2.5, 5.0])).round(6)
        array([1.      , 0.855469, 0.      ])
    """

    cutoff: float
    p: int = 6

    def __post_init__(self) -> None:
        object.__setattr__(self, "cutoff", check_number("cutoff", self.cutoff, positive=True))
        object.__setattr__(self, "p", check_count("p", self.p))

    def _evaluate(self, xp: Any, r: Array) -> tuple[Array, Array]:  # noqa: ARG002
        p, x = self.p, r / self.cutoff
        low = x ** (p - 1)
        a, b, c = (p + 1) * (p + 2) / 2, float(p * (p + 2)), p * (p + 1) / 2
        value = 1 - low * x * (a - x * (b - c * x))
        # p (p + 1)(p + 2)/2 is in front of each of the three terms of the derivative
        derivative = low * (1 - x) * (1 - x) * (-p * a / self.cutoff)
        return value, derivative


@dataclass(frozen=True)
class XPLOREnvelope(Envelope):
    """One up to an onset, then a polynomial in the square of the distance.

    ``(c^2 - r^2)^2 (c^2 + 2 r^2 - 3 o^2) / (c^2 - o^2)^3`` with cutoff c and onset o. Value and first derivative are
    continuous (Bruenger's X-PLOR, as CHARMM, HOOMD-blue and SevenNet have it).

    Args:
        cutoff: the distance from which on it is zero.
        onset: the distance up to which it is one.

    Raises:
        TypeError, ValueError: not ``0 <= onset < cutoff``.

    Example:
        >>> import numpy as np
        >>> XPLOREnvelope(5.0, onset=4.5)(np.array([4.0, 4.75, 5.0])).round(6)
        array([1.      , 0.519732, 0.      ])
    """

    cutoff: float
    onset: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "cutoff", check_number("cutoff", self.cutoff, positive=True))
        object.__setattr__(self, "onset", check_number("onset", self.onset))
        if not 0 <= self.onset < self.cutoff:
            raise ValueError(f"onset must be at least 0 and below the cutoff {self.cutoff}, got {self.onset}")

    def _evaluate(self, xp: Any, r: Array) -> tuple[Array, Array]:
        c, o, square = self.cutoff**2, self.onset**2, r * r
        left = c - square
        value = left * left * ((c + 2 * square - 3 * o) / (c - o) ** 3)
        derivative = r * left * (o - square) * (12 / (c - o) ** 3)
        before = r < self.onset
        return xp.where(before, xp.ones_like(r), value), xp.where(before, xp.zeros_like(r), derivative)


@dataclass(frozen=True)
class CosineEnvelope(Envelope):
    """Half a wave of the cosine.

    ``(1 + cos(pi r / cutoff)) / 2`` (Behler, Parrinello, *Phys. Rev. Lett.* 98, 146401, 2007).

    Args:
        cutoff: the distance from which on it is zero.

    Raises:
        TypeError, ValueError: a cutoff that is not above zero.

    Example:
        >>> import numpy as np
        >>> CosineEnvelope(4.0)(np.array([0.0, 2.0, 4.0])).round(12)
        array([1. , 0.5, 0. ])
    """

    cutoff: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "cutoff", check_number("cutoff", self.cutoff, positive=True))

    def _evaluate(self, xp: Any, r: Array) -> tuple[Array, Array]:
        angle = r * (pi / self.cutoff)
        return (1 + xp.cos(angle)) / 2, xp.sin(angle) * (-pi / (2 * self.cutoff))
