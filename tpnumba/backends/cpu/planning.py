"""From a contraction to its program: whether the kernel can run it, how long its runs are, and the tables."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from tpnumba.backends.cpu.builder import Builder
from tpnumba.backends.cpu.program import LINE, VECTORS, Program
from tpnumba.backends.paths import alike, compact_weights, scratch_size
from tpnumba.plans.contraction import Contraction

#: A tile of at most so many bytes stays in the second cache; runs are shortened, down to one vector, to keep to it.
_TILE_BYTES = 3 * 2**18
#: What the tiles of all threads may take together. A plan whose shortest tile is larger has no program.
MOST_BYTES = 2**25


@lru_cache(maxsize=4096)
def program_of(plan: Contraction, dtype: str) -> Program | None:
    """The program of ``plan``; None if the kernel cannot run it.

    It runs paths of three operands with components and at most one without, whose tables have a reasonable size. The
    plan's ``access`` plays no part, but for weights that mix channels.
    """
    fits = all(
        sum(leg is not None for leg in path.legs) == 3 and sum(leg is None for leg in path.legs) <= 1
        for path in plan.paths
    )
    if not fits:
        return None
    compact = compact_weights(plan)
    return make_program(
        plan.with_access(tuple("shared" if i == compact else "batch" for i in range(len(plan.operands)))), dtype
    )


@lru_cache(maxsize=512)
def make_program(plan: Contraction, dtype: str, vectors: int | None = None) -> Program | None:
    """Build the tables; None if they would be too large. ``vectors``: 64-byte vectors of a run, if not as fits."""
    line = LINE // np.dtype(dtype).itemsize
    compact = compact_weights(plan)
    largest = max((max(path.coupling.shape) ** 2 for path in plan.paths), default=0)
    scratch = max((scratch_size(path, plan) for path in plan.paths), default=0)
    total = sum(size for i, size in enumerate(plan.sizes) if i != compact) + largest + scratch
    if total * LINE > MOST_BYTES:
        return None
    if vectors is None:
        vectors = next((v for v in VECTORS if total * v * LINE <= _TILE_BYTES), VECTORS[-1])
    builder = Builder(plan, line, vectors * line, scratch, compact)
    for paths in alike(plan):
        if not builder.add(paths):
            return None
    return builder.finish(dtype, vectors)
