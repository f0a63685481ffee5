"""Stages of a linear map: what carries an operand to where it meets the others. Each has a transpose."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from math import ceil, log2, sqrt
from typing import Any

import numpy as np
import numpy.typing as npt

from tpnumba.tables.clebsch_gordan import SparseTable
from tpnumba.tables.couplings import harmonic_scale
from tpnumba.tables.fourier import dual_theta_series, theta_series
from tpnumba.tables.matrices import cartesian_component, operator_basis
from tpnumba.tables.quadrature import Grid
from tpnumba.tables.spherical_harmonics import legendre, legendre_over_sine, legendre_slope

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Selection:
    """The components from ``start`` to ``stop`` of ``size``."""

    start: int
    stop: int
    size: int

    @property
    def flops(self) -> int:
        """None."""
        return 0

    @property
    def size_out(self) -> int:
        """Numbers a sample that it makes."""
        return self.stop - self.start


@dataclass(frozen=True, slots=True)
class Blocks:
    """Some blocks of an operand, each times a factor, one after the other; the first stage of a map.

    Args:
        starts: where the first component of each block stands.
        degrees: of the blocks, ``2 l + 1`` components each.
        factors: one a block.
        step: how far apart the components of a block are; the number of copies in the layout ``ir_mul``.
        size: of the operand.
    """

    starts: tuple[int, ...]
    degrees: tuple[int, ...]
    factors: tuple[float, ...]
    step: int
    size: int

    @property
    def places(self) -> npt.NDArray[np.int64]:
        """Where each component stands in the operand, shape ``(size_out,)``, read-only."""
        return _block_places(self)

    @property
    def scales(self) -> Array:
        """The factor of each component, read-only."""
        return _block_scales(self)

    @property
    def plain(self) -> Blocks:
        """The same blocks with the factors 1."""
        return replace(self, factors=(1.0,) * len(self.factors))

    @property
    def flops(self) -> int:
        """Operations a sample."""
        return sum(2 * degree + 1 for degree, factor in zip(self.degrees, self.factors, strict=True) if factor != 1)

    @property
    def size_out(self) -> int:
        """Numbers a sample that it makes."""
        return sum(2 * degree + 1 for degree in self.degrees)


@dataclass(frozen=True, slots=True)
class DegreeScaling:
    """Multiply the components of each degree by ``s`` (or ``1/s``) of a normalisation of the harmonics."""

    degrees: tuple[int, ...]
    normalization: str
    inverse: bool = False

    @property
    def factors(self) -> Array:
        """One factor a component, read-only."""
        return _degree_factors(self)

    @property
    def flops(self) -> int:
        """Operations a sample."""
        return sum(2 * degree + 1 for degree in self.degrees)

    @property
    def size_out(self) -> int:
        """Numbers a sample that it makes."""
        return sum(2 * degree + 1 for degree in self.degrees)


@dataclass(frozen=True, slots=True)
class SparseStage:
    """A sparse matrix, named by its table and the table's arguments; the arrays live in a cache."""

    table: str
    arguments: tuple[Any, ...]

    @property
    def sparse(self) -> SparseTable:
        """The non-zeros; rows are what it makes, columns what it takes."""
        return _sparse_table(self)

    @property
    def flops(self) -> int:
        """Operations a sample."""
        return 2 * self.sparse.values.size

    @property
    def size_out(self) -> int:
        """Numbers a sample that it makes."""
        return self.sparse.shape[0]


