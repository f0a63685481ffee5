"""Grids up to reflections: one point of every mirror set, and linear maps as matrices between parities at those points.

Every stage of a map keeps the parity of a function under reflections: of the rings (north and south), of the longitude
(``alpha -> -alpha``), and, where there is an even number of longitudes, under half a turn. So each parity is carried
from the components to one point of each mirror set alone, with an eighth of the work; at the points the parities are
added with the signs of each reflection, which is a matrix of plus and minus ones, and its own transpose.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tpnumba.backends.lowering.linear_maps import angles, folded, mirror_step
from tpnumba.backends.lowering.matrices import Floats, Ints, Sparse
from tpnumba.plans import stages
from tpnumba.tables.quadrature import Grid, Torus

#: Coefficients that differ by less are the same, next to the largest.
_ROUNDING = 1e-13


def reflected(count: int, *, keeps_first: bool) -> Ints:
    """Where each of ``count`` points is mirrored to: on a line about its middle, or on a circle about the first."""
    places = np.arange(count)
    return -places % count if keeps_first else places[::-1]


def representatives(mirror: Ints) -> Ints:
    """Of each point and where it is mirrored to, the one that comes first."""
    return np.flatnonzero(np.arange(mirror.size) <= mirror)


def mirrored_columns(matrix: Floats) -> tuple[Ints, Ints, Ints] | None:
    """Which columns mirror which, so that all rows are even or odd; and the rows that are; None if none do.

    Cosines are even and sines odd about the middle of what they are sampled on, and Legendre functions are either.
    """
    n = matrix.shape[1]
    bound = _ROUNDING * np.abs(matrix).max(initial=0.0)
    for mirror in (reflected(n, keeps_first=False), reflected(n, keeps_first=True)):
        even, odd = (np.all(np.abs(matrix - sign * matrix[:, mirror]) <= bound, axis=1) for sign in (1, -1))
        if n > 1 and np.all(even | odd):
            return mirror, np.flatnonzero(even), np.flatnonzero(odd & ~even)
    return None


@dataclass(frozen=True)
class ParityReduction:
    """The points of a grid, mirror set by mirror set.

    Attributes:
        rings: each ring and its reflection, shape ``(sets, 2)``.
        longitudes: each longitude and its reflections, shape ``(sets, 4)``, or 2 without half a turn.
        ring_shares, longitude_shares: the number of different points of a mirror set, over the number of its places.
    """

    rings: Ints
    longitudes: Ints
    ring_shares: Floats
    longitude_shares: Floats

    @classmethod
    def of(cls, domain: Grid | Torus) -> ParityReduction:
        """The mirror sets of a grid on the sphere, or on the torus, whose first ring is its own reflection."""
        n_rings, n_alpha = domain.shape
        mirror = reflected(n_rings, keeps_first=isinstance(domain, Torus))
        first = representatives(mirror)
        rings = np.stack([first, mirror[first]], axis=1)
        half_turn = n_alpha % 2 == 0
        alpha = np.arange(n_alpha // (4 if half_turn else 2) + 1)
        turned = [alpha, -alpha]
        if half_turn:
            turned += [alpha + n_alpha // 2, n_alpha // 2 - alpha]
        longitudes = np.stack(turned, axis=1) % n_alpha
        return cls(rings, longitudes, _shares(rings), _shares(longitudes))


def _shares(reduction: Ints) -> Floats:
    return np.array([len(set(mirrors)) / len(mirrors) for mirrors in reduction.tolist()])


@dataclass(frozen=True)
class Block:
    """Components of one order and one parity of the rings, and their values at one ring of each mirror set.

    ``places`` are the components (sources), ``order_index`` the order's place among ``0, +1, -1, +2, ...``. The order
    ``-m``, if ``both``, has the same matrix, its components ``mirror`` places further and its index one later.
    ``matrix`` has the shape ``(components, mirror sets of rings)``.
    """

    odd: int
    order_index: int
    both: bool
    mirror: int
    places: Ints
    matrix: Floats


@dataclass(frozen=True)
class Separated:
    """A linear map to a grid, parity by parity.

    Attributes:
        sparse: what goes before, if anything, and makes the components.
        blocks: from components to orders.
        orders: the number of orders.
        turns: for every parity in longitude the indices of its orders, and the matrix ``(orders, longitudes)``.
    """

    sparse: Sparse | None
    blocks: tuple[Block, ...]
    orders: int
    turns: tuple[tuple[Ints, Floats], ...]


def separate(linear_map: stages.LinearMap, size: int, domain: Grid | Torus, reduction: ParityReduction) -> Separated:
    """Read a map of ``size`` numbers to the points of a domain."""
    sparse: Sparse | None = None
    legendre: tuple[stages.LegendreStage, Ints, Floats] | None = None
    fourier: stages.FourierStage | None = None
    theta: stages.ThetaStage | None = None
    for stage, places, factors in folded(linear_map, size):
        match stage:
            case stages.SparseStage():
                sparse = Sparse.of_stage(stage, size, places, factors)
            case stages.LegendreStage():
                legendre = stage, places, factors
            case stages.ThetaStage():
                theta = stage
            case stages.FourierStage():
                fourier = stage
    assert legendre is not None
    assert fourier is not None
    blocks = tuple(_blocks(*legendre, theta, domain, reduction))
    return Separated(sparse, blocks, 2 * fourier.m_max + 1, _turns(fourier, reduction))


def _blocks(
    legendre: stages.LegendreStage,
    places: Ints,
    factors: Floats,
    theta: stages.ThetaStage | None,
    domain: Grid | Torus,
    reduction: ParityReduction,
) -> Iterator[Block]:
    """Of each order and parity of the rings; components stand at ``places`` and have ``factors``."""
    for m, (columns, table) in enumerate(legendre.orders):
        values = table if theta is None else table @ _theta_waves(m, theta, domain)
        values = values * factors[columns[0], None]
        here, there = values[:, reduction.rings[:, 0]], values[:, reduction.rings[:, 1]]
        odd = np.abs(here + there).sum(axis=1) < np.abs(here - there).sum(axis=1)
        read, order_index = places[columns], max(2 * m - 1, 0)
        for parity in (0, 1):
            chosen = odd == bool(parity)
            yield Block(parity, order_index, m > 0, mirror_step(read), read[0][chosen], here[chosen])


def _turns(fourier: stages.FourierStage, reduction: ParityReduction) -> tuple[tuple[Ints, Floats], ...]:
    """For every parity in longitude, its orders and their values at the first longitude of each mirror set."""
    derivative = fourier.kind == "derivative"
    at = fourier.matrix[:, reduction.longitudes[:, 0]]
    order_index = np.arange(2 * fourier.m_max + 1)
    order = (order_index + 1) // 2
    sine = ((order_index % 2 == 0) & (order > 0)) != derivative
    kind = sine + 2 * (order % 2) if reduction.longitudes.shape[1] == 4 else sine.astype(np.int64)
    parities = [np.flatnonzero(kind == parity) for parity in range(reduction.longitudes.shape[1])]
    return tuple((indices, at[indices]) for indices in parities)


def _theta_waves(m: int, theta: stages.ThetaStage, domain: Grid | Torus) -> Floats:
    """The values of ``cos(u theta)``, for odd orders ``sin(u theta)``, on the rings of the torus: (u, rings)."""
    turned = angles(np.arange(theta.count), domain.shape[0])
    return np.sin(turned) if m % 2 else np.cos(turned)
