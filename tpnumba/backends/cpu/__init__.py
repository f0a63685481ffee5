"""The processor's backend: compiled kernels for NumPy arrays."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from types import ModuleType
from typing import Any

from tpnumba.backends.namespaces import Setting
from tpnumba.plans.base import Plan


def supports(plan: Plan, setting: Setting) -> bool:
    """Whether there is a kernel for ``plan``."""
    return _kernels().program_of(plan, setting.dtype_name) is not None


def run(
    plan: Plan,
    operands: Mapping[int, Any],
    full: tuple[int, ...],
    batch: tuple[int, ...],
    setting: Setting,
    out: Any,
    num_threads: int | None,
) -> Any:
    """Evaluate ``plan``; see :func:`tpnumba.backends.generic.run` for the arguments."""
    return _kernels().run(plan, operands, full, batch, setting, out, num_threads)


@lru_cache(maxsize=1)
def _kernels() -> ModuleType:
    """What needs Numba, whose import takes longer than that of all the rest."""
    from tpnumba.backends.cpu import evaluate

    return evaluate
