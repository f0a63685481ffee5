"""Operations on a grid: between components, orders and grid values; and those of a whole transform."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tpnumba.backends.cpu import layout
from tpnumba.backends.cpu.transform.operations import Operations
from tpnumba.backends.lowering.matrices import Floats
from tpnumba.backends.lowering.parity import ParityReduction, Separated, separate
from tpnumba.plans.transform import Matrices, Transform

#: grid values of a group of rings, in bytes: they should stay in the first cache.
_GROUP_BYTES = 2**15


class GridOperations:
    """Operations between components and grid values on a grid, for a block of rings at a time.

    Orders stand ring by ring: first those of the parity that is even in the rings, then the odd ones. Grid values
    likewise, with the parities in longitude next to each other.
    """

    def __init__(self, operations: Operations, reduction: ParityReduction, most_rings: int, n_values: int) -> None:
        self.operations, self.reduction = operations, reduction
        self.longitudes, self.parities = reduction.longitudes.shape
        self.ring_size = 2 * self.longitudes * self.parities
        self.most = min(most_rings, len(reduction.rings))
        item = layout.LINE // operations.vector_length
        group = _GROUP_BYTES // (max(1, n_values) * self.ring_size * operations.tile_width * item)
        self.group = max(1, min(group, self.most))

    def take_orders(self, separated: Separated) -> int:
        """Room for the orders of a block of rings."""
        return self.operations.take(2 * separated.orders * self.most)

    def take_values(self) -> int:
        """Room for the grid values of a group of rings."""
        return self.operations.take(self.ring_size * self.group)

    def blocks(self) -> list[range]:
        """The mirror sets of rings, as many at a time as there is room for."""
        count = len(self.reduction.rings)
        return [range(start, min(start + self.most, count)) for start in range(0, count, self.most)]

    def groups(self, block: range) -> list[range]:
        """The mirror sets of a block, counted from its start, in groups."""
        return [range(start, min(start + self.group, len(block))) for start in range(0, len(block), self.group)]

    def to_orders(self, separated: Separated, source: int, orders: int, block: range, factors: Floats) -> None:
        """From components to orders on a block of rings, with a factor for each mirror set of rings."""
        rings = np.arange(len(block))
        for part in separated.blocks:
            results = (2 * rings + part.odd) * separated.orders + part.order_index
            again = (2, 1, part.mirror) if part.both else (1, 0, 0)
            self.operations.dense(
                part.matrix[:, block] * factors[block], results, part.places, orders, source, times=again
            )

    def from_orders(self, separated: Separated, to: int, orders: int, block: range, factors: Floats, add: bool) -> None:
        """The transpose."""
        rings = np.arange(len(block))
        for part in separated.blocks:
            sources = (2 * rings + part.odd) * separated.orders + part.order_index
            again = (2, part.mirror, 1) if part.both else (1, 0, 0)
            matrix = (part.matrix[:, block] * factors[block]).T
            self.operations.dense(matrix, part.places, sources, to, orders, add=add, times=again)

    def to_values(self, separated: Separated, orders: int, values_at: int, group: range) -> None:
        """From orders to parities at one longitude of each mirror set."""
        source = orders + 2 * group.start * separated.orders
        again = 2 * len(group), self.longitudes * self.parities, separated.orders
        for parity, (targets, matrix) in enumerate(separated.turns):
            results = np.arange(self.longitudes) * self.parities + parity
            self.operations.dense(matrix, results, targets, values_at, source, times=again)

    def from_values(self, separated: Separated, values_at: int, orders: int, group: range) -> None:
        """The transpose, with the shares of the mirror sets of longitudes."""
        to = orders + 2 * group.start * separated.orders
        again = 2 * len(group), separated.orders, self.longitudes * self.parities
        for parity, (targets, matrix) in enumerate(separated.turns):
            sources = np.arange(self.longitudes) * self.parities + parity
            weighted = (matrix * self.reduction.longitude_shares).T
            self.operations.dense(weighted, targets, sources, to, values_at, times=again)

    def _mirror_columns(self) -> tuple[int, ...]:
        tile_width = self.operations.tile_width
        far = self.longitudes * self.parities * tile_width
        return self.parities, self.longitudes, tile_width, far, 2 * far

    def reflect(self, values_at: int, group: range) -> None:
        """From parities to points, or back."""
        self.operations.add(
            layout.REFLECT, len(group), 0, values_at * self.operations.tile_width, 0, *self._mirror_columns()
        )
        self.operations.flops += self.ring_size * len(group) * 3

    def pointwise_product(self, to: int, left: int, right: int, group: range) -> None:
        """From the parities of two factors to those of their product."""
        tile_width = self.operations.tile_width
        self.operations.add(
            layout.POINTWISE,
            len(group),
            to * tile_width,
            left * tile_width,
            right * tile_width,
            *self._mirror_columns(),
        )
        self.operations.flops += self.ring_size * len(group) * 10

    def multiply(self, to: int, left: int, right: int, group: range, sign: int) -> None:
        """The product of two factors, point by point; ``sign`` 0: the first, else added or subtracted."""
        tile_width, count = self.operations.tile_width, self.ring_size * len(group)
        self.operations.add(layout.MULTIPLY, count, to * tile_width, left * tile_width, right * tile_width, sign)
        self.operations.flops += 2 * count

    def exchange(self, values_at: int, values: int, group: range, block: range, n_alpha: int, *, out: bool) -> None:
        """Copy points between a grid values and an operand that holds the values ring by ring."""
        ours, theirs = [], []
        for ring in group:
            for vector_length in (0, 1):
                row = self.reduction.rings[block[ring], vector_length] * n_alpha
                start = ((ring - group.start) * 2 + vector_length) * self.longitudes * self.parities
                ours.append(start + np.arange(self.longitudes * self.parities))
                theirs.append(row + self.reduction.longitudes.ravel())
        lists = self.operations.places(np.concatenate(ours)), self.operations.places(np.concatenate(theirs))
        tile_width = self.operations.tile_width
        ends = (values, values_at) if out else (values_at, values)
        self.operations.add(
            layout.COPY,
            sum(part.size for part in ours),
            ends[0] * tile_width,
            ends[1] * tile_width,
            0,
            *(lists[::-1] if out else lists),
        )


class GridTransform:
    """The operations of a transform on a grid, whose operands stand where each emission says.

    Args:
        plan: the transform.
        operations: the tile, and the list that operations are added to.
        most_rings: mirror sets of rings whose orders stand in the tile at a time.
    """

    def __init__(self, plan: Transform, operations: Operations, most_rings: int) -> None:
        assert not isinstance(plan.domain, Matrices)
        self.plan, self.operations = plan, operations
        self.reduction = reduction = ParityReduction.of(plan.domain)
        self.factors = np.asarray(plan.domain.ring_weights)[reduction.rings[:, 0]] * reduction.ring_shares
        self.maps = [
            [separate(part, plan.sizes[i], plan.domain, reduction) for part in parts]
            for i, parts in enumerate(plan.maps)
        ]
        places = [(i, c) for i, parts in enumerate(self.maps) for c in range(len(parts))]
        self.grid = GridOperations(operations, reduction, most_rings, len(places))
        self.carried = {
            (i, c): operations.take(matrix.shape[0])
            for i, c in places
            if (matrix := self.maps[i][c].sparse) is not None
        }
        self.orders = {(i, c): self.grid.take_orders(self.maps[i][c]) for i, c in places}
        self.values_at = {place: self.grid.take_values() for place in places}

    def release(self) -> None:
        """Let others use the room."""
        for places in (self.carried, self.orders, self.values_at):
            for start in places.values():
                self.operations.arena.release(start)

    def emit(self, starts: Sequence[int]) -> None:
        """Add the operations; ``starts``: where the operands stand."""
        plan, operations, grid, maps = self.plan, self.operations, self.grid, self.maps
        output, orders, values_at = plan.output, self.orders, self.values_at
        scratch = {place: self.carried.get(place, starts[place[0]]) for place in orders}
        given = [place for place in orders if place[0] != output]
        made = [place for place in orders if place[0] == output]
        signs = _signs(plan)
        for i, c in given:
            if (matrix := maps[i][c].sparse) is not None:
                operations.sparse(matrix, scratch[i, c], starts[i], add=False)
        targets = [scratch[place] for place in made]
        adds = zero(operations, starts[output], plan.sizes[output], [maps[output][c] for _, c in made], targets)
        for block in grid.blocks():
            for i, c in given:
                ones = np.ones(len(self.reduction.rings))
                grid.to_orders(maps[i][c], scratch[i, c], orders[i, c], block, ones)
            for group in grid.groups(block):
                for i, c in given:
                    grid.to_values(maps[i][c], orders[i, c], values_at[i, c], group)
                _pointwise_products(plan, grid, values_at, signs, group)
                for _, c in made:
                    grid.from_values(maps[output][c], values_at[output, c], orders[output, c], group)
            for place, adds_first in zip(made, adds, strict=True):
                weights = self.factors * signs[place[1]]
                more = adds_first or block.start > 0
                grid.from_orders(maps[output][place[1]], scratch[place], orders[place], block, weights, more)
        for _, c in made:
            if (matrix := maps[output][c].sparse) is not None:
                operations.sparse(matrix.transposed(), starts[output], scratch[output, c], add=c > 0)


def zero(operations: Operations, start: int, size: int, maps: list[Separated], targets: list[int]) -> list[bool]:
    """Zero what no step writes first; whether the first block of rings adds, for each map to the output.

    The output has ``size`` columns from ``start`` on; ``targets``: where the result of each map stands.
    """
    adds = []
    written = np.zeros(size, dtype=bool)
    for part, target in zip(maps, targets, strict=True):
        own = np.zeros(size if part.sparse is None else part.sparse.shape[0], dtype=bool)
        for block in part.blocks:
            own[block.places] = True
            if block.both:
                own[block.places + block.mirror] = True
        if part.sparse is None:
            adds.append(bool((written & own).any()))
            if adds[-1]:  # what another map does not write first
                own_alone = own & ~written
                _fill_runs(operations, start, own_alone)
            written |= own
        else:
            adds.append(False)
            _fill_runs(operations, target, ~own)
            written[:] = True
    _fill_runs(operations, start, ~written)
    return adds


def _fill_runs(operations: Operations, start: int, chosen: npt.NDArray[np.bool_]) -> None:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], chosen, [False]]).astype(np.int8))).reshape(-1, 2)
    for first, last in edges.tolist():
        operations.fill(start + first, last - first)


def _pointwise_products(
    plan: Transform, grid: GridOperations, values_at: dict[tuple[int, int], int], signs: list[int], group: range
) -> None:
    """The products at a group of rings, from parities to parities, times ``signs`` of each component."""
    output = plan.output
    first, second = plan.inputs
    if len(plan.terms) == 1:
        grid.pointwise_product(values_at[output, 0], values_at[first, 0], values_at[second, 0], group)
        return
    for i in plan.inputs:
        for c in range(len(plan.maps[i])):
            grid.reflect(values_at[i, c], group)
    for c, sign in enumerate(signs):
        # In this order the first term, which is written, has the sign plus.
        terms = sorted((term for term in plan.terms if term[0][output] == c), key=lambda term: -sign * term[1])
        for n, (parts_of_term, factor) in enumerate(terms):
            factors = values_at[first, parts_of_term[first]], values_at[second, parts_of_term[second]]
            grid.multiply(values_at[output, c], *factors, group, int(sign * factor) if n else 0)
        grid.reflect(values_at[output, c], group)


def _signs(plan: Transform) -> list[int]:
    """For each component of the output -1 if all its terms are subtracted, else 1."""
    signs = []
    for c in range(len(plan.maps[plan.output])):
        factors = [factor for parts_of_term, factor in plan.terms if parts_of_term[plan.output] == c]
        assert all(abs(factor) == 1 for factor in factors)
        signs.append(1 if max(factors) > 0 else -1)
    return signs
