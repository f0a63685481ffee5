"""Linear maps as products with constant matrices, dense or sparse; long Fourier sums in two passes.

For transforms in one kernel as for those in several.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tpnumba.backends.gpu.tile.program import ConstantMatrix, Floats, Ints
from tpnumba.plans import stages

#: Multiply-adds that a device does in the time in which it moves a number, in a kernel of this kind. From data sheets:
#: at full rate 40 for float32 on an H100 (33.5e12 a second, 3.35e12 bytes a second), 25 on an A100, and for float64
#: about the same; matrix products through shared memory reach about half. Not measured.
BALANCE = 20

#: The derivative of ``Tr(X Y Z^T)`` with respect to an operand is ``Z Y^T``, ``X^T Z`` or ``X Y``: which operands are
#: multiplied, and whether as they stand or transposed.
_FACTORS = {0: ((2, True), (1, False)), 1: ((0, False), (2, True)), 2: ((0, True), (1, True))}


def matrix_factors(output: int, n: int) -> list[tuple[int, int, int]]:
    """The factors of the product of ``n x n`` matrices that an output is: operands, their steps of rows and columns."""
    return [(i, n, 1) if plain else (i, 1, n) for i, plain in _FACTORS[output]]


@dataclass(frozen=True)
class Sparse:
    """A sparse matrix; zeros may be among the values, so that rows that read the same columns can be seen."""

    shape: tuple[int, int]
    rows: Ints
    columns: Ints
    values: Floats

    @classmethod
    def of(cls, matrices: Iterable[ConstantMatrix], shape: tuple[int, int]) -> Sparse:
        """What dense matrices do together."""
        found = []
        for own in matrices:
            c, k, m = np.indices((own.columns, *own.values.shape))
            rows, columns = own.to[m] + c * own.step_to, own.source[k] + c * own.step_source
            found.append((rows.ravel(), columns.ravel(), np.broadcast_to(own.values, m.shape).ravel()))
        return cls(shape, *(np.concatenate(arrays) for arrays in zip(*found, strict=True)))

    def transposed(self) -> Sparse:
        """The transpose."""
        return Sparse(self.shape[::-1], self.columns, self.rows, self.values)


@dataclass(frozen=True, eq=False)
class Pass:
    """One factor of a linear map: dense matrices, none of which write or read the same numbers as another, or sparse.

    ``taken`` and ``made`` are sizes; the numbers taken start at ``start`` of the array that stands before.
    """

    matrices: tuple[ConstantMatrix, ...] | Sparse
    start: int
    taken: int
    made: int

    def transposed(self) -> tuple[ConstantMatrix, ...] | Sparse:
        """The matrices of the transposed map."""
        if isinstance(self.matrices, Sparse):
            return self.matrices.transposed()
        return tuple(matrix.transposed() for matrix in self.matrices)


#: How the rings and longitudes of grid values follow each other: numbers from one longitude to the next, and of a ring.
_Steps = tuple[int, int]


def passes_of(
    linear_map: stages.LinearMap, size: int, steps: _Steps | None = None, weights: Floats | None = None
) -> Iterator[Pass]:
    """The factors of a linear map of ``size`` numbers, the one that is applied first before the others.

    Scaling and selections become part of what follows them. ``steps``: of the grid values, if their rings are not the
    fastest; ``weights``: of rings, to be multiplied with.
    """
    start, factors = 0, np.ones(size)
    for stage in linear_map.stages:
        match stage:
            case stages.Selection():
                start, factors = start + stage.start, factors[stage.start : stage.stop]
                continue
            case stages.DegreeScaling():
                factors = factors * stage.factors
                continue
        for own in _stage(stage, factors, steps, weights):
            yield Pass(own.matrices, start, factors.size, own.made)
            start, factors = 0, np.ones(own.made)
    assert (factors == 1).all()  # nothing scales or selects last


def _stage(stage: stages.Stage, factors: Floats, steps: _Steps | None, weights: Floats | None) -> list[Pass]:
    match stage:
        case stages.SparseStage():
            table = stage.sparse
            rows, columns = table.coords
            matrix = Sparse((table.shape[0], table.shape[1]), rows, columns, table.values * factors[columns])
            return [Pass(matrix, 0, factors.size, table.shape[0])]
        case stages.LegendreStage():
            return [Pass(tuple(_legendre(stage, factors, weights)), 0, factors.size, stage.size_out)]
        case stages.FourierStage():
            return _fourier(stage, steps or (stage.n_beta, 1))
    assert isinstance(stage, stages.ThetaStage)
    return _theta(stage)


def _legendre(stage: stages.LegendreStage, factors: Floats, weights: Floats | None) -> Iterator[ConstantMatrix]:
    """A matrix for each order and its negative; factors are those of degrees, so the same for both."""
    rings = np.arange(stage.n_beta)
    for m, (places, matrix) in enumerate(stage.orders):
        scaled = matrix * factors[places[0]][:, None]
        scaled = scaled if weights is None else scaled * weights
        order = max(2 * m - 1, 0)
        yield ConstantMatrix(scaled, order * stage.n_beta + rings, places[0], places.shape[0], stage.n_beta, -2 * m)


def _fourier(stage: stages.FourierStage, steps: _Steps) -> list[Pass]:
    """Sums of cosines and sines, ``cos(m alpha)`` and ``sin(m alpha)`` or their derivatives; columns are rings."""
    orders = 2 * stage.m_max + 1
    m = (np.arange(orders) + 1) // 2
    is_sine = (np.arange(orders) % 2 == 0) & (m > 0)
    phases = np.where(is_sine, -1j, 1.0)
    if stage.kind == "derivative":
        phases = np.where(m > 0, phases * 1j, 0.0)
    axis = Axis(m, phases, stage.n_alpha, stage.n_beta)
    by_wave, between, by_place = (0, stage.n_beta, 1), (0, stage.n_beta, 1), (0, *steps)
    return _joined([axis.sums(by_wave, between, by_place)], orders * stage.n_beta, stage.n_alpha * stage.n_beta)


def _theta(stage: stages.ThetaStage) -> list[Pass]:
    """Cosine series for even orders, sine series for odd ones.

    Orders ``0, +1, -1, +2, -2, ...`` have the parity of every fourth other, which are the columns of one sum.
    """
    orders = 2 * stage.m_max + 1
    parities = []
    for first in range(min(4, orders)):
        phase = 1.0 if first in (0, 3) else -1j
        axis = Axis(np.arange(stage.count), np.full(stage.count, phase), stage.n_theta, len(range(first, orders, 4)))
        by_wave, by_place = (first * stage.count, 1, 4 * stage.count), (first * stage.n_theta, 1, 4 * stage.n_theta)
        parities.append(axis.sums(by_wave, (first, orders, 4), by_place))
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

    def sums(self, taken: _Places, between: _Places, made: _Places) -> list[list[ConstantMatrix]]:
        """Matrices of passes that follow each other: of one, or of two with ``2 * count`` numbers in between.

        With ``j = n2 j1 + j2`` and ``m1`` the rest of a wave divided by n1, ``count = n1 n2``::

            h[m1, j2] = sum over waves of rest m1 of in * phase * exp(2 pi i wave j2 / count)
            f[j]      = Re sum over m1 of h[m1, j2] * exp(2 pi i m1 j1 / n1)

        which is a matrix for each m1, and one matrix for all j2: the same kernel as for everything else, the same bits
        however samples are shared out, which cuFFT does not promise, and no work areas besides.
        """
        n1 = self.first_factor()
        step_made, step_taken = made[2], taken[2]
        every = np.arange(self.count)
        if n1 == 1:
            matrix = (self.phases[:, None] * self._waves(self.waves, self.count)).real
            to, source = made[0] + every * made[1], taken[0] + np.arange(self.waves.size) * taken[1]
            return [[ConstantMatrix(matrix, to, source, self.columns, step_made, step_taken)]]
        n2 = self.count // n1
        before, after = [], []
        for m1 in range(n1):
            own = np.flatnonzero(self.waves % n1 == m1)
            values = self.phases[own, None] * self._waves(self.waves[own], self.count)[:, :n2]
            matrix = np.concatenate([values.real, values.imag], axis=1)
            to = between[0] + (2 * n2 * m1 + np.arange(2 * n2)) * between[1]
            before.append(ConstantMatrix(matrix, to, taken[0] + own * taken[1], self.columns, between[2], step_taken))
        values = self._waves(np.arange(n1), n1)
        last = np.stack([values.real, -values.imag], axis=1).reshape(2 * n1, n1)
        for j2 in range(n2):
            source = between[0] + (np.arange(2 * n1) * n2 + j2) * between[1]
            to = made[0] + (np.arange(n1) * n2 + j2) * made[1]
            after.append(ConstantMatrix(last, to, source, self.columns, step_made, between[2]))
        return [before, after]

    def first_factor(self) -> int:
        """The factor n1 of the quickest sum in two passes; 1 if one pass is quicker."""
        n, k = self.count, self.waves.size

        def price(n1: int) -> tuple[float, int]:
            # Multiply-adds of a pass, and numbers read and written.
            steps = [(k * n, k + n)] if n1 == 1 else [(2 * k * n // n1, k + 2 * n), (2 * n * n1, 3 * n)]
            return sum(max(work / BALANCE, moved) for work, moved in steps), sum(work for work, _ in steps)

        return min((n1 for n1 in range(1, n // 2 + 1) if n % n1 == 0), key=price, default=1)

    def _waves(self, waves: Ints, count: int) -> npt.NDArray[np.complex128]:
        """``exp(2 pi i wave j / count)``, the angle reduced in integers, so that it sees no rounding when large."""
        angles = 2 * np.pi * ((waves[:, None] * np.arange(count)) % count) / count
        return np.cos(angles) + 1j * np.sin(angles)


def _joined(beside: list[list[list[ConstantMatrix]]], taken: int, made: int) -> list[Pass]:
    """Passes of several sums that work beside each other, equally many, as passes of one."""
    passes = [tuple(matrix for own in together for matrix in own) for together in zip(*beside, strict=True)]
    if len(passes) == 1:
        return [Pass(passes[0], 0, taken, made)]
    return [Pass(passes[0], 0, taken, 2 * made), Pass(passes[1], 0, 2 * made, made)]
