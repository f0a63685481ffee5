"""Real spherical harmonics of points, by recursion in x, y, z; gradients by the ladder of solid harmonics."""

from __future__ import annotations

from functools import partial
from math import prod, sqrt
from typing import Any

import numpy as np

from tpnumba.backends import settle_backend, settle_threads
from tpnumba.backends.compiled import enter, one_step, run_as_one
from tpnumba.backends.lazy import map_samples
from tpnumba.backends.namespaces import (
    Setting,
    check_out,
    common_setting,
    constant,
    has_float64,
    is_eager,
    is_lazy,
    require_result,
)
from tpnumba.irreps import Irreps, check_degree
from tpnumba.products.instructions import check_choice
from tpnumba.sphere.powers import complex_powers
from tpnumba.tables.couplings import NORMALIZATIONS, harmonic_scale
from tpnumba.tables.spherical_harmonics import gradient_ladder, recursion, sectoral

Array = Any

#: Numbers of the points' harmonics worked at once (float64: 4 MB).
_PIECE = 2**19

#: Above this degree float32 points are worked in float64. A harmonic of degree l that is of order 1 rises from
#: sin(beta)^m with m about l sin(beta), which is at least exp(-l / e): near the end of float32's range.
#: (Without float64, jax stays in float32 there.)
_HIGHEST_SINGLE = 192


class SphericalHarmonics:
    """Real spherical harmonics of degrees 0 to ``lmax``, in e3nn's convention (polar axis y, no Condon-Shortley sign).

    Args:
        lmax: the largest degree.
        normalization: ``integral`` (orthonormal), ``component`` (``|Y_l|^2 = 2 l + 1``) or ``norm`` (``|Y_l|^2 = 1``).
        normalize: if True, of the direction ``r / |r|``; if False, solid harmonics ``|r|^l Y(r / |r|)``, polynomials.

    At ``r = 0`` the normalised harmonics are their constant for l = 0, and zero above; their gradient is zero.

    Raises:
        TypeError, ValueError: a degree or name that is malformed.

    Example:
        >>> import numpy as np
        >>> Y = SphericalHarmonics(1, normalization="norm")
        >>> Y(np.array([0.0, 3.0, 4.0]))
        array([1. , 0. , 0.6, 0.8])
    """

    lmax: int
    normalization: str
    normalize: bool

    def __init__(self, lmax: int, *, normalization: str = "integral", normalize: bool = True) -> None:
        fields = {
            "lmax": check_degree("lmax", lmax),
            "normalization": check_choice("normalization", normalization, NORMALIZATIONS),
            "normalize": normalize,
            "_number": enter(self),
        }
        if not isinstance(normalize, bool):
            raise TypeError(f"normalize must be True or False, got {normalize!r}")
        self.__dict__.update(fields)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"SphericalHarmonics is frozen; cannot set {name!r}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SphericalHarmonics) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, self._key

    def __repr__(self) -> str:
        return f"SphericalHarmonics({self.lmax}, normalization={self.normalization!r}, normalize={self.normalize})"

    @property
    def irreps(self) -> Irreps:
        """The irreps of the result."""
        return Irreps.spherical_harmonics(self.lmax)

    @property
    def _key(self) -> tuple[int, str, bool]:
        return self.lmax, self.normalization, self.normalize

    @property
    def _dim(self) -> int:
        return (self.lmax + 1) ** 2

    @one_step
    def __call__(
        self, xyz: Array, *, out: Array | None = None, backend: str = "auto", num_threads: int | None = None
    ) -> Array:
        """Evaluate at points.

        Args:
            xyz: shape ``(..., 3)``, float32 or float64.
            out: an array of the result's shape and dtype to write into; must not overlap ``xyz``.
            backend, num_threads: as for products.

        Returns:
            Shape ``(..., (lmax + 1)**2)``: degree by degree, orders from -l to l.

        Raises:
            TypeError, ValueError, MemoryError, RuntimeError: as for products.
        """
        setting = _check_points({"xyz": xyz}, backend, num_threads)
        shape = (*xyz.shape[:-1], self._dim)
        if out is not None:
            check_out(out, shape, setting, {"xyz": xyz})
        elif is_lazy(setting.xp):
            return map_samples(partial(self, backend=backend), [(xyz, 1)], xyz.ndim - 1, shape[-1:])
        else:
            require_result(shape, setting)
        rows = setting.xp.reshape(xyz, (-1, 3)) if prod(shape[:-1]) else setting.xp.reshape(xyz, (0, 3))
        if not is_eager(setting.xp, (xyz,)):
            return setting.xp.reshape(run_as_one(_values, setting, (self,), rows), shape)
        result = setting.xp.empty((rows.shape[0], shape[-1]), dtype=setting.dtype, device=setting.device)
        for cut in _cuts(rows.shape[0], shape[-1]):
            result[cut, :] = _values(setting, self, rows[cut, :])
        result = setting.xp.reshape(result, shape)
        if out is None:
            return result
        out[...] = result
        return out

    @one_step
    def vjp(self, xyz: Array, cotangent: Array, *, backend: str = "auto", num_threads: int | None = None) -> Array:
        """The gradient of ``<cotangent, Y(xyz)>`` with respect to the points.

        The gradient of a solid harmonic ``|r|^l Y_l`` is a sum of at most two of degree ``l - 1`` for each of x, y, z.

        Args:
            xyz: shape ``(..., 3)``.
            cotangent: shape ``(..., (lmax + 1)**2)``, with the same leading axes.

        Returns:
            Shape ``(..., 3)``.

        Raises:
            TypeError, ValueError, RuntimeError: as for products.
        """
        setting = _check_points({"xyz": xyz, "cotangent": cotangent}, backend, num_threads)
        expected = (*xyz.shape[:-1], self._dim)
        if tuple(cotangent.shape) != expected:
            raise ValueError(f"cotangent must have shape {expected}, got {tuple(cotangent.shape)}")
        xp = setting.xp
        if is_lazy(xp):
            block = partial(self.vjp, backend=backend)
            return map_samples(block, [(xyz, 1), (cotangent, 1)], xyz.ndim - 1, (3,))
        count = prod(expected[:-1])
        rows = xp.astype(xp.reshape(xyz, (count, 3)), setting.dtype, copy=False)
        cotangents = xp.reshape(cotangent, (count, expected[-1]))
        cuts = _cuts(count, expected[-1]) if is_eager(xp, (xyz, cotangent)) else [slice(0, count)]
        parts = [run_as_one(_gradient, setting, (self,), rows[cut, :], cotangents[cut, :]) for cut in cuts]
        gradient = xp.concat(parts, axis=0) if parts else xp.zeros((0, 3), dtype=setting.dtype, device=setting.device)
        return xp.reshape(gradient, tuple(xyz.shape))


