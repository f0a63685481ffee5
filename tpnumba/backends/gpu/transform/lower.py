"""From transforms and syntheses to programs of one kernel: matrices one after the other, a product in between."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import prod

import numpy as np

from tpnumba.backends.gpu.layout import MOST_SAMPLES
from tpnumba.backends.gpu.tile import program as tile
from tpnumba.backends.gpu.tile import unrolled
from tpnumba.backends.gpu.tile.program import Part, Result, Sums, Update
from tpnumba.backends.gpu.tile.tables import pack
from tpnumba.backends.gpu.transform.passes import passes_of
from tpnumba.backends.lowering.arena import Arena
from tpnumba.backends.lowering.linear_maps import Pass
from tpnumba.backends.lowering.matrices import ConstantMatrix, Sparse, matrix_factors
from tpnumba.plans import stages
from tpnumba.plans.access import Access
from tpnumba.plans.synthesis import Synthesis
from tpnumba.plans.transform import Matrices, Transform
from tpnumba.tables.quadrature import Torus

#: Non-zeros of all stages beyond which a plan has no program here, but one of several passes
#: (:mod:`multipass`).
_MOST_NONZEROS = 2**21
#: With fewer samples in the tile of a block, or none in shared memory, passes over many samples should be faster. Not
#: measured.
LEAST_SAMPLES = 2


def lower(plan: Transform | Synthesis, dtype: str) -> tile.Program | None:
    """The program of ``plan``, of one kernel; None if its tables or the tile of a sample are too large for that."""
    maps = plan.maps if isinstance(plan, Transform) else ((plan.linear_map,),)
    nonzeros = sum(_nonzeros(stage) for own in maps for linear_map in own for stage in linear_map.stages)
    # Operands, all grid values and a product: more than is in the tile at once, but no program is built to find out.
    points = prod(plan.domain.shape) if isinstance(plan, Transform) else plan.sizes[1]
    grids = 1 + sum(len(maps[i]) for i in plan.inputs) if isinstance(plan, Transform) else 0
    if nonzeros > _MOST_NONZEROS or not _fits(*tile.fitting(sum(plan.sizes) + grids * points, dtype, MOST_SAMPLES)):
        return None
    # A small plan is code, which leaves zeros out and needs no tables.
    builder = _Builder(plan, dense=nonzeros > unrolled.MOST_UNROLLED)
    if isinstance(plan, Transform):
        builder.transform(plan)
    else:
        builder.synthesis(plan)
    program = builder.program(dtype)
    return program if program is not None and _fits(program.samples, program.shared) else None


def _fits(samples: int, shared: bool) -> bool:
    return shared and samples >= LEAST_SAMPLES


#: Matrices, and how many numbers what they write has.
_Move = tuple[tuple[ConstantMatrix, ...] | Sparse, int]


class _Builder:
    """Collects operations and keeps account of the tile.

    What sums over samples stands where it is from the first tile on; all else makes room for others once it is used.
    """

    def __init__(self, plan: Transform | Synthesis, *, dense: bool) -> None:
        self.plan, self.dense = plan, dense
        self.arena = Arena()
        self.starts = {i: self.arena.allocate(plan.sizes[i]) for i in plan.inputs}
        self.loads = dict(enumerate(self.starts.values()))
        summed = plan.operands[plan.output].access == Access.SHARED
        self.output_start = self.arena.allocate(plan.sizes[plan.output]) if summed else None
        self.operations: list[tile.Operation] = []

    def program(self, dtype: str) -> tile.Program | None:
        """The tables of everything."""
        plan, output_start = self.plan, self.output_start
        assert output_start is not None
        width = plan.sizes[plan.output]
        phase = tile.Phase(self.loads, self.operations)
        section = tile.Section([phase], output_start, np.arange(width), zero=False, size=self.arena.end)
        sizes = tuple(plan.sizes[i] for i in plan.inputs)
        return pack([section], plan.inputs, sizes, width, -1, dtype, MOST_SAMPLES)

    def transform(self, plan: Transform) -> None:
        """Carry the inputs to the domain, multiply, carry the products back."""
        first, second = plan.inputs
        to_domain = {i: [_forward(passes_of(one, plan.sizes[i])) for one in plan.maps[i]] for i in plan.inputs}
        values = self._grid_values(to_domain[first], self.starts[first])
        if self.dense and not isinstance(plan.domain, Matrices):
            products = self._multiplied(plan, to_domain[second], values)
        else:
            others = self._grid_values(to_domain[second], self.starts[second])
            products = []
            for component in range(len(plan.maps[plan.output])):
                products.append(self.arena.allocate(prod(plan.domain.shape)))
                terms = [
                    ({first: values[places[first]], second: others[places[second]]}, factor)
                    for places, factor in plan.terms
                    if places[plan.output] == component
                ]
                if isinstance(plan.domain, Matrices):
                    self._matrix_products(plan, terms, products[-1])
                else:
                    self._pointwise_product([(list(at.values()), factor) for at, factor in terms], products[-1])
            for start in (*values, *others):
                self.arena.release(start)
        weights = None if isinstance(plan.domain, Matrices) else plan.domain.ring_weights
        if weights is not None and isinstance(plan.domain, Torus):
            weights = weights[:1]  # all the same
        width = plan.sizes[plan.output]
        for component, linear_map in enumerate(plan.maps[plan.output]):
            back = _backward(list(passes_of(linear_map, width, weights=weights)), width)
            self._apply_all(back, products[component], to_output=True, add=component > 0)

    def synthesis(self, plan: Synthesis) -> None:
        """The map to the grid values, which have their rings first, or its transpose."""
        weights = plan.grid.ring_weights if plan.weighted else None
        passes = list(passes_of(plan.linear_map, plan.sizes[0], (1, plan.grid.n_alpha), weights))
        moves = _backward(passes, plan.sizes[0]) if plan.output == 0 else _forward(passes)
        self._apply_all(moves, self.starts[plan.inputs[0]], to_output=True)

    def _grid_values(self, maps: list[list[_Move]], start: int) -> list[int]:
        """Where the grid values of an input are, by its maps."""
        return [self._apply_all(moves, start, keep=moves is not maps[-1]) for moves in maps]

    def _apply_all(
        self, moves: Sequence[_Move], start: int, *, keep: bool = False, to_output: bool = False, add: bool = False
    ) -> int:
        """Apply matrices in turn; returns where the result is. ``keep`` what is read first."""
        for number, move in enumerate(moves):
            last = to_output and number == len(moves) - 1
            if last and self.output_start is None:
                self.output_start = self.arena.allocate(move[-1])
            to = self.output_start if last and self.output_start is not None else self.arena.allocate(move[-1])
            self._apply(move, start, (Update(to, add=last and add),), to_output=last)
            if number or not keep:
                self.arena.release(start)
            start = to
        return start

    def _apply(self, move: _Move, start: int, updates: tuple[Update, ...], *, to_output: bool = False) -> None:
        """Matrices as an operation; numbers that they do not write are zero, unless others are there."""
        matrices, size = move
        if isinstance(matrices, Sparse) or not self.dense:
            sparse = Sparse.of(matrices, (size, 0)) if isinstance(matrices, tuple) else matrices
            self.operations.append(_sums(sparse, start, updates[0], to_output))
            return
        written = [own.to + c * own.step_to for own in matrices for c in range(own.columns)]
        empty = np.setdiff1d(np.arange(size), np.concatenate(written))
        if empty.size and not updates[0].add:
            results = [Result(0, updates[0].to + int(place), 0, 1, ()) for place in empty]
            self.operations.append(Sums(results, product=False, to_output=to_output))
        self.operations.append(tile.Dense(matrices, start, updates, to_output))

    def _multiplied(self, plan: Transform, maps: list[list[_Move]], values: list[int]) -> list[int]:
        """Where the products are. A grid value of the second input is multiplied as soon as it is made.

        So these stand nowhere, and a product takes the place of ``values`` of the first that no other term reads.
        """
        first, second = plan.inputs
        products: dict[int, int] = {}
        left = [sum(places[first] == own for places, _ in plan.terms) for own in range(len(values))]
        for number, moves in enumerate(maps):
            last = number == len(maps) - 1
            at = self._apply_all(moves[:-1], self.starts[second], keep=not last)
            updates = []
            for places, factor in plan.terms:
                if places[second] != number:
                    continue
                component, own = places[plan.output], places[first]
                left[own] -= 1
                add = component in products
                if not add:
                    size = prod(plan.domain.shape)
                    products[component] = self.arena.allocate(size) if left[own] else values[own]
                updates.append(Update(products[component], values[own], factor, add))
            self._apply(moves[-1], at, tuple(updates))
            if len(moves) > 1 or last:
                self.arena.release(at)
            for own, start in enumerate(values):
                if not left[own] and start not in products.values():
                    self.arena.release(start)
        return [products[component] for component in range(len(plan.maps[plan.output]))]

    def _pointwise_product(self, terms: list[tuple[list[int], float]], to: int) -> None:
        """The product of grid values at each point, summed over the terms."""
        assert isinstance(self.plan, Transform)
        points = prod(self.plan.domain.shape)
        every = np.arange(points)
        combinations, parts = [], []
        for number, (starts, factor) in enumerate(terms):
            pairs = np.stack([*(start + every for start in starts), np.zeros_like(every)], axis=1)
            combinations.append((np.arange(points + 1), pairs))
            parts.append(Part(number, number, np.zeros((1, 2), dtype=np.int64), np.array([factor])))
        self.operations.append(Sums([Result(0, to, 1, points, tuple(parts))], combinations))

    def _matrix_products(self, plan: Transform, terms: list[tuple[dict[int, int], float]], to: int) -> None:
        """The derivative of ``Tr(X Y Z^T)`` with respect to the output, summed over the terms."""
        n = plan.domain.shape[0]
        for number, (at, factor) in enumerate(terms):
            a, b = ((at[i], row, column) for i, row, column in matrix_factors(plan.output, n))
            self.operations.append(tile.Matrix((n, n, n), a, b, (to, n, 1), scale=factor, add=number > 0))


def _forward(passes: Iterable[Pass]) -> list[_Move]:
    """From components to grid values."""
    return [(own.matrices, own.made) for own in passes]


def _backward(passes: list[Pass], width: int) -> list[_Move]:
    """From grid values to ``width`` components."""
    assert passes[0].taken == width
    return [(own.transposed(), own.taken) for own in reversed(passes)]


def _sums(matrix: Sparse, start: int, update: Update, to_output: bool) -> Sums:
    """A sparse matrix as an operation: rows that read the same columns are made together."""
    begin, columns, values = matrix.by_rows()
    results = []
    for row in range(matrix.shape[0]):
        own = slice(int(begin[row]), int(begin[row + 1]))
        terms = np.stack([columns[own], np.zeros_like(columns[own])], axis=1)
        parts = (Part(0, 0, terms, values[own]),) if len(terms) else ()
        results.append(Result(columns[own].tobytes(), update.to + row, 0, 1, parts))
    combinations = [(np.array([0, 1]), np.array([[start, 0, 0]]))]
    return Sums(results, combinations, product=False, add=update.add, to_output=to_output)


def _nonzeros(stage: stages.Stage) -> int:
    match stage:
        case stages.LegendreStage():
            return sum(places.size for places, _ in stage.orders) * stage.n_beta
        case stages.FourierStage():
            return (2 * stage.m_max + 1) * stage.n_alpha * stage.n_beta
        case stages.ThetaStage():
            return (2 * stage.m_max + 1) * stage.count * stage.n_theta
        case stages.SparseStage():
            return stage.sparse.values.size
    return stage.size_out
