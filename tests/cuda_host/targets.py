"""Compile the kernels for real devices, without one: ``python tests/cuda_host/targets.py`` prints what each takes.

Needs cuda-core, cuda-bindings and nvidia-cuda-nvrtc. A kernel that spills registers, or does not compile, fails.
"""

from __future__ import annotations

import io
import os
import re
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import NamedTuple

import tpnumba as tp
from tpnumba.backends.gpu import device, layout, program_of
from tpnumba.backends.gpu.harmonics.launch import SOURCE as HARMONICS
from tpnumba.backends.gpu.harmonics.lower import instance as harmonics_instance
from tpnumba.backends.gpu.layout import Kind
from tpnumba.backends.gpu.sources import C_TYPES, assemble
from tpnumba.backends.gpu.tile import launch as tile
from tpnumba.backends.gpu.transform import multipass_launch
from tpnumba.plans.harmonics import KINDS

ARCHITECTURES = ("sm_80", "sm_90")
_LOG = re.compile(
    r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads.*?Used (\d+) registers", re.DOTALL
)


class Compiled(NamedTuple):
    """One instance on one architecture: what ptxas says, the size of its machine code, and how long it took."""

    name: str
    architecture: str
    registers: int
    stack: int
    spills: int
    size: int
    seconds: float


def instances() -> list[str]:
    """Every instance that the backend may ask for."""
    sums, matrix, dense = 1 << Kind.LINEAR | 1 << Kind.PRODUCT, 1 << Kind.MATRIX, 1 << Kind.DENSE
    others = {False: (0, matrix), True: (0, matrix, dense, matrix | dense)}
    kinds = [
        (dtype, repeat, shared, sums | more)
        for dtype in C_TYPES
        for repeat in layout.REPEATS[dtype]
        for shared in others
        for more in others[shared]
    ]
    return [*(tile.instance(*kind) for kind in kinds), *(tile.add_instance(kind) for kind in C_TYPES)]


def of_harmonics() -> list[tuple[str, str, str]]:
    """Every instance of the kernel of harmonics, as those of :func:`unrolled`."""
    works = (("float32", "float32"), ("float32", "float64"), ("float64", "float64"))
    source = assemble(HARMONICS)
    return [("harmonics", harmonics_instance(kind, *work), source) for work in works for kind in KINDS]


def multipass() -> list[tuple[str, str, str]]:
    """Every instance that multipass programs may ask for, as those of :func:`unrolled`."""
    source = assemble(multipass_launch.SOURCE)
    return [("multipass", name, source) for kind in C_TYPES for name in multipass_launch.instances(kind)]


def unrolled() -> list[tuple[str, str, str]]:
    """Plans whose terms are code, forward and adjoint: what they are, the instance, and the source."""
    spherical = [str(tp.Irreps.spherical_harmonics(L)) for L in (3, 4, 8)]
    products = {
        "full L=4": tp.FullTensorProduct(spherical[1], spherical[1], spherical[2]),
        "channelwise": tp.ChannelwiseTensorProduct("128x0e + 128x1o + 128x2e", spherical[0]),
        "gaunt L=2": tp.GauntTensorProduct(2, 2, method="grid"),
    }
    found = []
    for kind in C_TYPES:
        for what, p in products.items():
            for i in range(1, len(p.plan.operands)):  # the first two inputs differ in little
                program = program_of(p.plan.adjoint(i), kind)
                assert program is not None
                assert program.terms
                name = tile.instance(kind, program.repeat, program.shared, program.kinds)
                found.append((f"{what}, operand {i}", name, assemble(tile.SOURCE, program.terms)))
    return found


def compiled(name: str, architecture: str, source: str | None = None) -> Compiled:
    """Compile one instance, as CuPy would: from the same source with the same options."""
    from cuda.core import Program, ProgramOptions

    assert device.OPTIONS == ("-std=c++17",)
    options = ProgramOptions(std="c++17", arch=architecture, ftz=True, ptxas_options=["-v"])
    log = io.StringIO()
    start = time.perf_counter()
    program = Program(source or assemble(tile.SOURCE), code_type="c++", options=options)
    code = program.compile("cubin", name_expressions=(name,), logs=log).code
    seconds = time.perf_counter() - start
    found = _LOG.search(log.getvalue())
    if found is None:
        raise RuntimeError(f"the compiler's log says nothing of registers:\n{log.getvalue()}")
    stack, stores, loads, registers = map(int, found.groups())
    return Compiled(name, architecture, registers, stack, stores + loads, len(code), seconds)


def main() -> int:
    """Print a table; return how many instances spill."""
    spilled = 0
    every = [("", name, assemble(tile.SOURCE)) for name in instances()] + [*unrolled(), *multipass(), *of_harmonics()]
    cases = [(architecture, *one) for architecture in ARCHITECTURES for one in every]
    print(f"{'':24} {'instance':30} {'':6} {'registers':>9} {'stack':>6} {'spills':>7} {'bytes':>8} {'seconds':>8}")
    with ProcessPoolExecutor(len(os.sched_getaffinity(0)), get_context("spawn")) as pool:
        made = pool.map(
            compiled, *zip(*((name, architecture, source) for architecture, _, name, source in cases), strict=True)
        )
        for (_, what, *_), one in zip(cases, made, strict=True):
            spilled += one.spills > 0
            print(
                f"{what:24} {one.name:30} {one.architecture:6} {one.registers:9} {one.stack:6} {one.spills:7}"
                f" {one.size:8} {one.seconds:8.2f}",
                flush=True,
            )
    print("Shared memory is dynamic: as much as the tile of a plan takes, at most 96 KiB.")
    print(f"{spilled} instances spill registers")
    return spilled


if __name__ == "__main__":
    sys.exit(min(main(), 1))
