"""The CPU's backend: compiled kernels for arrays in the processor's memory.

What needs Numba, whose import takes longer than that of all the rest, is imported when it is first asked for: here, and
``evaluation.py`` by the registry.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import cache
from types import ModuleType
from typing import Any

from tpnumba.backends.cpu.availability import TAKES, accepts, missing
from tpnumba.backends.namespaces import Context
from tpnumba.plans.base import Plan
from tpnumba.plans.harmonics import Harmonics

__all__ = ["TAKES", "accepts", "missing", "on_device", "supports"]


@cache
def _lowering() -> ModuleType:
    from tpnumba.backends.cpu import lowering

    return lowering


def supports(plan: Plan | Harmonics, context: Context) -> bool:
    """Whether there is a kernel for ``plan``."""
    return _lowering().program_of(plan, context.dtype_name) is not None


def on_device(array: Any) -> AbstractContextManager[None]:  # noqa: ARG001
    """Nothing: there is one processor."""
    return nullcontext()
