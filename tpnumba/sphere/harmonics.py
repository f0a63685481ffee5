"""Real spherical harmonics of points, by recursion in x, y, z; gradients through the ladder of solid harmonics."""

from __future__ import annotations

from functools import lru_cache
from math import prod, sqrt
from typing import Any

import numpy as np

from tpnumba.backends import run, settle_backend, settle_threads
from tpnumba.backends.namespaces import Setting, check_out, common_setting, is_eager
from tpnumba.irreps import Irreps, check_degree
from tpnumba.limits import require_memory
from tpnumba.plans.base import Operand
from tpnumba.plans.contraction import Contraction, Coupling, Path
from tpnumba.products.instructions import check_choice
from tpnumba.tables.couplings import NORMALIZATIONS, harmonic_scale
from tpnumba.tables.spherical_harmonics import recursion, sectoral

Array = Any

#: Numbers of the points' harmonics worked at once (float64: 4 MB).
_PIECE = 2**19


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
        }
        if not isinstance(normalize, bool):
            raise TypeError(f"normalize must be True or False, got {normalize!r}")
        self.__dict__.update(fields)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"SphericalHarmonics is frozen; cannot set {name!r}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SphericalHarmonics) and self.__dict__ == other.__dict__

    def __hash__(self) -> int:
        return hash((self.lmax, self.normalization, self.normalize))

    def __repr__(self) -> str:
        return f"SphericalHarmonics({self.lmax}, normalization={self.normalization!r}, normalize={self.normalize})"

    @property
    def irreps(self) -> Irreps:
        """The irreps of the result."""
        return Irreps.spherical_harmonics(self.lmax)

    @property
    def _dim(self) -> int:
        return (self.lmax + 1) ** 2

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
        else:
            require_memory(prod(shape) * setting.itemsize, f"a result of shape {shape}")
        rows = setting.xp.reshape(xyz, (-1, 3)) if prod(shape[:-1]) else setting.xp.reshape(xyz, (0, 3))
        if not is_eager(setting.xp):
            return setting.xp.reshape(self._values(setting, rows), shape)
        result = setting.xp.empty((rows.shape[0], shape[-1]), dtype=setting.dtype, device=setting.device)
        for cut in _cuts(rows.shape[0], shape[-1]):
            result[cut, :] = self._values(setting, rows[cut, :])
        result = setting.xp.reshape(result, shape)
        if out is None:
            return result
        out[...] = result
        return out

    def vjp(self, xyz: Array, cotangent: Array, *, backend: str = "auto", num_threads: int | None = None) -> Array:
        """The gradient of ``<cotangent, Y(xyz)>`` with respect to the points.

        Uses ``d S_lm / dx_c = (2 l + 1) sqrt(l) sum C(l - 1, 1, l)[m', c, m] S_{l-1,m'}`` for the orthonormal solid
        harmonics ``S_l = |r|^l Y_l``, so it is a contraction of the harmonics with the cotangent.

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
        count = prod(expected[:-1])
        rows = xp.astype(xp.reshape(xyz, (count, 3)), setting.dtype, copy=False)
        cotangents = xp.reshape(cotangent, (count, expected[-1]))
        cuts = _cuts(count, expected[-1]) if is_eager(xp) else [slice(0, count)]
        parts = [self._gradient(setting, rows[cut, :], cotangents[cut, :], backend) for cut in cuts]
        gradient = xp.concat(parts, axis=0) if parts else xp.zeros((0, 3), dtype=setting.dtype, device=setting.device)
        return xp.reshape(gradient, tuple(xyz.shape))

    def _gradient(self, setting: Setting, xyz: Array, cotangent: Array, backend: str) -> Array:
        xp = setting.xp
        points, *lengths = _directions(setting, xyz) if self.normalize else (xyz,)
        values = _solid(setting, points, max(self.lmax - 1, 0), "integral")
        plan = _gradient_form(self.lmax, self.normalization)
        samples = (xyz.shape[0],)
        gradient = run(plan, {0: values, 1: cotangent}, samples, samples, setting, backend=backend)
        if not lengths:
            return gradient
        radial = xp.sum(gradient * points, axis=-1, keepdims=True)
        tangent = (gradient - radial * points) / lengths[0] / lengths[1]
        return xp.where(xp.any(points != 0, axis=-1, keepdims=True), tangent, xp.zeros_like(tangent))

    def _values(self, setting: Setting, xyz: Array) -> Array:
        xyz = setting.xp.astype(xyz, setting.dtype, copy=False)
        points = _directions(setting, xyz)[0] if self.normalize else xyz
        return _solid(setting, points, self.lmax, self.normalization)


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

    Scaled by the largest component first, so that no square overflows; the factors are 1 at zero.
    """
    xp = setting.xp
    largest = xp.max(xp.abs(xyz), axis=-1, keepdims=True)
    scale = xp.where(largest == 0, xp.ones_like(largest), largest)
    scaled = xyz / scale
    length = xp.sqrt(xp.sum(scaled * scaled, axis=-1, keepdims=True))
    length = xp.where(length == 0, xp.ones_like(length), length)
    return scaled / length, length, scale


