"""The GPU's backend: kernels compiled at run time for CuPy arrays."""

from __future__ import annotations

from tpnumba.backends.gpu.device import missing, on_device
from tpnumba.backends.gpu.lower import program_of
from tpnumba.backends.namespaces import Context, is_cupy
from tpnumba.plans.base import Plan
from tpnumba.plans.harmonics import Harmonics

__all__ = [
    "TAKES",
    "accepts",
    "missing",
    "on_device",
    "program_of",
    "supports",
]


TAKES = "cupy arrays"


def accepts(context: Context) -> bool:
    """Whether the arrays of a call are CuPy's."""
    return is_cupy(context.xp)


def supports(plan: Plan | Harmonics, context: Context) -> bool:
    """Whether there is a kernel for ``plan``."""
    return program_of(plan, context.dtype_name) is not None
