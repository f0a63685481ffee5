"""The compiled loops of the processor's backend that layers use."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from tpnumba.backends import cpu
from tpnumba.backends.registry import warn_of_missing


def kernels_of(name: str) -> ModuleType | None:
    """A module of :mod:`tpnumba.backends.cpu`; None, with a warning, where Numba's compiler is switched off."""
    if cpu.missing() is not None:
        warn_of_missing("cpu")
        return None
    return import_module(f"tpnumba.backends.cpu.{name}")
