"""From a plan to its program: whether a kernel can run it, how long its runs are, and the tables."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from tpnumba.backends.cpu.contraction.builder import Builder
from tpnumba.backends.cpu.program import LINE, MOST_BYTES, VECTORS, Program
from tpnumba.backends.cpu.transform.lower import FEW_RINGS, count_rings, plan_fields
from tpnumba.backends.paths import alike, compact_weights, mixes, scratch_size
from tpnumba.plans.access import Access
from tpnumba.plans.base import Plan, cached_on_instance
from tpnumba.plans.contraction import Contraction
from tpnumba.plans.synthesis import Synthesis
from tpnumba.plans.transform import Transform

#: Runs are shortened, down to one vector, to keep a tile to so many bytes, which the third cache holds. Long runs count
#: for more than the second one: L = 8, Clebsch-Gordan, 3.3 microseconds a sample with runs of 4 vectors in 2.2 MB, 4.6
#: with runs of one in 0.9 MB; Gaunt at L = 32 on a grid, 20.4 in 3 MB and 24.2 in 1 MB.
_TILE_BYTES = 2**22
_MATRICES_TILE_BYTES = 3 * 2**18


@cached_on_instance
@lru_cache(maxsize=4096)
def program_of(plan: Plan, dtype: str) -> Program | None:
    """The program of ``plan``; None if the kernel cannot run it.

    The plan's ``access`` plays no part, but for weights that mix channels.
    """
    if not isinstance(plan, Contraction):
        return make_program(plan.with_access((Access.BATCH,) * len(plan.operands)), dtype)
    fits = all(
        sum(leg is not None for leg in path.legs) == 3 and sum(leg is None for leg in path.legs) <= 1
        for path in plan.paths
    )
    if not fits:  # paths of three operands with components and at most one without
        return None
    compact = compact_weights(plan)
    return make_program(
        plan.with_access(tuple(Access.SHARED if i == compact else Access.BATCH for i in range(len(plan.operands)))),
        dtype,
    )


@lru_cache(maxsize=512)
def make_program(plan: Plan, dtype: str, vectors: int | None = None) -> Program | None:
    """Build the tables; None if they would be too large. ``vectors``: 64-byte vectors of a run, if not as fits."""
    if isinstance(plan, Contraction):
        return _contraction(plan, dtype, vectors)
    if isinstance(plan, Transform | Synthesis):
        return _fields(plan, dtype, vectors)
    return None


def _contraction(plan: Contraction, dtype: str, vectors: int | None) -> Program | None:
    line = LINE // np.dtype(dtype).itemsize
    compact = compact_weights(plan)
    largest = max((max(path.coupling.shape) ** 2 for path in plan.paths), default=0)
    scratch = max((scratch_size(path, plan) for path in plan.paths), default=0)
    total = sum(size for i, size in enumerate(plan.sizes) if i != compact) + largest + scratch
    if total * LINE > MOST_BYTES:
        return None
    if vectors is None:
        # Where each sample has a matrix of weights, most of the work is reading them, which long runs do not help; and
        # a few hundred samples would be but a few tiles.
        matrices = compact is None and any(mixes(path) for path in plan.paths)
        limit = _MATRICES_TILE_BYTES if matrices else _TILE_BYTES
        vectors = next((v for v in VECTORS if total * v * LINE <= limit), VECTORS[-1])
    builder = Builder(plan, line, vectors * line, scratch, compact)
    for paths in alike(plan):
        if not builder.add(paths):
            return None
    return builder.finish(dtype, vectors)


def _fields(plan: Transform | Synthesis, dtype: str, vectors: int | None) -> Program | None:
    """The longest runs whose tile stays in the cache; then fewer rings at a time."""
    if sum(plan.sizes) * LINE > MOST_BYTES:
        return None
    rings = count_rings(plan)
    for runs in (vectors,) if vectors else VECTORS:
        program = plan_fields(plan, dtype, runs, rings)
        if program.tile_bytes <= _TILE_BYTES:
            return program
    while rings > FEW_RINGS and program.tile_bytes > _TILE_BYTES:
        rings = max(FEW_RINGS, rings // 2)
        program = plan_fields(plan, dtype, program.vectors, rings)
    return None if program.tile_bytes > MOST_BYTES else program
