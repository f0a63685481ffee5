"""Products of functions and fields on the sphere as the paper computes them: on a dense grid, and by Fourier series."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from tpnumba.irreps import Irreps
from tpnumba.products.base import Operator
from tpnumba.products.gaunt import GauntTensorProduct
from tpnumba.products.vector_spherical import VectorSphericalTensorProduct
from tpnumba.sphere.harmonics import SphericalHarmonics
from tpnumba.studies.benchmark.paper_way import Array, Way, in_chunks
from tpnumba.studies.registry import Case, Degrees
from tpnumba.tables.matrices import cartesian_component
from tpnumba.tables.quadrature import Grid

#: Angles of the sums that give Fourier coefficients, in each direction.
ANGLES = 300
#: What is not zero by symmetry is far larger.
_ZERO = 1e-9


def _paper_grid(lmax: int) -> Grid:
    return Grid(2 * lmax + 1, 2 * (2 * lmax + 1))


def _columns(degrees: Degrees) -> npt.NDArray[np.int64]:
    """The places of the components of degrees among all."""
    return np.concatenate([np.arange(degree**2, (degree + 1) ** 2) for degree in degrees])


def _harmonics(degrees: Degrees, points: Array) -> Array:
    """At every point, shape ``(components, points)``."""
    values: Array = SphericalHarmonics(max(degrees))(points)[:, _columns(degrees)].T
    return values


def gaunt_grid(case: Case, dtype: str) -> Way:
    """``((x1 @ Y) * (x2 @ Y)) @ (Y weights)^T`` with harmonics Y at all points of the grid."""
    grid = _paper_grid(case.lmax)
    points = grid.points().reshape(-1, 3)
    first, second, out = (np.ascontiguousarray(_harmonics(degrees, points), dtype) for degrees in case.degrees)
    back = np.ascontiguousarray((out * grid.weights.ravel()).T, dtype)

    def call(x1: Array, x2: Array) -> Array:
        product: Array = ((x1 @ first) * (x2 @ second)) @ back
        return product

    flops = 2 * (first.size + second.size + back.size) + len(points)
    return Way.of(_gaunt(case), in_chunks(call), flops)


def _gaunt(case: Case) -> Operator:
    return GauntTensorProduct.of_degrees(*case.degrees, method="direct")


def gaunt_fourier(case: Case, dtype: str) -> Way:
    """Fourier coefficients on the torus, their direct convolution, and integrals over the sphere back."""
    kind = np.result_type(dtype, np.complex64)
    highest = [max(degrees) for degrees in case.degrees]
    inputs = [_sparse_rows(fourier_coefficients(degrees), kind) for degrees in case.degrees[:2]]
    back = _sparse_rows(integrals(case.degrees[2], highest[0] + highest[1]), kind).T.tocsr()
    widths = [2 * degree + 1 for degree in highest[:2]]
    width = widths[0] + widths[1] - 1

    def call(x1: Array, x2: Array) -> Array:
        f, g = (
            (x.astype(kind) @ table).reshape(len(x), size, size)
            for x, table, size in zip((x1, x2), inputs, widths, strict=True)
        )
        h = np.zeros((len(x1), width, width), kind)
        for u in range(widths[0]):
            for v in range(widths[0]):
                h[:, u : u + widths[1], v : v + widths[1]] += f[:, u, v, None, None] * g
        result: Array = (h.reshape(len(x1), -1) @ back).real
        return np.ascontiguousarray(result)

    # A complex multiplication and addition is 8 operations, one by a real number, or whose real part alone is used, 4.
    flops = 4 * sum(table.nnz for table in (*inputs, back)) + 8 * (widths[0] * widths[1]) ** 2
    return Way.of(_gaunt(case), in_chunks(call), flops, inexact=True)


def _sparse_rows(table: Array, kind: Any) -> Any:
    from scipy import sparse

    flat = table.reshape(len(table), -1)
    return sparse.csr_array(np.where(np.abs(flat) > _ZERO, flat, 0).astype(kind))


def _on_torus(theta: Array, phi: Array) -> Array:
    """Points, shape ``(thetas, phis, 3)``; beyond half a turn of theta, those on the other side of the polar axis y."""
    sine = np.sin(theta)[:, None]
    y = np.broadcast_to(np.cos(theta)[:, None], (len(theta), len(phi)))
    return np.stack([sine * np.sin(phi), y, sine * np.cos(phi)], axis=-1)


@lru_cache(maxsize=32)
def fourier_coefficients(degrees: Degrees) -> Array:
    """``mean of Y_lm(theta, phi) exp(-i u theta - i v phi)`` over :data:`ANGLES` x :data:`ANGLES` angles of the torus.

    Returns:
        Shape ``(components, 2 L + 1, 2 L + 1)``, ``u`` and ``v`` from ``-L`` to ``L``.
    """
    turn = 2 * np.pi * np.arange(ANGLES) / ANGLES
    values = _harmonics(degrees, _on_torus(turn, turn).reshape(-1, 3)).reshape(-1, ANGLES, ANGLES)
    orders = np.arange(-max(degrees), max(degrees) + 1)
    waves = np.exp(-1j * turn[:, None] * orders) / ANGLES
    table: Array = np.einsum("kab,au,bv->kuv", values, waves, waves, optimize=True)
    return table


@lru_cache(maxsize=32)
def integrals(degrees: Degrees, highest: int) -> Array:
    """``integral over the sphere of exp(i u theta + i v phi) Y_lm`` at :data:`ANGLES` x :data:`ANGLES` midpoints.

    Returns:
        Shape ``(components, 2 highest + 1, 2 highest + 1)``.
    """
    theta = np.pi * (np.arange(ANGLES) + 0.5) / ANGLES
    turn = 2 * np.pi * np.arange(ANGLES) / ANGLES
    values = _harmonics(degrees, _on_torus(theta, turn).reshape(-1, 3)).reshape(-1, ANGLES, ANGLES)
    orders = np.arange(-highest, highest + 1)
    waves_theta = np.exp(1j * theta[:, None] * orders) * np.sin(theta)[:, None] * (np.pi / ANGLES)
    waves_phi = np.exp(1j * turn[:, None] * orders) * (2 * np.pi / ANGLES)
    table: Array = np.einsum("kab,au,bv->kuv", values, waves_theta, waves_phi, optimize=True)
    return table


def vector_grid(case: Case, dtype: str) -> Way:
    """Vector spherical harmonics at all points as dense matrices, and the cross product at each."""
    p = VectorSphericalTensorProduct.of_degrees(*case.degrees, method="direct", kind="cross")
    first, second, out = case.degrees
    grid = _paper_grid(max(*first, *second) + 1)  # the largest degree of a Cartesian component
    points = grid.points().reshape(-1, 3)
    fields = [
        _fields(irreps, lmax, points, vector)
        for irreps, lmax, vector in (
            (p.irreps_in1, max(first) + 1, 1),
            (p.irreps_in2, max(second) + 1, 1),
            (p.irreps_out, max(out) + 1, -1),
        )
    ]
    inputs = [np.ascontiguousarray(field, dtype) for field in fields[:2]]
    weighted = fields[2] * grid.weights.ravel()[None, :, None]
    back = np.ascontiguousarray(weighted.reshape(p.irreps_out.dim, -1).T, dtype)

    def call(x1: Array, x2: Array) -> Array:
        f, g = (
            (x @ field.reshape(len(field), -1)).reshape(-1, len(points), 3)
            for x, field in zip((x1, x2), inputs, strict=True)
        )
        crossed = np.empty_like(f)
        for i in range(3):
            j, k = (i + 1) % 3, (i + 2) % 3
            crossed[..., i] = f[..., j] * g[..., k] - f[..., k] * g[..., j]
        product: Array = crossed.reshape(len(x1), -1) @ back
        return product

    return Way.of(p, in_chunks(call), 2 * (inputs[0].size + inputs[1].size + back.size) + 9 * len(points))


def _fields(irreps: Irreps, lmax: int, points: Array, parity: int) -> Array:
    """Vector spherical harmonics at points, shape ``(components, points, 3)``, in the order of the irreps.

    ``parity``: 1 for a vector field, whose blocks (j, l) have parity ``-(-1)^l``, and -1 for a pseudovector field.
    """
    blocks: list[tuple[int, int]] = []
    for block in irreps:
        j, same = block.ir.l, block.ir.p == -parity * (-1) ** block.ir.l
        near = [j] if same else [degree for degree in (j - 1, j + 1) if degree >= 0 and (j, degree) != (0, 0)]
        # Of one irrep there are as many blocks as l, in rising order.
        blocks.append((j, near[sum(done[0] == j and done[1] in near for done in blocks)]))
    functions = SphericalHarmonics(lmax)(points)
    components = []
    for b in range(3):
        shape, coords, values = cartesian_component(b, lmax, *blocks)
        change = np.zeros(shape)
        change[tuple(coords)] = values
        components.append(functions @ change)
    return np.stack(components, axis=-1).transpose(1, 0, 2)