@dataclass(frozen=True, slots=True)
class LegendreStage:
    """From the components of ``degrees`` to one function of beta for every order, as ``n_beta`` numbers.

    One small matrix a value of ``|m|``. Orders come as ``0, +1, -1, +2, -2, ...``. ``highest`` drops the degrees above
    it: they couple with nothing in the other operands. ``kind`` says which numbers: values on rings (``value``), of the
    derivative by beta (``slope``), of ``m P / sin(beta)`` (``over_sine``), or the coefficients of a series of the
    doubled circle (``theta`` and ``dual_theta``; ``n_beta`` is their count).
    """

    degrees: tuple[int, ...]
    highest: int
    n_beta: int
    kind: str = "value"

    @property
    def m_max(self) -> int:
        """The largest order."""
        return max((degree for degree in self.degrees if degree <= self.highest), default=0)

    @property
    def orders(self) -> tuple[tuple[npt.NDArray[np.int64], Array], ...]:
        """For each ``m >= 0`` the places of its components, (1 or 2, degrees), and the matrix (degrees, n_beta)."""
        return _legendre_orders(self)

    @property
    def size_in(self) -> int:
        """The number of components."""
        return sum(2 * degree + 1 for degree in self.degrees)

    @property
    def scatter(self) -> npt.NDArray[np.int64]:
        """Where each component stands in the concatenated results of the transpose; the last place holds zero."""
        return _legendre_scatter(self)

    @property
    def flops(self) -> int:
        """Operations a sample."""
        return 2 * self.n_beta * sum(2 * degree + 1 for degree in self.degrees if degree <= self.highest)

    @property
    def size_out(self) -> int:
        """Numbers a sample that it makes."""
        return (2 * self.m_max + 1) * self.n_beta


@dataclass(frozen=True, slots=True)
class FourierStage:
    """From orders ``0, +1, -1, ...`` to ``n_alpha`` longitudes: a real discrete Fourier transform on every ring.

    ``kind``: ``dense`` (a matrix product), ``fast`` (a fast Fourier transform), or ``derivative`` (dense, of the
    derivative by alpha without its factor m, which the Legendre stage ``over_sine`` holds).
    """

    m_max: int
    n_alpha: int
    n_beta: int
    kind: str = "dense"

    @property
    def matrix(self) -> Array:
        """``cos(m alpha)`` for ``m >= 0`` and ``sin(m alpha)``, shape ``(2 m_max + 1, n_alpha)``, read-only."""
        return _fourier_matrix(self.m_max, self.n_alpha, derivative=self.kind == "derivative")

    @property
    def flops(self) -> int:
        """Operations a sample."""
        if self.kind == "fast":
            return _fast_flops(self.n_alpha) * self.n_beta
        return 2 * (2 * self.m_max + 1) * self.n_alpha * self.n_beta

    @property
    def size_out(self) -> int:
        """Numbers a sample that it makes."""
        return self.n_alpha * self.n_beta * (2 if self.kind == "fast" else 1)


@dataclass(frozen=True, slots=True)
class ThetaStage:
    """From cosine (even m) and sine (odd m) series to ``n_theta`` angles of the doubled circle, for every order."""

    m_max: int
    count: int
    n_theta: int

    @property
    def flops(self) -> int:
        """Operations a sample, of fast Fourier transforms."""
        return (2 * self.m_max + 1) * _fast_flops(self.n_theta)

    @property
    def size_out(self) -> int:
        """Numbers a sample that it makes."""
        return (2 * self.m_max + 1) * self.n_theta * 2


Stage = Selection | Blocks | DegreeScaling | SparseStage | LegendreStage | FourierStage | ThetaStage


@dataclass(frozen=True, slots=True)
class LinearMap:
    """A linear map as a chain of stages; its transpose is the chain of transposes, backwards."""

    stages: tuple[Stage, ...]

    @property
    def flops(self) -> int:
        """Operations a sample, forward or transposed."""
        return sum(stage.flops for stage in self.stages)

    @property
    def workspace(self) -> int:
        """Numbers a sample of the largest two neighbouring intermediates."""
        sizes = [stage.size_out for stage in self.stages]
        return max((a + b for a, b in zip(sizes, [*sizes[1:], 0], strict=True)), default=0)


def synthesis(
    degrees: tuple[int, ...],
    highest: int,
    grid: Grid,
    normalization: str,
    *,
    output: bool,
    kind: str = "value",
    longitudes: str = "dense",
) -> LinearMap:
    """From the components of ``degrees`` to a function on a grid; ``highest`` drops the degrees above it.

    The output operand is expanded in harmonics that are scaled the other way.
    """
    legendre = LegendreStage(degrees, highest, grid.shape[0], kind)
    stages: tuple[Stage, ...] = (legendre, FourierStage(legendre.m_max, grid.n_alpha, grid.shape[0], longitudes))
    if normalization != "integral":
        stages = (DegreeScaling(degrees, normalization, inverse=output), *stages)
    return LinearMap(stages)


