"""From a Transform or a Synthesis to its program: which operations, and how much is worked at a time."""

from __future__ import annotations

import numpy as np

from tpnumba.backends.cpu import layout
from tpnumba.backends.cpu.transform.grid import GridOperations, GridTransform, zero
from tpnumba.backends.cpu.transform.operations import Operations
from tpnumba.backends.cpu.transform.program import TransformProgram
from tpnumba.backends.lowering.linear_maps import passes_of
from tpnumba.backends.lowering.matrices import Sparse, matrix_factors
from tpnumba.backends.lowering.parity import ParityReduction, separate
from tpnumba.plans.low_rank import FEATURES, WEIGHTS, LowRankTransform
from tpnumba.plans.stages import LinearMap
from tpnumba.plans.synthesis import Synthesis
from tpnumba.plans.transform import Matrices, Transform

#: The plans that are lists of operations.
Lowered = Transform | LowRankTransform | Synthesis
#: Rings (mirror sets) whose orders stand in the tile at a time, where those of all would be too many.
FEW_RINGS = 8


def count_rings(plan: Lowered) -> int:
    """The number of mirror sets of rings; 0 where there are none."""
    if isinstance(plan, Synthesis):
        return len(ParityReduction.of(plan.grid).rings)
    if isinstance(plan, LowRankTransform):
        return max(count_rings(part.transform) for part in plan.parts)
    return 0 if isinstance(plan.domain, Matrices) else len(ParityReduction.of(plan.domain).rings)


def lower_transform(plan: Lowered, dtype: str, vectors: int | None) -> TransformProgram | None:
    """The program with the widest tile that stays in the cache; then with fewer rings at a time.

    None if even that takes too much memory. ``vectors``: of a column of the tile, if not as fits.
    """
    if sum(plan.sizes) * layout.LINE > layout.MOST_BYTES:
        return None
    rings = count_rings(plan)
    for count in (vectors,) if vectors else layout.VECTORS:
        program = plan_transform(plan, dtype, count, rings)
        if program.tile_bytes <= layout.TILE_BYTES:
            return program
    while rings > FEW_RINGS and program.tile_bytes > layout.TILE_BYTES:
        rings = max(FEW_RINGS, rings // 2)
        program = plan_transform(plan, dtype, program.vectors, rings)
    return None if program.tile_bytes > layout.MOST_BYTES else program


def plan_transform(plan: Lowered, dtype: str, vectors: int, most_rings: int) -> TransformProgram:
    """The program of a plan, with the orders of at most ``most_rings`` mirror sets of rings at a time."""
    operations = Operations(plan, layout.LINE // np.dtype(dtype).itemsize, vectors)
    if isinstance(plan, Synthesis):
        _synthesis(plan, operations, most_rings)
    elif isinstance(plan, LowRankTransform):
        _low_rank(plan, operations, most_rings)
    elif isinstance(plan.domain, Matrices):
        _matrices(plan, operations)
    else:
        GridTransform(plan, operations, most_rings).emit(operations.starts)
    return operations.finish(dtype)


def _matrices(plan: Transform, operations: Operations) -> None:
    """Each term a product of two matrices; the output's basis takes its factor."""
    size = plan.domain.shape[0]
    output = plan.output
    square = {(i, c): operations.take(size**2) for i, parts in enumerate(plan.maps) for c in range(len(parts))}

    matrices = {(i, c): _basis(one, plan.sizes[i]) for i, parts in enumerate(plan.maps) for c, one in enumerate(parts)}
    for i in plan.inputs:
        for c in range(len(plan.maps[i])):
            operations.sparse(matrices[i, c], square[i, c], operations.starts[i], add=False)
    (left, *of_left), (right, *of_right) = matrix_factors(output, size)
    strides = [step * operations.tile_width for step in (*of_left, *of_right)]
    for n, (parts_of_term, factor) in enumerate(plan.terms):
        places = [square[i, parts_of_term[i]] * operations.tile_width for i in (output, left, right)]
        operations.add(layout.MATRICES, size, *places, *strides)
        operations.flops += 2 * size**3
        own = output, parts_of_term[output]
        back = matrices[own].transposed()
        operations.sparse(back, operations.starts[output], square[own], add=n > 0, factor=factor)


def _basis(linear_map: LinearMap, size: int) -> Sparse:
    """The map of ``size`` components to the entries of a matrix, which is sparse."""
    (own,) = passes_of(linear_map, size)
    assert isinstance(own.matrices, Sparse)
    return own.matrices


def _synthesis(plan: Synthesis, operations: Operations, most_rings: int) -> None:
    """One grid values, whose points are the other operand."""
    reduction = ParityReduction.of(plan.grid)
    part = separate(plan.linear_map, plan.sizes[0], plan.grid, reduction)
    grid = GridOperations(operations, reduction, most_rings, 1)
    orders, values_at = grid.take_orders(part), grid.take_values()
    coefficients, values = operations.starts
    factors = np.ones(len(reduction.rings))
    if plan.weighted:
        factors = np.asarray(plan.grid.ring_weights)[reduction.rings[:, 0]]
    if plan.output == 0:
        factors = factors * reduction.ring_shares
        (adds,) = zero(operations, coefficients, plan.sizes[0], [part], [coefficients])
    for block in grid.blocks():
        if plan.output == 1:
            grid.to_orders(part, coefficients, orders, block, factors)
        for group in grid.groups(block):
            if plan.output == 1:
                grid.to_values(part, orders, values_at, group)
                grid.reflect(values_at, group)
                grid.exchange(values_at, values, group, block, plan.grid.n_alpha, out=True)
            else:
                grid.exchange(values_at, values, group, block, plan.grid.n_alpha, out=False)
                grid.reflect(values_at, group)
                grid.from_values(part, values_at, orders, group)
        if plan.output == 0:
            grid.from_orders(part, coefficients, orders, block, factors, adds or block.start > 0)


def _low_rank(plan: LowRankTransform, operations: Operations, most_rings: int) -> None:
    """One transform after the other, of features times their weights, all in the same room."""
    k = plan.feature
    started = False
    for part, transform in zip(plan.parts, plan.transforms, strict=True):
        starts = [operations.take(size) for size in transform.sizes]
        grid = GridTransform(transform, operations, most_rings)
        components = [np.arange(size) for size in transform.sizes]
        features = [operations.starts[FEATURES[j]] + part.starts[j] for j in range(3)]
        degrees = [part.degree_places(j) * part.rank for j in range(3)]
        weights = [operations.starts[WEIGHTS[j]] + part.weight_starts[j] for j in range(3)]
        for r in range(part.rank):
            chosen = [(weights[j] + r, degrees[j]) for j in range(3)]
            for j in (j for j in range(3) if j != k):
                operations.products((starts[j], components[j]), (features[j], components[j]), chosen[j])
            grid.emit(starts)
            given = starts[k], components[k]
            if plan.output == FEATURES[k]:
                operations.products((features[k], components[k]), given, chosen[k], add=started or r > 0)
                continue
            first = np.diff(degrees[k], prepend=-1) != 0  # the first component of each degree
            factors = chosen[k], given, (features[k], components[k])
            for own, add in ((first, False), (~first, True)):
                operations.products(*((start, places[own]) for start, places in factors), add=add)
        started = k < 2  # of the result, each part has its own block
        grid.release()
        for start in starts:
            operations.arena.release(start)
