"""The CPU's backend: compiled kernels for NumPy arrays."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from types import ModuleType
from typing import Any

from tpnumba.backends.namespaces import Context
from tpnumba.plans.base import Plan
from tpnumba.plans.harmonics import Harmonics


@lru_cache(maxsize=1)
def _lowering() -> ModuleType:
    """What needs Numba, whose import takes longer than that of all the rest."""
    from tpnumba.backends.cpu import lowering

    return lowering


@lru_cache(maxsize=1)
def _driver() -> ModuleType:
    """Likewise."""
    from tpnumba.backends.cpu import driver

    return driver


def supports(plan: Plan | Harmonics, context: Context) -> bool:
    """Whether there is a kernel for ``plan``."""
    return _lowering().program_of(plan, context.dtype_name) is not None


def evaluate(
    plan: Plan,
    operands: Mapping[int, Any],
    full: tuple[int, ...],
    batch: tuple[int, ...],
    context: Context,
    out: Any,
    num_threads: int | None,
) -> Any:
    """Evaluate ``plan``; see :func:`tpnumba.backends.generic.run` for the arguments."""
    return _driver().evaluate(plan, operands, full, batch, context, out, num_threads)


def evaluate_harmonics(
    plan: Harmonics, arrays: tuple[Any, ...], context: Context, out: Any, num_threads: int | None
) -> tuple[Any, ...]:
    """Evaluate ``plan``; see :func:`tpnumba.backends.generic.harmonics.run` for the arguments."""
    return _driver().evaluate_harmonics(plan, arrays, context, out, num_threads)  # type: ignore[no-any-return]
