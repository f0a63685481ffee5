"""The CPU's backend: compiled kernels for arrays in the processor's memory.

What needs Numba, whose import takes longer than that of all the rest, is imported when it is first asked for: here, and
``evaluation.py`` by the registry.
"""

from __future__ import annotations

from functools import cache
from types import ModuleType

from tpnumba.backends.cpu.availability import accepts, missing, require, warn_of_generic
from tpnumba.backends.namespaces import Context
from tpnumba.plans.base import Plan
from tpnumba.plans.harmonics import Harmonics

__all__ = ["accepts", "missing", "require", "supports", "warn_of_generic"]


@cache
def _lowering() -> ModuleType:
    from tpnumba.backends.cpu import lowering

    return lowering


def supports(plan: Plan | Harmonics, context: Context) -> bool:
    """Whether there is a kernel for ``plan``."""
    return _lowering().program_of(plan, context.dtype_name) is not None
