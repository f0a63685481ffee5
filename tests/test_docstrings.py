"""The examples in docstrings run, and every public name has one."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import tpnumba as tp

MODULES = sorted(
    info.name for info in pkgutil.walk_packages(tp.__path__, "tpnumba.") if not info.name.endswith("__main__")
)


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    library = name.removeprefix("tpnumba.backends.adapters.")
    if library in ("torch", "jax"):
        pytest.importorskip(library, reason=f"needs {library} (session docs)")
    module = importlib.import_module(name)
    assert module.__doc__
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize("name", tp.__all__)
def test_public_names_have_an_example(name: str) -> None:
    assert ">>> " in (getattr(tp, name).__doc__ or "")
