"""From a contraction to its program: how wide its tile is, and the tables."""

from __future__ import annotations

import numpy as np

from tpnumba.backends.cpu.contraction.builder import Builder
from tpnumba.backends.cpu.contraction.program import ContractionProgram
from tpnumba.backends.cpu.layout import LINE, MOST_BYTES, TILE_BYTES, VECTORS, WEIGHTS_TILE_BYTES
from tpnumba.backends.lowering.paths import compact_weights, group_paths, mixes, scratch_size
from tpnumba.plans.contraction import Contraction


def lower_contraction(plan: Contraction, dtype: str, vectors: int | None) -> ContractionProgram | None:
    """Build the tables; None if they or the tile would be too large.

    ``vectors``: of a column of the tile, if not the most whose tile stays in the cache.
    """
    vector_length = LINE // np.dtype(dtype).itemsize
    compact = compact_weights(plan)
    largest = max((max(path.coupling.shape) ** 2 for path in plan.paths), default=0)
    scratch = max((scratch_size(path, plan) for path in plan.paths), default=0)
    total = sum(size for i, size in enumerate(plan.sizes) if i != compact) + largest + scratch
    if total * LINE > MOST_BYTES:
        return None
    if vectors is None:
        # Where each sample has a matrix of weights, most of the work is reading them, which long columns do not help;
        # and a few hundred samples would be but a few tiles.
        matrices = compact is None and any(mixes(path) for path in plan.paths)
        limit = WEIGHTS_TILE_BYTES if matrices else TILE_BYTES
        vectors = next((v for v in VECTORS if total * v * LINE <= limit), VECTORS[-1])
    builder = Builder(plan, vector_length, vectors * vector_length, scratch, compact)
    for paths in group_paths(plan):
        if not builder.add(paths):
            return None
    return builder.finish(dtype, vectors)
