"""What the driver asks of the processes that time, and how they time functions in turns."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self, TextIO, TypeVar

import numpy as np

from benchmarks.listing import QUICK, Extent
from tpnumba.studies.timing import Timing, interleaved

Key = TypeVar("Key", bound=Hashable)
Options = TypeVar("Options")

#: A rest between two functions, in seconds, in which threads that still spin for work fall asleep.
_REST = 0.005
_PAGE = 4096
#: What a worker may take beyond its time, to finish the work it has begun.
_GRACE = 120.0


@dataclass(frozen=True, kw_only=True)
class ProcessOptions:
    """What every process is told; it travels to it as JSON.

    Attributes:
        quick: few degrees and small batches, to see that all runs.
        patterns: of the names of what is timed.
        threads: of tpnumba.
        repeats: of each time.
        seconds: after this the process begins nothing further.
    """

    quick: bool
    patterns: tuple[str, ...]
    threads: int
    repeats: int
    seconds: float

    @classmethod
    def read(cls, text: str) -> Self:
        """From what :meth:`write` gave."""
        given = json.loads(text)
        return cls(**{**given, "patterns": tuple(given["patterns"])})

    def write(self) -> str:
        """As JSON."""
        return json.dumps(asdict(self))

    @property
    def extent(self) -> Extent:
        """How far the works go."""
        return QUICK if self.quick else Extent()

    def timings(
        self,
        functions: Mapping[Key, Callable[[], object]],
        result_bytes: int,
        *,
        repeat_seconds: float,
        limit_seconds: float,
    ) -> dict[Key, Timing]:
        """The functions against each other, each after a rest; see :func:`interleaved`.

        Args:
            functions: by name.
            result_bytes: of the largest result.
            repeat_seconds: of one repeat, unless ``quick``.
            limit_seconds: after which no further repeats begin, once there are three.
        """
        return interleaved(
            functions,
            repeats=self.repeats,
            repeat_seconds=0.002 if self.quick else repeat_seconds,
            before=lambda: _rest(2 * result_bytes),
            fewest=min(self.repeats, 3),
            limit_seconds=limit_seconds,
        )


def run_process(read: Callable[[str], Options], run: Callable[[Options, TextIO], None]) -> None:
    """Run what the command line of a process says: its options, as ``read`` takes them, and a file for its lines."""
    parser = argparse.ArgumentParser()
    parser.add_argument("options", type=read)
    parser.add_argument("output", type=Path)
    given = parser.parse_args()
    with given.output.open("w", encoding="utf-8") as stream:
        run(given.options, stream)


def _rest(size: int) -> None:
    """Let threads fall asleep, and bring memory for results into place.

    A virtual machine may have given back to its host what the function before left free; the one that comes next
    would pay for fetching it, and the others not.
    """
    time.sleep(_REST)
    np.empty(size, np.uint8)[::_PAGE] = 0


def start_process(
    module: str, asked: str, seconds: float, threads: int, **variables: str
) -> tuple[list[dict[str, Any]], str | None]:
    """The lines that a process wrote, and how it ended if not well; ``variables``: of its environment."""
    ended = None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "lines"
        command = [sys.executable, "-m", module, asked, str(path)]
        try:
            code = subprocess.run(
                command, env=_environment(threads) | variables, timeout=seconds + _GRACE, check=False
            ).returncode
            if code != 0:
                ended = f"its process ended with code {code}"
        except subprocess.TimeoutExpired:
            ended = "its process did not end and was stopped"
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
    return lines, ended


def _environment(threads: int) -> dict[str, str]:
    """The same number of threads, and both dtypes, for everyone.

    Threads that wait do so asleep: those that spin would take the cores from whoever has the next turn, and on a
    machine with other work to do two OpenMP threads that wait for each other cost a hundred times the work.
    """
    number = str(threads)
    return os.environ | {
        "OMP_NUM_THREADS": number,
        "OPENBLAS_NUM_THREADS": number,
        "MKL_NUM_THREADS": number,
        "NPROC": number,  # XLA
        "OMP_WAIT_POLICY": "passive",
        "OPENBLAS_THREAD_TIMEOUT": "18",  # asleep after 2^18 cycles
        "JAX_PLATFORMS": "cpu",
        "JAX_ENABLE_X64": "1",  # float32 stays float32
    }
