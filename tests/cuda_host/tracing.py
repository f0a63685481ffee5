"""What kernels read and write, warp by warp: ``python -m cuda_host.tracing [--lines] [FILE.md]``, in ``tests``.

Seen on the processor, so it is no time; but whether accesses are coalesced and banks are free of conflicts can be told,
and how many steps the memories need at least. See ``trace.cpp``.
"""

from __future__ import annotations

import argparse
import ctypes
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from cuda_host.compiler import TRACED, HostModule
from cuda_host.standin import numpy_on_gpu

import tpnumba as tp

#: An H100's.
MULTIPROCESSORS, CLOCK = 132, 1.7e9
#: Up to so many bytes of a request, it is for what all lanes have in common.
_FEW_BYTES = 16
_TEXT = """# What the kernels of the GPU read and write

Counted on the processor by `python -m cuda_host.tracing` (in `tests`), for each sample in float32; not times. A step of
shared memory is one word from each bank, a request is one instruction of a warp to the device's memory or its caches,
a sector has 32 bytes. "Least" is what as many bytes would take side by side. The last column is what 132
multiprocessors at 1.7 GHz need to serve a step or a request each in every cycle: a kernel can hardly be quicker, but it
can be slower, and where it has much to write the bandwidth decides. The C++ compiler reads some records number by
number where CUDA's reads four at once, so requests are rather too many.

"""
#: The names that the compiler may know the source by.
_SOURCES = ("kernel.cu", "kernel.cpp")


class Accesses(NamedTuple):
    """Those of one line of a source to one kind of memory.

    ``requests`` of warps; ``bytes`` that they touch, each once a request; ``steps``: sectors of 32 bytes of the
    device's memory, or words served one after the other by the fullest bank of shared memory; ``least``: the steps that
    as many bytes would take if they lay side by side.
    """

    line: int
    text: str
    shared: bool
    requests: int
    bytes: int
    steps: int
    least: int


@contextmanager
def traced(**where: Any) -> Iterator[list[Accesses]]:
    """As ``numpy_on_gpu``; at the end the list is filled with what kernels did."""
    found: list[Accesses] = []
    TRACED.clear()
    with numpy_on_gpu(sanitizer="trace", **where):
        yield found
        for module in TRACED.values():
            found += _accesses(module)


def _accesses(module: HostModule) -> list[Accesses]:
    module.library.trace_totals.restype = ctypes.c_size_t
    room = module.library.trace_totals(None, ctypes.c_size_t(0))
    totals = np.zeros((room, 6), dtype=np.uint64)
    module.library.trace_totals(ctypes.c_void_p(totals.ctypes.data), ctypes.c_size_t(room))
    places = _lines(module, totals[:, 0])
    text = module.code.split("\n")
    lines: dict[tuple[int, bool], Any] = {}
    for line, (_, shared, *numbers) in zip(places, totals.tolist(), strict=True):
        if 0 < line <= len(text):
            lines[line, bool(shared)] = lines.get((line, bool(shared)), 0) + np.array(numbers)
    return [
        Accesses(line, text[line - 1].strip(), shared, *(int(number) for number in numbers))
        for (line, shared), numbers in sorted(lines.items())
    ]


def _lines(module: HostModule, places: Any) -> list[int]:
    """The line of the source of each return address; 0 elsewhere."""
    addresses = [hex(int(place) - 1) for place in places]
    command = ["addr2line", "-e", str(module.path), *addresses]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    found = []
    for text in said:
        file, _, line = text.split(" ")[0].rpartition(":")
        found.append(int(line) if file.endswith(_SOURCES) and line.isdigit() else 0)
    return found


def show(accesses: list[Accesses]) -> None:
    """Print the lines with the most steps first."""
    print(f"{'memory':7} {'requests':>9} {'bytes':>10} {'steps':>9} {'least':>9}  line")
    for own in sorted(accesses, key=lambda own: -own.steps):
        where = "shared" if own.shared else "device"
        print(f"{where:7} {own.requests:9} {own.bytes:10} {own.steps:9} {own.least:9}  {own.line}: {own.text[:80]}")


