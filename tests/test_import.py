"""Importing the package is quick and brings in nothing that a call does not need."""

from __future__ import annotations

import re
import subprocess
import sys

import tpnumba as tp

FORBIDDEN = ("numba", "scipy", "matplotlib", "ase", "rich", "torch", "jax", "dask", "distributed", "cupy")


def test_import_brings_in_no_heavy_library():
    command = [sys.executable, "-X", "importtime", "-c", "import tpnumba"]
    report = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    modules = set(re.findall(r"import time:\s+\d+ \|\s+\d+ \| +(\S+)", report))
    assert {"tpnumba", "numpy"} <= modules
    heavy = [name for name in modules if any(name == f or name.startswith(f + ".") for f in FORBIDDEN)]
    assert not heavy


def test_public_names_are_sorted_and_typed():
    assert list(tp.__all__) == sorted(tp.__all__)
    assert all(hasattr(tp, name) for name in tp.__all__)
    assert re.fullmatch(r"\d+\.\d+\.\d+", tp.__version__)
