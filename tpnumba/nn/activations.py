"""Activation functions of scalars, with first and second derivatives, and the scale that gives them unit second moment.

NumPy's arrays are worked in pieces that stay in cache, in place: 0.7 ns a number for silu in float32 where NumPy's
exponential is vectorised, so that there is no kernel for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from math import log, pi, sqrt
from typing import Any

import numpy as np

from tpnumba.backends.namespaces import Context, check_out, is_numpy
from tpnumba.nn.checks import check_number, context_of
from tpnumba.products.form import require_shape
from tpnumba.products.instructions import check_choice

Array = Any

#: Numbers of one piece: with three temporaries of float64 it stays within a cache of 1 MB, float32 within 512 kB.
_PIECE = 2**15

#: ``1 / sqrt(E f(z)^2)`` as e3nn 0.6 has it: the mean over the 10^6 normal numbers that torch 2.13 draws on the CPU
#: from a generator of seed 0. Read from ``e3nn.math.normalize2mom(f).cst``; ``tests/peers/test_layers.py`` reads them
#: anew.
SAMPLED_SCALES = {
    "silu": 1.6791767923989418,
    "tanh": 1.5937334472592695,
    "sigmoid": 1.8467055342154763,
    "abs": 1.001110600838467,
    "ssp": 1.878204668541552,
    "relu": 1.4163393446331365,
}


def _sigmoid(xp: Any, x: Array) -> Array:
    if is_numpy(xp):
        y = np.negative(x)
        np.exp(y, out=y)
        np.add(y, 1, out=y)
        return np.divide(1, y, out=y)
    return 1 / (1 + xp.exp(-x))


def _silu(xp: Any, x: Array) -> tuple[Array]:
    if is_numpy(xp):
        y = np.negative(x)
        np.exp(y, out=y)
        np.add(y, 1, out=y)
        return (np.divide(x, y, out=y),)
    return (x / (1 + xp.exp(-x)),)


def _silu_1(xp: Any, x: Array) -> tuple[Array, Array]:
    s = _sigmoid(xp, x)
    f = x * s
    if is_numpy(xp):  # s + f (1 - s)
        d = np.subtract(1, s)
        np.multiply(d, f, out=d)
        return f, np.add(d, s, out=d)
    return f, s + f * (1 - s)


def _silu_2(xp: Any, x: Array) -> Array:
    s = _sigmoid(xp, x)
    return s * (1 - s) * (2 + x * (1 - 2 * s))


def _tanh_1(xp: Any, x: Array) -> tuple[Array, Array]:
    t = xp.tanh(x)
    return t, 1 - t * t


def _tanh_2(xp: Any, x: Array) -> Array:
    t = xp.tanh(x)
    return -2 * t * (1 - t * t)


def _sigmoid_1(xp: Any, x: Array) -> tuple[Array, Array]:
    s = _sigmoid(xp, x)
    return s, s * (1 - s)


def _sigmoid_2(xp: Any, x: Array) -> Array:
    s = _sigmoid(xp, x)
    return s * (1 - s) * (1 - 2 * s)


def _softplus(xp: Any, x: Array) -> Array:
    return xp.where(x > 0, x, xp.zeros_like(x)) + xp.log1p(xp.exp(-xp.abs(x))) - log(2)


def _ssp_1(xp: Any, x: Array) -> tuple[Array, Array]:
    return _softplus(xp, x), _sigmoid(xp, x)


def _relu(xp: Any, x: Array) -> Array:
    return xp.where(x < 0, xp.zeros_like(x), x)


def _relu_1(xp: Any, x: Array) -> tuple[Array, Array]:
    f = _relu(xp, x)
    return f, xp.sign(f)


@dataclass(frozen=True)
class _Function:
    """Value, value with derivative, and second derivative; parity is 0 of what is neither even nor odd."""

    value: Callable[[Any, Array], tuple[Array]]
    first: Callable[[Any, Array], tuple[Array, Array]]
    second: Callable[[Any, Array], Array]
    parity: int


_FUNCTIONS = {
    "silu": _Function(_silu, _silu_1, _silu_2, 0),
    "tanh": _Function(lambda xp, x: (xp.tanh(x),), _tanh_1, _tanh_2, -1),
    "sigmoid": _Function(lambda xp, x: (_sigmoid(xp, x),), _sigmoid_1, _sigmoid_2, 0),
    "abs": _Function(
        lambda xp, x: (xp.abs(x),), lambda xp, x: (xp.abs(x), xp.sign(x)), lambda xp, x: 0 * xp.sign(x), 1
    ),
    "ssp": _Function(lambda xp, x: (_softplus(xp, x),), _ssp_1, lambda xp, x: _sigmoid_1(xp, x)[1], 0),
    "relu": _Function(lambda xp, x: (_relu(xp, x),), _relu_1, lambda xp, x: 0 * xp.sign(x), 0),
}

ACTIVATIONS = tuple(_FUNCTIONS)


@dataclass(frozen=True)
class Activation:
    """A function of scalars, number by number, times a constant.

    Args:
        name: ``silu`` (``x / (1 + exp(-x))``), ``tanh``, ``sigmoid`` (``1 / (1 + exp(-x))``), ``abs``, ``ssp``, the
            shifted softplus ``log(1 + exp(x)) - log 2`` (of which torch has a straight line above 20, at a distance of
            2e-9), or ``relu`` (``max(x, 0)``).
        scale: the number in front; see :meth:`normalized`.

    The derivatives of ``abs`` and ``relu`` at 0 are 0.

    Raises:
        TypeError, ValueError: an unknown name, or a scale that is not a finite number.

    Example:
        >>> import numpy as np
        >>> Activation("tanh", scale=2.0)(np.array([0.0, 1.0])).round(6)
        array([0.      , 1.523188])
    """

    name: str
    scale: float = 1.0

    def __post_init__(self) -> None:
        check_choice("name", self.name, ACTIVATIONS)
        object.__setattr__(self, "scale", check_number("scale", self.scale))

    @classmethod
    def normalized(cls, name: str, *, moment: str = "exact") -> Activation:
        """The function scaled to second moment 1: the mean of its square is 1 for normally distributed numbers.

        Args:
            name: as for the constructor.
            moment: ``exact``, by quadrature; or ``sampled``, as e3nn's ``normalize2mom`` has it, from a sample of a
                million, which differs in the fourth digit. Models that were trained with e3nn carry the sampled one.

        Raises:
            ValueError: an unknown name.

        Example:
            >>> [round(Activation.normalized("silu", moment=m).scale, 4) for m in ("exact", "sampled")]
            [1.6765, 1.6792]
        """
        check_choice("name", name, ACTIVATIONS)
        check_choice("moment", moment, ("exact", "sampled"))
        return cls(name, _exact_scale(name) if moment == "exact" else SAMPLED_SCALES[name])

    @property
    def parity(self) -> int:
        """1 of an even function, -1 of an odd one, 0 of one that is neither."""
        return _FUNCTIONS[self.name].parity

    def __call__(self, x: Array, *, out: Array | None = None) -> Array:
        """The function of every number.

        Args:
            x: any shape, float32 or float64.
            out: an array of the shape and dtype of ``x`` to write into; must not overlap it.

        Raises:
            TypeError, ValueError: not such arrays.
        """
        context = context_of({"x": x})
        if out is not None:
            check_out(out, tuple(x.shape), context, {"x": x})
        (result,) = _by_pieces(context, (x,), self.raw, 1)
        if out is None:
            return result
        out[...] = result
        return out

    def derivative(self, x: Array) -> Array:
        """The first derivative at every number, of the shape of ``x``."""
        return _by_pieces(context_of({"x": x}), (x,), lambda xp, z: self.raw_derivative(xp, z)[1:], 1)[0]

    def second_derivative(self, x: Array) -> Array:
        """The second derivative at every number, of the shape of ``x``."""
        return _by_pieces(context_of({"x": x}), (x,), self._raw_second, 1)[0]

    def value_and_derivative(self, x: Array) -> tuple[Array, Array]:
        """Both, for one exponential a number."""
        value, derivative = _by_pieces(context_of({"x": x}), (x,), self.raw_derivative, 2)
        return value, derivative

    def vjp(self, x: Array, cotangent: Array) -> Array:
        """The gradient of ``<cotangent, f(x)>``: ``cotangent * f'(x)``, of the shape of ``x``."""
        return self._times_slope(x, "cotangent", cotangent)

    def jvp(self, x: Array, tangent: Array) -> Array:
        """The derivative of ``f(x)`` along a tangent of the shape of ``x``."""
        return self._times_slope(x, "tangent", tangent)

    def _times_slope(self, x: Array, name: str, factor: Array) -> Array:
        context = context_of({"x": x, name: factor})
        require_shape(name, factor, tuple(x.shape))
        return _by_pieces(context, (x, factor), lambda xp, z, f: (self.raw_derivative(xp, z)[1] * f,), 1)[0]

    def raw(self, xp: Any, x: Array, *, scaled: bool = True) -> tuple[Array]:
        """The value, of checked arrays that stay in cache."""
        with np.errstate(over="ignore"):  # exp(-x) is infinite for a large negative x, and silu then zero
            (value,) = _FUNCTIONS[self.name].value(xp, x)
        return (self._scaled(value) if scaled else value,)

    def raw_derivative(self, xp: Any, x: Array, *, scaled: bool = True) -> tuple[Array, Array]:
        """Value and derivative, of checked arrays that stay in cache."""
        with np.errstate(over="ignore"):
            value, derivative = _FUNCTIONS[self.name].first(xp, x)
        return (self._scaled(value), self._scaled(derivative)) if scaled else (value, derivative)

    def _raw_second(self, xp: Any, x: Array) -> tuple[Array]:
        with np.errstate(over="ignore"):
            return (self._scaled(_FUNCTIONS[self.name].second(xp, x)),)

    def _scaled(self, values: Array) -> Array:
        if self.scale == 1.0:
            return values
        if type(values) is np.ndarray:
            return np.multiply(values, self.scale, out=values)
        return values * self.scale


