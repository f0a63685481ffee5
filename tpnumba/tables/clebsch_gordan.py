"""Real Clebsch-Gordan coefficients: the invariant of three irreps, with Frobenius norm 1.

The numbers are those of ``e3nn.o3.wigner_3j``, sign included. They come from the 3j symbols, carried to the real basis
without complex numbers: at low degree from Racah's sum in exact integers, each value rounded once, above from null
vectors of tridiagonal matrices.
"""

from __future__ import annotations

from math import comb, factorial, sqrt
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tpnumba.irreps import check_degree
from tpnumba.limits import require_memory
from tpnumba.tables.memory import cached_within
from tpnumba.tables.tridiagonal import null_vectors

Array = npt.NDArray[np.float64]

#: Up to this ``l1 + l2 + l3`` exact integers are as quick as anything else (3 ms at l = 24).
_EXACT_TOTAL = 72


class SparseTable(NamedTuple):
    """The non-zeros of a table: ``dense[tuple(coords)] == values``, in row-major order."""

    shape: tuple[int, ...]
    coords: npt.NDArray[np.int64]
    values: Array


def check_triple(l1: int, l2: int, l3: int) -> tuple[int, int, int]:
    """Return the three degrees as ints.

    Raises:
        TypeError, ValueError: not non-negative integers, or outside the triangle ``|l1 - l2| <= l3 <= l1 + l2``.
    """
    degrees = check_degree("l1", l1), check_degree("l2", l2), check_degree("l3", l3)
    if not abs(degrees[0] - degrees[1]) <= degrees[2] <= degrees[0] + degrees[1]:
        raise ValueError(
            f"(l1, l2, l3) = {degrees} lies outside the triangle |l1 - l2| <= l3 <= l1 + l2, "
            f"that is l3 from {abs(degrees[0] - degrees[1])} to {degrees[0] + degrees[1]}"
        )
    return degrees


def _binomials(n: int, indices: npt.NDArray[np.int64]) -> npt.NDArray[np.object_]:
    """Exact ``binom(n, i)`` for an array of ``i``, zero outside ``0..n``."""
    row = [comb(n, k) for k in range(n + 1)] + [0]
    inside = (indices >= 0) & (indices <= n)
    return np.array(row, dtype=object)[np.where(inside, indices, n + 1)]


@cached_within(2**25)
def wigner_3j(l1: int, l2: int, l3: int) -> Array:
    """The 3j symbols ``(l1 l2 l3; m1 m2 -m1-m2)`` as a read-only array ``[l1 + m1, l2 + m2]``."""
    table = (_exact_3j if l1 + l2 + l3 <= _EXACT_TOTAL else _stable_3j)(l1, l2, l3)
    table.flags.writeable = False
    return table


def _exact_3j(l1: int, l2: int, l3: int) -> Array:
    """Racah's sum in exact integers, all orders at once, as a product of three integer matrices."""
    a, b, d, total = l1 + l2 - l3, l1 - l2 + l3, -l1 + l2 + l3, l1 + l2 + l3
    m1 = np.arange(-l1, l1 + 1)
    m2 = np.arange(-l2, l2 + 1)
    k = np.arange(a + 1)
    signed = _binomials(a, k) * np.where(k % 2 == 0, 1, -1).astype(object)
    left = _binomials(b, l1 - m1[:, None] - k) * signed
    right = _binomials(d, l2 + m2[:, None] - k)
    sums = left @ right.T

    m3 = -(m1[:, None] + m2)
    allowed = np.abs(m3) <= l3
    factorials = np.array([factorial(n) for n in range(2 * max(l1, l2, l3) + 1)], dtype=object)
    orders1 = factorials[l1 + m1] * factorials[l1 - m1]
    orders2 = factorials[l2 + m2] * factorials[l2 - m2]
    clipped = np.where(allowed, m3, 0)
    orders3 = factorials[l3 + clipped] * factorials[l3 - clipped]
    triangle = factorial(a) * factorial(b) * factorial(d) * factorial(total + 1)
    # True division of Python integers rounds once, however large they are.
    squares = (sums * sums * (orders1[:, None] * orders2 * orders3) / triangle).astype(np.float64)
    sign = np.where((l1 - l2 - m3) % 2 == 0, 1.0, -1.0) * np.sign(sums).astype(np.float64)
    table: Array = np.where(allowed, sign * np.sqrt(squares), 0.0)
    return table


