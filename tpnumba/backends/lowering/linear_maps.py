"""Linear maps as products with constant matrices, dense or sparse; long Fourier sums in two passes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tpnumba.backends.lowering.matrices import ConstantMatrix, Floats, Ints, Sparse
from tpnumba.plans import stages

#: Stages that are matrices; the others select and scale what these read.
MatrixStage = stages.SparseStage | stages.LegendreStage | stages.FourierStage | stages.ThetaStage


def folded(linear_map: stages.LinearMap, size: int) -> Iterator[tuple[MatrixStage, Ints, Floats]]:
    """The stages of a map of ``size`` numbers that are matrices; selections and scaling become part of the next one.

    Yields:
        A stage; where each number that it reads stands among those before it; and the factor of each.
    """
    places, factors = np.arange(size), np.ones(size)
    for stage in linear_map.stages:
        match stage:
            case stages.Selection():
                places, factors = places[stage.start : stage.stop], factors[stage.start : stage.stop]
            case stages.Blocks():
                places, factors = places[stage.places], factors[stage.places] * stage.scales
            case stages.DegreeScaling():
                factors = factors * stage.factors
            case _:
                yield stage, places, factors
                made = _size_made(stage)
                places, factors = np.arange(made), np.ones(made)
    # Nothing selects or scales last.
    assert not isinstance(linear_map.stages[-1], stages.Selection | stages.Blocks | stages.DegreeScaling)


def mirror_step(places: Ints) -> int:
    """How far from the component of each order m > 0 that of -m stands; 0 where there is none.

    Args:
        places: of the components of an order, and of its negative, shape ``(1 or 2, degrees)``.
    """
    return int(places[1, 0] - places[0, 0]) if places.shape[0] == 2 and places.size else 0


def _size_made(stage: MatrixStage) -> int:
    """Real numbers that a stage makes; its own ``size_out`` counts those of fast Fourier transforms twice."""
    match stage:
        case stages.FourierStage():
            return stage.n_alpha * stage.n_beta
        case stages.ThetaStage():
            return (2 * stage.m_max + 1) * stage.n_theta
    return stage.size_out


def angles(waves: Ints, count: int) -> Floats:
    """``2 pi wave j / count``, shape ``(waves, count)``; reduced in integers, so that large ones see no rounding."""
    turns: Ints = (waves[:, None] * np.arange(count)) % count
    return 2 * np.pi * turns / count


@dataclass(frozen=True, eq=False)
class Pass:
    """One factor of a linear map: dense matrices, none of which write or read the same numbers as another, or sparse.

    ``taken`` and ``made`` are the sizes of the array that stands before and of the one that it makes.
    """

    matrices: tuple[ConstantMatrix, ...] | Sparse
    taken: int
    made: int

    def transposed(self) -> tuple[ConstantMatrix, ...] | Sparse:
        """The matrices of the transposed map."""
        if isinstance(self.matrices, Sparse):
            return self.matrices.transposed()
        return tuple(matrix.transposed() for matrix in self.matrices)


#: How the rings and longitudes of grid values follow each other: numbers from one longitude to the next, and of a ring.
Steps = tuple[int, int]


def one_pass(axis: Axis) -> int:  # noqa: ARG001
    """The first factor of Fourier sums that are a single matrix."""
    return 1


def passes_of(
    linear_map: stages.LinearMap,
    size: int,
    steps: Steps | None = None,
    weights: Floats | None = None,
    *,
    first_factor: Callable[[Axis], int] = one_pass,
) -> Iterator[Pass]:
    """The factors of a linear map of ``size`` numbers, the one that is applied first before the others.

    Args:
        linear_map: the map; its scaling and selections become part of what follows them.
        size: the numbers that it takes.
        steps: of the grid values, if their rings are not the fastest.
        weights: of rings, to be multiplied with.
        first_factor: which factor of its length a Fourier sum is cut by, see :meth:`Axis.sums`.
    """
    taken = size
    for stage, places, factors in folded(linear_map, size):
        passes = _passes(stage, taken, places, factors, steps, weights, first_factor)
        yield from passes
        taken = passes[-1].made


def _passes(
    stage: MatrixStage,
    taken: int,
    places: Ints,
    factors: Floats,
    steps: Steps | None,
    weights: Floats | None,
    first_factor: Callable[[Axis], int],
) -> list[Pass]:
    match stage:
        case stages.SparseStage():
            return [Pass(Sparse.of_stage(stage, taken, places, factors), taken, stage.size_out)]
        case stages.LegendreStage():
            return [Pass(tuple(_legendre(stage, places, factors, weights)), taken, stage.size_out)]
        case stages.FourierStage():
            return _fourier(stage, steps or (stage.n_beta, 1), first_factor)
    return _theta(stage, first_factor)


def _legendre(
    stage: stages.LegendreStage, places: Ints, factors: Floats, weights: Floats | None
) -> Iterator[ConstantMatrix]:
    """A matrix for each order and its negative; factors are those of degrees, so the same for both."""
    rings = np.arange(stage.n_beta)
    for m, (columns, matrix) in enumerate(stage.orders):
        scaled = matrix * factors[columns[0]][:, None]
        scaled = scaled if weights is None else scaled * weights
        to, source = max(2 * m - 1, 0) * stage.n_beta + rings, places[columns]
        yield ConstantMatrix(scaled, to, source[0], source.shape[0], stage.n_beta, mirror_step(source))


def _fourier(stage: stages.FourierStage, steps: Steps, first_factor: Callable[[Axis], int]) -> list[Pass]:
    """Sums of cosines and sines, ``cos(m alpha)`` and ``sin(m alpha)`` or their derivatives; columns are rings."""
    orders = 2 * stage.m_max + 1
    m = (np.arange(orders) + 1) // 2
    is_sine = (np.arange(orders) % 2 == 0) & (m > 0)
    phases = np.where(is_sine, -1j, 1.0)
    if stage.kind == "derivative":
        phases = np.where(m > 0, phases * 1j, 0.0)
    axis = Axis(m, phases, stage.n_alpha, stage.n_beta)
    by_wave, between, by_place = (0, stage.n_beta, 1), (0, stage.n_beta, 1), (0, *steps)
    sums = axis.sums(by_wave, between, by_place, first_factor(axis))
    return _joined([sums], orders * stage.n_beta, stage.n_alpha * stage.n_beta)


def _theta(stage: stages.ThetaStage, first_factor: Callable[[Axis], int]) -> list[Pass]:
    """Cosine series for even orders, sine series for odd ones.

    Orders ``0, +1, -1, +2, -2, ...`` have the parity of every fourth other, which are the columns of one sum.
    """
    orders = 2 * stage.m_max + 1
    parities = []
    for first in range(min(4, orders)):
        phase = 1.0 if first in (0, 3) else -1j
        axis = Axis(np.arange(stage.count), np.full(stage.count, phase), stage.n_theta, len(range(first, orders, 4)))
        by_wave, by_place = (first * stage.count, 1, 4 * stage.count), (first * stage.n_theta, 1, 4 * stage.n_theta)
        parities.append(axis.sums(by_wave, (first, orders, 4), by_place, first_factor(axis)))
    return _joined(parities, orders * stage.count, orders * stage.n_theta)


#: Where the first number of an axis stands, its step along the axis, and that from column to column.
_Places = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class Axis:
    """``f[j] = Re sum over k of in[k] * phases[k] * exp(2 pi i waves[k] j / count)``, for every column."""

    waves: Ints
    phases: npt.NDArray[np.complex128]
    count: int
    columns: int

    def sums(self, taken: _Places, between: _Places, made: _Places, n1: int) -> list[list[ConstantMatrix]]:
        """Matrices of passes that follow each other: of one, or of two with ``2 * count`` numbers in between.

        ``n1`` divides ``count``; 1 for one pass. With ``count = n1 n2``, ``j = n2 j1 + j2`` and ``m1`` the rest of a
        wave divided by n1::

            h[m1, j2] = sum over waves of rest m1 of in * phase * exp(2 pi i wave j2 / count)
            f[j]      = Re sum over m1 of h[m1, j2] * exp(2 pi i m1 j1 / n1)

        which is a matrix for each m1, and one matrix for all j2.
        """
        step_made, step_taken = made[2], taken[2]
        every = np.arange(self.count)
        if n1 == 1:
            matrix = (self.phases[:, None] * _waves(self.waves, self.count)).real
            to, source = made[0] + every * made[1], taken[0] + np.arange(self.waves.size) * taken[1]
            return [[ConstantMatrix(matrix, to, source, self.columns, step_made, step_taken)]]
        n2 = self.count // n1
        before, after = [], []
        for m1 in range(n1):
            own = np.flatnonzero(self.waves % n1 == m1)
            values = self.phases[own, None] * _waves(self.waves[own], self.count)[:, :n2]
            matrix = np.concatenate([values.real, values.imag], axis=1)
            to = between[0] + (2 * n2 * m1 + np.arange(2 * n2)) * between[1]
            before.append(ConstantMatrix(matrix, to, taken[0] + own * taken[1], self.columns, between[2], step_taken))
        values = _waves(np.arange(n1), n1)
        last = np.stack([values.real, -values.imag], axis=1).reshape(2 * n1, n1)
        for j2 in range(n2):
            source = between[0] + (np.arange(2 * n1) * n2 + j2) * between[1]
            to = made[0] + (np.arange(n1) * n2 + j2) * made[1]
            after.append(ConstantMatrix(last, to, source, self.columns, step_made, between[2]))
        return [before, after]


def _waves(waves: Ints, count: int) -> npt.NDArray[np.complex128]:
    """``exp(2 pi i wave j / count)``."""
    turned = angles(waves, count)
    return np.cos(turned) + 1j * np.sin(turned)


def _joined(beside: list[list[list[ConstantMatrix]]], taken: int, made: int) -> list[Pass]:
    """Passes of several sums that work beside each other, equally many, as passes of one."""
    passes = [tuple(matrix for own in together for matrix in own) for together in zip(*beside, strict=True)]
    if len(passes) == 1:
        return [Pass(passes[0], taken, made)]
    return [Pass(passes[0], taken, 2 * made), Pass(passes[1], 2 * made, made)]