def _by_pieces(
    context: Context, arrays: tuple[Array, ...], function: Callable[..., tuple[Array, ...]], results: int
) -> tuple[Array, ...]:
    """Apply a function to each number of arrays of one shape; of NumPy's large arrays piece by piece."""
    xp = context.xp
    arrays = tuple(xp.astype(array, context.dtype, copy=False) for array in arrays)
    shape = tuple(arrays[0].shape)
    if not is_numpy(xp) or arrays[0].size <= _PIECE:
        return function(xp, *arrays)
    flat = [np.ascontiguousarray(array).reshape(-1) for array in arrays]
    found = [np.empty(flat[0].shape, context.dtype) for _ in range(results)]
    for start in range(0, flat[0].size, _PIECE):
        piece = slice(start, start + _PIECE)
        for array, part in zip(found, function(xp, *(one[piece] for one in flat)), strict=True):
            array[piece] = part
    return tuple(array.reshape(shape) for array in found)


@cache
def _exact_scale(name: str) -> float:
    """``1 / sqrt(E f(z)^2)`` of a normal z, by the trapezoidal rule, which is exact to rounding for such integrands.

    (``abs`` has a corner at 0, which its square has not; the square of ``relu`` has no odd derivatives there, so the
    rule is as exact on the half line.)
    """
    z = np.linspace(-14.0, 14.0, 28 * 64 + 1)
    (f,) = Activation(name).raw(np, z)
    return 1 / sqrt(float(np.sum(f * f * np.exp(-z * z / 2))) / 64 / sqrt(2 * pi))
