"""The registry of backends: which one evaluates a call, with which plan."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from typing import Any, cast

from tpnumba.backends import batching, cpu, generic, gpu
from tpnumba.backends.base import Backend, Evaluation
from tpnumba.backends.call import Array, Call
from tpnumba.backends.namespaces import is_eager, short_name
from tpnumba.irreps import check_degree
from tpnumba.plans.base import Plan
from tpnumba.plans.harmonics import Harmonics

#: Every backend by its name, which is that of its package.
_BACKENDS: Mapping[str, Backend] = {"generic": generic, "cpu": cpu, "gpu": gpu}
BACKENDS = ("auto", *_BACKENDS)
#: Which ``auto`` tries, one after the other; the reference is the last.
AUTOMATIC = ("cpu", "gpu", "generic")

_THREADS = "TPNUMBA_NUM_THREADS"
_THREADS_KEY: Any = os.environ.encodekey(_THREADS)


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
        text = os.environ.get(_THREADS)
        if text is None:
            return None
        name = f"the environment variable {_THREADS}"
        if not text.strip().isdecimal():
            raise ValueError(f"{name} must be a positive integer, got {text!r}")
        value = int(text)
    if check_degree(name, value) == 0:
        raise ValueError(f"{name} must be a positive integer, got 0")
    return int(value)


def threads_variable() -> object:
    """What ``TPNUMBA_NUM_THREADS`` is, to compare it with what it was; quicker than to ask ``os.environ`` for it."""
    try:
        return os.environ._data.get(_THREADS_KEY)  # type: ignore[attr-defined]
    except AttributeError:  # another mapping has been put there
        return os.environ.get(_THREADS)


def choose(call: Call) -> tuple[str, Plan | Harmonics]:
    """The backend and the plan of a call, as :func:`_choose` finds them, kept with what is computed.

    Raises:
        TypeError, ImportError, RuntimeError: the backend asked for cannot evaluate the call.
    """
    known = call.methods.__dict__.setdefault("_choices", {})
    key = call.backend, call.context, AUTOMATIC  # tests put another in the place of the last
    try:
        return known[key]  # type: ignore[no-any-return]
    except KeyError:
        found = known[key] = _choose(call)
        return found


def _choose(call: Call) -> tuple[str, Plan | Harmonics]:
    """The backend and the plan of a call: the backend asked for; for ``auto`` the first that has a kernel.

    Raises:
        TypeError: arrays that the backend asked for does not take.
        ImportError: the library that it needs is not installed.
        RuntimeError: there is no device for it, or it has no kernel for this plan.
    """
    if call.backend != "auto":
        return call.backend, _plan_for(call, call.backend)
    for name in AUTOMATIC:
        backend = _BACKENDS[name]
        if not backend.accepts(call.context):
            continue
        if backend.missing() is not None:
            warn_of_missing(name)
            continue
        plan = _plan(call, name)
        if backend.supports(plan, call.context):
            return name, plan
    raise AssertionError("the last backend takes every array and has an evaluation for every plan")


def _plan_for(call: Call, name: str) -> Plan | Harmonics:
    """The plan of a call that asks for a backend by name; raises as :func:`_choose`."""
    backend, context = _BACKENDS[name], call.context
    if not backend.accepts(context):
        missing = backend.missing()
        also = "" if missing is None else f" (and {missing})"
        where = "" if context.device is None else f" on {context.device!s}"
        raise TypeError(f"backend {name!r} takes {backend.TAKES}, got arrays of {short_name(context.xp)}{where}{also}")
    require(name)
    plan = _plan(call, name)
    if not backend.supports(plan, context):
        raise RuntimeError(f"backend {name!r} has no kernel for {plan!r}; use backend 'auto' or 'generic'")
    return plan


@cache
def warn_of_missing(name: str) -> None:
    """Say, the first time, that ``auto`` does without a backend that takes the arrays."""
    warnings.warn(f"backend 'auto' does without {name!r}: {_BACKENDS[name].missing()}", RuntimeWarning, stacklevel=2)


def require(name: str) -> None:
    """Raise unless a backend can run here.

    Raises:
        ImportError, RuntimeError: what is missing.
    """
    reason = _BACKENDS[name].missing()
    if reason is not None:
        raise type(reason)(*reason.args)  # a new one, which holds on to no earlier traceback


def _plan(call: Call, name: str) -> Plan | Harmonics:
    if isinstance(call.methods, Harmonics):
        return call.methods
    plans = call.methods.plans
    return plans[0][1] if len(plans) == 1 else call.methods.choose(name, call.context.dtype_name)[1]


@cache
def evaluation_of(name: str) -> Evaluation:
    """The module by which a backend evaluates rows, imported when it is first needed."""
    module: Any = import_module(f"tpnumba.backends.{name}.evaluation")
    return cast(Evaluation, module)


def evaluate_on(
    name: str, plan: Plan | Harmonics, call: Call, arrays: Sequence[Array], out: Array | None = None
) -> tuple[Array, ...]:
    """Evaluate a plan by a backend; by the reference, if no array can be written into."""
    if not is_eager(call.context.xp, arrays):
        return generic.evaluate_functional(plan, call, arrays)
    with _BACKENDS[name].on_device(arrays[0]):
        return batching.evaluate(evaluation_of(name), plan, call, arrays, out)
