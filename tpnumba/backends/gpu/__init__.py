"""The GPU's backend: kernels compiled at run time for CuPy arrays."""

from __future__ import annotations

from tpnumba.backends.gpu.device import missing, require_device
from tpnumba.backends.gpu.launch import evaluate, evaluate_harmonics, evaluate_rows
from tpnumba.backends.gpu.lower import program_of
from tpnumba.backends.namespaces import Context
from tpnumba.plans.base import Plan
from tpnumba.plans.harmonics import Harmonics

__all__ = [
    "evaluate",
    "evaluate_harmonics",
    "evaluate_rows",
    "missing",
    "program_of",
    "require_device",
    "supports",
]


def supports(plan: Plan | Harmonics, context: Context) -> bool:
    """Whether there is a kernel for ``plan``."""
    return program_of(plan, context.dtype_name) is not None
