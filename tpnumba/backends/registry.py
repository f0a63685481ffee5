"""The registry of backends: which one evaluates a call, with which plan."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from typing import Any, cast

from tpnumba.backends import batching, cpu, generic, gpu
from tpnumba.backends.base import Evaluation
from tpnumba.backends.call import Array, Call
from tpnumba.backends.namespaces import is_cupy, is_eager, short_name
from tpnumba.irreps import check_degree
from tpnumba.plans.base import Plan
from tpnumba.plans.harmonics import Harmonics

BACKENDS = ("auto", "generic", "cpu", "gpu")


def check_backend(backend: str) -> None:
    """Check the name of a backend.

    Raises:
        ValueError: an unknown name.
    """
    if backend not in BACKENDS:
        raise ValueError(f"backend must be one of {', '.join(BACKENDS)}, got {backend!r}")


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


def choose(call: Call) -> tuple[str, Plan | Harmonics]:
    """The backend and the plan of a call, as :func:`_choose` finds them, kept with what is computed.

    Raises:
        TypeError, ImportError, RuntimeError: the backend asked for cannot evaluate the call.
    """
    known = call.methods.__dict__.setdefault("_choices", {})
    key = call.backend, call.context, cpu.supports, gpu.supports  # tests put others in the place of these
    try:
        return known[key]  # type: ignore[no-any-return]
    except KeyError:
        found = known[key] = _choose(call)
        return found


def _choose(call: Call) -> tuple[str, Plan | Harmonics]:
    """The backend and the plan of a call: the backend asked for; for ``auto`` the fastest that has a kernel.

    Raises:
        TypeError: arrays that the backend asked for does not take.
        ImportError: the library that it needs is not installed.
        RuntimeError: there is no device for it, or it has no kernel for this plan.
    """
    backend, context = call.backend, call.context
    if backend == "auto":
        if cpu.accepts(context):
            plan = _plan(call, "cpu")
            if cpu.missing() is not None:
                cpu.warn_of_generic()
            elif cpu.supports(plan, context):
                return "cpu", plan
        elif is_cupy(context.xp):
            plan = _plan(call, "gpu")
            if gpu.supports(plan, context):
                return "gpu", plan
        return "generic", _plan(call, "generic")
    plan = _plan(call, backend)
    if backend == "gpu":
        if not is_cupy(context.xp):
            missing = gpu.missing()
            also = "" if missing is None else f" (and {missing})"
            raise TypeError(f"backend 'gpu' takes cupy arrays, got arrays of {short_name(context.xp)}{also}")
        require("gpu")
        if not gpu.supports(plan, context):
            raise RuntimeError(f"backend 'gpu' has no kernel for {plan!r}; use backend 'auto' or 'generic'")
    if backend == "cpu":
        if not cpu.accepts(context):
            where = "" if context.device is None else f" on {context.device!s}"
            raise TypeError(
                "backend 'cpu' takes arrays of numpy, torch and jax in the processor's memory, got arrays of"
                f" {short_name(context.xp)}{where}"
            )
        require("cpu")
        if not cpu.supports(plan, context):
            raise RuntimeError(f"backend 'cpu' has no kernel for {plan!r}; use backend 'auto' or 'generic'")
    return backend, plan


def require(backend: str) -> None:
    """Raise unless a backend can run here.

    Raises:
        ImportError, RuntimeError: what is missing.
    """
    if backend == "cpu":
        cpu.require()
    elif backend == "gpu":
        gpu.require_device()


def _plan(call: Call, backend: str) -> Plan | Harmonics:
    if isinstance(call.methods, Harmonics):
        return call.methods
    plans = call.methods.plans
    return plans[0][1] if len(plans) == 1 else call.methods.choose(backend, call.context.dtype_name)[1]


@cache
def evaluation_of(backend: str) -> Evaluation:
    """The module by which a backend evaluates rows, imported when it is first needed."""
    module: Any = import_module(f"tpnumba.backends.{backend}.evaluation")
    return cast(Evaluation, module)


def evaluate_on(
    backend: str, plan: Plan | Harmonics, call: Call, arrays: Sequence[Array], out: Array | None = None
) -> tuple[Array, ...]:
    """Evaluate a plan by a backend."""
    if backend == "generic" and not is_eager(call.context.xp, arrays):
        return generic.evaluate_functional(plan, call, arrays)
    if backend == "gpu":
        with gpu.on_device(arrays[0]):
            return batching.evaluate(evaluation_of(backend), plan, call, arrays, out)
    return batching.evaluate(evaluation_of(backend), plan, call, arrays, out)
