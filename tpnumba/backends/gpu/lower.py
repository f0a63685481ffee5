"""From a plan to its program: which of the kernels evaluates it."""

from __future__ import annotations

from functools import lru_cache

from tpnumba.backends.gpu.contraction import lower as contraction
from tpnumba.backends.gpu.contraction import precontraction
from tpnumba.backends.gpu.harmonics import lower as harmonics
from tpnumba.backends.gpu.tile.program import Program
from tpnumba.backends.gpu.transform import lower as transform
from tpnumba.backends.gpu.transform import multipass
from tpnumba.plans.access import Access
from tpnumba.plans.base import Plan
from tpnumba.plans.contraction import Contraction
from tpnumba.plans.harmonics import Harmonics
from tpnumba.plans.synthesis import Synthesis
from tpnumba.plans.transform import Transform


@lru_cache(maxsize=512)
def program_of(
    plan: Plan | Harmonics, dtype: str
) -> Program | multipass.MultipassProgram | harmonics.HarmonicsProgram | None:
    """The program of ``plan`` in ``dtype``; None if its tables would be too large."""
    match plan:
        case Harmonics():
            return harmonics.lower(plan, dtype)
        case Contraction():
            return precontraction.lower(plan, dtype) or contraction.lower(plan, dtype)
        case Transform() | Synthesis():
            return transform.lower(plan, dtype) or _multipass(
                plan.with_access((Access.BATCH,) * len(plan.operands)), dtype
            )
    return None


@lru_cache(maxsize=512)
def _multipass(plan: Transform | Synthesis, dtype: str) -> multipass.MultipassProgram | None:
    """One for every access: which operands are one row for all samples is for each call to say."""
    return multipass.lower(plan, dtype)
