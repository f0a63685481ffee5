"""What a whole call takes where there is next to nothing to compute: ``python -m benchmarks.calls``.

Microseconds of one and of 100 samples, by prepared calls; beside them, what the same call takes the usual way, of an
operator that has none. Both in turns, in one process.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import tpnumba as tp
from benchmarks.bars import CALL_AIM, CALL_MUST
from benchmarks.tables import table
from tpnumba.backends.prepared import PreparedCalls
from tpnumba.outputs import write_whole
from tpnumba.studies.machine import describe_machine
from tpnumba.studies.timing import Timing, interleaved

_RESULTS = Path(__file__).parent / "results"
SAMPLES = (1, 100)


@dataclass(frozen=True)
class CallWork:
    """A call of ``samples`` samples; ``is_judged``: whether the bars are held against it."""

    name: str
    samples: int
    is_judged: bool
    call: Callable[[], object]


def works(samples: int, dtype: str) -> Iterator[CallWork]:
    """The calls that are timed, on normally distributed numbers."""
    rng = np.random.default_rng(0)

    def normal(size: int) -> npt.NDArray[Any]:
        return rng.standard_normal((samples, size)).astype(dtype)

    products = {
        f"FullTensorProduct, L = {L}": tp.FullTensorProduct(*[tp.Irreps.spherical_harmonics(L)] * 2) for L in (1, 3)
    }
    products |= {f"GauntTensorProduct, L = {L}": tp.GauntTensorProduct(L, L) for L in (1, 3)}
    for name, p in products.items():
        x, y, g = (normal(irreps.dim) for irreps in (p.irreps_in1, p.irreps_in2, p.irreps_out))
        judged = samples == 1 and name in (
            "FullTensorProduct, L = 1",
            "GauntTensorProduct, L = 1",
            "GauntTensorProduct, L = 3",
        )
        out = np.empty_like(g)
        yield CallWork(name, samples, judged, lambda p=p, x=x, y=y: p(x, y))  # type: ignore[misc]
        yield CallWork(f"{name}, `out=`", samples, judged, lambda p=p, x=x, y=y, o=out: p(x, y, out=o))  # type: ignore[misc]
        yield CallWork(f"{name}, `vjp`", samples, False, lambda p=p, x=x, y=y, g=g: p.vjp(x, y, g))  # type: ignore[misc]
    for L in (1, 3):
        Y, r = tp.SphericalHarmonics(L), normal(3)
        g = normal(Y.irreps.dim)
        name = f"SphericalHarmonics, l = {L}"
        yield CallWork(name, samples, samples == 1 and L == 1, lambda Y=Y, r=r: Y(r))  # type: ignore[misc]
        yield CallWork(f"{name}, `vjp`", samples, False, lambda Y=Y, r=r, g=g: Y.vjp(r, g))  # type: ignore[misc]
        yield CallWork(
            f"{name}, `value_and_jacobian`",
            samples,
            False,
            lambda Y=Y, r=r: Y.value_and_jacobian(r),  # type: ignore[misc]
        )


def measure(work: CallWork, repeats: int) -> tuple[Timing, Timing]:
    """A prepared call, and the same without."""
    usual = PreparedCalls.evaluate

    def without() -> None:
        PreparedCalls.evaluate = _nothing  # type: ignore[method-assign, assignment]
        try:
            work.call()
        finally:
            PreparedCalls.evaluate = usual  # type: ignore[method-assign]

    for _ in range(3):
        work.call()
    found = interleaved({"prepared": work.call, "usual": without}, repeats=repeats)
    return found["prepared"], found["usual"]


def _nothing(*_: object) -> None:
    """No prepared call."""


def report(machine: dict[str, Any], rows: list[tuple[CallWork, Timing, Timing]]) -> str:
    """The table."""

    def shown(timing: Timing) -> str:
        return f"{timing.seconds * 1e6:.3g} ± {timing.spread * 1e6:.1g}"

    def verdict(work: CallWork, timing: Timing) -> str:
        if not work.is_judged:
            return ""
        taken = timing.seconds * 1e6
        return "aim met" if taken <= CALL_AIM else "must met" if taken <= CALL_MUST else "not met"

    lines = [(work.name, str(work.samples), shown(one), shown(two), verdict(work, one)) for work, one, two in rows]
    head = "call", "samples", "prepared, µs", "the usual way, µs", f"must {CALL_MUST:g} µs, aim {CALL_AIM:g} µs"
    parts = [
        f"# A whole call on {machine['processor']}",
        ", ".join(f"{key} {value}" for key, value in machine.items()),
        "float32, medians of repeats in turns, and half the distance between their quartiles.",
        table(head, lines),
    ]
    return "\n\n".join(parts) + "\n"


def main() -> int:
    """Time all calls and write the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.calls", description=__doc__)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--output", type=Path, default=_RESULTS, metavar="FOLDER")
    options = parser.parse_args()
    machine = describe_machine()
    rows = [(work, *measure(work, options.repeats)) for samples in SAMPLES for work in works(samples, "float32")]
    processor = re.sub(r"[^a-z0-9]+", "-", str(machine["processor"]).lower()).strip("-")
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / f"calls-{processor or 'unknown'}.md"
    text = report(machine, rows)
    write_whole(str(path), lambda stream: stream.write(text.encode()))
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