class Count(NamedTuple):
    """Of a call, for each sample: steps of shared memory, requests to the device's and its sectors, and the least."""

    shared: float
    least_shared: float
    requests: float
    sectors: float
    least_sectors: float

    def microseconds(self, samples: int) -> float:
        """What the load and store units of an H100 would take if each served a step or a request in every cycle."""
        return (self.shared + self.requests) * samples / (MULTIPROCESSORS * CLOCK) * 1e6


def counted(accesses: list[Accesses], samples: int) -> Count:
    """The sums of a call. Requests that all lanes have in common, as those to tables, are not counted as sectors."""
    shared = [one for one in accesses if one.shared]
    device = [one for one in accesses if not one.shared]
    wide = [one for one in device if one.bytes > _FEW_BYTES * one.requests]
    return Count(
        sum(one.steps for one in shared) / samples,
        sum(one.least for one in shared) / samples,
        sum(one.requests for one in device) / samples,
        sum(one.steps for one in wide) / samples,
        sum(one.least for one in wide) / samples,
    )


def works() -> Iterator[tuple[str, Any, int]]:
    """Names, products, and samples that fill a few tiles."""
    for L in (2, 4, 6, 8, 10):
        degrees = tp.Irreps.spherical_harmonics(L)
        yield (
            f"FullTensorProduct, natural parity, L = {L}",
            tp.FullTensorProduct(degrees, degrees, tp.Irreps.spherical_harmonics(2 * L)),
            64,
        )
    for method in ("direct", "grid"):
        for L in (2, 4, 6, 8, 10):
            yield f"GauntTensorProduct, {method}, L = {L}", tp.GauntTensorProduct(L, L, method=method), 64
    yield (
        "channelwise, 128x(0e+1o+2e), SH to 3",
        tp.ChannelwiseTensorProduct("128x0e + 128x1o + 128x2e", "0e + 1o + 2e + 3o"),
        8,
    )
    fully = tp.FullyConnectedTensorProduct("32x0e + 32x1o + 32x2e", "0e + 1o + 2e", "32x0e + 32x1o + 32x2e")
    yield "fully connected, 32x(0e+1o+2e), SH to 2", fully, 8


def main() -> None:
    """A table of counts as Markdown, to a file if one is named; with ``--lines``, the lines of each work before it."""
    parser = argparse.ArgumentParser(prog="python -m cuda_host.tracing", description=main.__doc__)
    parser.add_argument("file", nargs="?", type=Path)
    parser.add_argument("--lines", action="store_true")
    options = parser.parse_args()
    rows = ["| work | shared, steps | least | device, requests | sectors | least | us for 10,000 |", "|" + " --- |" * 7]
    rng = np.random.default_rng(0)
    for name, p, samples in works():
        shapes = (p.irreps_in1.dim, p.irreps_in2.dim, p.irreps_out.dim, p.weight_numel)
        x1, x2, cotangent, w = (rng.standard_normal((samples, size)).astype("float32") for size in shapes)
        named = {"weights": w} if p.weight_numel else {}
        for what in ("forward", "gradients"):
            with traced(unrolled=True) as accesses:
                if what == "forward":
                    p(x1, x2, **named, backend="gpu")
                else:
                    p.vjp(x1, x2, cotangent, **named, backend="gpu")
            if options.lines:
                print(f"\n{name}, {what}")
                show(accesses)
            count = counted(accesses, samples)
            numbers = " | ".join(f"{number:,.0f}" for number in (*count, count.microseconds(10_000)))
            rows.append(f"| {name}, {what} | {numbers} |")
    text = _TEXT + "\n".join(rows) + "\n"
    if options.file:
        options.file.write_text(text, encoding="utf-8")
    else:
        print(text)


if __name__ == "__main__":
    main()
