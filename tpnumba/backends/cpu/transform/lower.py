"""From a Transform or a Synthesis to its program: which steps, and how much is worked at a time."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tpnumba.backends.cpu.layout import COPY, LINE, MATRICES, MEET, MOST_BYTES, MULTIPLY, REFLECT, TILE_BYTES, VECTORS
from tpnumba.backends.cpu.transform.operations import Steps
from tpnumba.backends.cpu.transform.parity import Orbits, Separated, separate
from tpnumba.backends.cpu.transform.program import TransformProgram
from tpnumba.plans.stages import SparseStage
from tpnumba.plans.synthesis import Synthesis
from tpnumba.plans.transform import Matrices, Transform

Floats = npt.NDArray[np.float64]
#: Fields of a group of rings, in bytes: they should stay in the first cache.
_GROUP_BYTES = 2**15
#: Rings (orbits) whose orders are kept at a time, where those of all would be too many.
FEW_RINGS = 8


def count_rings(plan: Transform | Synthesis) -> int:
    """The number of orbits of rings; 0 where there are none."""
    if isinstance(plan, Synthesis):
        return len(Orbits.of(plan.grid).rings)
    return 0 if isinstance(plan.domain, Matrices) else len(Orbits.of(plan.domain).rings)


class _Fields:
    """Steps between components and fields on a grid, for a block of rings at a time.

    Orders stand ring by ring: first those of the parity that is even in the rings, then the odd ones. Fields likewise,
    with the parities in longitude next to each other.
    """

    def __init__(self, steps: Steps, orbits: Orbits, most_rings: int, n_fields: int) -> None:
        self.steps, self.orbits = steps, orbits
        self.longitudes, self.parities = orbits.longitudes.shape
        self.ring_size = 2 * self.longitudes * self.parities
        self.most = min(most_rings, len(orbits.rings))
        item = LINE // steps.line
        group = _GROUP_BYTES // (max(1, n_fields) * self.ring_size * steps.lanes * item)
        self.group = max(1, min(group, self.most))

    def take_orders(self, separated: Separated) -> int:
        """Room for the orders of a block of rings."""
        return self.steps.take(2 * separated.orders * self.most)

    def take_field(self) -> int:
        """Room for the field of a group of rings."""
        return self.steps.take(self.ring_size * self.group)

    def blocks(self) -> list[range]:
        """The orbits of rings, as many at a time as there is room for."""
        count = len(self.orbits.rings)
        return [range(start, min(start + self.most, count)) for start in range(0, count, self.most)]

    def groups(self, block: range) -> list[range]:
        """The orbits of a block, counted from its start, in groups."""
        return [range(start, min(start + self.group, len(block))) for start in range(0, len(block), self.group)]

    def to_orders(self, separated: Separated, source: int, orders: int, block: range, factors: Floats) -> None:
        """From components to orders on a block of rings, with a factor for each orbit of rings."""
        rings = np.arange(len(block))
        for part in separated.blocks:
            results = (2 * rings + part.odd) * separated.orders + part.slot
            again = (2, 1, -2 * part.m) if part.both else (1, 0, 0)
            self.steps.dense(part.matrix[:, block] * factors[block], results, part.places, orders, source, times=again)

    def from_orders(self, separated: Separated, to: int, orders: int, block: range, factors: Floats, add: bool) -> None:
        """The transpose."""
        rings = np.arange(len(block))
        for part in separated.blocks:
            sources = (2 * rings + part.odd) * separated.orders + part.slot
            again = (2, -2 * part.m, 1) if part.both else (1, 0, 0)
            matrix = (part.matrix[:, block] * factors[block]).T
            self.steps.dense(matrix, part.places, sources, to, orders, add=add, times=again)

    def to_field(self, separated: Separated, orders: int, field: int, group: range) -> None:
        """From orders to parities at one longitude of each orbit."""
        source = orders + 2 * group.start * separated.orders
        again = 2 * len(group), self.longitudes * self.parities, separated.orders
        for parity, (slots, matrix) in enumerate(separated.turns):
            results = np.arange(self.longitudes) * self.parities + parity
            self.steps.dense(matrix, results, slots, field, source, times=again)

    def from_field(self, separated: Separated, field: int, orders: int, group: range) -> None:
        """The transpose, with the shares of the orbits of longitudes."""
        to = orders + 2 * group.start * separated.orders
        again = 2 * len(group), separated.orders, self.longitudes * self.parities
        for parity, (slots, matrix) in enumerate(separated.turns):
            sources = np.arange(self.longitudes) * self.parities + parity
            weighted = (matrix * self.orbits.longitude_shares).T
            self.steps.dense(weighted, slots, sources, to, field, times=again)

    def _orbit_columns(self) -> tuple[int, ...]:
        lanes = self.steps.lanes
        far = self.longitudes * self.parities * lanes
        return self.parities, self.longitudes, lanes, far, 2 * far

    def reflect(self, field: int, group: range) -> None:
        """From parities to points, or back."""
        self.steps.add(REFLECT, len(group), 0, field * self.steps.lanes, 0, *self._orbit_columns())
        self.steps.flops += self.ring_size * len(group) * 3

    def meet(self, to: int, left: int, right: int, group: range) -> None:
        """From the parities of two fields to those of their product."""
        lanes = self.steps.lanes
        self.steps.add(MEET, len(group), to * lanes, left * lanes, right * lanes, *self._orbit_columns())
        self.steps.flops += self.ring_size * len(group) * 10

    def multiply(self, to: int, left: int, right: int, group: range, sign: int) -> None:
        """The product of two fields, point by point; ``sign`` 0: the first, else added or subtracted."""
        lanes, count = self.steps.lanes, self.ring_size * len(group)
        self.steps.add(MULTIPLY, count, to * lanes, left * lanes, right * lanes, sign)
        self.steps.flops += 2 * count

    def exchange(self, field: int, values: int, group: range, block: range, n_alpha: int, *, out: bool) -> None:
        """Copy points between a field and an operand that holds the values ring by ring."""
        ours, theirs = [], []
        for ring in group:
            for side in (0, 1):
                row = self.orbits.rings[block[ring], side] * n_alpha
                start = ((ring - group.start) * 2 + side) * self.longitudes * self.parities
                ours.append(start + np.arange(self.longitudes * self.parities))
                theirs.append(row + self.orbits.longitudes.ravel())
        lists = self.steps.places(np.concatenate(ours)), self.steps.places(np.concatenate(theirs))
        lanes = self.steps.lanes
        ends = (values, field) if out else (field, values)
        self.steps.add(
            COPY, sum(part.size for part in ours), ends[0] * lanes, ends[1] * lanes, 0, *(lists[::-1] if out else lists)
        )


def lower_transform(plan: Transform | Synthesis, dtype: str, vectors: int | None) -> TransformProgram | None:
    """The program with the widest tile that stays in the cache; then with fewer rings at a time.

    None if even that takes too much memory. ``vectors``: of a column of the tile, if not as fits.
    """
    if sum(plan.sizes) * LINE > MOST_BYTES:
        return None
    rings = count_rings(plan)
    for count in (vectors,) if vectors else VECTORS:
        program = plan_transform(plan, dtype, count, rings)
        if program.tile_bytes <= TILE_BYTES:
            return program
    while rings > FEW_RINGS and program.tile_bytes > TILE_BYTES:
        rings = max(FEW_RINGS, rings // 2)
        program = plan_transform(plan, dtype, program.vectors, rings)
    return None if program.tile_bytes > MOST_BYTES else program


def plan_transform(plan: Transform | Synthesis, dtype: str, vectors: int, most_rings: int) -> TransformProgram:
    """The program of a plan, with the orders of at most so many orbits of rings at a time."""
    steps = Steps(plan, LINE // np.dtype(dtype).itemsize, vectors)
    if isinstance(plan, Synthesis):
        _synthesis(plan, steps, most_rings)
    elif isinstance(plan.domain, Matrices):
        _matrices(plan, steps)
    else:
        _grid(plan, steps, most_rings)
    return steps.finish(dtype)


def _grid(plan: Transform, steps: Steps, most_rings: int) -> None:
    assert not isinstance(plan.domain, Matrices)
    output = plan.output
    orbits = Orbits.of(plan.domain)
    factors = np.asarray(plan.domain.ring_weights)[orbits.rings[:, 0]] * orbits.ring_shares
    maps = [[separate(part, plan.domain, orbits) for part in parts] for parts in plan.maps]
    places = [(i, c) for i, parts in enumerate(maps) for c in range(len(parts))]
    fields = _Fields(steps, orbits, most_rings, len(places))
    scratch = {(i, c): steps.take(maps[i][c].size) if maps[i][c].sparse else steps.starts[i] for i, c in places}
    orders = {(i, c): fields.take_orders(maps[i][c]) for i, c in places}
    field = {place: fields.take_field() for place in places}
    given = [place for place in places if place[0] != output]
    made = [place for place in places if place[0] == output]
    signs = _signs(plan)
    for i, c in given:
        if (stage := maps[i][c].sparse) is not None:
            steps.sparse(stage, scratch[i, c], steps.starts[i], transposed=False, add=False)
    adds = _zero(plan, steps, [maps[output][c] for _, c in made], [scratch[place] for place in made])
    for block in fields.blocks():
        for i, c in given:
            fields.to_orders(maps[i][c], scratch[i, c], orders[i, c], block, np.ones(len(orbits.rings)))
        for group in fields.groups(block):
            for i, c in given:
                fields.to_field(maps[i][c], orders[i, c], field[i, c], group)
            _meet(plan, fields, field, signs, group)
            for _, c in made:
                fields.from_field(maps[output][c], field[output, c], orders[output, c], group)
        for place, adds_first in zip(made, adds, strict=True):
            part = maps[output][place[1]]
            weights = factors * signs[place[1]]
            fields.from_orders(part, scratch[place], orders[place], block, weights, adds_first or block.start > 0)
    for _, c in made:
        if (stage := maps[output][c].sparse) is not None:
            steps.sparse(stage, steps.starts[output], scratch[output, c], transposed=True, add=c > 0)


def _zero(plan: Transform | Synthesis, steps: Steps, maps: list[Separated], targets: list[int]) -> list[bool]:
    """Zero what no step writes first; whether the first block of rings adds, for each map to the output."""
    start, size = steps.starts[plan.output], plan.sizes[plan.output]
    adds = []
    written = np.zeros(size, dtype=bool)
    for part, target in zip(maps, targets, strict=True):
        own = np.zeros(size if part.sparse is None else part.size, dtype=bool)
        for block in part.blocks:
            own[block.places] = True
            if block.both:
                own[block.places - 2 * block.m] = True
        if part.sparse is None:
            adds.append(bool((written & own).any()))
            if adds[-1]:  # what another map does not write first
                own_alone = own & ~written
                _fill_runs(steps, start, own_alone)
            written |= own
        else:
            adds.append(False)
            _fill_runs(steps, target, ~own)
            written[:] = True
    _fill_runs(steps, start, ~written)
    return adds


def _fill_runs(steps: Steps, start: int, chosen: npt.NDArray[np.bool_]) -> None:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], chosen, [False]]).astype(np.int8))).reshape(-1, 2)
    for first, last in edges.tolist():
        steps.fill(start + first, last - first)


def _meet(plan: Transform, fields: _Fields, field: dict[tuple[int, int], int], signs: list[int], group: range) -> None:
    """The products of the fields of a group of rings, from parities to parities, times ``signs`` of each component."""
    output = plan.output
    first, second = plan.inputs
    if len(plan.terms) == 1:
        fields.meet(field[output, 0], field[first, 0], field[second, 0], group)
        return
    for i in plan.inputs:
        for c in range(len(plan.maps[i])):
            fields.reflect(field[i, c], group)
    for c, sign in enumerate(signs):
        # In this order the first term, which is written, has the sign plus.
        terms = sorted((term for term in plan.terms if term[0][output] == c), key=lambda term: -sign * term[1])
        for n, (meeting, factor) in enumerate(terms):
            factors = field[first, meeting[first]], field[second, meeting[second]]
            fields.multiply(field[output, c], *factors, group, int(sign * factor) if n else 0)
        fields.reflect(field[output, c], group)


def _signs(plan: Transform) -> list[int]:
    """For each component of the output -1 if all its terms are subtracted, else 1."""
    signs = []
    for c in range(len(plan.maps[plan.output])):
        factors = [factor for meeting, factor in plan.terms if meeting[plan.output] == c]
        assert all(abs(factor) == 1 for factor in factors)
        signs.append(1 if max(factors) > 0 else -1)
    return signs


def _matrices(plan: Transform, steps: Steps) -> None:
    """Each term a product of two matrices; the output's basis takes its factor."""
    size = plan.domain.shape[0]
    output = plan.output
    square = {(i, c): steps.take(size**2) for i, parts in enumerate(plan.maps) for c in range(len(parts))}

    def stage(i: int, c: int) -> SparseStage:
        (found,) = plan.maps[i][c].stages
        assert isinstance(found, SparseStage)
        return found

    for i in plan.inputs:
        for c in range(len(plan.maps[i])):
            steps.sparse(stage(i, c), square[i, c], steps.starts[i], transposed=False, add=False)
    # Of Tr(X Y Z^T): Z = X Y, X = Z Y^T, Y = X^T Z. Steps of (row, column) of both factors.
    left, right = {2: (0, 1), 0: (2, 1), 1: (0, 2)}[output]
    plain, turned = (size, 1), (1, size)
    of_left, of_right = turned if output == 1 else plain, turned if output == 0 else plain
    for n, (meeting, factor) in enumerate(plan.terms):
        places = [square[i, meeting[i]] * steps.lanes for i in (output, left, right)]
        strides = [step * steps.lanes for step in (*of_left, *of_right)]
        steps.add(MATRICES, size, *places, *strides)
        steps.flops += 2 * size**3
        found = stage(output, meeting[output])
        steps.sparse(
            found, steps.starts[output], square[output, meeting[output]], transposed=True, add=n > 0, factor=factor
        )


