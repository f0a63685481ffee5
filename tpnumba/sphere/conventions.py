"""Coefficients and values of spherical harmonics from one library's convention to another's."""

from __future__ import annotations

from functools import lru_cache, partial
from math import prod
from typing import Any, NamedTuple

import numpy as np

from tpnumba.backends.adapters.dask import map_samples
from tpnumba.backends.batching import map_rows
from tpnumba.backends.namespaces import (
    COMPLEXES,
    FLOATS,
    Context,
    common_context,
    constant,
    dtype_name,
    has_values,
    is_lazy,
)
from tpnumba.irreps import check_degree
from tpnumba.limits import require_memory
from tpnumba.products.instructions import check_choice
from tpnumba.sphere.rotations import degree_matrices
from tpnumba.tables.conventions import (
    CONVENTIONS,
    Convention,
    complex_from_real,
    mirror,
    partners,
    real_from_complex,
)

Array = Any

KINDS = ("coefficients", "values")
AXES = ("fixed", "relabelled")

#: How far a sample may be from that of a real function, in roundings of its largest number: a thousand, for numbers
#: that come from long computations.
_SLACK = 1000


def convert(
    x: Array,
    lmax: int,
    *,
    source: str,
    target: str,
    kind: str = "coefficients",
    axes: str = "fixed",
    real: bool = True,
) -> Array:
    """From one library's convention for spherical harmonics to another's.

    What is converted is a function: ``f(r) = sum of x_lm Y_lm(source) = sum of result_lm Y_lm(target)`` for every
    direction ``r = (x, y, z)``, in the same physical axes. Degrees do not mix.

    =================== ===== ========= =========================================== ================================
    name                polar harmonics integral of ``|Y|^2``; place of ``(l, m)``  that of
    =================== ===== ========= =========================================== ================================
    ``e3nn``            y     real      1; ``l^2 + l + m``                          this package, ``integral``
    ``e3nn-component``  y     real      4 pi; the same                              this package, ``component``
    ``e3nn-norm``       y     real      4 pi / (2l + 1); the same                   this package, ``norm``
    ``sphericart``      z     real      1; the same                                 sphericart
    ``scipy``           z     complex   1; the same                                 ``scipy.special.sph_harm_y``
    ``shtools``         z     by dtype  4 pi; ``[0 if m >= 0 else 1, l, |m|]``      ``pyshtools.SHCoeffs``
    ``shtools-ortho``   z     by dtype  1; as ``shtools``                           its ``normalization='ortho'``
    ``shtools-schmidt`` z     by dtype  4 pi / (2l + 1); as ``shtools``             its ``normalization='schmidt'``
    ``n3d``             z     real      4 pi; ``l^2 + l + m`` (ACN)                 ambisonics
    ``sn3d``            z     real      4 pi / (2l + 1); the same                   ambisonics (AmbiX)
    =================== ===== ========= =========================================== ================================

    Real harmonics bear no Condon-Shortley sign, with cosines at m > 0 and sines at m < 0; those of ``scipy`` bear it.
    As pyshtools does, complex arrays in the three conventions of SHTools are read as coefficients of complex harmonics,
    without that sign and of the same normalisation: order m at ``[0, l, m]``, -m at ``[1, l, m]``. So ``shtools`` has
    ``[0, l, m] = (-1)^m c_lm / sqrt(4 pi)`` and ``[1, l, m] = (-1)^m c_l,-m / sqrt(4 pi)`` for the ``c_lm`` of scipy.
    In the other conventions with real harmonics, complex arrays are complex coefficients of these. The axes of
    ambisonics are x to the front, y to the left, z up.

    Args:
        x: shape ``(..., (lmax + 1)**2)``, or ``(..., 2, lmax + 1, lmax + 1)`` for shtools (places with ``|m| > l``, and
            ``[1, l, 0]``, are not read). float32 or float64 for real harmonics, complex64 or complex128 for complex
            ones.
        lmax: the largest degree.
        source, target: names in the table.
        kind: ``coefficients`` of a function, as above; or ``values``, numbers that stand for the harmonics themselves:
            ``Y_lm`` at a point, integrals of ``f Y_lm``, or ambisonic signals (a source at ``r`` is encoded by
            ``Y_lm(r)``). Values change by the ratio of the harmonics, coefficients by its inverse.
        axes: between polar axes y and z, ``fixed`` keeps the directions x, y, z, so that the components of a degree mix
            by the Wigner D matrix of the cyclic permutation of the axes. ``relabelled`` keeps the polar axis: component
            ``(l, m)`` stays ``(l, m)``, and the axes z, x, y of e3nn get the names x, y, z.
        real: whether the function is real. If True, real harmonics have real coefficients; complex ``x`` must then obey
            ``x_l,-m = (-1)^m conj(x_lm)`` to a thousand roundings wherever it is converted to real harmonics. If False,
            ``x`` may be complex in any convention, and complex ``x`` gives a complex result (for SHTools: coefficients
            of complex harmonics, see above).

    Returns:
        A new array of the shape of the target's convention, in the namespace, on the device and in the precision of
        ``x``; complex if the target's harmonics are, or if ``real=False`` and ``x`` is.

    Raises:
        TypeError: ``x`` is no array, or of another dtype.
        ValueError: a shape, degree or name that does not fit, or a function that is not real though ``real=True``. In a
            trace (``jax.jit``, ``torch.compile``, ``vmap``, ...) such a sample becomes NaN instead; a dask array is
            checked when it is computed.
        MemoryError: the result, or the matrices between polar axes, would not fit; the size is named.

    Example:
        >>> import numpy as np
        >>> x = np.array([0.0, 1.0, 2.0, 3.0])  # l = 1 is (x, y, z)
        >>> convert(x, 1, source="e3nn", target="sphericart")  # l = 1 is (y, z, x)
        array([0., 2., 3., 1.])
        >>> y = convert(x, 1, source="e3nn", target="scipy")
        >>> bool(np.allclose(convert(y, 1, source="scipy", target="e3nn"), x))
        True
    """
    conversion = _check(x, lmax, source, target, kind, axes, real)
    if not is_lazy(conversion.context.xp):
        return _convert_now(x, conversion)
    lmax, core, leading = conversion.lmax, conversion.core, conversion.leading
    of_chunk = partial(convert, lmax=lmax, source=source, target=target, kind=kind, axes=axes, real=real)
    return map_samples(of_chunk, [(x, len(core))], len(leading), conversion.new_core, dtype=conversion.dtype)