def _fast_flops(length: int) -> int:
    """Operations of a real fast Fourier transform: half of the usual ``5 n log2(n)`` of a complex one."""
    return ceil(2.5 * length * log2(max(length, 2)))


@lru_cache(maxsize=2048)
def _block_places(stage: Blocks) -> npt.NDArray[np.int64]:
    blocks = zip(stage.starts, stage.degrees, strict=True)
    return _frozen(
        np.concatenate([start + stage.step * np.arange(2 * degree + 1, dtype=np.int64) for start, degree in blocks])
    )


@lru_cache(maxsize=2048)
def _block_scales(stage: Blocks) -> Array:
    return _frozen(np.repeat(stage.factors, [2 * degree + 1 for degree in stage.degrees]))


@lru_cache(maxsize=512)
def _degree_factors(stage: DegreeScaling) -> Array:
    factors = []
    for degree in stage.degrees:
        scale = harmonic_scale(stage.normalization, degree)
        factors += [1 / scale if stage.inverse else scale] * (2 * degree + 1)
    return _frozen(np.array(factors))


_SPARSE: dict[str, Callable[..., SparseTable]] = {
    "operator_basis": operator_basis,
    "cartesian_component": cartesian_component,
}


@lru_cache(maxsize=256)
def _sparse_table(stage: SparseStage) -> SparseTable:
    return _SPARSE[stage.table](*stage.arguments)


@lru_cache(maxsize=512)
def _legendre_orders(stage: LegendreStage) -> tuple[tuple[npt.NDArray[np.int64], Array], ...]:
    table = _legendre_table(stage.m_max, stage.n_beta, stage.kind)  # the largest order is the largest degree in use
    centres = np.cumsum([0, *(2 * degree + 1 for degree in stage.degrees)])
    used = [(degree, int(start) + degree) for degree, start in zip(stage.degrees, centres, strict=False)]
    orders = []
    for m in range(stage.m_max + 1):
        present = [(degree, centre) for degree, centre in used if m <= degree <= stage.highest]
        places = np.array([centre for _, centre in present], dtype=np.int64)
        signs = (0,) if m == 0 else (m, -m)
        matrix = np.stack([table[degree, m] for degree, _ in present]) if present else np.zeros((0, stage.n_beta))
        columns = _frozen(np.stack([places + sign for sign in signs]))
        orders.append((columns, _frozen(matrix * (1.0 if m == 0 else sqrt(2)))))
    return tuple(orders)


@lru_cache(maxsize=512)
def _legendre_scatter(stage: LegendreStage) -> npt.NDArray[np.int64]:
    columns = np.concatenate([places.ravel() for places, _ in stage.orders])
    target = np.full(stage.size_in, columns.size, dtype=np.int64)
    target[columns] = np.arange(columns.size)
    return _frozen(target)


_ON_RINGS = {"value": legendre, "slope": legendre_slope, "over_sine": legendre_over_sine}


@lru_cache(maxsize=64)
def _legendre_table(lmax: int, count: int, kind: str) -> Array:
    if kind == "theta":
        series = theta_series(lmax)
        return _frozen(np.pad(series, ((0, 0), (0, 0), (0, count - series.shape[-1]))))
    if kind == "dual_theta":
        return _frozen(dual_theta_series(lmax, count - 1))
    return _frozen(_ON_RINGS[kind](lmax, Grid(count, 1).cos_beta))


@lru_cache(maxsize=128)
def _fourier_matrix(m_max: int, n_alpha: int, *, derivative: bool) -> Array:
    # The angle is reduced in integers, so that cos and sin see no rounding of large arguments.
    rows = [np.zeros(n_alpha) if derivative else np.ones(n_alpha)]
    for m in range(1, m_max + 1):
        angle = 2 * np.pi * ((m * np.arange(n_alpha)) % n_alpha) / n_alpha
        rows += [-np.sin(angle), np.cos(angle)] if derivative else [np.cos(angle), np.sin(angle)]
    return _frozen(np.stack(rows))


def _frozen(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    array.flags.writeable = False
    return array
