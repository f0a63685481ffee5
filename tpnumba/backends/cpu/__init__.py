"""The processor's backend: compiled kernels for NumPy arrays."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from types import ModuleType
from typing import Any

from tpnumba.backends.namespaces import Context
from tpnumba.plans.base import Plan
from tpnumba.plans.harmonics import Harmonics


def supports(plan: Plan | Harmonics, context: Context) -> bool:
    """Whether there is a kernel for ``plan``."""
    if isinstance(plan, Harmonics):
        return _harmonics().program_of(plan, context.dtype_name) is not None
    return _kernels().program_of(plan, context.dtype_name) is not None


def run(
    plan: Plan,
    operands: Mapping[int, Any],
    full: tuple[int, ...],
    batch: tuple[int, ...],
    context: Context,
    out: Any,
    num_threads: int | None,
) -> Any:
    """Evaluate ``plan``; see :func:`tpnumba.backends.generic.run` for the arguments."""
    return _kernels().run(plan, operands, full, batch, context, out, num_threads)


def run_harmonics(
    plan: Harmonics, arrays: tuple[Any, ...], context: Context, out: Any, num_threads: int | None
) -> tuple[Any, ...]:
    """Evaluate ``plan``; see :func:`tpnumba.backends.generic.harmonics.run` for the arguments."""
    return _harmonics().run(plan, arrays, context, out, num_threads)  # type: ignore[no-any-return]


@lru_cache(maxsize=1)
def _kernels() -> ModuleType:
    """What needs Numba, whose import takes longer than that of all the rest."""
    from tpnumba.backends.cpu import driver

    return driver


@lru_cache(maxsize=1)
def _harmonics() -> ModuleType:
    """Likewise."""
    from tpnumba.backends.cpu.harmonics import lower

    return lower
