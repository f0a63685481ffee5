"""From transforms and syntheses to their programs: sparse matrices one after the other, and a product in between."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

import numpy as np

from tpnumba.backends.gpu.program import (
    MOST_SAMPLES,
    Chunk,
    Floats,
    Ints,
    Matrix,
    Part,
    Phase,
    Program,
    Result,
    Rows,
    fitting,
)
from tpnumba.backends.gpu.space import Space
from tpnumba.backends.gpu.tables import pack
from tpnumba.plans.stages import (
    DegreeScaling,
    FourierStage,
    LegendreStage,
    LinearMap,
    Selection,
    SparseStage,
    Stage,
    ThetaStage,
)
from tpnumba.plans.synthesis import Synthesis
from tpnumba.plans.transform import Matrices, Transform

#: Non-zeros of all stages beyond which a plan has no program here, but one in steps (:mod:`staged`).
_MOST_NONZEROS = 2**21
#: With fewer samples in the tile of a block than so many, or none in shared memory, steps over many samples should be
#: faster. Not measured.
_LEAST_SAMPLES = 2


@dataclass(frozen=True)
class Sparse:
    """A sparse matrix; zeros may be among the values, so that rows that meet the same columns can be seen."""

    shape: tuple[int, int]
    rows: Ints
    columns: Ints
    values: Floats

    def transposed(self) -> Sparse:
        """The transpose."""
        return Sparse(self.shape[::-1], self.columns, self.rows, self.values)


def make_program(plan: Transform | Synthesis, dtype: str) -> Program | None:
    """The program of ``plan``, of one kernel; None if its tables or the tile of a sample are too large for that."""
    maps = plan.maps if isinstance(plan, Transform) else ((plan.linear_map,),)
    nonzeros = sum(_nonzeros(stage) for own in maps for linear_map in own for stage in linear_map.stages)
    # At least the fields and their product are in the tile at once.
    points = prod(plan.domain.shape) if isinstance(plan, Transform) else plan.sizes[1]
    fields = 1 + sum(len(maps[i]) for i in plan.inputs) if isinstance(plan, Transform) else 0
    if nonzeros > _MOST_NONZEROS or not _fits(*fitting(sum(plan.sizes) + fields * points, dtype, MOST_SAMPLES)):
        return None
    builder = _Builder(plan.sizes, plan.inputs, plan.output)
    if isinstance(plan, Transform):
        builder.transform(plan)
    else:
        builder.synthesis(plan)
    program = builder.program(dtype)
    return program if program is not None and _fits(program.samples, program.shared) else None


def _fits(samples: int, shared: bool) -> bool:
    return shared and samples >= _LEAST_SAMPLES


class _Builder:
    """Collects operations and keeps account of the tile: the inputs, the result, then whatever is in use."""

    def __init__(self, sizes: tuple[int, ...], inputs: tuple[int, ...], output: int) -> None:
        self.sizes, self.inputs, self.output = sizes, inputs, output
        ends = [int(end) for end in np.cumsum([0, *(sizes[i] for i in inputs), sizes[output]])]
        self.starts = dict(zip(inputs, ends, strict=False))
        self.slots = ends[-2]
        self.space = Space(ends[-1])
        self.operations: list[Rows | Matrix] = []

    def program(self, dtype: str) -> Program | None:
        """The tables of everything."""
        width = self.sizes[self.output]
        loads = {self.inputs.index(i): start for i, start in self.starts.items()}
        chunk = Chunk([Phase(loads, self.operations)], self.slots, np.arange(width), zero=False, size=self.space.end)
        return pack([chunk], self.inputs, tuple(self.sizes[i] for i in self.inputs), width, -1, dtype, MOST_SAMPLES)

    def transform(self, plan: Transform) -> None:
        """Carry the inputs to the domain, multiply, carry the products back."""
        rows, columns = plan.domain.shape
        points = rows * columns
        fields = {
            (i, component): self._chain(_forward(linear_map), self.starts[i])
            for i in self.inputs
            for component, linear_map in enumerate(plan.maps[i])
        }
        for component, linear_map in enumerate(plan.maps[plan.output]):
            back = _backward(linear_map)
            if not isinstance(plan.domain, Matrices):
                weights = np.tile(plan.domain.ring_weights, columns)
                back[0] = replace(back[0], values=back[0].values * weights[back[0].columns])
            meeting = [(places, factor) for places, factor in plan.terms if places[plan.output] == component]
            product = self.space.take(points)
            if isinstance(plan.domain, Matrices):
                self._matrix_products(plan, meeting, fields, product)
            else:
                self._pointwise(meeting, fields, product, points)
            self._chain(back, product, to_slots=True, add=component > 0)

    def synthesis(self, plan: Synthesis) -> None:
        """The map to the field, which has its rings first, or its transpose."""
        n_beta, n_alpha = plan.grid.shape
        points = np.arange(n_beta * n_alpha)
        # From the place in a field (beta, alpha) to that of the stages (alpha, beta).
        weights = np.repeat(plan.grid.ring_weights, n_alpha) if plan.weighted else np.ones(points.size)
        order = Sparse((points.size, points.size), points, points.reshape(n_alpha, n_beta).T.ravel(), weights)
        if plan.output == 0:
            matrices = [order.transposed(), *_backward(plan.linear_map)]
        else:
            matrices = [*_forward(plan.linear_map), order]
        self._chain(_joined(matrices), self.starts[self.inputs[0]], to_slots=True)

    def _chain(self, matrices: list[Sparse], start: int, *, to_slots: bool = False, add: bool = False) -> int:
        """Apply matrices in turn; returns where the result is."""
        for number, matrix in enumerate(matrices):
            last = to_slots and number == len(matrices) - 1
            to = self.slots if last else self.space.take(matrix.shape[0])
            self.operations.append(_apply(matrix, start, to, to_slots=last, add=last and add))
            self.space.give(start)
            start = to
        return start

    def _pointwise(
        self,
        meeting: list[tuple[tuple[int, ...], float]],
        fields: dict[tuple[int, int], int],
        to: int,
        points: int,
    ) -> None:
        """The product of fields at each point, summed over the terms."""
        everyone = np.arange(points)
        combinations, parts = [], []
        for number, (places, factor) in enumerate(meeting):
            starts = [fields[i, places[i]] for i in self.inputs]
            pairs = np.stack([*(start + everyone for start in starts), np.zeros_like(everyone)], axis=1)
            combinations.append((np.arange(points + 1), pairs))
            parts.append(Part(number, number, np.zeros((1, 2), dtype=np.int64), np.array([factor])))
        self.operations.append(Rows([Result(0, to, 1, points, tuple(parts))], combinations))

    def _matrix_products(
        self,
        plan: Transform,
        meeting: list[tuple[tuple[int, ...], float]],
        fields: dict[tuple[int, int], int],
        to: int,
    ) -> None:
        """The derivative of ``Tr(X Y Z^T)`` with respect to the output: ``X Y``, ``Z Y^T`` or ``X^T Z``."""
        n = plan.domain.shape[0]
        for number, (places, factor) in enumerate(meeting):
            at = {i: fields[i, places[i]] for i in self.inputs}
            match plan.output:
                case 2:
                    a, b = (at[0], n, 1), (at[1], n, 1)
                case 0:
                    a, b = (at[2], n, 1), (at[1], 1, n)
                case _:
                    a, b = (at[0], 1, n), (at[2], n, 1)
            self.operations.append(Matrix((n, n, n), a, b, (to, n, 1), scale=factor, add=number > 0))


def _apply(matrix: Sparse, start: int, to: int, *, to_slots: bool, add: bool) -> Rows:
    """A matrix as an operation: rows that meet the same columns are made together."""
    order = np.lexsort((matrix.columns, matrix.rows))
    rows, columns, values = matrix.rows[order], matrix.columns[order], matrix.values[order]
    begin = np.searchsorted(rows, np.arange(matrix.shape[0] + 1))
    results = []
    for row in range(matrix.shape[0]):
        own = slice(int(begin[row]), int(begin[row + 1]))
        terms = np.stack([columns[own], np.zeros_like(columns[own])], axis=1)
        parts = (Part(0, 0, terms, values[own]),) if len(terms) else ()
        results.append(Result(columns[own].tobytes(), to + row, 0, 1, parts))
    combinations = [(np.array([0, 1]), np.array([[start, 0, 0]]))]
    return Rows(results, combinations, product=False, add=add, to_slots=to_slots)


def _forward(linear_map: LinearMap) -> list[Sparse]:
    return _joined([_matrix(stage) for stage in linear_map.stages])


def _backward(linear_map: LinearMap) -> list[Sparse]:
    return _joined([_matrix(stage).transposed() for stage in reversed(linear_map.stages)])


def _joined(matrices: list[Sparse]) -> list[Sparse]:
    """Fewer matrices: what only scales, selects or permutes becomes part of its neighbour."""
    joined: list[Sparse] = []
    for matrix in matrices:
        both = _product(joined[-1], matrix) if joined else None
        joined = [*joined[:-1], both] if both is not None else [*joined, matrix]
    return joined


def _product(first: Sparse, second: Sparse) -> Sparse | None:
    """``second @ first``, if it is no more than renumbering and scaling; else None."""
    shape = second.shape[0], first.shape[1]
    for one, other, swap in ((first, second, False), (second.transposed(), first.transposed(), True)):
        if np.bincount(one.rows, minlength=one.shape[0]).max(initial=0) > 1:
            continue
        # Each row of `one` has a single number at most: the columns of `other` find it.
        where = np.full(one.shape[0], -1)
        where[one.rows] = np.arange(one.rows.size)
        found = where[other.columns]
        kept = found >= 0
        at = found[kept]
        result = Sparse(shape, other.rows[kept], one.columns[at], other.values[kept] * one.values[at])
        return Sparse(shape, result.columns, result.rows, result.values) if swap else result
    return None


def _nonzeros(stage: Stage) -> int:
    match stage:
        case LegendreStage():
            return sum(places.size for places, _ in stage.orders) * stage.n_beta
        case FourierStage():
            return (2 * stage.m_max + 1) * stage.n_alpha * stage.n_beta
        case ThetaStage():
            return (2 * stage.m_max + 1) * stage.count * stage.n_theta
        case SparseStage():
            return stage.sparse.values.size
    return stage.size_out


def _matrix(stage: Stage) -> Sparse:
    """The matrix of a stage; rows are what it makes, columns what it takes."""
    match stage:
        case Selection():
            rows = np.arange(stage.size_out)
            return Sparse((rows.size, stage.size), rows, rows + stage.start, np.ones(rows.size))
        case DegreeScaling():
            rows = np.arange(stage.size_out)
            return Sparse((rows.size, rows.size), rows, rows, stage.factors)
        case SparseStage():
            table = stage.sparse
            rows, columns = table.coords
            return Sparse((table.shape[0], table.shape[1]), rows, columns, table.values)
        case LegendreStage():
            return _legendre(stage)
        case FourierStage():
            return _on_every(stage.matrix.T, stage.n_beta)
        case ThetaStage():
            return _theta(stage)


def _legendre(stage: LegendreStage) -> Sparse:
    """From components to orders ``0, +1, -1, ...`` on rings: the place of an order is ``order * n_beta``."""
    rows, columns, values = [], [], []
    order = 0
    for places, matrix in stage.orders:
        for own in places:
            made = order * stage.n_beta + np.arange(stage.n_beta)
            rows.append(np.tile(made, own.size))
            columns.append(np.repeat(own, stage.n_beta))
            values.append(matrix.ravel())
            order += 1
    shape = stage.size_out, stage.size_in
    return Sparse(shape, np.concatenate(rows), np.concatenate(columns), np.concatenate(values))


def _on_every(matrix: Floats, count: int) -> Sparse:
    """A dense matrix that acts on the first of two axes, the same for each of ``count`` places of the second."""
    made, taken = (index.ravel() for index in np.indices(matrix.shape))
    every = np.arange(count)
    rows, columns = ((place[:, None] * count + every).ravel() for place in (made, taken))
    shape = matrix.shape[0] * count, matrix.shape[1] * count
    return Sparse(shape, rows, columns, np.repeat(matrix.ravel(), count))


def _theta(stage: ThetaStage) -> Sparse:
    """Cosine series for even orders, sine series for odd ones, on ``n_theta`` angles."""
    # Reduced in integers, so that cos and sin see no rounding of large arguments.
    steps = (np.arange(stage.n_theta)[:, None] * np.arange(stage.count)) % stage.n_theta
    angles = 2 * np.pi * steps / stage.n_theta
    series = (np.cos(angles), np.sin(angles))
    made, taken = (index.ravel() for index in np.indices(angles.shape))
    rows, columns, values = [], [], []
    for order in range(2 * stage.m_max + 1):
        rows.append(order * stage.n_theta + made)
        columns.append(order * stage.count + taken)
        values.append(series[(order + 1) // 2 % 2].ravel())
    shape = (2 * stage.m_max + 1) * stage.n_theta, (2 * stage.m_max + 1) * stage.count
    return Sparse(shape, np.concatenate(rows), np.concatenate(columns), np.concatenate(values))
