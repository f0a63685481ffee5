"""The complete product by coefficients and by a grid: operations by their count, and times beside them.

    python -m benchmarks.complete [--counted L] [--far L ...] [--timed L ...] [--folder FOLDER]

All degrees up to L in each input and all paths out. Operations are those of ``cost()`` and are exact; those beyond the
largest L whose coefficients are made (``--counted``) are counted by the rule for which coefficients may differ from
zero. Fast stages are counted as if they were there: a real Fourier transform of n numbers takes ``2.5 n log2(n)``
operations, a fast Legendre transform of n rings ``2.5 n log2(n)^2`` an order. Times are the least of a few, in seconds
of the processor, on one thread, as the machine may be busy.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from math import log2
from typing import NamedTuple

import numpy as np

import tpnumba as tp
from benchmarks.tables import table
from tpnumba.backends.cpu.lowering import program_of
from tpnumba.outputs import check_writable, write_whole
from tpnumba.plans.stages import Blocks, FourierStage, LegendreStage
from tpnumba.plans.transform import Transform
from tpnumba.studies.machine import describe_machine
from tpnumba.tables.clebsch_gordan import clebsch_gordan_sparse

#: Beyond the counted ones.
FAR = (32, 48, 64)
TIMED = (2, 4, 8, 12, 16, 20, 24)
#: Beyond this L, only float32 is timed.
BOTH_DTYPES = 16
#: Numbers of a result that is timed, about.
RESULT_NUMBERS = 2**20
REPEATS = 5
DTYPES = ("float32", "float64")


class Counts(NamedTuple):
    """Operations a sample: by coefficients; by the grid; with fast Fourier stages; with fast Legendre ones as well.

    ``free``: with fast Fourier stages, and Legendre stages that take nothing.
    """

    direct: int
    grid: int
    fourier: int
    legendre: int
    free: int


def product(lmax: int, method: str) -> tp.FullTensorProduct:
    """The complete product of all degrees up to ``lmax``."""
    irreps = tp.Irreps.spherical_harmonics(lmax)
    return tp.FullTensorProduct(irreps, irreps, method=method)


def count(lmax: int, *, by_rule: bool = False) -> Counts:
    """Operations at one L; ``by_rule``: those of the coefficients without making these."""
    plan = product(lmax, "grid").plan
    assert isinstance(plan, Transform)
    direct = direct_by_rule(lmax) if by_rule else direct_by_coefficients(lmax)
    with_fourier = with_legendre = free = sum(plan.flops) - sum(own.flops for maps in plan.maps for own in maps)
    for stage in (stage for maps in plan.maps for own in maps for stage in own.stages):
        match stage:
            case FourierStage():
                fast = fast_legendre = none = min(stage.flops, replace(stage, kind="fast").flops)
            case LegendreStage():
                fast, none = stage.flops, 0
                fast_legendre = min(fast, round((2 * stage.m_max + 1) * 2.5 * stage.n_beta * log2(stage.n_beta) ** 2))
            case Blocks():
                fast = fast_legendre = none = stage.flops
            case _:
                raise TypeError(f"a stage that is not counted: {stage}")
        with_fourier, with_legendre, free = with_fourier + fast, with_legendre + fast_legendre, free + none
    return Counts(direct, sum(plan.flops), with_fourier, with_legendre, free)


def direct_by_coefficients(lmax: int) -> int:
    """Operations by coefficients: a product for each pair of components, and two for each coefficient."""
    pairs = ((l1, l2) for l1 in range(lmax + 1) for l2 in range(lmax + 1))
    triples = ((l1, l2, l3) for l1, l2 in pairs for l3 in range(abs(l1 - l2), l1 + l2 + 1))
    return (lmax + 1) ** 4 + 2 * sum(_coefficients(*sorted(degrees)) for degrees in triples)


@cache
def _coefficients(l1: int, l2: int, l3: int) -> int:
    """How many coefficients of three degrees, in any order, are other than zero."""
    return int(clebsch_gordan_sparse(l1, l2, l3).values.size)


def direct_by_rule(lmax: int) -> int:
    """As :func:`direct_by_coefficients`, without making the coefficients.

    One may differ from zero if ``mu3`` is ``mu1 + mu2`` or ``|mu1 - mu2|`` and ``l1 + l2 + l3`` plus the
    number of negative orders is even: for orders ``m1``, ``m2`` and ``mu3 > 0``, of one of the two ``m3``. Some of
    these vanish by accident, so this is at most a little too much.
    """
    coefficients = 0
    for l1 in range(lmax + 1):
        for l2 in range(lmax + 1):
            m1, m2 = np.meshgrid(np.arange(-l1, l1 + 1), np.arange(-l2, l2 + 1), indexing="ij")
            mu1, mu2 = np.abs(m1), np.abs(m2)
            negative = (m1 < 0).astype(np.int64) + (m2 < 0)
            for l3 in range(abs(l1 - l2), l1 + l2 + 1):
                fits = (l1 + l2 + l3 + negative) % 2 == 0
                for mu3 in (mu1 + mu2, np.abs(mu1 - mu2)):
                    coefficients += int(np.sum((mu3 <= l3) & ((mu3 > 0) | fits)))
                # Where an order is zero, the two are the same.
                same = np.minimum(mu1, mu2) == 0
                mu3 = mu1 + mu2
                coefficients -= int(np.sum(same & (mu3 <= l3) & ((mu3 > 0) | fits)))
    return (lmax + 1) ** 4 + 2 * coefficients


def exponent(lmaxes: Sequence[int], numbers: Sequence[float]) -> float:
    """The slope of log numbers against log L, from half of the largest L on."""
    chosen = [(L, number) for L, number in zip(lmaxes, numbers, strict=True) if lmaxes[-1] <= 2 * L]
    return float(np.polyfit(*np.log(np.array(chosen, dtype=np.float64)).T, 1)[0])


class Times(NamedTuple):
    """Seconds a sample by coefficients and by the grid, and the error of the grid beside the largest number.

    ``backends``: those that evaluated the two, as plans that are too large have no kernel on the processor.
    """

    samples: int
    direct: float
    grid: float
    error: float
    backends: tuple[str, str]


def measure(lmax: int, dtype: str) -> Times:
    """Times at one L, and the error beside coefficients in float64."""
    direct, grid = product(lmax, "direct"), product(lmax, "grid")
    samples = max(4, RESULT_NUMBERS // direct.irreps_out.dim)
    x, y = np.random.default_rng(0).standard_normal((2, samples, direct.irreps_in1.dim))
    few = direct(x[:4], y[:4])
    x, y = x.astype(dtype), y.astype(dtype)
    error = np.abs(grid(x[:4], y[:4]) - few).max() / np.abs(few).max()
    out = np.empty((samples, direct.irreps_out.dim), dtype=dtype)
    seconds = [
        least_seconds(lambda p=p: p(x, y, out=out, num_threads=1)) / samples  # type: ignore[misc]
        for p in (direct, grid)
    ]
    backends = ["generic" if program_of(p.plan, dtype) is None else "cpu" for p in (direct, grid)]
    return Times(samples, *seconds, float(error), (backends[0], backends[1]))


def least_seconds(run: Callable[[], object]) -> float:
    """The least processor time of a few runs, after one that is not counted."""
    run()
    found = []
    for _ in range(REPEATS):
        start = time.process_time()
        run()
        found.append(time.process_time() - start)
    return min(found)


def counts_report(counted: dict[int, Counts], far: dict[int, Counts]) -> str:
    """The table of counts, as Markdown."""
    heads = ("by coefficients", "grid", "and fast Fourier stages", "and fast Legendre stages", "Legendre stages free")

    def row(L: int, found: Counts) -> list[str]:
        others = (f"{number:,} ({number / found.direct:.2f})" for number in found[1:])
        return [str(L), f"{found.direct:,}", *others]

    rows = [row(L, found) for L, found in {**counted, **far}.items()]

    def fitted(chosen: dict[int, Counts], name: str) -> list[str]:
        lines = zip(*chosen.values(), strict=True)
        return [name, *(f"{exponent([*chosen], line):.2f}" for line in lines)]

    rows.append(fitted(counted, f"exponent to {max(counted)}"))
    if far:
        rows.append(fitted({**counted, **far}, f"exponent to {max(far)}"))
    return _page(
        "# The operations of the complete product by coefficients and by a grid",
        "Operations a sample, and in brackets how many times those by coefficients; exponents are fitted from half of "
        "the largest L on. Fast stages are counted, not there.",
        table(("L", *heads), rows),
    )


def times_report(times: dict[tuple[int, str], Times]) -> str:
    """The table of times, as Markdown."""
    rows = [
        [
            str(L),
            dtype,
            f"{found.samples:,}",
            f"{found.direct * 1e6:.3g}",
            f"{found.grid * 1e6:.3g}",
            f"{found.grid / found.direct:.1f}",
            f"{found.error:.1e}",
            ", ".join(dict.fromkeys(found.backends)),
        ]
        for (L, dtype), found in times.items()
    ]
    kernels = {L: found for (L, dtype), found in times.items() if dtype == "float32" and set(found.backends) == {"cpu"}}
    grown = ""
    if len([L for L in kernels if max(kernels) <= 2 * L]) > 1:
        slopes = [
            exponent([*kernels], [getattr(found, way) for found in kernels.values()]) for way in ("direct", "grid")
        ]
        grown = f" On the kernels, in float32, times grow with the powers {slopes[0]:.2f} and {slopes[1]:.2f} of L."
    return _page(
        "# The times of the complete product by coefficients and by a grid",
        f"Microseconds a sample on one thread of {describe_machine()['processor']}, least processor time of {REPEATS} "
        "runs; the error of the grid is beside coefficients in float64, over the largest number of the result. Where "
        f"the backend is `generic`, the plans are too large for the kernels of the processor.{grown}",
        table(("L", "dtype", "samples", "by coefficients", "grid", "times as long", "error", "backend"), rows),
    )


def _page(*parts: str) -> str:
    return "\n\n".join(parts) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.complete", description=__doc__)
    parser.add_argument("--counted", type=int, default=24, metavar="L", help="largest L counted; 0: none (default: 24)")
    parser.add_argument(
        "--far", type=int, nargs="*", default=FAR, metavar="L", help="counted by rule as well (default: 32 48 64)"
    )
    parser.add_argument("--timed", type=int, nargs="*", default=TIMED, metavar="L")
    parser.add_argument("--folder", default="benchmarks/results", help="of complete-counts.md and complete-times.md")
    options = parser.parse_args(arguments)
    counts_file, times_file = (os.path.join(options.folder, f"complete-{name}.md") for name in ("counts", "times"))
    for path in (counts_file, times_file):
        check_writable("--folder", path)
    if options.counted:
        counted = {L: count(L) for L in range(1, options.counted + 1)}
        _write(counts_file, counts_report(counted, {L: count(L, by_rule=True) for L in options.far}))
    if options.timed:
        listed = [(L, dtype) for L in options.timed for dtype in DTYPES if dtype == "float32" or L <= BOTH_DTYPES]
        _write(times_file, times_report({case: measure(*case) for case in listed}))


def _write(path: str, text: str) -> None:
    write_whole(path, lambda stream: stream.write(text.encode()))


if __name__ == "__main__":
    main()
