"""From a plan of any kind to its program, if there is a kernel that can run it."""

from __future__ import annotations

from functools import lru_cache

from tpnumba.backends.cpu.channelwise.lower import lower_channelwise
from tpnumba.backends.cpu.contraction.lower import lower_contraction
from tpnumba.backends.cpu.harmonics.lower import lower_harmonics
from tpnumba.backends.cpu.layout import MOST_FEW_FLOPS
from tpnumba.backends.cpu.program import Program
from tpnumba.backends.cpu.transform.lower import lower_transform
from tpnumba.backends.cpu.transform.path_weights import lower_path_weights
from tpnumba.backends.lowering.paths import are_paths_supported, compact_weights
from tpnumba.plans.access import Access
from tpnumba.plans.base import Plan
from tpnumba.plans.contraction import Contraction
from tpnumba.plans.harmonics import Harmonics
from tpnumba.plans.low_rank import LowRankContraction, LowRankTransform, PathWeights
from tpnumba.plans.synthesis import Synthesis
from tpnumba.plans.transform import Transform


def program_of(plan: Plan | Harmonics, dtype: str) -> Program | None:
    """The program of ``plan``; None if the kernel cannot run it.

    The plan's ``access`` plays no part, but for weights that mix channels.
    """
    if isinstance(plan, LowRankContraction):
        return program_of(plan.summed, dtype) and program_of(plan.inner, dtype)
    known: dict[str, Program | None] = plan.__dict__.setdefault("_programs", {})
    try:
        return known[dtype]
    except KeyError:
        found = lower_harmonics(plan, dtype) if isinstance(plan, Harmonics) else _program(plan, dtype, None)
        return known.setdefault(dtype, found)


def program_of_few(plan: Plan | Harmonics, dtype: str) -> Program:
    """A program of ``plan`` with columns of one vector, if it is small: quicker for few samples, and the same bits.

    Of a column all vectors are worked, however few samples there are: one sample of Gaunt at L = 3 takes 4.3
    microseconds with columns of four vectors, 1.9 with one.
    """
    program = program_of(plan, dtype)
    assert program is not None
    if program.vectors == 1 or program.flops > MOST_FEW_FLOPS:
        return program
    known: dict[str, Program] = plan.__dict__.setdefault("_programs_of_few", {})
    found = known.get(dtype)
    if found is None:
        narrow = lower_harmonics(plan, dtype, 1) if isinstance(plan, Harmonics) else _program(plan, dtype, 1)
        found = known.setdefault(dtype, narrow or program)
    return found


def lower_with(plan: Plan | Harmonics, dtype: str, vectors: int) -> Program | None:
    """The program with columns of ``vectors`` vectors, whatever the size of the tile; its access is the plan's."""
    return lower_harmonics(plan, dtype, vectors) if isinstance(plan, Harmonics) else _lower(plan, dtype, vectors)


@lru_cache(maxsize=4096)
def _program(plan: Plan, dtype: str, vectors: int | None) -> Program | None:
    compact = None
    if isinstance(plan, Contraction):
        if not are_paths_supported(plan):
            return None
        if plan.has_indexed_operands and not plan.sums_samples:
            channelwise = lower_channelwise(plan, dtype)
            if channelwise is not None:
                return channelwise
        compact = compact_weights(plan)
    access = tuple(Access.SHARED if i == compact else Access.BATCH for i in range(len(plan.operands)))
    return _lower(plan.with_access(access), dtype, vectors)


@lru_cache(maxsize=512)
def _lower(plan: Plan, dtype: str, vectors: int | None) -> Program | None:
    if isinstance(plan, Contraction):
        return lower_contraction(plan, dtype, vectors)
    if isinstance(plan, PathWeights):
        return lower_path_weights(plan, dtype, vectors)
    if isinstance(plan, Transform | LowRankTransform | Synthesis):
        return lower_transform(plan, dtype, vectors)
    return None
