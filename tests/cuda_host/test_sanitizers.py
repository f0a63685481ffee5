"""The kernels under the sanitizers for addresses, undefined behaviour and threads, each in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import pytest
from cuda_host.compiler import COMPILER, is_there
from cuda_host.sanitized import FAULTS, LIBRARIES, environment, library

pytestmark = pytest.mark.skipif(not is_there(), reason=f"needs a C++ compiler ({COMPILER}; set CXX for another)")


class Done(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture(scope="module")
def processes():
    """One for each sanitizer without and with its faults, side by side."""
    cases = [(name, "") for name in LIBRARIES] + [(sanitizer, fault) for fault, (sanitizer, *_) in FAULTS.items()]
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        yield {case: pool.submit(run, *case) for case in cases if library(case[0]).is_file()}


def run(sanitizer, fault):
    command = [sys.executable, "-m", "cuda_host.sanitized", sanitizer, *([fault] if fault else [])]
    done = subprocess.run(command, env=environment(sanitizer), capture_output=True, text=True, check=False, timeout=400)
    return Done(done.returncode, done.stdout, done.stderr)


def done_of(processes, sanitizer, fault=""):
    if (sanitizer, fault) not in processes:
        pytest.skip(f"{COMPILER} has no {LIBRARIES[sanitizer]}")
    return processes[sanitizer, fault].result()


@pytest.mark.parametrize("sanitizer", LIBRARIES)
def test_nothing_is_found(sanitizer, processes):
    done = done_of(processes, sanitizer)
    assert done.stdout == "nothing found\n", done.stderr
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_found(fault, processes):
    done = done_of(processes, FAULTS[fault][0], fault)
    assert done.returncode != 0
    assert FAULTS[fault][-1] in done.stderr
