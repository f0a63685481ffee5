"""From transforms and syntheses to their programs: matrices one after the other, and a product in between."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from math import prod

import numpy as np

from tpnumba.backends.gpu.chains import Link, Sparse, links, matrix_factors
from tpnumba.backends.gpu.program import (
    MOST_SAMPLES,
    Chunk,
    Dense,
    Group,
    Matrix,
    Operation,
    Part,
    Phase,
    Program,
    Result,
    Rows,
    Update,
    fitting,
)
from tpnumba.backends.gpu.space import Space
from tpnumba.backends.gpu.tables import pack
from tpnumba.backends.gpu.unrolled import MOST_UNROLLED
from tpnumba.plans.access import Access
from tpnumba.plans.stages import FourierStage, LegendreStage, SparseStage, Stage, ThetaStage
from tpnumba.plans.synthesis import Synthesis
from tpnumba.plans.transform import Matrices, Transform
from tpnumba.tables.quadrature import Torus

#: Non-zeros of all stages beyond which a plan has no program here, but one in steps (:mod:`staged`).
_MOST_NONZEROS = 2**21
#: With fewer samples in the tile of a block than so many, or none in shared memory, steps over many samples should be
#: faster. Not measured.
_LEAST_SAMPLES = 2


def make_program(plan: Transform | Synthesis, dtype: str) -> Program | None:
    """The program of ``plan``, of one kernel; None if its tables or the tile of a sample are too large for that."""
    maps = plan.maps if isinstance(plan, Transform) else ((plan.linear_map,),)
    nonzeros = sum(_nonzeros(stage) for own in maps for linear_map in own for stage in linear_map.stages)
    # Operands, all fields and a product: more than is in the tile at once, but no program is built to find out.
    points = prod(plan.domain.shape) if isinstance(plan, Transform) else plan.sizes[1]
    fields = 1 + sum(len(maps[i]) for i in plan.inputs) if isinstance(plan, Transform) else 0
    if nonzeros > _MOST_NONZEROS or not _fits(*fitting(sum(plan.sizes) + fields * points, dtype, MOST_SAMPLES)):
        return None
    # A small plan is code, which leaves zeros out and needs no tables.
    builder = _Builder(plan, dense=nonzeros > MOST_UNROLLED)
    if isinstance(plan, Transform):
        builder.transform(plan)
    else:
        builder.synthesis(plan)
    program = builder.program(dtype)
    return program if program is not None and _fits(program.samples, program.shared) else None


def _fits(samples: int, shared: bool) -> bool:
    return shared and samples >= _LEAST_SAMPLES


#: A matrix, by how much its places are moved in what it reads and what it writes, and all numbers of that.
_Step = tuple[tuple[Group, ...] | Sparse, int, int, int]


class _Builder:
    """Collects operations and keeps account of the tile.

    What sums over samples stands where it is from the first tile on; all else makes room for others once it is used.
    """

    def __init__(self, plan: Transform | Synthesis, *, dense: bool) -> None:
        self.plan, self.dense = plan, dense
        self.space = Space()
        self.starts = {i: self.space.take(plan.sizes[i]) for i in plan.inputs}
        self.loads = dict(enumerate(self.starts.values()))
        summed = plan.operands[plan.output].access == Access.SHARED
        self.slots = self.space.take(plan.sizes[plan.output]) if summed else None
        self.operations: list[Operation] = []

    def program(self, dtype: str) -> Program | None:
        """The tables of everything."""
        plan, slots = self.plan, self.slots
        assert slots is not None
        width = plan.sizes[plan.output]
        chunk = Chunk([Phase(self.loads, self.operations)], slots, np.arange(width), zero=False, size=self.space.end)
        sizes = tuple(plan.sizes[i] for i in plan.inputs)
        return pack([chunk], plan.inputs, sizes, width, -1, dtype, MOST_SAMPLES)

    def transform(self, plan: Transform) -> None:
        """Carry the inputs to the domain, multiply, carry the products back."""
        first, second = plan.inputs
        there = {i: [_there(links(one, plan.sizes[i])) for one in plan.maps[i]] for i in plan.inputs}
        fields = self._fields(there[first], self.starts[first])
        if self.dense and not isinstance(plan.domain, Matrices):
            products = self._multiplied(plan, there[second], fields)
        else:
            others = self._fields(there[second], self.starts[second])
            products = []
            for component in range(len(plan.maps[plan.output])):
                products.append(self.space.take(prod(plan.domain.shape)))
                at = [
                    ({first: fields[places[first]], second: others[places[second]]}, factor)
                    for places, factor in plan.terms
                    if places[plan.output] == component
                ]
                if isinstance(plan.domain, Matrices):
                    self._matrix_products(plan, at, products[-1])
                else:
                    self._pointwise([(list(starts.values()), factor) for starts, factor in at], products[-1])
            for start in (*fields, *others):
                self.space.give(start)
        weights = None if isinstance(plan.domain, Matrices) else plan.domain.ring_weights
        if weights is not None and isinstance(plan.domain, Torus):
            weights = weights[:1]  # all the same
        for component, linear_map in enumerate(plan.maps[plan.output]):
            back = _back(list(links(linear_map, plan.sizes[plan.output], weights=weights)), plan.sizes[plan.output])
            self._chain(back, products[component], to_slots=True, add=component > 0)

    def synthesis(self, plan: Synthesis) -> None:
        """The map to the field, which has its rings first, or its transpose."""
        weights = plan.grid.ring_weights if plan.weighted else None
        chain = list(links(plan.linear_map, plan.sizes[0], (1, plan.grid.n_alpha), weights))
        steps = _back(chain, plan.sizes[0]) if plan.output == 0 else _there(chain)
        self._chain(steps, self.starts[plan.inputs[0]], to_slots=True)

    def _fields(self, maps: list[list[_Step]], start: int) -> list[int]:
        """Where the fields of an input are."""
        return [self._chain(steps, start, keep=steps is not maps[-1]) for steps in maps]

    def _chain(
        self,
        steps: Sequence[_Step],
        start: int,
        *,
        keep: bool = False,
        to_slots: bool = False,
        add: bool = False,
    ) -> int:
        """Apply matrices in turn; returns where the result is. ``keep`` what is read first."""
        for number, step in enumerate(steps):
            last = to_slots and number == len(steps) - 1
            if last and self.slots is None:
                self.slots = self.space.take(step[-1])
            to = self.slots if last and self.slots is not None else self.space.take(step[-1])
            self._apply(step, start, (Update(to, add=last and add),), to_slots=last)
            if number or not keep:
                self.space.give(start)
            start = to
        return start

    def _apply(self, step: _Step, start: int, updates: tuple[Update, ...], *, to_slots: bool = False) -> None:
        """Matrices as an operation; numbers that they do not write are zero, unless others are there."""
        matrix, taken, made, size = step
        if isinstance(matrix, Sparse) or not self.dense:
            sparse = Sparse.of(matrix, (size, 0)) if isinstance(matrix, tuple) else matrix
            self.operations.append(_rows(sparse, start + taken, updates[0], made, size, to_slots))
            return
        moved = tuple(replace(update, to=update.to + made) for update in updates)
        written = [group.to + c * group.step_to + made for group in matrix for c in range(group.columns)]
        empty = np.setdiff1d(np.arange(size), np.concatenate(written))
        if empty.size and not updates[0].add:
            results = [Result(0, updates[0].to + int(place), 0, 1, ()) for place in empty]
            self.operations.append(Rows(results, product=False, to_slots=to_slots))
        self.operations.append(Dense(matrix, start + taken, moved, to_slots))

    def _multiplied(self, plan: Transform, maps: list[list[_Step]], fields: list[int]) -> list[int]:
        """Where the products are. A number of a field of the second input is multiplied as soon as it is made.

        So these fields stand nowhere, and a product takes the place of a field that is not met again.
        """
        first, second = plan.inputs
        products: dict[int, int] = {}
        left = [sum(places[first] == own for places, _ in plan.terms) for own in range(len(fields))]
        for number, steps in enumerate(maps):
            last = number == len(maps) - 1
            at = self._chain(steps[:-1], self.starts[second], keep=not last)
            updates = []
            for places, factor in plan.terms:
                if places[second] != number:
                    continue
                component, field = places[plan.output], places[first]
                left[field] -= 1
                add = component in products
                if not add:
                    products[component] = self.space.take(prod(plan.domain.shape)) if left[field] else fields[field]
                updates.append(Update(products[component], fields[field], factor, add))
            self._apply(steps[-1], at, tuple(updates))
            if len(steps) > 1 or last:
                self.space.give(at)
            for field, start in enumerate(fields):
                if not left[field] and start not in products.values():
                    self.space.give(start)
        return [products[component] for component in range(len(plan.maps[plan.output]))]

    def _pointwise(self, meeting: list[tuple[list[int], float]], to: int) -> None:
        """The product of fields at each point, summed over the terms."""
        assert isinstance(self.plan, Transform)
        points = prod(self.plan.domain.shape)
        everyone = np.arange(points)
        combinations, parts = [], []
        for number, (starts, factor) in enumerate(meeting):
            pairs = np.stack([*(start + everyone for start in starts), np.zeros_like(everyone)], axis=1)
            combinations.append((np.arange(points + 1), pairs))
            parts.append(Part(number, number, np.zeros((1, 2), dtype=np.int64), np.array([factor])))
        self.operations.append(Rows([Result(0, to, 1, points, tuple(parts))], combinations))

    def _matrix_products(self, plan: Transform, meeting: list[tuple[dict[int, int], float]], to: int) -> None:
        """The derivative of ``Tr(X Y Z^T)`` with respect to the output, summed over the terms."""
        n = plan.domain.shape[0]
        for number, (at, factor) in enumerate(meeting):
            a, b = ((at[i], row, column) for i, row, column in matrix_factors(plan.output, n))
            self.operations.append(Matrix((n, n, n), a, b, (to, n, 1), scale=factor, add=number > 0))


def _there(chain: Iterable[Link]) -> list[_Step]:
    """From components to a field."""
    return [(link.matrix, link.start, 0, link.made) for link in chain]


def _back(chain: list[Link], width: int) -> list[_Step]:
    """From a field to ``width`` components."""
    sizes = [width, *(link.made for link in chain)]
    steps = [(link.transposed(), 0, link.start, size) for link, size in zip(chain, sizes, strict=False)]
    return steps[::-1]


def _rows(matrix: Sparse, start: int, update: Update, made: int, size: int, to_slots: bool) -> Rows:
    """A sparse matrix as an operation: rows that meet the same columns are made together."""
    order = np.lexsort((matrix.columns, matrix.rows))
    rows, columns, values = matrix.rows[order] + made, matrix.columns[order], matrix.values[order]
    begin = np.searchsorted(rows, np.arange(size + 1))
    results = []
    for row in range(size):
        own = slice(int(begin[row]), int(begin[row + 1]))
        terms = np.stack([columns[own], np.zeros_like(columns[own])], axis=1)
        parts = (Part(0, 0, terms, values[own]),) if len(terms) else ()
        results.append(Result(columns[own].tobytes(), update.to + row, 0, 1, parts))
    combinations = [(np.array([0, 1]), np.array([[start, 0, 0]]))]
    return Rows(results, combinations, product=False, add=update.add, to_slots=to_slots)


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