class _Conversion(NamedTuple):
    """What is converted into what, checked.

    Attributes:
        old, new: the conventions of the argument and of the result.
        lmax, kind: as in :func:`convert`.
        leading: the leading axes.
        turned: whether the polar axis turns, so that the components of a degree mix.
        projected: whether real coefficients are to be had of complex ones, which must belong to a real function.
        context: with the real dtype of the argument's precision.
        dtype: of the result.
    """

    old: Convention
    new: Convention
    lmax: int
    kind: str
    leading: tuple[int, ...]
    turned: bool
    projected: bool
    context: Context
    dtype: Any

    @property
    def core(self) -> tuple[int, ...]:
        """The last axes of the argument."""
        return self.old.shape(self.lmax)

    @property
    def new_core(self) -> tuple[int, ...]:
        """The last axes of the result."""
        return self.new.shape(self.lmax)


def _check(x: Array, lmax: int, source: str, target: str, kind: str, axes: str, real: bool) -> _Conversion:
    old = CONVENTIONS[check_choice("source", source, tuple(CONVENTIONS))]
    new = CONVENTIONS[check_choice("target", target, tuple(CONVENTIONS))]
    check_choice("kind", kind, KINDS)
    check_choice("axes", axes, AXES)
    if not isinstance(real, bool):
        raise TypeError(f"real must be True or False, got {real!r}")
    lmax = check_degree("lmax", lmax)
    context = common_context({"x": x}, dtypes=(*FLOATS, *COMPLEXES), core=len(old.shape(lmax)))
    is_complex = bool(context.xp.isdtype(x.dtype, "complex floating"))
    _check_dtype(x, source, old, is_complex=is_complex, real=real)
    if is_complex and not real:  # SHTools reads complex arrays as coefficients of complex harmonics
        old, new = old.of_complex_arrays(), new.of_complex_arrays()
    core = old.shape(lmax)
    if tuple(x.shape[-len(core) :]) != core:
        expected = ", ".join(str(n) for n in core)
        raise ValueError(f"x must have shape (..., {expected}) for lmax = {lmax} in {source!r}, got {tuple(x.shape)}")
    projected = real and old.is_complex and not new.is_complex
    turned = axes == "fixed" and old.polar_axis != new.polar_axis
    dtype = _complex_dtype(context) if new.is_complex or (is_complex and not projected) else context.dtype
    leading = tuple(x.shape[: x.ndim - len(core)])
    return _Conversion(old, new, lmax, kind, leading, turned, projected, context, dtype)