def _stable_3j(l1: int, l2: int, l3: int) -> Array:
    """The 3j symbols as eigenvectors of ``(J1 + J2)^2`` in the states ``|m1 m2>`` of one ``m1 + m2``.

    With the degrees sorted, ``a <= b <= c``, that matrix is tridiagonal in the order of ``a``, and ``c (c + 1)`` is the
    eigenvalue furthest from its neighbours; all its entries (the off-diagonal ones squared) are integers. The sign is
    that of ``<a m1, b m2 | c m>`` at the largest ``m1``, which is positive.
    """
    degrees = (l1, l2, l3)
    order = sorted(range(3), key=lambda leg: degrees[leg])
    a, b, c = (degrees[leg] for leg in order)
    parity = 1.0 if (l1 + l2 + l3) % 2 == 0 else -1.0

    m_a, m_c = np.arange(-a, a + 1)[:, None], np.arange(c + 1)
    m_b = -m_a - m_c
    inside = np.abs(m_b) <= b
    diagonal = a * (a + 1) + b * (b + 1) - c * (c + 1) + 2.0 * m_a * m_b
    squares = 1.0 * ((a - m_a) * (a + m_a + 1) * (b + m_b) * (b - m_b + 1))[:-1]
    upper = null_vectors(diagonal, squares, inside) * np.where((a - b - m_c) % 2 == 0, 1.0, -1.0) / sqrt(2 * c + 1)
    upper[:, 0] = (upper[:, 0] + parity * upper[::-1, 0]) / 2  # so that the zeros of odd sums are exact
    symbols = np.concatenate([parity * upper[::-1, :0:-1], upper], axis=1)

    m1, m2 = np.arange(-l1, l1 + 1)[:, None], np.arange(-l2, l2 + 1)
    orders = (m1, m2, -m1 - m2)
    allowed = np.abs(orders[2]) <= l3
    places = [np.where(allowed, orders[leg] + degrees[leg], 0) for leg in (order[0], order[2])]
    odd = order in ([1, 0, 2], [0, 2, 1], [2, 1, 0])
    table: Array = np.where(allowed, symbols[places[0], places[1]], 0.0) * (parity if odd else 1.0)
    return table


@cached_within(2**28)
def clebsch_gordan_sparse(l1: int, l2: int, l3: int) -> SparseTable:
    """The non-zeros of :func:`clebsch_gordan`, cached and read-only.

    In the real basis a coefficient is one 3j symbol times a sign and, where no order is zero, ``1/sqrt(2)``: with
    ``mu_i = |m_i|`` it needs ``mu3 = mu1 + mu2`` or ``|mu1 - mu2|``, and ``l1 + l2 + l3`` plus the number of
    negative orders to be even.
    """
    symbols = wigner_3j(l1, l2, l3)
    m1, m2 = (grid.ravel() for grid in np.meshgrid(np.arange(-l1, l1 + 1), np.arange(-l2, l2 + 1), indexing="ij"))
    mu1, mu2 = np.abs(m1), np.abs(m2)
    orders, values = [], []
    for case in ("sum", "difference"):
        mu3 = mu1 + mu2 if case == "sum" else np.abs(mu1 - mu2)
        for sign3 in (-1, 1):
            m3 = sign3 * mu3
            keep = mu3 <= l3
            if sign3 == -1:
                keep &= mu3 > 0
            if case == "difference":
                keep &= (mu1 > 0) & (mu2 > 0)  # otherwise the same as the sum
            negatives = (m1 < 0).astype(int) + (m2 < 0) + (m3 < 0)
            keep &= (l1 + l2 + l3 + negatives) % 2 == 0
            if case == "sum":
                s1, s2, s3 = np.ones_like(m1), np.ones_like(m1), -np.ones_like(m1)
            else:
                s1 = np.ones_like(m1)
                s2 = -np.ones_like(m1)
                s3 = np.where(mu1 > mu2, -1, 1)
            exponent = mu1 * (s1 == 1) + mu2 * (s2 == 1) + mu3 * (s3 == 1) + (l1 + l2 + l3 + negatives) // 2
            flips = np.where(m1 < 0, s1, 1) * np.where(m2 < 0, s2, 1) * np.where(m3 < 0, s3, 1)
            norm = np.where((mu1 > 0) & (mu2 > 0) & (mu3 > 0), np.sqrt(0.5), 1.0)
            value = norm * np.where(exponent % 2 == 0, 1, -1) * flips * symbols[l1 + s1 * mu1, l2 + s2 * mu2]
            keep &= value != 0
            orders.append(np.stack([l1 + m1[keep], l2 + m2[keep], l3 + m3[keep]]))
            values.append(value[keep])
    coords = np.concatenate(orders, axis=1).astype(np.int64)
    order = np.lexsort(coords[::-1])
    table = SparseTable(
        (2 * l1 + 1, 2 * l2 + 1, 2 * l3 + 1),
        np.ascontiguousarray(coords[:, order]),
        np.ascontiguousarray(np.concatenate(values)[order]),
    )
    table.coords.flags.writeable = False
    table.values.flags.writeable = False
    return table


