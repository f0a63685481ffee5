"""What kernels read and write, warp by warp: ``python -m cuda_host.tracing`` prints it for a few products.

Seen on the processor, so it is no time; but whether accesses are coalesced and banks are free of conflicts can be told,
and how many steps the memories need at least. See ``trace.cpp``.
"""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from cuda_host.compiler import TRACED, HostModule
from cuda_host.standin import numpy_on_gpu

import tpnumba as tp

#: The names that the compiler may know the source by.
_SOURCES = ("program.cu", "kernel.cpp")


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


def main() -> None:
    """A table for each product, forward and both gradients, 64 samples."""
    degrees = tp.Irreps.spherical_harmonics(4)
    products = {
        "full L=4": tp.FullTensorProduct(degrees, degrees, tp.Irreps.spherical_harmonics(8)),
        "channelwise": tp.ChannelwiseTensorProduct("32x0e + 32x1o + 32x2e", "0e + 1o + 2e + 3o"),
        "gaunt L=6, grid": tp.GauntTensorProduct(6, 6, method="grid"),
    }
    rng = np.random.default_rng(0)
    for name, p in products.items():
        x1, x2 = (rng.standard_normal((64, irreps.dim)).astype("float32") for irreps in (p.irreps_in1, p.irreps_in2))
        weights = {"weights": rng.standard_normal((64, p.weight_numel)).astype("float32")} if p.weight_numel else {}
        cotangent = rng.standard_normal((64, p.irreps_out.dim)).astype("float32")
        for what, run in {
            "forward": lambda p=p, a=(x1, x2), w=weights: p(*a, **w, backend="gpu"),
            "gradients": lambda p=p, a=(x1, x2, cotangent), w=weights: p.vjp(*a, **w, backend="gpu"),
        }.items():
            with traced(unrolled=True) as accesses:
                run()
            print(f"\n{name}, {what}")
            show(accesses)


if __name__ == "__main__":
    main()
