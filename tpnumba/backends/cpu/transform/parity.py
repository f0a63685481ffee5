"""Grids up to reflections: one point of every mirror set, and linear maps as matrices between parities at those points.

Every stage of a map keeps the parity of a function under reflections: of the rings (north and south), of the longitude
(``alpha -> -alpha``), and, where there is an even number of longitudes, under half a turn. So each parity is carried
from the components to one point of each mirror set alone, with an eighth of the work; at the points the parities are
added with the signs of each reflection, which is a matrix of plus and minus ones, and its own transpose.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tpnumba.plans import stages
from tpnumba.tables.quadrature import Grid, Torus

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


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
        ring = np.arange(n_rings)
        mirrored = ring[::-1] if isinstance(domain, Grid) else -ring % n_rings
        first = ring <= mirrored
        rings = np.stack([ring[first], mirrored[first]], axis=1)
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
    ``-m``, if ``both``, has the same matrix, its components ``2 m`` places earlier and its index one later. ``matrix``
    has the shape ``(components, mirror sets of rings)``.
    """

    m: int
    odd: int
    order_index: int
    both: bool
    places: Ints
    matrix: Floats


@dataclass(frozen=True)
class Separated:
    """A linear map to a grid, parity by parity.

    Attributes:
        sparse: what goes before, if anything; ``size`` is the number of components after it.
        blocks: from components to orders.
        orders: the number of orders.
        turns: for every parity in longitude the indices of its orders, and the matrix ``(orders, longitudes)``.
    """

    sparse: stages.SparseStage | None
    size: int
    blocks: tuple[Block, ...]
    orders: int
    turns: tuple[tuple[Ints, Floats], ...]


def separate(linear_map: stages.LinearMap, domain: Grid | Torus, reduction: ParityReduction) -> Separated:
    """Read a sequence of stages."""
    offset, size, sparse = 0, 0, None
    factors: Floats | None = None
    legendre: stages.LegendreStage | None = None
    fourier: stages.FourierStage | None = None
    theta: stages.ThetaStage | None = None
    for stage in linear_map.stages:
        if isinstance(stage, stages.Selection):
            offset = stage.start
        elif isinstance(stage, stages.DegreeScaling):
            factors = stage.factors
        elif isinstance(stage, stages.SparseStage):
            sparse, size = stage, stage.size_out
        elif isinstance(stage, stages.LegendreStage):
            legendre = stage
        elif isinstance(stage, stages.ThetaStage):
            theta = stage
        else:
            fourier = stage
    assert legendre is not None
    assert fourier is not None
    blocks: list[Block] = []
    for m, (columns, table) in enumerate(legendre.orders):
        values = table if theta is None else table @ _theta_waves(m, theta, domain)
        if factors is not None:
            values = values * factors[columns[0], None]
        here, there = values[:, reduction.rings[:, 0]], values[:, reduction.rings[:, 1]]
        odd = np.abs(here + there).sum(axis=1) < np.abs(here - there).sum(axis=1)
        for parity in (0, 1):
            chosen = odd == bool(parity)
            order_index = max(2 * m - 1, 0)
            blocks.append(Block(m, parity, order_index, m > 0, offset + columns[0][chosen], here[chosen]))
    derivative = fourier.kind == "derivative"
    orders = 2 * fourier.m_max + 1
    at = fourier.matrix[:, reduction.longitudes[:, 0]]
    order = (np.arange(orders) + 1) // 2
    sine = ((np.arange(orders) % 2 == 0) & (order > 0)) != derivative
    kind = sine + 2 * (order % 2) if reduction.longitudes.shape[1] == 4 else sine.astype(np.int64)
    parities = [np.flatnonzero(kind == parity) for parity in range(reduction.longitudes.shape[1])]
    turns = tuple((indices, at[indices]) for indices in parities)
    return Separated(sparse, size, tuple(blocks), orders, turns)


def _theta_waves(m: int, theta: stages.ThetaStage, domain: Grid | Torus) -> Floats:
    """The values of ``cos(u theta)``, for odd orders ``sin(u theta)``, on the rings of the torus: (u, rings)."""
    n_theta = domain.shape[0]
    angle = 2 * np.pi * ((np.arange(theta.count)[:, None] * np.arange(n_theta)) % n_theta) / n_theta
    return np.sin(angle) if m % 2 else np.cos(angle)
