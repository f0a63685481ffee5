"""Transform: operands carried by separable maps to a grid, multiplied there point by point, and integrated."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import sqrt
from typing import Any

import numpy as np
import numpy.typing as npt

from tpnumba.plans.base import Plan
from tpnumba.tables.couplings import harmonic_scale
from tpnumba.tables.quadrature import Grid
from tpnumba.tables.spherical_harmonics import legendre

Array = npt.NDArray[np.float64]


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
class LegendreStage:
    """From the components of ``degrees`` to one function of beta for every order, on ``n_beta`` rings.

    One small matrix a value of ``|m|``. Orders come as ``0, +1, -1, +2, -2, ...``.
    ``highest`` drops the degrees above it: they meet nothing in the other operands.
    """

    degrees: tuple[int, ...]
    highest: int
    n_beta: int

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
        return sum(2 * columns.size * self.n_beta for columns, _ in self.orders)

    @property
    def size_out(self) -> int:
        """Numbers a sample that it makes."""
        return (2 * self.m_max + 1) * self.n_beta


@dataclass(frozen=True, slots=True)
class FourierStage:
    """From orders ``0, +1, -1, ...`` to ``n_alpha`` longitudes: a real discrete Fourier transform on every ring."""

    m_max: int
    n_alpha: int
    n_beta: int

    @property
    def matrix(self) -> Array:
        """``cos(m alpha)`` for ``m >= 0`` and ``sin(m alpha)``, shape ``(2 m_max + 1, n_alpha)``, read-only."""
        return _fourier_matrix(self.m_max, self.n_alpha)

    @property
    def flops(self) -> int:
        """Operations a sample, as a dense product."""
        return 2 * (2 * self.m_max + 1) * self.n_alpha * self.n_beta

    @property
    def size_out(self) -> int:
        """Numbers a sample that it makes."""
        return self.n_alpha * self.n_beta


Stage = DegreeScaling | LegendreStage | FourierStage


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


@dataclass(frozen=True, repr=False)
class Transform(Plan):
    """``sum over the grid of weight * sum over (i, j, k, value) of value * A_i(x) B_j(y) C_k(z)`` as a form.

    ``maps[operand][component]`` carries an operand to a function on the grid; ``middle`` lists which components meet,
    with a factor.
    """

    maps: tuple[tuple[LinearMap, ...], ...]
    middle: tuple[tuple[tuple[int, ...], float], ...]
    grid: Grid

    __hash__ = Plan.__hash__

    def __repr__(self) -> str:
        described = [f"{operand.name}: {operand.size} {operand.access}" for operand in self.operands]
        return (
            f"Transform({', '.join(described[i] for i in self.inputs)} -> {described[self.output]}"
            f" | {self.grid.n_beta} x {self.grid.n_alpha} grid, exact to degree {self.grid.exactness})"
        )

    @property
    def fills_output(self) -> bool:
        """Whether every number of the output is written."""
        return True

    @property
    def flops(self) -> tuple[int, int]:
        """Operations a sample, and operations that are done once for all samples."""
        points = self.grid.n_beta * self.grid.n_alpha
        a_sample = len(self.middle) * points * len(self.inputs)
        once = 0
        for operand, maps in zip(self.operands, self.maps, strict=True):
            work = sum(linear_map.flops for linear_map in maps)
            if operand.access == "batch":
                a_sample += work
            else:
                once += work
        return a_sample, once

    @property
    def workspace(self) -> int:
        """Numbers a sample that the reference backend keeps besides operands and result."""
        points = self.grid.n_beta * self.grid.n_alpha
        stages = max(linear_map.workspace for maps in self.maps for linear_map in maps)
        return (2 + sum(len(maps) for maps in self.maps)) * points + stages


@lru_cache(maxsize=512)
def _degree_factors(stage: DegreeScaling) -> Array:
    factors = []
    for degree in stage.degrees:
        scale = harmonic_scale(stage.normalization, degree)
        factors += [1 / scale if stage.inverse else scale] * (2 * degree + 1)
    return _frozen(np.array(factors))


@lru_cache(maxsize=512)
def _legendre_orders(stage: LegendreStage) -> tuple[tuple[npt.NDArray[np.int64], Array], ...]:
    table = _legendre_on_rings(max(stage.degrees, default=0), stage.n_beta)
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


@lru_cache(maxsize=128)
def _legendre_on_rings(lmax: int, n_beta: int) -> Array:
    return _frozen(legendre(lmax, Grid(n_beta, 1).cos_beta))


@lru_cache(maxsize=128)
def _fourier_matrix(m_max: int, n_alpha: int) -> Array:
    # The angle is reduced in integers, so that cos and sin see no rounding of large arguments.
    rows = [np.ones(n_alpha)]
    for m in range(1, m_max + 1):
        angle = 2 * np.pi * ((m * np.arange(n_alpha)) % n_alpha) / n_alpha
        rows += [np.cos(angle), np.sin(angle)]
    return _frozen(np.stack(rows))


def _frozen(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    array.flags.writeable = False
    return array
