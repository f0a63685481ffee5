"""Grids on the sphere on which products of spherical harmonics are integrated without error."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from tpnumba.irreps import check_degree
from tpnumba.tables.clebsch_gordan import Array


@lru_cache(maxsize=256)
def gauss_legendre(n: int) -> tuple[Array, Array]:
    """Nodes in ``(-1, 1)`` and weights (sum 2) of the ``n``-point Gauss-Legendre rule, read-only.

    NumPy's nodes are exact to rounding, its weights only to 1e-12 at n = 41; the weights here follow from the nodes by
    ``w = 2 / sum_{k < n} (2 k + 1) P_k(t)^2``.
    """
    nodes, _ = np.polynomial.legendre.leggauss(n)
    nodes = (nodes - nodes[::-1]) / 2  # exactly symmetric
    previous, current = np.zeros(n), np.ones(n)
    total = np.zeros(n)
    for degree in range(n):
        total += (2 * degree + 1) * current**2
        previous, current = current, ((2 * degree + 1) * nodes * current - degree * previous) / (degree + 1)
    weights = 2 / total
    nodes.flags.writeable = False
    weights.flags.writeable = False
    return nodes, weights


def fast_length(n: int) -> int:
    """The least integer >= ``n`` without a prime factor above 5, on which Fourier transforms are quick."""
    length = max(n, 1)
    while True:
        rest = length
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return length
        length += 1


@dataclass(frozen=True)
class SphereGrid:
    """Gauss-Legendre in ``cos(beta)`` times equispaced in ``alpha``.

    Integrates every spherical harmonic up to degree ``2 n_beta - 1`` whose order is below ``n_alpha`` without error;
    :attr:`exactness` is the largest degree for which both hold.

    Example:
        >>> grid = SphereGrid.exact(12)
        >>> grid, grid.exactness
        (SphereGrid(n_beta=7, n_alpha=15), 13)
    """

    n_beta: int
    n_alpha: int

    def __post_init__(self) -> None:
        for name in ("n_beta", "n_alpha"):
            if check_degree(name, getattr(self, name)) == 0:
                raise ValueError(f"{name} must be a positive integer, got 0")

    @classmethod
    def exact(cls, degree: int) -> SphereGrid:
        """The smallest grid that integrates every harmonic up to ``degree`` (``n_alpha`` padded to a fast length)."""
        degree = check_degree("degree", degree)
        return cls(degree // 2 + 1, fast_length(degree + 1))

    @property
    def exactness(self) -> int:
        """Every spherical harmonic up to this degree is integrated without error."""
        return min(2 * self.n_beta - 1, self.n_alpha - 1)

    @property
    def cos_beta(self) -> Array:
        """``cos(beta)`` of the rings, shape ``(n_beta,)``."""
        return gauss_legendre(self.n_beta)[0]

    @property
    def alpha(self) -> Array:
        """The longitudes, shape ``(n_alpha,)``."""
        return 2 * np.pi * np.arange(self.n_alpha) / self.n_alpha

    @property
    def ring_weights(self) -> Array:
        """The weight of one point of each ring, shape ``(n_beta,)``; over all points they sum to ``4 pi``."""
        return gauss_legendre(self.n_beta)[1] * (2 * np.pi / self.n_alpha)

    def points(self) -> Array:
        """The points ``(x, y, z)``, shape ``(n_beta, n_alpha, 3)``; the polar axis is y."""
        cos_beta = self.cos_beta[:, None]
        sin_beta = np.sqrt((1 - cos_beta) * (1 + cos_beta))
        x, z = sin_beta * np.sin(self.alpha), sin_beta * np.cos(self.alpha)
        return np.stack([x, np.broadcast_to(cos_beta, x.shape), z], axis=-1)
