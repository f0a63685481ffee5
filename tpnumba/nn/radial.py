"""Radial bases: a distance as several numbers, and the embedding of an edge, basis times envelope.

Each is a frozen object; ``f(r)`` adds an axis of the functions to distances of any shape.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from functools import lru_cache
from math import factorial, pi, prod, sqrt
from typing import Any

import numpy as np

from tpnumba.backends.namespaces import Context, constant
from tpnumba.nn.checks import check_count, check_number, context_of, given
from tpnumba.nn.envelopes import Envelope
from tpnumba.products.form import require_shape

Array = Any

#: Below this, sin(z)/z is differentiated by its series: six terms leave 1e-17.
_SERIES_BELOW = 0.5
_SERIES = tuple((-0.5) ** k / (factorial(k) * prod(range(5, 2 * k + 4, 2))) for k in range(7))


class RadialBasis:
    """What the bases share: derivatives by the distance."""

    __slots__ = ()

    number: int

    def __call__(self, r: Array, frequencies: Array | None = None) -> Array:
        """The functions of distances.

        Args:
            r: any shape, float32 or float64, in the unit of the constructor.
            frequencies: of :class:`BesselBasis`, shape ``(number,)``, in radians over that unit, where a model has
                learned them.

        Returns:
            Shape ``(*r.shape, number)``.

        Raises:
            TypeError, ValueError: not such arrays.
        """
        context = context_of(given(r=r, frequencies=frequencies))
        return self._evaluate(context, r, self._read(frequencies), derivative=False)[0]

    def derivative(self, r: Array, frequencies: Array | None = None) -> Array:
        """The derivatives by the distance, shape ``(*r.shape, number)``."""
        return self.value_and_derivative(r, frequencies)[1]

    def value_and_derivative(self, r: Array, frequencies: Array | None = None) -> tuple[Array, Array]:
        """Both, each of shape ``(*r.shape, number)``."""
        context = context_of(given(r=r, frequencies=frequencies))
        return self._evaluate(context, r, self._read(frequencies), derivative=True)

    def vjp(self, r: Array, cotangent: Array, *, frequencies: Array | None = None) -> Array:
        """The gradient of ``<cotangent, f(r)>`` by the distances.

        Args:
            r, frequencies: as for the call.
            cotangent: shape ``(*r.shape, number)``.

        Returns:
            Of the shape of ``r``.

        Raises:
            TypeError, ValueError: not such arrays.
        """
        context = _pulled_context(r, cotangent, frequencies, self.number)
        return context.xp.sum(cotangent * self.derivative(r, frequencies), axis=-1)

    def _read(self, frequencies: Array | None) -> Array | None:
        if frequencies is not None:
            raise ValueError(f"frequencies were given, but {type(self).__name__} has none")
        return None

    def _evaluate(
        self, context: Context, r: Array, frequencies: Array | None, *, derivative: bool
    ) -> tuple[Array, Array]:
        """Values and, if they are asked for, derivatives."""
        raise NotImplementedError


@dataclass(frozen=True)
class BesselBasis(RadialBasis):
    """Sines over the distance.

    ``prefactor * sin(w_n r) / r`` with ``w_n = n pi / cutoff`` for n = 1 to ``number``, or other frequencies. Spherical
    Bessel functions of order zero that vanish at the cutoff (Gasteiger, Gross, Guennemann, *Directional Message Passing
    for Molecular Graphs*, ICLR 2020, equation 7). At r = 0 the limit ``prefactor * w_n`` is taken, and the derivative
    is zero. Beyond the cutoff they go on; an envelope ends them.

    Args:
        number: how many.
        cutoff: the unit of distances is that of this.
        prefactor: by default ``sqrt(2 / cutoff)``; SevenNet has ``2 / cutoff``.

    Raises:
        TypeError, ValueError: a number or a cutoff that is not above zero.

    Example:
        >>> import numpy as np
        >>> BesselBasis(2, 2.0)(np.array([0.0, 1.0])).round(6) + 0.0
        array([[1.570796, 3.141593],
               [1.      , 0.      ]])
    """

    number: int
    cutoff: float
    _: KW_ONLY
    prefactor: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "number", check_count("number", self.number))
        object.__setattr__(self, "cutoff", check_number("cutoff", self.cutoff, positive=True))
        factor = sqrt(2 / self.cutoff) if self.prefactor is None else check_number("prefactor", self.prefactor)
        object.__setattr__(self, "prefactor", factor)

    @property
    def frequencies(self) -> Array:
        """``n pi / cutoff``, float64: those that are taken if none are given."""
        return np.arange(1, self.number + 1) * (pi / self.cutoff)

    def frequencies_vjp(self, r: Array, cotangent: Array, *, frequencies: Array | None = None) -> Array:
        """The gradient of ``<cotangent, f(r)>`` by the frequencies: the sum of ``cotangent * prefactor cos(w_n r)``.

        Args:
            r, frequencies: as for the call.
            cotangent: shape ``(*r.shape, number)``.

        Returns:
            Shape ``(number,)``.

        Raises:
            TypeError, ValueError: not such arrays.
        """
        context = _pulled_context(r, cotangent, frequencies, self.number)
        assert self.prefactor is not None
        w = self._or_own(context, self._read(frequencies))
        terms = cotangent * context.xp.cos(r[..., None] * w) * self.prefactor
        return context.xp.sum(terms, axis=tuple(range(r.ndim)))

    def _read(self, frequencies: Array | None) -> Array | None:
        if frequencies is not None:
            require_shape("frequencies", frequencies, (self.number,))
        return frequencies

    def _or_own(self, context: Context, frequencies: Array | None) -> Array:
        return constant(context, self.frequencies) if frequencies is None else frequencies

    def _evaluate(
        self, context: Context, r: Array, frequencies: Array | None, *, derivative: bool
    ) -> tuple[Array, Array]:
        assert self.prefactor is not None
        xp, w, factor = context.xp, self._or_own(context, frequencies), self.prefactor
        distance = r[..., None]
        at_zero = distance == 0
        over = 1 / xp.where(at_zero, xp.ones_like(distance), distance)
        angle = distance * w
        value = xp.where(at_zero, w + xp.zeros_like(angle), xp.sin(angle) * over) * factor
        if not derivative:
            return value, value
        square = angle * angle
        near = xp.full_like(square, _SERIES[-1])
        for number in reversed(_SERIES[:-1]):
            near = near * square + number
        slope = xp.where(
            xp.abs(angle) < _SERIES_BELOW,
            -w * w * angle * near * (factor / 3),
            (w * xp.cos(angle) * factor - value) * over,
        )
        return value, slope


@dataclass(frozen=True)
class GaussianBasis(RadialBasis):
    """Gaussians of equidistant centres.

    ``scale * exp(-((r - c_n) / width)^2)``, with centres ``c_n``. e3nn's ``soft_one_hot_linspace(r, start, stop,
    number, basis="gaussian")`` is the default, with ``cutoff=True`` if ``ends=False``. SchNet's (Schuett et al., *J.
    Chem. Phys.* 148, 241722, 2018) has ``scale=1`` and the width ``sqrt(2)`` times the distance of two
    centres.

    Args:
        number: how many.
        start, stop: the interval that the centres divide.
        ends: whether the first and the last centre lie on its ends; if not, one step inside.
        width: by default the distance of two centres.
        scale: 1 / 1.12 by default, by which the sum of their squares is about one between the centres.

    Raises:
        TypeError, ValueError: an empty interval, too few functions to divide it, or a width that is not above zero.

    Example:
        >>> import numpy as np
        >>> GaussianBasis(3, 0.0, 2.0, scale=1.0)(np.array([1.0])).round(6)
        array([[0.367879, 1.      , 0.367879]])
    """

    number: int
    start: float
    stop: float
    _: KW_ONLY
    ends: bool = True
    width: float | None = None
    scale: float = 1 / 1.12

    def __post_init__(self) -> None:
        object.__setattr__(self, "number", check_count("number", self.number))
        for name in ("start", "stop", "scale"):
            object.__setattr__(self, name, check_number(name, getattr(self, name)))
        if not isinstance(self.ends, bool):
            raise TypeError(f"ends must be True or False, got {self.ends!r}")
        if self.start >= self.stop:
            raise ValueError(f"start must be below stop, got {self.start} and {self.stop}")
        if self.ends and self.number < 2:
            raise ValueError("number must be at least 2 for centres on both ends, got 1")
        step = (self.stop - self.start) / (self.number - 1 if self.ends else self.number + 1)
        width = step if self.width is None else check_number("width", self.width, positive=True)
        object.__setattr__(self, "width", width)

    @property
    def centres(self) -> Array:
        """The centres, float64."""
        if self.ends:
            return np.linspace(self.start, self.stop, self.number)
        return np.linspace(self.start, self.stop, self.number + 2)[1:-1]

    def _evaluate(
        self,
        context: Context,
        r: Array,
        frequencies: Array | None,  # noqa: ARG002
        *,
        derivative: bool,
    ) -> tuple[Array, Array]:
        assert self.width is not None
        z = (r[..., None] - constant(context, _centres(self))) / self.width
        value = context.xp.exp(-z * z) * self.scale
        return (value, z * value * (-2 / self.width)) if derivative else (value, value)


def _pulled_context(r: Array, cotangent: Array, frequencies: Array | None, number: int) -> Context:
    """The context of the arguments of a gradient, after checking the shape of the cotangent."""
    context = context_of(given(r=r, cotangent=cotangent, frequencies=frequencies))
    require_shape("cotangent", cotangent, (*r.shape, number))
    return context


@lru_cache(maxsize=256)
def _centres(basis: GaussianBasis) -> Array:
    return basis.centres


@dataclass(frozen=True)
class RadialEmbedding:
    """A basis times an envelope: the numbers of an edge that a radial network reads.

    Args:
        basis: :class:`BesselBasis` or :class:`GaussianBasis`.
        envelope: :class:`PolynomialEnvelope`, :class:`XPLOREnvelope` or :class:`CosineEnvelope`.

    Raises:
        TypeError: not such objects.

    Example:
        >>> import numpy as np
        >>> from tpnumba.nn import CosineEnvelope
        >>> RadialEmbedding(BesselBasis(2, 2.0), CosineEnvelope(2.0))(np.array([1.0, 2.0])).round(6) + 0.0
        array([[0.5, 0. ],
               [0. , 0. ]])
    """

    basis: RadialBasis
    envelope: Envelope

    def __post_init__(self) -> None:
        for name, kind in (("basis", RadialBasis), ("envelope", Envelope)):
            if not isinstance(getattr(self, name), kind):
                raise TypeError(f"{name} must be of type {kind.__name__}, got {getattr(self, name)!r}")

    @property
    def number(self) -> int:
        """The number of functions."""
        return self.basis.number

    def __call__(self, r: Array, frequencies: Array | None = None) -> Array:
        """The embedding of distances of any shape: shape ``(*r.shape, number)``; arguments as those of the basis."""
        return self.basis(r, frequencies) * self.envelope(r)[..., None]

    def value_and_derivative(self, r: Array, frequencies: Array | None = None) -> tuple[Array, Array]:
        """The embedding and its derivative by the distance, each of shape ``(*r.shape, number)``."""
        basis, slope = self.basis.value_and_derivative(r, frequencies)
        envelope, fall = self.envelope.value_and_derivative(r)
        return basis * envelope[..., None], slope * envelope[..., None] + basis * fall[..., None]

    def vjp(self, r: Array, cotangent: Array, *, frequencies: Array | None = None) -> Array:
        """The gradient of ``<cotangent, f(r)>`` by the distances, of their shape; ``cotangent`` as the result."""
        context = _pulled_context(r, cotangent, frequencies, self.number)
        return context.xp.sum(cotangent * self.value_and_derivative(r, frequencies)[1], axis=-1)
