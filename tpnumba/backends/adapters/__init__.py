"""What the arrays of other libraries need beyond a namespace: one adapter each, imported when its arrays come."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any

from tpnumba.backends.namespaces import is_jax, is_lazy, is_torch


@cache
def of(xp: Any) -> ModuleType | None:
    """The module with ``evaluate(call, arrays, out)`` for the arrays of a namespace; None if they need none."""
    for applies, name in ((is_torch, "torch"), (is_jax, "jax"), (is_lazy, "dask")):
        if applies(xp):
            return import_module(f"{__name__}.{name}")
    return None