def _check_dtype(x: Array, source: str, old: Convention, *, is_complex: bool, real: bool) -> None:
    if old.is_complex and not is_complex:
        raise TypeError(f"x must have dtype complex64 or complex128 for source {source!r}, got {dtype_name(x)}")
    if is_complex and real and not old.is_complex:
        raise TypeError(
            f"x must have dtype float32 or float64 for source {source!r}, got {dtype_name(x)}; a complex function needs"
            " real=False"
        )


def _complex_dtype(context: Context) -> Any:
    xp = context.xp
    return xp.complex128 if context.dtype == xp.float64 else xp.complex64


def _convert_now(x: Array, conversion: _Conversion) -> Array:
    """Convert an array that holds numbers, or that a trace follows."""
    context, lmax, new_core = conversion.context, conversion.lmax, conversion.new_core
    shape = (*conversion.leading, *new_core)
    itemsize = context.itemsize * (1 if conversion.dtype == context.dtype else 2)
    require_memory(itemsize * prod(shape), f"a result of shape {shape}")
    if conversion.turned and 0 not in shape:
        # the matrices of all degrees, and those of the recursion that makes them
        require_memory(8 * 16 * (lmax + 1) ** 3 // 3, f"the matrices between the polar axes up to degree {lmax}")
    checked = conversion.projected and has_values(context.xp, (x,))
    if checked:
        _require_real(x, lmax, context, conversion.old.name)
    change = partial(_convert_rows, conversion=conversion, checked=checked)
    return map_rows(change, x, conversion.core, new_core, context._replace(dtype=conversion.dtype))


def _convert_rows(rows: Array, conversion: _Conversion, *, checked: bool) -> Array:
    """Convert rows ``(n, prod(core))``; ``checked``: they are known to belong to real functions, if they must."""
    old, new, lmax, kind, context = conversion.old, conversion.new, conversion.lmax, conversion.kind, conversion.context
    value = _unpack(rows, old, lmax, context)
    if old.is_complex and not new.is_complex:
        value = _to_real_harmonics(value, conversion, checked=checked)
    value = _scale(value, old, new, lmax, context, kind)
    if conversion.turned:
        value = _turn(value, lmax, context, inverse=new.polar_axis == "y")
    if new.is_complex and not old.is_complex:
        value = context.xp.astype(value, _complex_dtype(context), copy=False)
        value = _mix(value, complex_from_real(lmax), lmax, context, kind)
    return _pack(value, new, lmax, context)


def _to_real_harmonics(rows: Array, conversion: _Conversion, *, checked: bool) -> Array:
    """From complex harmonics; of a function that must be real and is not, and was not checked, NaN."""
    context, lmax, xp = conversion.context, conversion.lmax, conversion.context.xp
    mixed = _mix(rows, real_from_complex(lmax), lmax, context, conversion.kind)
    if not conversion.projected:
        return mixed
    mixed = xp.real(mixed)
    return mixed if checked else xp.where(_asymmetry(rows, lmax, context) > _slack(context), xp.nan, mixed)


def _slack(context: Context) -> float:
    return _SLACK * float(context.xp.finfo(context.dtype).eps)


def _asymmetry(rows: Array, lmax: int, context: Context) -> Array:
    """How far complex rows are from those of a real function, in units of their largest number, shape ``(n, 1)``."""
    xp = context.xp
    places, signs = mirror(lmax)
    mate = xp.conj(xp.take(rows, constant(context, places), axis=1)) * _table(signs, rows, context)
    largest = xp.max(xp.abs(rows), axis=1, keepdims=True)
    return xp.max(xp.abs(rows - mate), axis=1, keepdims=True) / xp.where(largest == 0, xp.ones_like(largest), largest)


def _require_real(x: Array, lmax: int, context: Context, source: str) -> None:
    xp = context.xp
    found = map_rows(lambda rows: _asymmetry(rows, lmax, context), x, ((lmax + 1) ** 2,), (1,), context)
    if not prod(found.shape):
        return
    worst = float(xp.max(xp.where(xp.isnan(found), xp.zeros_like(found), found)))
    if worst > _slack(context):
        raise ValueError(
            f"x must belong to a real function, x_l,-m = (-1)^m conj(x_lm) in {source!r}, but differs from that by"
            f" {worst:.1e} of its largest number; give real=False for complex functions"
        )


def _table(values: Any, like: Array, context: Context) -> Array:
    """A NumPy table as an array of the dtype of ``like``."""
    return constant(context, values, like.dtype)


def _unpack(rows: Array, convention: Convention, lmax: int, context: Context) -> Array:
    places = convention.places(lmax)
    if places is not None:
        rows = context.xp.take(rows, constant(context, places), axis=1)
    return _sign(rows, convention, lmax, context)


def _sign(rows: Array, convention: Convention, lmax: int, context: Context) -> Array:
    """From complex harmonics with the Condon-Shortley sign to those of the convention, or back."""
    signs = convention.signs(lmax)
    return rows if signs is None else rows * _table(signs, rows, context)


def _pack(rows: Array, convention: Convention, lmax: int, context: Context) -> Array:
    rows = _sign(rows, convention, lmax, context)
    places = convention.places(lmax)
    if places is None:
        return rows
    xp, size = context.xp, rows.shape[1]
    target = np.full(prod(convention.shape(lmax)), size)
    target[places] = np.arange(size)
    padded = xp.concat([rows, xp.zeros_like(rows[:, :1])], axis=1)
    return xp.take(padded, constant(context, target), axis=1)


def _scale(rows: Array, old: Convention, new: Convention, lmax: int, context: Context, kind: str) -> Array:
    if old.normalization == new.normalization:
        return rows
    factors = new.scales(lmax) / old.scales(lmax)
    return rows * _table(factors if kind == "values" else 1 / factors, rows, context)


def _mix(rows: Array, pair: tuple[Any, Any], lmax: int, context: Context, kind: str) -> Array:
    """Between real and complex harmonics: orders ``m`` and ``-m`` mix.

    The matrix from one basis to the other is unitary, so that coefficients change by its complex conjugate.
    """
    xp = context.xp
    parts = []
    for places, factors in zip(partners(lmax), pair, strict=True):
        table = factors if kind == "values" else np.conj(factors)
        parts.append(xp.take(rows, constant(context, places), axis=1) * _table(table, rows, context))
    return parts[0] + parts[1]


@lru_cache(maxsize=16)
def _axis_matrices(lmax: int) -> tuple[Any, ...]:
    """``M`` for each degree, with ``Y(polar axis z) = M Y(polar axis y)`` at the same point, read-only.

    ``Y_z(x, y, z) = Y_y(y, z, x)``, so ``M = D(R)`` of the rotation ``R (x, y, z) = (y, z, x)``.
    """
    rotation = np.array([[[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]])
    blocks = degree_matrices(common_context({"R": rotation}), rotation, set(range(lmax + 1)))
    matrices = [blocks[degree][0] for degree in range(lmax + 1)]
    for matrix in matrices:
        matrix.flags.writeable = False
    return tuple(matrices)


def _turn(rows: Array, lmax: int, context: Context, *, inverse: bool) -> Array:
    """From polar axis y to z, or back; the matrices are orthogonal, so coefficients change as values do."""
    parts = []
    for degree, matrix in enumerate(_axis_matrices(lmax)):
        table = np.ascontiguousarray(matrix if inverse else matrix.T)
        parts.append(rows[:, degree**2 : (degree + 1) ** 2] @ _table(table, rows, context))
    return context.xp.concat(parts, axis=1)
