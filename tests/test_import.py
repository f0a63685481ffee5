"""Importing the package is quick and brings in nothing that a call does not need."""

from __future__ import annotations

import re
import subprocess
import sys

import tpnumba as tp

FORBIDDEN = ("numba", "scipy.fft", "scipy.spatial", "matplotlib", "ase", "rich", "torch", "jax", "dask", "cupy")


def imported() -> dict[str, float]:
    """Modules that ``import tpnumba`` brings in, with the seconds each took together with what it imports."""
    command = [sys.executable, "-X", "importtime", "-c", "import tpnumba"]
    report = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    rows = re.findall(r"import time:\s+\d+ \|\s+(\d+) \| +(\S+)", report)
    return {name: int(microseconds) / 1e6 for microseconds, name in rows}


def test_import_brings_in_no_heavy_library():
    modules = imported()
    assert "tpnumba" in modules
    assert "numpy" in modules
    heavy = [name for name in modules if any(name == f or name.startswith(f + ".") for f in FORBIDDEN)]
    assert not heavy


def test_import_adds_at_most_a_tenth_of_a_second_to_numpy():
    """The least of three runs, as the machine may be busy; usually it is a fifth of that."""
    extra = min(times["tpnumba"] - times["numpy"] for times in (imported() for _ in range(3)))
    assert extra < 0.1


def test_public_names_are_sorted_and_typed():
    assert list(tp.__all__) == sorted(tp.__all__)
    assert all(hasattr(tp, name) for name in tp.__all__)
    assert re.fullmatch(r"\d+\.\d+\.\d+", tp.__version__)
