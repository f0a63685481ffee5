"""Features as matrices and as fields: the sparse changes of basis of the matrix and vector spherical products."""

from __future__ import annotations

from math import sqrt

import numpy as np

from tpnumba.tables.clebsch_gordan import SparseTable, clebsch_gordan_sparse


def operator_basis(degree: int, *blocks: tuple[int, int]) -> SparseTable:
    """From a feature to an operator on the irrep of degree ``a``: ``X[i, k] = sum sign x_lm C(a, a, l)[i, k, m]``.

    Args:
        degree: ``a``.
        blocks: for each block of the feature its degree and a sign.

    Returns:
        Shape ``((2 a + 1)**2, components)``, the matrix row-major.
    """
    size = 2 * degree + 1
    rows, columns, values, start = [], [], [], 0
    for held, sign in blocks:
        table = clebsch_gordan_sparse(degree, degree, held)
        rows.append(table.coords[0] * size + table.coords[1])
        columns.append(start + table.coords[2])
        values.append(sign * table.values)
        start += 2 * held + 1
    return _table((size**2, start), rows, columns, values)


def cartesian_component(component: int, lmax: int, *blocks: tuple[int, int]) -> SparseTable:
    """From a vector field in vector spherical harmonics to the harmonics of one Cartesian component.

    ``Y_jlm = sqrt(2 j + 1) sum C(l, 1, j)[a, b, m] Y_la e_b``, with ``b`` the component: 0, 1, 2 for x, y, z.

    Args:
        component: ``b``.
        lmax: the largest degree of the harmonics.
        blocks: the pairs ``(j, l)`` of the field.

    Returns:
        Shape ``((lmax + 1)**2, components of the field)``.
    """
    rows, columns, values, start = [], [], [], 0
    for j, degree in blocks:
        table = clebsch_gordan_sparse(degree, 1, j)
        chosen = table.coords[1] == component
        rows.append(degree**2 + table.coords[0][chosen])
        columns.append(start + table.coords[2][chosen])
        values.append(sqrt(2 * j + 1) * table.values[chosen])
        start += 2 * j + 1
    return _table(((lmax + 1) ** 2, start), rows, columns, values)


def _table(shape: tuple[int, int], rows: list, columns: list, values: list) -> SparseTable:  # type: ignore[type-arg]
    none = [np.zeros(0, dtype=np.int64)]
    coords = np.stack([np.concatenate([*rows, *none]), np.concatenate([*columns, *none])]).astype(np.int64)
    order = np.lexsort(coords[::-1])
    coords, ordered = coords[:, order], np.concatenate([*values, np.zeros(0)])[order]
    coords.flags.writeable = False
    ordered.flags.writeable = False
    return SparseTable(shape, coords, ordered)
