"""The one dispatch table: which backend runs a plan."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from tpnumba.backends import cpu, generic, gpu, lazy
from tpnumba.backends.compiled import run_as_one
from tpnumba.backends.generic import harmonics
from tpnumba.backends.namespaces import Context, is_cupy, is_jax, is_lazy, is_numpy, short_name
from tpnumba.irreps import check_degree
from tpnumba.plans.base import Plan
from tpnumba.plans.harmonics import Harmonics

Array = Any

BACKENDS = ("auto", "generic", "cpu", "gpu")

_RUN: dict[str, Callable[..., Array]] = {"generic": generic.run, "cpu": cpu.evaluate, "gpu": gpu.run}
_RUN_HARMONICS: dict[str, Callable[..., tuple[Array, ...]]] = {
    "generic": harmonics.run,
    "cpu": cpu.evaluate_harmonics,
    "gpu": gpu.run_harmonics,
}


def check_backend(backend: str) -> None:
    """Check the name of a backend.

    Raises:
        ValueError: an unknown name.
    """
    if backend not in BACKENDS:
        raise ValueError(f"backend must be one of {', '.join(BACKENDS)}, got {backend!r}")


def likely_backend(backend: str, context: Context) -> str:
    """The backend that runs most plans: the one asked for; for ``auto`` by the kind of arrays alone."""
    if backend != "auto":
        return backend
    return "cpu" if is_numpy(context.xp) else "gpu" if is_cupy(context.xp) else "generic"


def choose_backend(backend: str, plan: Plan | Harmonics, context: Context) -> str:
    """The backend that runs a plan: the one asked for; for ``auto`` the fastest that has a kernel for it.

    Raises:
        TypeError: arrays that the backend asked for does not take.
        ImportError: the library that it needs is not installed.
        RuntimeError: there is no device for it, or it has no kernel for this plan.
    """
    if backend == "auto":
        if is_numpy(context.xp) and cpu.supports(plan, context):
            return "cpu"
        return "gpu" if is_cupy(context.xp) and gpu.supports(plan, context) else "generic"
    if backend == "gpu":
        if not is_cupy(context.xp):
            missing = gpu.missing()
            also = "" if missing is None else f" (and {missing})"
            raise TypeError(f"backend 'gpu' takes cupy arrays, got arrays of {short_name(context.xp)}{also}")
        gpu.require_device()
        if not gpu.supports(plan, context):
            raise RuntimeError(f"backend 'gpu' has no kernel for {plan!r}; use backend 'auto' or 'generic'")
    if backend == "cpu":
        if not is_numpy(context.xp):
            raise TypeError(f"backend 'cpu' takes numpy arrays, got arrays of {short_name(context.xp)}")
        if not cpu.supports(plan, context):
            raise RuntimeError(f"backend 'cpu' has no kernel for {plan!r}; use backend 'auto' or 'generic'")
    return backend


def resolve_threads(num_threads: int | None) -> int | None:
    """The number of threads asked for, by the keyword or by ``TPNUMBA_NUM_THREADS``; None leaves it to the backend.

    The generic backend leaves threads to the array library and reads the number only to reject a wrong one.

    Raises:
        TypeError, ValueError: not a positive integer.
    """
    name = "num_threads"
    value: Any = num_threads
    if value is None:
        text = os.environ.get("TPNUMBA_NUM_THREADS")
        if text is None:
            return None
        name = "the environment variable TPNUMBA_NUM_THREADS"
        if not text.strip().isdecimal():
            raise ValueError(f"{name} must be a positive integer, got {text!r}")
        value = int(text)
    if check_degree(name, value) == 0:
        raise ValueError(f"{name} must be a positive integer, got 0")
    return int(value)


def run(
    plan: Plan,
    operands: Mapping[int, Array],
    full: tuple[int, ...],
    batch: tuple[int, ...],
    context: Context,
    *,
    out: Array | None = None,
    backend: str = "auto",
    num_threads: int | None = None,
) -> Array:
    """Evaluate ``plan`` on checked operands; see :func:`tpnumba.backends.generic.run` for the arguments."""
    if is_lazy(context.xp):
        if backend == "gpu":  # said now, not when the blocks are computed
            gpu.require_device()
        return lazy.run(partial(run, backend=backend, num_threads=num_threads), plan, operands, full, batch)
    chosen = choose_backend(backend, plan, context)
    if is_jax(context.xp):
        return run_as_one(_run_arrays, context, (chosen, plan, tuple(operands), full, batch), *operands.values())
    return _RUN[chosen](plan, operands, full, batch, context, out, num_threads)


def run_harmonics(
    plan: Harmonics,
    arrays: tuple[Array, ...],
    context: Context,
    *,
    out: Array | None = None,
    backend: str = "auto",
    num_threads: int | None = None,
) -> tuple[Array, ...]:
    """Evaluate ``plan`` on checked arrays; see :func:`tpnumba.backends.generic.harmonics.run` for the arguments."""
    if is_lazy(context.xp):
        if backend == "gpu":  # as above
            gpu.require_device()
        return lazy.run_harmonics(partial(run_harmonics, backend=backend, num_threads=num_threads), plan, arrays)
    return _RUN_HARMONICS[choose_backend(backend, plan, context)](plan, arrays, context, out, num_threads)


def _run_arrays(
    context: Context,
    backend: str,
    plan: Plan,
    slots: tuple[int, ...],
    full: tuple[int, ...],
    batch: tuple[int, ...],
    *arrays: Array,
) -> Array:
    return _RUN[backend](plan, dict(zip(slots, arrays, strict=True)), full, batch, context, None, None)