def _synthesis(plan: Synthesis, steps: Steps, most_rings: int) -> None:
    """One field, whose points are the other operand."""
    orbits = Orbits.of(plan.grid)
    part = separate(plan.linear_map, plan.grid, orbits)
    fields = _Fields(steps, orbits, most_rings, 1)
    orders, field = fields.take_orders(part), fields.take_field()
    coefficients, values = steps.starts
    factors = np.ones(len(orbits.rings))
    if plan.weighted:
        factors = np.asarray(plan.grid.ring_weights)[orbits.rings[:, 0]]
    if plan.output == 0:
        factors = factors * orbits.ring_shares
        (adds,) = _zero(plan, steps, [part], [coefficients])
    for block in fields.blocks():
        if plan.output == 1:
            fields.to_orders(part, coefficients, orders, block, factors)
        for group in fields.groups(block):
            if plan.output == 1:
                fields.to_field(part, orders, field, group)
                fields.reflect(field, group)
                fields.exchange(field, values, group, block, plan.grid.n_alpha, out=True)
            else:
                fields.exchange(field, values, group, block, plan.grid.n_alpha, out=False)
                fields.reflect(field, group)
                fields.from_field(part, field, orders, group)
        if plan.output == 0:
            fields.from_orders(part, coefficients, orders, block, factors, adds or block.start > 0)
