"""Canonical polyadic decompositions of tables of which only some entries are there: alternating least squares."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
#: The factors of a decomposition: an array (length of the axis, rank) for each of the three axes.
Factors = tuple[Floats, Floats, Floats]

#: Alternations from each start, joint steps that follow, and those of the best one at most.
_SWEEPS, _FIRST_STEPS, _STEPS = 30, 100, 200
#: A relative residual that is rounding.
EXACT = 1e-13
#: Joint steps end when this many of them together gain less than this part of the residual.
_PATIENCE, _GAIN = 10, 1e-3
#: Of the mean square of a column, what keeps equations solvable where a factor has no entry.
_RIDGE = 1e-12


@dataclass(frozen=True)
class MaskedTable:
    """Some entries of a table with three axes.

    Attributes:
        shape: of the table.
        coords: shape (3, n), the entries that are there.
        values: shape (n,), what stands at each.
        scales: shape (n,); an entry of the decomposition counts ``scales`` times.
    """

    shape: tuple[int, int, int]
    coords: npt.NDArray[np.int64]
    values: Floats
    scales: Floats

    @property
    def norm(self) -> float:
        """The root of the sum of squares."""
        return float(np.linalg.norm(self.values))

    def residual(self, factors: Factors) -> Floats:
        """What a decomposition leaves of each entry: ``values - scales * sum over r of a[i, r] b[j, r] c[k, r]``."""
        a, b, c = (factor[places] for factor, places in zip(factors, self.coords, strict=True))
        rest: Floats = self.values - self.scales * np.sum(a * b * c, axis=1)
        return rest

    def error(self, factors: Factors) -> float:
        """The norm of the residual, relative to that of the table."""
        return float(np.linalg.norm(self.residual(factors))) / self.norm


def joint_bytes(table: MaskedTable, rank: int) -> int:
    """Of the equations for all factors of a rank at once: their matrix, a copy with damping, and the derivatives."""
    parameters = rank * sum(table.shape)
    return 8 * parameters * (2 * parameters + len(table.values))


def decompositions(table: MaskedTable, most: int, *, restarts: int, seed: int) -> Iterator[Factors]:
    """The best decomposition found of each rank from 1 to ``most``, from which the error falls rank by rank.

    Each is looked for from ``restarts`` random starts, and from the best one of the rank before with a random term
    more. The same seed gives the same factors.

    Args:
        table: with at least one entry other than zero.
        most: the last rank.
        restarts: random starts of each rank.
        seed: of the random starts.
    """
    before: Factors | None = None
    for rank in range(1, most + 1):
        before = decompose(table, rank, restarts=restarts, seed=seed, before=before)
        yield before


def decompose(table: MaskedTable, rank: int, *, restarts: int, seed: int, before: Factors | None = None) -> Factors:
    """The best decomposition found of one rank; see :func:`decompositions`. ``before``: one of a smaller rank."""
    rng = np.random.default_rng((seed, rank))
    best: Factors | None = None
    starts = [] if before is None else [_with_terms(before, rank, table, rng)]
    starts += [_random(table, rank, rng) for _ in range(restarts)]
    for start in starts:
        found = _refined(table, _alternated(table, start), _FIRST_STEPS)
        if best is None or table.error(found) < table.error(best):
            best = found
        if table.error(best) < EXACT:
            return best
    assert best is not None
    return _refined(table, best, _STEPS)


def _random(table: MaskedTable, rank: int, rng: np.random.Generator) -> Factors:
    size = np.cbrt(table.norm / max(float(np.linalg.norm(table.scales)), 1e-300) / np.sqrt(rank))
    a, b, c = (size * rng.standard_normal((length, rank)) for length in table.shape)
    return a, b, c


def _with_terms(factors: Factors, rank: int, table: MaskedTable, rng: np.random.Generator) -> Factors:
    """The factors and random terms more, small ones, so that they first take up what the others leave."""
    more = _random(table, rank - factors[0].shape[1], rng)
    a, b, c = (np.concatenate([old, 0.1 * new], axis=1) for old, new in zip(factors, more, strict=True))
    return a, b, c


def _alternated(table: MaskedTable, factors: Factors) -> Factors:
    """Least squares for one factor after the other, the other two fixed."""
    current = list(factors)
    for _ in range(_SWEEPS):
        for axis in range(3):
            current[axis] = _solved(table, current, axis)
        # Terms keep the same size in all factors, which leaves the table as it is.
        norms = [np.linalg.norm(factor, axis=0) for factor in current]
        mean = np.cbrt(np.prod(norms, axis=0))
        current = [
            factor * (mean / np.where(norm == 0, 1.0, norm)) for factor, norm in zip(current, norms, strict=True)
        ]
    a, b, c = current
    return a, b, c


def _solved(table: MaskedTable, factors: list[Floats], axis: int) -> Floats:
    """The factor of one axis, row by row: each has the entries of its place on that axis."""
    length, rank = factors[axis].shape
    first, second = (factors[k][table.coords[k]] for k in range(3) if k != axis)
    columns = first * second * table.scales[:, None]
    places = table.coords[axis]
    gram, right = np.zeros((length, rank, rank)), np.zeros((length, rank))
    np.add.at(gram, places, columns[:, :, None] * columns[:, None, :])
    np.add.at(right, places, columns * table.values[:, None])
    ridge = _RIDGE * np.trace(np.sum(gram, axis=0)) / rank + np.finfo(np.float64).tiny
    solved: Floats = np.linalg.solve(gram + ridge * np.eye(rank), right[:, :, None])[:, :, 0]
    return solved


def _refined(table: MaskedTable, factors: Factors, steps: int) -> Factors:
    """Levenberg-Marquardt steps for all factors at once, as alternation comes near, but slowly nearer."""
    lengths, rank = table.shape, factors[0].shape[1]
    parameters = np.concatenate([factor.ravel() for factor in factors])

    def factors_of(flat: Floats) -> Factors:
        parts = np.split(flat, np.cumsum([length * rank for length in lengths[:2]]))
        a, b, c = (part.reshape(length, rank) for part, length in zip(parts, lengths, strict=True))
        return a, b, c

    residual = table.residual(factors)
    square, damping = float(residual @ residual), 1e-3
    history = [square]
    for _ in range(steps):
        jacobian = _jacobian(table, factors_of(parameters))
        gram, slope = jacobian @ jacobian.T, jacobian @ residual
        size = float(np.mean(np.diag(gram))) + np.finfo(np.float64).tiny
        while damping < 1e8:
            step = np.linalg.solve(gram + damping * size * np.eye(len(gram)), slope)
            trial = table.residual(factors_of(parameters + step))
            if float(trial @ trial) < square:
                parameters, residual, square = parameters + step, trial, float(trial @ trial)
                damping = max(damping / 5, 1e-14)
                break
            damping *= 4
        history.append(square)
        stalled = len(history) > _PATIENCE and square > history[-1 - _PATIENCE] * (1 - _GAIN)
        if stalled or damping >= 1e8 or square <= (EXACT * table.norm) ** 2:
            break
    return factors_of(parameters)


def _jacobian(table: MaskedTable, factors: Factors) -> Floats:
    """The derivative of the decomposition's entries by all factors, shape ``(parameters, n)``."""
    count, rank = table.coords.shape[1], factors[0].shape[1]
    met = [factor[places] for factor, places in zip(factors, table.coords, strict=True)]
    blocks = []
    for axis, length in enumerate(table.shape):
        first, second = (met[k] for k in range(3) if k != axis)
        block = np.zeros((length, rank, count))
        block[table.coords[axis], :, np.arange(count)] = first * second * table.scales[:, None]
        blocks.append(block.reshape(length * rank, count))
    return np.concatenate(blocks)
