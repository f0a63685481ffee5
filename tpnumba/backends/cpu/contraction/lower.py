"""From a contraction to its program: how wide its tile is, and the tables."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tpnumba.backends.cpu import layout
from tpnumba.backends.cpu.contraction.builder import Builder
from tpnumba.backends.cpu.contraction.program import ContractionProgram
from tpnumba.backends.cpu.layout import LINE, MOST_BYTES, TILE_BYTES, VECTORS, WEIGHTS_TILE_BYTES
from tpnumba.backends.lowering.paths import (
    compact_weights,
    components_of,
    group_paths,
    merge_groups,
    mixes,
    scratch_size,
)
from tpnumba.plans.contraction import Contraction, Path
from tpnumba.plans.speed import has_own_code

#: Nodes of groups that are made one, at most, so that they stay in the second cache.
_MERGED_NODES = 2**11
#: Terms of a plan beyond which products are not put together: finding pairs would take longer than it saves.
_PAIRED_TERMS = 2**14
#: Combinations of channels of a program with code of its own, each of which it calls by itself.
_CODE_CALLS = 2_000


def lower_contraction(plan: Contraction, dtype: str, vectors: int | None) -> ContractionProgram | None:
    """Build the tables; None if they or the tile would be too large.

    ``vectors``: of a column of the tile, if not the most whose tile stays in the cache.
    """
    vector_length = LINE // np.dtype(dtype).itemsize
    compact = compact_weights(plan)
    groups = merge_groups(plan, group_paths(plan), _MERGED_NODES)
    largest = max((_most_nodes(paths) for paths in groups), default=0)
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
    builder = Builder(
        plan,
        vector_length,
        vectors * vector_length,
        scratch=scratch,
        nodes=largest,
        compact=compact,
        pair=sum(path.coupling.sparse.values.size for path in plan.paths) <= _PAIRED_TERMS,
    )
    for paths in groups:
        if not builder.add(paths):
            return None
    program = builder.finish(dtype, vectors)
    mixes_channels = bool((program.groups[:, layout.MIX] != 0).any())
    combinations = int((program.groups[:, layout.CHANNELS_END] - program.groups[:, layout.CHANNELS_BEGIN]).sum())
    has_code = has_own_code(plan) and not mixes_channels and compact is None and 0 < combinations <= _CODE_CALLS
    if not has_code:
        return program
    width = LINE // program.dtype.itemsize
    room = 2 * (program.buffer // program.tile_width) * width + width * plan.sizes[plan.output]
    return replace(program, has_code=True, tile_size=max(program.tile_size, room))


def _most_nodes(paths: list[Path]) -> int:
    """The products of a group, of which there are at least as many as nodes."""
    left, right, _ = components_of(paths[0])
    pairs = {(path.segments[left], path.segments[right]): path.coupling.shape for path in paths}
    legs = paths[0].legs
    return sum(shape[legs[left] or 0] * shape[legs[right] or 0] for shape in pairs.values())
