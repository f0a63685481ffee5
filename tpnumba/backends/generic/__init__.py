"""The reference backend: every plan on every array-API namespace. Fast backends must agree with it."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from tpnumba.backends.generic.evaluation import evaluate_functional
from tpnumba.backends.namespaces import Context
from tpnumba.plans.base import Plan
from tpnumba.plans.harmonics import Harmonics

__all__ = ["TAKES", "accepts", "evaluate_functional", "missing", "on_device", "supports"]

TAKES = "arrays of any namespace"


def accepts(context: Context) -> bool:  # noqa: ARG001
    """Whether arrays of this namespace and device are taken: all are."""
    return True


def missing() -> Exception | None:
    """What stands in the way of any evaluation: nothing."""
    return None


def supports(plan: Plan | Harmonics, context: Context) -> bool:  # noqa: ARG001
    """Whether the plan can be evaluated: every one can."""
    return True


def on_device(array: Any) -> AbstractContextManager[None]:  # noqa: ARG001
    """Nothing: array libraries find the device by themselves."""
    return nullcontext()
