"""The kernels under the sanitizers for addresses, undefined behaviour and threads, each in a process of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest
from cuda_host.compiler import COMPILER, is_there
from cuda_host.sanitized import FAULTS, LIBRARIES, environment, library

pytestmark = pytest.mark.skipif(not is_there(), reason=f"needs a C++ compiler ({COMPILER}; set CXX for another)")


def run(sanitizer, *fault):
    if not library(sanitizer).is_file():
        pytest.skip(f"{COMPILER} has no {LIBRARIES[sanitizer]}")
    command = [sys.executable, "-m", "cuda_host.sanitized", sanitizer, *fault]
    return subprocess.run(command, env=environment(sanitizer), capture_output=True, text=True, check=False, timeout=400)


@pytest.mark.parametrize("sanitizer", LIBRARIES)
def test_nothing_is_found(sanitizer):
    done = run(sanitizer)
    assert done.stdout == "nothing found\n", done.stderr
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_found(fault):
    done = run(FAULTS[fault][0], fault)
    assert done.returncode != 0
    assert FAULTS[fault][-1] in done.stderr