def clebsch_gordan(l1: int, l2: int, l3: int) -> Array:
    """Real Clebsch-Gordan coefficients ``C[m1, m2, m3]``, invariant under rotations, with Frobenius norm 1.

    Equal to ``e3nn.o3.wigner_3j(l1, l2, l3)``, sign included. ``sqrt(2 l3 + 1) C`` over all ``l3`` is an orthogonal
    change of basis of the product of the two irreps.

    Args:
        l1, l2, l3: degrees with ``|l1 - l2| <= l3 <= l1 + l2``.

    Returns:
        A new float64 array of shape ``(2 l1 + 1, 2 l2 + 1, 2 l3 + 1)``; orders run from ``-l`` to ``l``.

    Raises:
        TypeError, ValueError: a degree that is not a non-negative integer, or a triple outside the triangle.
        MemoryError: the table would not fit; its size is named.

    Example:
        >>> import numpy as np
        >>> np.round(clebsch_gordan(1, 1, 0)[:, :, 0] * np.sqrt(3), 12)
        array([[1., 0., 0.],
               [0., 1., 0.],
               [0., 0., 1.]])
    """
    l1, l2, l3 = check_triple(l1, l2, l3)
    shape = (2 * l1 + 1, 2 * l2 + 1, 2 * l3 + 1)
    require_memory(8 * shape[0] * shape[1] * shape[2], f"the table clebsch_gordan{(l1, l2, l3)}")
    sparse = clebsch_gordan_sparse(l1, l2, l3)
    table = np.zeros(sparse.shape)
    table[tuple(sparse.coords)] = sparse.values
    return table


def relative_sign(
    stored: npt.NDArray[np.floating], l1: int, l2: int, l3: int, *, name: str = "stored", atol: float = 1e-5
) -> float:
    """The sign, 1.0 or -1.0, by which another library's coefficients differ from :func:`clebsch_gordan`.

    e3nn before version 0.5 had other signs for some triples, and models that were trained then hold such coefficients.

    Args:
        stored: shape ``(2 l1 + 1, 2 l2 + 1, 2 l3 + 1)``.
        l1, l2, l3: their degrees.
        name: what an error calls them.
        atol: how far numbers may be apart that are the same but for rounding.

    Raises:
        ValueError: they differ by more than a sign.

    Example:
        >>> relative_sign(-clebsch_gordan(1, 2, 2), 1, 2, 2)
        -1.0
    """
    ours = clebsch_gordan(l1, l2, l3)
    for sign in (1.0, -1.0):
        if stored.shape == ours.shape and np.allclose(stored, sign * ours, rtol=0, atol=atol):
            return sign
    raise ValueError(f"the coefficients {name} are not those of the degrees {l1}, {l2}, {l3}")
