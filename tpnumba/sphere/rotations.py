"""Wigner D matrices from rotation matrices, and rotating features; no Euler angles.

A rotation is split as ``R = Y(a) P Y(b) P Y(c)``, where ``Y`` turns about the polar axis y and ``P`` is a fixed
rotation that exchanges the axes y and x. In a degree ``Y`` mixes only the orders m and -m, by ``cos(m a)`` and
``sin(m a)``, and ``D^l(P)`` is a table. The cosines and sines are read off the elements of ``R`` and multiplied as
complex numbers. Where R leaves the axis y within 45 degrees of its line, so that a and c are hard to tell apart,
``R P`` is split in place of ``R``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import partial
from math import prod
from typing import Any, NamedTuple

import numpy as np

from tpnumba.backends.adapters.dask import map_samples
from tpnumba.backends.fusion import evaluate_fused
from tpnumba.backends.generic.powers import complex_powers
from tpnumba.backends.namespaces import (
    FLOATS,
    Context,
    common_context,
    constant,
    dtype_name,
    has_values,
    is_eager,
    is_lazy,
)
from tpnumba.backends.portions import clip, portions
from tpnumba.irreps import Irreps, IrrepsLike, check_degree
from tpnumba.limits import require_memory
from tpnumba.tables.wigner_d import swap_matrix, swapped_turns

Array = Any

_EPS = {"float32": 1.2e-7, "float64": 2.3e-16}

#: Up to this degree the middle of the three turns is had as one matrix product with a table, of 0.3 MB at most.
_TABULATED = 16

#: Numbers of one temporary (float64: 4 MB).
_PORTION_NUMBERS = 2**19


def wigner_d(l_or_irreps: int | IrrepsLike, R: Array) -> Array:
    """Wigner D matrices of rotations, so that ``Y_l(R r) = D^l(R) Y_l(r)``.

    No angles, so no gimbal lock: accurate, with finite derivatives, for every rotation.

    Args:
        l_or_irreps: a degree, or irreps (then the result is block diagonal, and improper rotations are allowed: blocks
            of odd parity change sign).
        R: rotation matrices, shape ``(..., 3, 3)``, float32 or float64, or a ``scipy.spatial.transform.Rotation``
            (float64 NumPy).

    Returns:
        Shape ``(..., dim, dim)``, in the namespace, on the device and in the dtype of ``R``.

    Raises:
        TypeError: ``R`` is neither of the two.
        ValueError: not 3 x 3, not orthogonal, or ``det R = -1`` for a bare degree (whose parity is not known). The
            numbers in a dask array are checked when it is computed, those in a trace (``jax.jit``, ``torch.compile``,
            ``vmap``, ...) not at all.
        MemoryError: the result would not fit; its size is named.

    Example:
        >>> import numpy as np
        >>> from scipy.spatial.transform import Rotation
        >>> R = Rotation.from_rotvec([0.1, 0.2, 0.3])
        >>> bool(np.allclose(wigner_d(1, R), R.as_matrix()))
        True
    """
    matrices, context = _read_rotations(R)
    bare = not isinstance(l_or_irreps, str | tuple | list)
    irreps = Irreps([(1, (check_degree("l", l_or_irreps), 1))]) if bare else Irreps(l_or_irreps)  # type: ignore[arg-type]
    if is_lazy(context.xp):
        return map_samples(partial(wigner_d, l_or_irreps), [(R, 2)], R.ndim - 2, (irreps.dim, irreps.dim))
    proper, signs = _split_parity(context, matrices)
    xp, n = context.xp, matrices.shape[0]
    if bare and has_values(xp, (matrices,)) and not bool(xp.all(signs > 0)):
        raise ValueError("R has determinant -1, and a bare degree has no parity: give irreps such as '2e' instead")
    require_memory(n * irreps.dim**2 * context.itemsize, f"{n} Wigner D matrices of dimension {irreps.dim}")
    if not is_eager(xp, (matrices,)):
        result = evaluate_fused(_matrices_at_once, context, (irreps,), proper, signs)
        return xp.reshape(result, (*_leading(R), irreps.dim, irreps.dim))
    places = _places(irreps)
    highest = max(places, default=0)
    result = xp.zeros((n, irreps.dim, irreps.dim), dtype=context.dtype, device=context.device)
    for (cut,) in portions((n,), max(1, _PORTION_NUMBERS // (2 * highest + 1) ** 2)):
        turns = _split(context, proper[cut, :, :], highest)
        for degree, found in places.items():
            matrix = _matrix(context, turns, degree)
            for place, parity in found:
                result[cut, place, place] = matrix if parity == 1 else matrix * signs[cut, :, :]
    return xp.reshape(result, (*_leading(R), irreps.dim, irreps.dim))


def rotate(irreps: IrrepsLike, R: Array, x: Array, *, layout: str = "mul_ir") -> Array:
    """Rotate features: ``D(R) x``, block by block; improper rotations change the sign of odd irreps.

    Args:
        irreps: of the last axis of ``x``.
        R: rotation matrices, shape ``(..., 3, 3)``, or a ``scipy.spatial.transform.Rotation``.
        x: shape ``(..., irreps.dim)``; leading axes broadcast against those of ``R``.
        layout: ``mul_ir`` or ``ir_mul``.

    Returns:
        Shape ``(..., irreps.dim)``.

    Raises:
        TypeError, ValueError: as :func:`wigner_d`, or a shape or layout that does not fit.

    Example:
        >>> import numpy as np
        >>> rotate("0e + 1o", -np.eye(3), np.ones(4))
        array([ 1., -1., -1., -1.])
    """
    irreps = Irreps(irreps)
    if layout not in ("mul_ir", "ir_mul"):
        raise ValueError(f"layout must be one of mul_ir, ir_mul, got {layout!r}")
    matrices, _ = _read_rotations(R)
    named = {"x": x} if _is_scipy(R) else {"R": R, "x": x}
    context = common_context(named)
    xp = context.xp
    if _is_scipy(R):
        matrices = constant(context, matrices)
    if x.ndim == 0 or x.shape[-1] != irreps.dim:
        raise ValueError(f"x must have shape (..., {irreps.dim}) for the irreps {irreps}, got {tuple(x.shape)}")
    leading = _leading(R)
    try:
        samples = np.broadcast_shapes(leading, tuple(x.shape[:-1]))
    except ValueError:
        raise ValueError(f"the leading axes do not broadcast: R {leading}, x {tuple(x.shape[:-1])}") from None
    if is_lazy(xp):
        return map_samples(partial(rotate, irreps, layout=layout), [(matrices, 2), (x, 1)], len(samples), (irreps.dim,))
    if 0 in samples or irreps.dim == 0:
        return xp.zeros((*samples, irreps.dim), dtype=context.dtype, device=context.device)
    # Both with as many axes as the samples have, so that one portion of the samples cuts both in the same way.
    axes = len(samples)
    padded_r, padded_x = ((1,) * (axes - len(shape)) + shape for shape in (leading, tuple(x.shape[:-1])))
    matrices = xp.reshape(xp.astype(matrices, context.dtype, copy=False), (*padded_r, 3, 3))
    proper, signs = _split_parity(context, matrices)
    features = xp.reshape(xp.astype(x, context.dtype, copy=False), (*padded_x, irreps.dim))
    if not is_eager(xp, (matrices, x)):
        return evaluate_fused(_turn_at_once, context, (irreps, layout), proper, signs, features)
    result = xp.empty((*samples, irreps.dim), dtype=context.dtype, device=context.device)
    width = max(mul * ir.dim for mul, ir in irreps) + 6 * max(irreps.ls)
    for portion in portions(samples, max(1, _PORTION_NUMBERS // width)):
        in_r, in_x = clip(portion, padded_r), clip(portion, padded_x)
        cut = proper[(*in_r, ...)], signs[(*in_r, ...)], features[(*in_x, ...)]
        for where, turned in _turn_blocks(context, irreps, *cut, layout):
            result[(*portion, where)] = turned
    return result


def _places(irreps: Irreps) -> dict[int, list[tuple[slice, int]]]:
    """Where every single irrep stands, and its parity, by degree: each matrix is made once."""
    places: dict[int, list[tuple[slice, int]]] = {}
    for where, (mul, ir) in zip(irreps.slices(), irreps, strict=True):
        for start in range(where.start, where.start + mul * ir.dim, ir.dim):
            places.setdefault(ir.l, []).append((slice(start, start + ir.dim), ir.p))
    return places


def _matrices_at_once(context: Context, irreps: Irreps, proper: Array, signs: Array) -> Array:
    """All matrices without writing into an array."""
    places = _places(irreps)
    turns = _split(context, proper, max(places, default=0))
    blocks_at = {
        place.start: (place, _matrix(context, turns, degree) * _sign(context.xp, signs, parity))
        for degree, found in places.items()
        for place, parity in found
    }
    placed = [blocks_at[start] for start in sorted(blocks_at)]
    return _block_diagonal(context, proper.shape[0], irreps.dim, placed)


def _turn_at_once(context: Context, irreps: Irreps, layout: str, proper: Array, signs: Array, x: Array) -> Array:
    """All features, turned, without writing into an array."""
    parts = [turned for _, turned in _turn_blocks(context, irreps, proper, signs, x, layout)]
    return context.xp.concat(parts, axis=-1)


def _turn_blocks(
    context: Context, irreps: Irreps, proper: Array, signs: Array, x: Array, layout: str
) -> Iterator[tuple[slice, Array]]:
    """Each block of the features, turned: its place and its values ``(..., width)``, leading axes broadcast."""
    xp = context.xp
    turns = _split(context, proper, max(irreps.ls))
    rotations, vectors = prod(proper.shape[:-2]), prod(x.shape[:-1])
    for where, (mul, ir) in zip(irreps.slices(), irreps, strict=True):
        if mul == 0:
            continue
        shape = (mul, ir.dim) if layout == "mul_ir" else (ir.dim, mul)
        rows = xp.reshape(x[..., where], (*x.shape[:-1], *shape))
        if layout == "ir_mul":
            rows = xp.matrix_transpose(rows)
        # The matrix of a rotation costs about as much as turning one vector for each of its rows.
        if ir.l <= 1 or rotations * ir.dim <= vectors * mul:
            turned = xp.matmul(rows, xp.matrix_transpose(_matrix(context, turns, ir.l)))
        else:
            turned = _turn_rows(context, turns, ir.l, rows)
        turned = turned * _sign(xp, signs, ir.p)
        if layout == "ir_mul":
            turned = xp.matrix_transpose(turned)
        yield where, xp.reshape(turned, (*turned.shape[:-2], mul * ir.dim))


def _is_scipy(value: object) -> bool:
    # Whoever passes a Rotation has imported its module; importing it here would slow down everybody else.
    module = sys.modules.get("scipy.spatial.transform")
    return module is not None and isinstance(value, module.Rotation)


def _leading(rotations: Array) -> tuple[int, ...]:
    shape = rotations.as_matrix().shape if _is_scipy(rotations) else rotations.shape
    return tuple(shape[:-2])


def _read_rotations(rotations: Array) -> tuple[Array, Context]:
    """Matrices of shape ``(n, 3, 3)``, checked to be orthogonal to rounding (of float32 at best, for float32).

    Those of dask come back as they are.
    """
    if _is_scipy(rotations):
        rotations = rotations.as_matrix()
    context = common_context({"R": rotations}, core=2)
    if rotations.ndim < 2 or tuple(rotations.shape[-2:]) != (3, 3):
        raise ValueError(f"R must have shape (..., 3, 3), got {tuple(rotations.shape)}")
    xp = context.xp
    if is_lazy(xp):
        return rotations, context
    matrices = xp.reshape(rotations, (-1, 3, 3)) if np.prod(rotations.shape) else xp.reshape(rotations, (0, 3, 3))
    if matrices.shape[0] and has_values(xp, (matrices,)):
        identity = xp.eye(3, dtype=context.dtype, device=context.device)
        error = xp.max(xp.abs(xp.matmul(matrices, xp.matrix_transpose(matrices)) - identity))
        # A matrix typed or read with as many digits as the dtype holds, times a thousand for sequences of products
        bound = 1000 * _EPS[FLOATS[dtype_name(matrices) == "float64"]]
        if not bool(error <= bound):
            raise ValueError(f"R must be orthogonal: R R^T differs from the identity by {float(error):.1e}")
    return matrices, context


def _split_parity(context: Context, matrices: Array) -> tuple[Array, Array]:
    """Proper rotations, and the sign of the determinants, shape ``(..., 1, 1)``: ``matrices = sign * proper``."""
    xp = context.xp
    r = [[matrices[..., i, j] for j in range(3)] for i in range(3)]
    determinant = (
        r[0][0] * (r[1][1] * r[2][2] - r[1][2] * r[2][1])
        - r[0][1] * (r[1][0] * r[2][2] - r[1][2] * r[2][0])
        + r[0][2] * (r[1][0] * r[2][1] - r[1][1] * r[2][0])
    )
    one = xp.ones_like(determinant)  # torch cannot batch what array-api-compat makes of sign
    sign = xp.astype(xp.where(determinant < 0, -one, one), context.dtype, copy=False)[..., None, None]
    return matrices * sign, sign


def _sign(xp: Any, improper_signs: Array, parity: int) -> Array:
    return improper_signs if parity == -1 else xp.ones_like(improper_signs)


def degree_matrices(context: Context, proper: Array, wanted: set[int]) -> dict[int, Array]:
    """``D^l`` of proper rotations ``(n, 3, 3)`` for each wanted degree."""
    turns = _split(context, proper, max(wanted, default=0))
    return {degree: _matrix(context, turns, degree) for degree in wanted}


def _block_diagonal(context: Context, n: int, dim: int, placed: list[tuple[slice, Array]]) -> Array:
    """Matrices ``(n, dim, dim)`` with blocks on the diagonal, which follow each other, made without writing."""

    def zeros(rows: int, columns: int) -> Array:
        return context.xp.zeros((n, rows, columns), dtype=context.dtype, device=context.device)

    strips = [
        context.xp.concat([zeros(size, place.start), block, zeros(size, dim - place.stop)], axis=2)
        for place, block in placed
        for size in (place.stop - place.start,)
    ]
    return context.xp.concat([zeros(0, dim), *strips], axis=1)


class _Turns(NamedTuple):
    """``R = Y(a) P Y(b) P Y(c)``, times P where ``swapped``, shape ``(..., 1)``.

    The three turns are ``cos(m a)`` and ``sin(m a)`` for orders ``m = -highest..highest``, shape ``(..., orders)``.
    """

    proper: Array
    highest: int
    a: tuple[Array, Array]
    b: tuple[Array, Array]
    c: tuple[Array, Array]
    swapped: Array

    def orders(self, degree: int) -> tuple[tuple[Array, Array], ...]:
        """The three turns in one degree, shape ``(..., 2 l + 1)``."""
        cut = slice(self.highest - degree, self.highest + degree + 1)
        return tuple((cosine[..., cut], sine[..., cut]) for cosine, sine in (self.a, self.b, self.c))


def _split(context: Context, proper: Array, highest: int) -> _Turns:
    """Split proper rotations ``(..., 3, 3)``; see :class:`_Turns`.

    ``Y(a) P Y(b) P Y(c)`` has the middle column ``(sin b sin a, cos b, sin b cos a)`` and the middle row
    ``(sin b sin c, cos b, -sin b cos c)``. After the exchange ``|cos b| < 0.72``, so no division is by a small number.
    """
    xp = context.xp

    def element(i: int, j: int) -> Array:
        return proper[..., i, j][..., None]

    if highest <= 1:  # the matrices are 1 and the rotations themselves
        zero = xp.zeros_like(element(1, 1))
        return _Turns(proper, 0, (zero, zero), (zero, zero), (zero, zero), zero)
    swapped = xp.abs(element(1, 1)) > 0.7
    # R P has the columns of R in the order y, x, -z.
    x, y, z = (xp.where(swapped, element(i, 0), element(i, 1)) for i in range(3))
    row_x = xp.where(swapped, element(1, 1), element(1, 0))
    row_z = xp.where(swapped, -element(1, 2), element(1, 2))

    def multiples(cosine: Array, sine: Array) -> tuple[Array, Array]:
        length = xp.sqrt(cosine * cosine + sine * sine)
        cosines, sines = complex_powers(xp, cosine / length, sine / length, highest)
        return (
            xp.concat([xp.flip(cosines[..., 1:], axis=-1), cosines], axis=-1),
            xp.concat([-xp.flip(sines[..., 1:], axis=-1), sines], axis=-1),
        )

    sine = xp.sqrt(x * x + z * z)
    return _Turns(proper, highest, multiples(z, x), multiples(y, sine), multiples(-row_z, row_x), swapped)


def _matrix(context: Context, turns: _Turns, degree: int) -> Array:
    """``D^l`` of the rotations, shape ``(..., 2 l + 1, 2 l + 1)``."""
    xp = context.xp
    if degree == 0:
        return xp.ones_like(turns.proper[..., :1, :1])
    if degree == 1:
        return turns.proper
    swap = constant(context, swap_matrix(degree))
    a, b, c = turns.orders(degree)

    def columns(matrix: Array, turn: tuple[Array, Array]) -> Array:
        """``matrix Y``: every column m with the column -m."""
        return matrix * turn[0][..., None, :] + xp.flip(matrix, axis=-1) * turn[1][..., None, :]

    if degree <= _TABULATED:
        known = xp.concat([b[1][..., degree + 1 :], b[0][..., degree:]], axis=-1)
        middle = _times(xp, known, constant(context, swapped_turns(degree)))
        middle = xp.reshape(middle, (*middle.shape[:-1], 2 * degree + 1, 2 * degree + 1))
    else:
        middle = _times(xp, columns(swap, b), swap)
    matrix = columns(middle, c)
    matrix = xp.where(turns.swapped[..., None], _times(xp, matrix, swap), matrix)
    return matrix * a[0][..., None] - xp.flip(matrix, axis=-2) * a[1][..., None]


def _turn_rows(context: Context, turns: _Turns, degree: int, rows: Array) -> Array:
    """``D^l`` times each of the rows ``(..., vectors, 2 l + 1)``, one factor after the other."""
    xp = context.xp
    swap = constant(context, swap_matrix(degree))
    a, b, c = turns.orders(degree)

    def turned(rows: Array, turn: tuple[Array, Array]) -> Array:
        return rows * turn[0][..., None, :] - xp.flip(rows, axis=-1) * turn[1][..., None, :]

    rows = xp.where(turns.swapped[..., None], _times(xp, rows, swap), rows)
    return turned(_times(xp, turned(_times(xp, turned(rows, c), swap), b), swap), a)


def _times(xp: Any, rows: Array, matrix: Array) -> Array:
    """``rows @ matrix`` as one product: a stack of small ones would be slow."""
    flat = xp.reshape(rows, (prod(rows.shape[:-1]), rows.shape[-1]))
    return xp.reshape(flat @ matrix, (*rows.shape[:-1], matrix.shape[-1]))
