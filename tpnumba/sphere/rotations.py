"""Wigner D matrices from rotation matrices, and rotating features; no Euler angles."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from tpnumba.backends.namespaces import FLOATS, Setting, common_setting, dtype_name
from tpnumba.irreps import Irreps, IrrepsLike, check_degree
from tpnumba.limits import require_memory
from tpnumba.tables.wigner_d import raising_matrix

Array = Any

_EPS = {"float32": 1.2e-7, "float64": 2.3e-16}


def wigner_d(l_or_irreps: int | IrrepsLike, R: Array) -> Array:
    """Wigner D matrices of rotations, so that ``Y_l(R r) = D^l(R) Y_l(r)``.

    By recursion in the degree, ``D^l = C^T (D^{l-1} x R) C`` with ``D^1 = R``: no angles, so no gimbal lock.

    Args:
        l_or_irreps: a degree, or irreps (then the result is block diagonal, and improper rotations are allowed: blocks
            of odd parity change sign).
        R: rotation matrices, shape ``(..., 3, 3)``, float32 or float64, or a ``scipy.spatial.transform.Rotation``
            (float64 NumPy).

    Returns:
        Shape ``(..., dim, dim)``, in the namespace, on the device and in the dtype of ``R``.

    Raises:
        TypeError: ``R`` is neither of the two.
        ValueError: not 3 x 3, not orthogonal, or ``det R = -1`` for a bare degree (whose parity is not known).
        MemoryError: the result would not fit; its size is named.

    Example:
        >>> import numpy as np
        >>> from scipy.spatial.transform import Rotation
        >>> R = Rotation.from_rotvec([0.1, 0.2, 0.3])
        >>> bool(np.allclose(wigner_d(1, R), R.as_matrix()))
        True
    """
    matrices, setting = _read_rotations(R)
    bare = not isinstance(l_or_irreps, str | tuple | list)
    irreps = Irreps([(1, (check_degree("l", l_or_irreps), 1))]) if bare else Irreps(l_or_irreps)  # type: ignore[arg-type]
    proper, improper_signs = _split_parity(setting, matrices)
    if bare and not bool(setting.xp.all(improper_signs > 0)):
        raise ValueError("R has determinant -1, and a bare degree has no parity: give irreps such as '2e' instead")
    xp, n = setting.xp, matrices.shape[0]
    require_memory(n * irreps.dim**2 * setting.itemsize, f"{n} Wigner D matrices of dimension {irreps.dim}")
    blocks = degree_matrices(setting, proper, {block.ir.l for block in irreps if block.mul})
    result = xp.zeros((n, irreps.dim, irreps.dim), dtype=setting.dtype, device=setting.device)
    if len(irreps) == 1 and irreps[0].mul == 1:
        result = blocks[irreps[0].ir.l] * _sign(xp, improper_signs, irreps[0].ir.p)
    else:
        for where, (mul, ir) in zip(irreps.slices(), irreps, strict=True):
            for copy in range(mul):
                cut = slice(where.start + copy * ir.dim, where.start + (copy + 1) * ir.dim)
                result[:, cut, cut] = blocks[ir.l] * _sign(xp, improper_signs, ir.p)
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
    setting = common_setting(named)
    xp = setting.xp
    if _is_scipy(R):
        matrices = xp.asarray(matrices, dtype=setting.dtype, device=setting.device)
    if x.ndim == 0 or x.shape[-1] != irreps.dim:
        raise ValueError(f"x must have shape (..., {irreps.dim}) for the irreps {irreps}, got {tuple(x.shape)}")
    leading = _leading(R)
    try:
        samples = np.broadcast_shapes(leading, tuple(x.shape[:-1]))
    except ValueError:
        raise ValueError(f"the leading axes do not broadcast: R {leading}, x {tuple(x.shape[:-1])}") from None
    proper, signs = _split_parity(setting, xp.astype(matrices, setting.dtype, copy=False))
    blocks = degree_matrices(setting, proper, {block.ir.l for block in irreps if block.mul})
    parts = []
    for where, (mul, ir) in zip(irreps.slices(), irreps, strict=True):
        if mul == 0:
            continue
        block = blocks[ir.l] * _sign(xp, signs, ir.p)
        matrix = xp.reshape(block, (*leading, ir.dim, ir.dim))
        piece = xp.astype(x[..., where], setting.dtype, copy=False)
        if layout == "mul_ir":
            rows = xp.reshape(piece, (*x.shape[:-1], mul, ir.dim))
            turned = xp.matmul(rows, xp.matrix_transpose(matrix))
        else:
            turned = xp.matmul(matrix, xp.reshape(piece, (*x.shape[:-1], ir.dim, mul)))
        parts.append(xp.reshape(turned, (*turned.shape[:-2], mul * ir.dim)))
    if parts:
        return xp.concat(parts, axis=-1)
    return xp.zeros((*samples, 0), dtype=setting.dtype, device=setting.device)


def _is_scipy(value: object) -> bool:
    # Whoever passes a Rotation has imported its module; importing it here would slow down everybody else.
    module = sys.modules.get("scipy.spatial.transform")
    return module is not None and isinstance(value, module.Rotation)


def _leading(rotations: Array) -> tuple[int, ...]:
    shape = rotations.as_matrix().shape if _is_scipy(rotations) else rotations.shape
    return tuple(shape[:-2])


def _read_rotations(rotations: Array) -> tuple[Array, Setting]:
    """Matrices of shape ``(n, 3, 3)``, checked to be orthogonal to rounding (of float32 at best, for float32)."""
    if _is_scipy(rotations):
        rotations = rotations.as_matrix()
    setting = common_setting({"R": rotations})
    if rotations.ndim < 2 or tuple(rotations.shape[-2:]) != (3, 3):
        raise ValueError(f"R must have shape (..., 3, 3), got {tuple(rotations.shape)}")
    xp = setting.xp
    matrices = xp.reshape(rotations, (-1, 3, 3)) if np.prod(rotations.shape) else xp.reshape(rotations, (0, 3, 3))
    identity = xp.eye(3, dtype=setting.dtype, device=setting.device)
    if matrices.shape[0]:
        error = xp.max(xp.abs(xp.matmul(matrices, xp.matrix_transpose(matrices)) - identity))
        # A matrix typed or read with as many digits as the dtype holds, times a thousand for chains of products
        bound = 1000 * _EPS[FLOATS[dtype_name(matrices) == "float64"]]
        if not bool(error <= bound):
            raise ValueError(f"R must be orthogonal: R R^T differs from the identity by {float(error):.1e}")
    return matrices, setting


def _split_parity(setting: Setting, matrices: Array) -> tuple[Array, Array]:
    """Proper rotations, and the sign of the determinants, shape ``(n, 1, 1)``: ``matrices = sign * proper``."""
    xp = setting.xp
    r = [[matrices[:, i, j] for j in range(3)] for i in range(3)]
    determinant = (
        r[0][0] * (r[1][1] * r[2][2] - r[1][2] * r[2][1])
        - r[0][1] * (r[1][0] * r[2][2] - r[1][2] * r[2][0])
        + r[0][2] * (r[1][0] * r[2][1] - r[1][1] * r[2][0])
    )
    sign = xp.astype(xp.reshape(xp.sign(determinant), (-1, 1, 1)), setting.dtype, copy=False)
    return matrices * sign, sign


def _sign(xp: Any, improper_signs: Array, parity: int) -> Array:
    return improper_signs if parity == -1 else xp.ones_like(improper_signs)


def degree_matrices(setting: Setting, proper: Array, wanted: set[int]) -> dict[int, Array]:
    """``D^l`` of proper rotations ``(n, 3, 3)`` for each wanted degree."""
    xp, device, dtype = setting
    n = proper.shape[0]
    blocks = {0: xp.ones((n, 1, 1), dtype=dtype, device=device)}
    current = xp.astype(proper, dtype, copy=False)
    for degree in range(1, max(wanted, default=0) + 1):
        if degree > 1:
            raising = xp.asarray(raising_matrix(degree), dtype=dtype, device=device)
            half = [xp.matmul(current, raising[b, :, :]) for b in range(3)]
            total = None
            for b in range(3):
                mixed = sum(proper[:, b : b + 1, c : c + 1] * half[c] for c in range(3))
                part = xp.matmul(xp.matrix_transpose(raising[b, :, :]), mixed)
                total = part if total is None else total + part
            current = total
        blocks[degree] = current
    return {degree: blocks[degree] for degree in wanted}
