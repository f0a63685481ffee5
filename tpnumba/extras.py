"""Libraries that only some rooms need: imported when used, and named with their extra when they are missing."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType


def need(module: str, *, extra: str = "study") -> ModuleType:
    """Import an optional library.

    Raises:
        ImportError: it is not installed; the message says what to install.
    """
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise ImportError(f'this needs {package}: python -m pip install "tpnumba[{extra}]"') from error
