"""Run kernels under sanitizers: ``python -m cuda_host.sanitized memory|thread [fault]``.

The sanitizer's library has to be loaded first, see :func:`environment`; it ends the process with what it found.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from cuda_host.compiler import COMPILER
from cuda_host.standin import MULTIPASS, SMALL, numpy_on_gpu

import tpnumba as tp
from tpnumba.backends.gpu import device, program_of, sources
from tpnumba.backends.gpu.harmonics import lower as harmonics
from tpnumba.plans.harmonics import KINDS, Harmonics

LIBRARIES = {"memory": "libasan.so", "thread": "libtsan.so"}

#: What they have to find: the sanitizer, a line of the source, what it becomes, and a word of the message.
FAULTS = {
    "an address past the end": (
        "memory",
        "for (int k = threadIdx.x; k < section[N_OUTPUTS];",
        "for (int k = threadIdx.x; k <= section[N_OUTPUTS] + 8;",
        "heap-buffer-overflow",
    ),
    "a shift too far": ("memory", "tile.shift = table[SHIFT];", "tile.shift = table[SHIFT] + 32;", "shift exponent"),
    "a missing barrier": (
        "thread",
        "first, tile);\n            __syncthreads();",
        "first, tile);",
        "data race",
    ),
}


def library(sanitizer: str) -> Path:
    """The sanitizer's library, which may not be there: then the path is a bare name."""
    command = [COMPILER, f"-print-file-name={LIBRARIES[sanitizer]}"]
    return Path(subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip())


def environment(sanitizer: str) -> dict[str, str]:
    """The variables under which this file is to be run."""
    return {
        **os.environ,
        "LD_PRELOAD": str(library(sanitizer).resolve()),
        "ASAN_OPTIONS": "detect_leaks=0",  # the interpreter's own
        "TSAN_OPTIONS": "halt_on_error=1",
        "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path),
    }


def main(sanitizer: str, fault: str = "") -> None:
    """A product of every way that the kernel has, with sums over samples."""
    if fault:
        _, old, new, _ = FAULTS[fault]
        plain = sources.assemble
        assert plain("tile.cu").count(old) == 1

        def faulty(file: str, terms: str = "") -> str:
            return plain(file, terms).replace(old, new)

        faulty.cache_clear = plain.cache_clear  # type: ignore[attr-defined]
        sources.assemble = faulty  # type: ignore[assignment]
    cases = [
        (tp.FullTensorProduct("1o", "0e + 1o"), None),
        (tp.FullyConnectedTensorProduct("4x1o", "1o", "4x0e"), None),
        (tp.GauntTensorProduct(1, 1, method="grid"), None),
        (tp.MatrixTensorProduct(1, 1, method="matrix"), None),
        (tp.ChannelwiseTensorProduct("2x1o", "1o"), SMALL[1]),
        (tp.GauntTensorProduct(1, 1, method="grid"), MULTIPASS[0]),
        (tp.MatrixTensorProduct(1, 1, method="matrix"), MULTIPASS[0]),
    ]
    for p, limits in cases:
        rng = np.random.default_rng(0)
        x1, x2 = rng.standard_normal((5, p.irreps_in1.dim)), rng.standard_normal(p.irreps_in2.dim)
        named = {"weights": rng.standard_normal(p.weight_numel)} if p.weight_numel else {}
        cotangent = rng.standard_normal((5, p.irreps_out.dim))
        with numpy_on_gpu(sanitizer=sanitizer, limits=limits):
            found = p(x1, x2, **named, backend="gpu"), *p.vjp(x1, x2, cotangent, **named, backend="gpu")
        expected = p(x1, x2, **named, backend="generic"), *p.vjp(x1, x2, cotangent, **named, backend="generic")
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)
    spherical_harmonics(sanitizer)
    print("nothing found")


def spherical_harmonics(sanitizer: str) -> None:
    """Everything that there is of harmonics, with their degrees in ranges and tiles that follow each other."""
    surface = tp.SphericalHarmonics(3)
    rng = np.random.default_rng(0)
    xyz, cotangent, tangent = (rng.standard_normal((5, size)) for size in (3, 16, 3))
    limits: dict[tuple[Any, str], int] = {
        (harmonics, "SMALL_BYTES"): 0,
        (harmonics, "USUAL_BYTES"): 1440,
        (harmonics, "USUAL_DEGREES"): 2,
        (device, "MOST_BLOCKS"): 1,
    }

    def everything(backend: str) -> list[np.ndarray]:
        found = surface.value_and_jacobian(xyz, backend=backend)
        return [*found, surface.vjp(xyz, cotangent, backend=backend), surface.jvp(xyz, tangent, backend=backend)]

    with numpy_on_gpu(sanitizer=sanitizer, limits=limits):
        programs = [program_of(Harmonics(3, kind=kind), "float64") for kind in KINDS]
        assert sum(program is not None and program.ranges > 1 for program in programs) >= 2
        found = everything("gpu")
    for one, other in zip(found, everything("generic"), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)


if __name__ == "__main__":
    main(*sys.argv[1:])
