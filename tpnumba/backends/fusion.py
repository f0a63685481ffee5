"""Evaluation as one compiled function, for namespaces that compile every single operation (jax).

jax compiles an operation anew for every shape, which takes seconds for the many small ones of a plan; so the evaluation
of a plan is one compiled function also outside of ``jax.jit``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

from tpnumba.backends.namespaces import Context, is_jax

R = TypeVar("R")


@cache
def _jitted(function: Callable[..., Any], fixed: int) -> Callable[..., Any]:
    """``function`` compiled by jax, anew for other values of its first ``fixed`` arguments."""
    jitted: Callable[..., Any] = sys.modules["jax"].jit(function, static_argnums=tuple(range(fixed)))
    return jitted


def evaluate_fused(function: Callable[..., R], context: Context, fixed: tuple[Any, ...], *arrays: Any) -> R:
    """``function(context, *fixed, *arrays)``; for jax as one compiled function. What is fixed must be hashable."""
    if is_jax(context.xp):
        # The device is that of the arrays, also for the tables that go into the compiled function.
        function, context = _jitted(function, 1 + len(fixed)), context._replace(device=None)
    return function(context, *fixed, *arrays)