def _rebuild(lmax: int, normalization: str, normalize: bool) -> SphericalHarmonics:
    return SphericalHarmonics(lmax, normalization=normalization, normalize=normalize)


def _gradient(setting: Setting, harmonics: SphericalHarmonics, xyz: Array, cotangent: Array) -> Array:
    xp = setting.xp
    work = _working(setting, harmonics.lmax)
    xyz, cotangent = (xp.astype(array, work.dtype, copy=False) for array in (xyz, cotangent))
    points, *lengths = _directions(work, xyz) if harmonics.normalize else (xyz,)
    values = _solid(work, points, max(harmonics.lmax - 1, 0), "integral", harmonics.normalize)
    ladder = gradient_ladder(harmonics.lmax, harmonics.normalization)

    def term(number: int) -> Array:
        lower = xp.take(values, constant(work, ladder.places[number]), axis=1)
        return lower * constant(work, ladder.weights[number])

    derivatives = term(0) + term(1), term(2), term(3) + term(4)
    gradient = xp.concat([xp.sum(d * cotangent, axis=-1, keepdims=True) for d in derivatives], axis=-1)
    if lengths:
        radial = xp.sum(gradient * points, axis=-1, keepdims=True)
        tangent = (gradient - radial * points) / lengths[0] / lengths[1]
        gradient = xp.where(xp.any(points != 0, axis=-1, keepdims=True), tangent, xp.zeros_like(tangent))
    return xp.astype(gradient, setting.dtype, copy=False)