def _solid(setting: Setting, xyz: Array, lmax: int, normalization: str) -> Array:
    """Solid harmonics of rows ``(n, 3)``: polynomials in y and r, times ``Re`` and ``Im`` of ``(z + i x)^m``.

    The recursion is that of the Legendre functions, one degree a step, all its orders at once.
    """
    xp, device, dtype = setting
    x, y, z = xyz[:, 0:1], xyz[:, 1:2], xyz[:, 2:3]
    square = x * x + y * y + z * z

    def constant(table: Any) -> Array:
        return xp.asarray(table, dtype=dtype, device=device)

    cosines, sines = [xp.ones_like(y)], [xp.zeros_like(y)]
    for _ in range(lmax):
        cosines.append(z * cosines[-1] - x * sines[-1])
        sines.append(z * sines[-1] + x * cosines[-2])
    cosine, sine = xp.concat(cosines, axis=1), xp.concat(sines, axis=1)
    # negative orders (sines), from the most negative on
    reversed_sine = xp.flip(sine, axis=1)

    # Run with |Y_l|^2 = 2 l + 1, so that Y_0 is exactly 1 before it is scaled.
    sector = constant(sectoral(lmax) / sectoral(lmax)[0])
    previous: Array | None = None
    current = xp.ones_like(y) * sector[0:1]
    degrees = []
    for degree in range(lmax + 1):
        if degree:
            a, b = (constant(table) for table in recursion(degree))
            raised = a * (y * current)
            if previous is not None:
                padded = xp.concat([previous, xp.zeros_like(y)], axis=1)
                raised = raised - b * (square * padded)
            diagonal = xp.ones_like(y) * sector[degree : degree + 1]
            previous, current = current, xp.concat([raised, diagonal], axis=1)
        factor = harmonic_scale(normalization, degree) / harmonic_scale("component", degree)
        upper = current[:, 1:] * (sqrt(2) * factor)
        positive = upper * cosine[:, 1 : degree + 1]
        negative = xp.flip(upper, axis=1) * reversed_sine[:, lmax - degree : lmax]
        degrees.append(xp.concat([negative, current[:, 0:1] * factor, positive], axis=1))
    return xp.concat(degrees, axis=1)


@lru_cache(maxsize=64)
def _gradient_form(lmax: int, normalization: str) -> Contraction:
    """From the solid harmonics up to ``lmax - 1`` and a cotangent to the gradient, as a form."""
    lower = Irreps.spherical_harmonics(max(lmax - 1, 0))
    operands = (
        Operand.of_irreps("harmonics", lower),
        Operand.of_irreps("cotangent", Irreps.spherical_harmonics(lmax)),
        Operand.of_irreps("gradient", Irreps("1o")),
    )
    paths = tuple(
        Path(
            (degree - 1, degree, 0),
            ",,",
            Coupling("clebsch_gordan", (degree - 1, degree, 1)),
            (0, 1, 2),
            # C(l-1, 1, l) with its last two legs exchanged is (-1)^J C(l-1, l, 1), and J = 2 l is even
            (2 * degree + 1) * float(np.sqrt(degree)) * harmonic_scale(normalization, degree),
        )
        for degree in range(1, lmax + 1)
    )
    return Contraction(operands, 2, paths)
