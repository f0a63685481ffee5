"""From sums of products of weights to their program: a list of products of columns."""

from __future__ import annotations

import numpy as np

from tpnumba.backends.cpu import layout
from tpnumba.backends.cpu.transform.operations import Operations
from tpnumba.backends.cpu.transform.program import TransformProgram
from tpnumba.plans.low_rank import PathWeights, Terms


def lower_path_weights(plan: PathWeights, dtype: str, vectors: int | None) -> TransformProgram | None:
    """The program with the widest tile that stays in the cache; None if even the smallest takes too much memory.

    ``vectors``: of a column of the tile, if not as fits.
    """
    for count in (vectors,) if vectors else layout.VECTORS:
        operations = Operations(plan, layout.LINE // np.dtype(dtype).itemsize, count)
        operations.fill(operations.starts[plan.output], plan.sizes[plan.output])
        for terms in plan.terms:
            _add_terms(plan, terms, operations)
        program = operations.finish(dtype)
        if program.tile_bytes <= layout.TILE_BYTES:
            return program
    return None if program.tile_bytes > layout.MOST_BYTES else program


def _add_terms(plan: PathWeights, terms: Terms, operations: Operations) -> None:
    """Pair by pair of degrees of the inputs, all terms together: ``ranks`` columns follow each other."""
    ranks = np.arange(terms.rank)
    starts = [start + own for start, own in zip(operations.starts, terms.starts, strict=False)]
    paths = operations.starts[3] + terms.paths[0]
    pairs: dict[tuple[int, int], list[int]] = {}
    for number, (i1, i2, _) in enumerate(terms.triples):
        pairs.setdefault((i1, i2), []).append(number)
    met = operations.take(terms.rank)
    for (i1, i2), numbers in pairs.items():
        left, right = (starts[0] + i1 * terms.rank, ranks), (starts[1] + i2 * terms.rank, ranks)
        last = np.array([terms.triples[number][2] for number in numbers])
        # A column for each path and term: those of the last factor, of the pair, and of the paths.
        third = starts[2], np.add.outer(last * terms.rank, ranks).ravel()
        pair = met, np.tile(ranks, len(numbers))
        own = paths, np.repeat(numbers, terms.rank)
        if plan.output in (2, 3):
            operations.products((met, ranks), left, right)
            to, other = (own, third) if plan.output == 3 else (third, own)
            operations.products(to, pair, other, add=True)
        else:
            operations.fill(met, terms.rank)
            operations.products(pair, third, own, add=True)
            to, other = (left, right) if plan.output == 0 else (right, left)
            operations.products(to, (met, ranks), other, add=True)
    operations.arena.release(met)
