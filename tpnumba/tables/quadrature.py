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
class Grid:
    """A grid on the unit sphere: Gauss-Legendre in ``cos(beta)`` times equispaced in ``alpha``; the polar axis is y.

    With its weights it integrates every spherical harmonic up to degree ``2 n_beta - 1`` whose order is below
    ``n_alpha`` without error; :attr:`exactness` is the largest degree for which both hold. To expand a function of
    degree ``lmax`` in harmonics up to ``lmax`` (:func:`tpnumba.from_grid`), products of two of them are integrated, so
    take ``Grid.exact(2 * lmax)``. Frozen, hashable, comparable and picklable; the arrays are float64 NumPy.

    Warning:
        Arrays of values do not say which grid they belong to. Other points in the same shape, such as equiangular
        rings, another polar axis or rings in falling order, cannot be told apart from these: compare :meth:`points`.

    Args:
        n_beta: the number of rings (values of beta, the angle from the polar axis).
        n_alpha: the number of points on each ring (longitudes).

    Raises:
        TypeError, ValueError: not a positive integer.

    Example:
        >>> grid = Grid.exact(12)
        >>> grid, grid.shape, grid.exactness
        (Grid(n_beta=7, n_alpha=15), (7, 15), 13)
        >>> x, y, z = np.moveaxis(grid.points(), -1, 0)
        >>> float(np.round(np.sum(grid.weights * z**2) / (4 * np.pi), 12))  # the mean of z^2 over the sphere
        0.333333333333
    """

    n_beta: int
    n_alpha: int

    def __post_init__(self) -> None:
        for name in ("n_beta", "n_alpha"):
            count = check_degree(name, getattr(self, name))
            if count == 0:
                raise ValueError(f"{name} must be a positive integer, got 0")
            object.__setattr__(self, name, count)  # a Python int, whatever integer came

    @classmethod
    def exact(cls, degree: int) -> Grid:
        """The smallest grid that integrates every harmonic up to ``degree`` (``n_alpha`` padded to a fast length).

        ``Grid.exact(2 * lmax)`` analyses functions of degree ``lmax``; ``Grid.exact(l1 + l2 + l3)`` the part of degree
        up to ``l3`` of a product of functions of degrees ``l1`` and ``l2``.

        Raises:
            TypeError, ValueError: not a non-negative integer.
        """
        degree = check_degree("degree", degree)
        return cls(degree // 2 + 1, fast_length(degree + 1))

    @property
    def shape(self) -> tuple[int, int]:
        """``(n_beta, n_alpha)``, the shape of a function's values on the grid."""
        return self.n_beta, self.n_alpha

    @property
    def exactness(self) -> int:
        """Every spherical harmonic up to this degree is integrated without error."""
        return min(2 * self.n_beta - 1, self.n_alpha - 1)

    @property
    def cos_beta(self) -> Array:
        """``cos(beta)`` of the rings, shape ``(n_beta,)``, rising: the first ring is nearest to ``-y``."""
        return gauss_legendre(self.n_beta)[0]

    @property
    def alpha(self) -> Array:
        """The longitudes in radians, shape ``(n_alpha,)``: 0 at z, a quarter turn at x."""
        return 2 * np.pi * np.arange(self.n_alpha) / self.n_alpha

    @property
    def ring_weights(self) -> Array:
        """The weight of one point of each ring, shape ``(n_beta,)``."""
        return gauss_legendre(self.n_beta)[1] * (2 * np.pi / self.n_alpha)

    @property
    def weights(self) -> Array:
        """The weight of every point, shape ``(n_beta, n_alpha)``, read-only; they sum to ``4 pi``."""
        return np.broadcast_to(self.ring_weights[:, None], self.shape)

    def points(self) -> Array:
        """The points ``(x, y, z)``, shape ``(n_beta, n_alpha, 3)``; the polar axis is y."""
        cos_beta = self.cos_beta[:, None]
        sin_beta = np.sqrt((1 - cos_beta) * (1 + cos_beta))
        x, z = sin_beta * np.sin(self.alpha), sin_beta * np.cos(self.alpha)
        return np.stack([x, np.broadcast_to(cos_beta, x.shape), z], axis=-1)


@dataclass(frozen=True)
class Torus:
    """An equispaced grid on the torus of ``theta`` (the doubled polar angle) and ``alpha``.

    The mean over it is exact for products of trigonometric series of total degree below ``n_theta`` and ``n_alpha``.
    """

    n_theta: int
    n_alpha: int

    @property
    def shape(self) -> tuple[int, int]:
        """``(n_theta, n_alpha)``."""
        return self.n_theta, self.n_alpha

    @property
    def ring_weights(self) -> Array:
        """The weight of one point of each ring, shape ``(n_theta,)``; over all points they sum to ``2 pi``."""
        return np.full(self.n_theta, 2 * np.pi / (self.n_theta * self.n_alpha))
