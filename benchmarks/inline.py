"""Kernels inside of loops of Numba: what they take to compile and to run, beside the same product called with arrays.

    python -m benchmarks.inline [--cases NAME ...] [--folder FOLDER]

A loop calls the kernel on one sample after the other. Times are the least of a few, in turns with those of the call on
one thread, in seconds of the processor, as the machine may be busy; results are compared first. Compiling is that of a
loop that is new, with what Numba takes for the loop itself.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numba
import numpy as np

import tpnumba as tp
from benchmarks.tables import table
from tpnumba.outputs import check_writable, write_whole
from tpnumba.studies.machine import describe_machine

REPEATS = 9
#: Numbers of a result that is timed, about.
RESULT_NUMBERS = 2**18
DTYPES = ("float32", "float64")


def _full(lmax: int) -> tp.FullTensorProduct:
    irreps = tp.Irreps.spherical_harmonics(lmax)
    return tp.FullTensorProduct(irreps, irreps)


def _channelwise(layout: str) -> tp.ChannelwiseTensorProduct:
    return tp.ChannelwiseTensorProduct("32x0e + 32x1o + 32x2e", "0e + 1o + 2e", "0e + 1o + 2e", layout=layout)


#: What is measured, by name.
CASES: dict[str, Callable[[], Any]] = {
    **{f"harmonics to degree {lmax}": lambda lmax=lmax: tp.SphericalHarmonics(lmax) for lmax in (2, 4, 8, 16)},
    **{f"full {lmax}": lambda lmax=lmax: _full(lmax) for lmax in (1, 2, 3, 4, 6)},
    **{f"Gaunt {lmax}": lambda lmax=lmax: tp.GauntTensorProduct(lmax, lmax) for lmax in (1, 2, 3, 4, 5, 6, 8)},
    "channelwise 2, 32 channels": lambda: _channelwise("mul_ir"),
    "channelwise 2, 32 channels, ir_mul": lambda: _channelwise("ir_mul"),
    "connected 1, 16 channels": lambda: tp.FullyConnectedTensorProduct("16x0e + 16x1o", "0e + 1o", "16x0e + 16x1o"),
}


class Measured(NamedTuple):
    """Seconds to compile; seconds a sample in the loop, and of the call; the largest difference of their results."""

    described: str
    compiled: float
    loop: float
    call: float
    difference: float


def measure(name: str, dtype: str) -> Measured:
    """One case."""
    operator = CASES[name]()
    kernel = operator.numba_kernel(dtype)
    count = max(8, RESULT_NUMBERS // kernel.sizes[0])
    rng = np.random.default_rng(0)
    arguments = [rng.standard_normal((count, size)).astype(dtype) for size in kernel.sizes[1:]]
    out, expected = np.empty((2, count, kernel.sizes[0]), dtype)
    loop = _loop(kernel, len(arguments))
    start = time.process_time()
    loop(out[:1], *(x[:1] for x in arguments))
    compiled = time.process_time() - start

    def call() -> None:
        operator(*arguments, out=expected, num_threads=1)

    call()
    loop(out, *arguments)
    difference = float(np.abs(out - expected).max() / np.abs(expected).max())
    seconds: tuple[list[float], list[float]] = [], []
    for _ in range(REPEATS):
        for run, found in zip((lambda: loop(out, *arguments), call), seconds, strict=True):
            start = time.process_time()
            run()
            found.append((time.process_time() - start) / count)
    return Measured(repr(kernel).split("; ")[2].rstrip(")"), compiled, min(seconds[0]), min(seconds[1]), difference)


def _loop(kernel: Any, arguments: int) -> Any:
    """A loop that is compiled anew."""

    def over_points(out: Any, points: Any) -> None:
        for i in range(len(out)):
            kernel(out[i], points[i])

    def over_two(out: Any, x1: Any, x2: Any) -> None:
        for i in range(len(out)):
            kernel(out[i], x1[i], x2[i])

    def over_three(out: Any, x1: Any, x2: Any, weights: Any) -> None:
        for i in range(len(out)):
            kernel(out[i], x1[i], x2[i], weights[i])

    return numba.njit({1: over_points, 2: over_two, 3: over_three}[arguments])


def report(measured: dict[tuple[str, str], Measured]) -> str:
    """The table, as Markdown."""
    rows = [
        [
            name,
            dtype,
            found.described,
            f"{found.compiled:.2f}",
            f"{found.loop * 1e9:.3g}",
            f"{found.call / found.loop:.2f}",
            f"{found.difference:.1e}",
        ]
        for (name, dtype), found in measured.items()
    ]
    heads = ("", "dtype", "kernel", "compiled in s", "ns a sample", "call / loop", "difference")
    text = (
        f"One thread of {describe_machine()['processor']}, least processor time of {REPEATS} runs in turns, results of "
        f"{RESULT_NUMBERS:,} numbers. `call / loop` is the time of the product called with arrays over that of the "
        "loop: above 1, the loop is quicker. The difference of their results is over the largest number."
    )
    return "\n\n".join(("# Kernels inside of loops", text, table(heads, rows))) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.inline", description=__doc__)
    parser.add_argument("--cases", nargs="*", default=list(CASES), choices=list(CASES), metavar="NAME")
    parser.add_argument("--folder", default="benchmarks/results", help="of inline.md")
    options = parser.parse_args(arguments)
    path = os.path.join(options.folder, "inline.md")
    check_writable("--folder", path)
    numba.njit(lambda: 0)()  # what the first compilation of a process takes
    text = report({(name, dtype): measure(name, dtype) for name in options.cases for dtype in DTYPES})
    write_whole(path, lambda stream: stream.write(text.encode()))


if __name__ == "__main__":
    main()
