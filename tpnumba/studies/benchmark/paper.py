"""Each product as the paper computes it, in plain NumPy: what its ratios are ratios of.

After the settings of *The Price of Freedom* (arXiv 2506.13523) and of its reference code: dense and sparse
Clebsch-Gordan coefficients, kept to natural parity; harmonics at all points of a Gauss-Legendre grid of ``2 L + 1``
rings of ``2 (2 L + 1)`` points as one dense matrix; Fourier coefficients by sums over 300 x 300 angles, multiplied by
direct convolution; and operators on the sum of all irreps up to L, to which and from which leads a dense matrix.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache

import numpy as np

from tpnumba.products.clebsch_gordan import FullTensorProduct
from tpnumba.products.degrees import irreps_of
from tpnumba.studies.benchmark.paper_sphere import gaunt_fourier, gaunt_grid, vector_grid
from tpnumba.studies.benchmark.paper_way import Array, Way, in_chunks
from tpnumba.studies.registry import Case, Degrees
from tpnumba.tables.clebsch_gordan import clebsch_gordan

#: The deviation that is taken for right where sums over angles stand for integrals, as the reference code has it.
INEXACT = 1e-2


def _natural(case: Case) -> FullTensorProduct:
    """The complete product as the reference code times it: of single copies, kept to natural parity."""
    first, second, out = case.degrees
    return FullTensorProduct(irreps_of(first), irreps_of(second), irreps_of(out))


def _dense(case: Case, dtype: str) -> Way:
    """Outer products of blocks, times dense coefficients, path by path."""
    p = _natural(case)
    slices1, slices2, slices_out = p.irreps_in1.slices(), p.irreps_in2.slices(), p.irreps_out.slices()
    paths = []
    for path in p.paths:
        table = path.scale * clebsch_gordan(path.ir1.l, path.ir2.l, path.ir_out.l)
        flat = table.reshape(-1, table.shape[2]).astype(dtype)
        paths.append((slices1[path.i1], slices2[path.i2], slices_out[path.i_out], flat))

    def call(x1: Array, x2: Array) -> Array:
        out = np.empty((len(x1), p.irreps_out.dim), x1.dtype)
        for first, second, place, table in paths:
            outer = x1[:, first, None] * x2[:, None, second]
            out[:, place] = outer.reshape(len(x1), -1) @ table
        return out

    return Way.of(p, in_chunks(call), sum(len(table) + 2 * table.size for *_, table in paths))


def _sparse(case: Case, dtype: str) -> Way:
    """All products of components, times a sparse matrix of the coefficients."""
    from scipy import sparse

    p = _natural(case)
    (_, size2, size_out), coords, values = p.coefficients()
    rows, columns, out = coords
    shape = p.irreps_in1.dim * size2, size_out
    table = sparse.csr_array((values.astype(dtype), (rows * size2 + columns, out)), shape=shape)
    used = len(np.unique(rows * size2 + columns))

    def call(x1: Array, x2: Array) -> Array:
        outer = (x1[:, :, None] * x2[:, None, :]).reshape(len(x1), -1)
        product: Array = outer @ table
        return product

    return Way.of(p, in_chunks(call), used + 2 * table.nnz)


def _matrix(case: Case, dtype: str) -> Way:
    """Operators on the sum of all irreps up to L, by dense matrices; it couples as the complete product does."""
    lmax = case.lmax
    first, second, out = case.degrees
    size = (lmax + 1) ** 2
    there = [np.ascontiguousarray(operators(degrees, lmax), dtype) for degrees in (first, second)]
    back = np.ascontiguousarray(operators(out, lmax).T, dtype)

    def call(x1: Array, x2: Array) -> Array:
        left, right = ((x @ table).reshape(-1, size, size) for x, table in zip((x1, x2), there, strict=True))
        product: Array = (left @ right).reshape(len(x1), -1) @ back
        return product

    def reference(x1: Array, x2: Array) -> Array:
        tables = [operators(degrees, lmax).reshape(-1, size, size) for degrees in (first, second, out)]
        x, y = (
            np.einsum("nm,mik->nik", given, table, optimize=True)
            for given, table in zip((x1, x2), tables, strict=False)
        )
        product: Array = np.einsum("nij,njk,mik->nm", x, y, tables[2], optimize=True)
        return product

    flops = 2 * (there[0].size + there[1].size + back.size + size**3)
    return Way(in_chunks(call), flops, (len(there[0]), len(there[1]), back.shape[1]), len(out), reference)


@lru_cache(maxsize=32)
def operators(degrees: Degrees, lmax: int) -> Array:
    """``X[a i, b k] = sum over l, m of x_lm C(a, b, l)[i, k, m]`` as a matrix, a and b up to ``lmax``.

    Every block (a, b) of X holds all degrees of its triangle.

    Returns:
        Shape ``(components, (lmax + 1)^4)``.
    """
    size = (lmax + 1) ** 2
    table = np.zeros((sum(2 * degree + 1 for degree in degrees), size, size))
    start = 0
    for degree in degrees:
        rows = slice(start, start + 2 * degree + 1)
        for a in range(lmax + 1):
            for b in range(lmax + 1):
                if abs(a - b) <= degree <= a + b:
                    left, right = slice(a**2, (a + 1) ** 2), slice(b**2, (b + 1) ** 2)
                    table[rows, left, right] = clebsch_gordan(a, b, degree).transpose(2, 0, 1)
        start += 2 * degree + 1
    return table.reshape(len(table), -1)


_MAKE: Mapping[str, Mapping[str, Callable[[Case, str], Way]]] = {
    "Clebsch-Gordan": {"dense": _dense, "sparse": _sparse},
    "Gaunt": {"grid": gaunt_grid, "fourier": gaunt_fourier},
    "matrix": {"matrix": _matrix},
    "vector spherical (cross)": {"grid": vector_grid},
}
#: How the paper computes each product of the registry, where it does.
METHODS: Mapping[str, tuple[str, ...]] = {product: tuple(made) for product, made in _MAKE.items()}


def way(case: Case, method: str, dtype: str) -> Way:
    """The product of a case, as the paper computes it.

    Args:
        case: product, configuration and L; its own method plays no part.
        method: one of :data:`METHODS`.
        dtype: of the tables.
    """
    return _MAKE[case.contender.product][method](case, dtype)