def _values(setting: Setting, harmonics: SphericalHarmonics, xyz: Array) -> Array:
    work = _working(setting, harmonics.lmax)
    xyz = setting.xp.astype(xyz, work.dtype, copy=False)
    points = _directions(work, xyz)[0] if harmonics.normalize else xyz
    values = _solid(work, points, harmonics.lmax, harmonics.normalization, harmonics.normalize)
    return setting.xp.astype(values, setting.dtype, copy=False)


def _working(setting: Setting, lmax: int) -> Setting:
    if lmax <= _HIGHEST_SINGLE or not has_float64(setting.xp):
        return setting
    return setting._replace(dtype=setting.xp.float64)


def _check_points(named: dict[str, Array], backend: str, num_threads: int | None) -> Setting:
    setting = common_setting(named)
    settle_backend(backend)
    settle_threads(num_threads)
    xyz = named["xyz"]
    if xyz.ndim == 0 or xyz.shape[-1] != 3:
        raise ValueError(f"xyz must have shape (..., 3), got {tuple(xyz.shape)}")
    return setting


def _cuts(count: int, size: int) -> list[slice]:
    width = max(1, _PIECE // (3 * size))
    return [slice(start, min(start + width, count)) for start in range(0, count, width)]


def _directions(setting: Setting, xyz: Array) -> tuple[Array, Array, Array]:
    """``r / |r|`` (zero at zero), and two factors of ``|r|``, one of which may be near the end of the range.

    Scaled by the largest component first, so that no square overflows. At zero the scale is infinite and the other
    factor 1, so that automatic differentiation, of any order, finds zero there as well.
    """
    xp = setting.xp
    largest = xp.max(xp.abs(xyz), axis=-1, keepdims=True)
    at_zero, one = largest == 0, xp.ones_like(largest)
    scale = xp.where(at_zero, one * xp.inf, largest)
    scaled = xyz / scale
    length = xp.sqrt(xp.where(at_zero, one, xp.sum(scaled * scaled, axis=-1, keepdims=True)))
    return scaled / length, length, scale


def _solid(setting: Setting, xyz: Array, lmax: int, normalization: str, unit: bool) -> Array:
    """Solid harmonics of rows ``(n, 3)``, by the recursion of the Legendre functions: a degree a step, all its orders.

    It starts from ``Re`` and ``Im`` of ``(z + i x)^m``, so nothing is divided by the distance from the polar axis, and
    near the axis harmonics of high order become zero.

    Near the axis a change e of ``|r|^2`` at the same y changes a harmonic by ``l (l + 1) e / 4`` of its largest value.
    So of ``unit`` vectors what rounding left of ``|r|^2 - 1`` is taken in a form that does not cancel there: at l = 128
    errors fall from 2.5e-12 to 8e-13.
    """
    xp = setting.xp
    x, y, z = xyz[:, 0:1], xyz[:, 1:2], xyz[:, 2:3]
    # |r|^2, or |r|^2 - 1
    square = x * x + (y - 1) * (y + 1) + z * z if unit else x * x + y * y + z * z
    cosine, sine = complex_powers(xp, z, x, lmax)
    zero = xp.zeros_like(y)

    # Run with |Y_l|^2 = 2 l + 1, so that Y_0 is exactly 1 before it is scaled.
    sector = sectoral(lmax) / sectoral(lmax)[0] * sqrt(2)
    previous: Array | None = None
    current = xp.ones_like(y)
    degrees = []
    for degree in range(lmax + 1):
        if degree:
            a, b = (constant(setting, np.concatenate([table[:0:-1], table])) for table in recursion(degree))
            raised = a * (y * current)
            if previous is not None:
                padded = xp.concat([zero, previous, zero], axis=1)
                raised = raised - b * (padded + square * padded if unit else square * padded)
            first = float(sector[degree])
            ends = first * sine[:, degree : degree + 1], first * cosine[:, degree : degree + 1]
            previous, current = current, xp.concat([ends[0], raised, ends[1]], axis=1)
        factor = harmonic_scale(normalization, degree) / harmonic_scale("component", degree)
        degrees.append(current * factor)
    return xp.concat(degrees, axis=1)
