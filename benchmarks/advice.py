"""Whether the adviser's first choice is the quickest: over random requirements that its model was not fitted to.

``python -m benchmarks.advice`` draws requirements, asks the model, measures every alternative in turns, prints the
misses, and writes ``benchmarks/results/advice-NAME.json`` and ``.md``. The model is fitted to the degrees of SISO, SIMO
and MIMO, and to one batch each; here degrees are any subset, with other parities, triples, batches and dtypes.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

import tpnumba as tp
from benchmarks.bars import AUTO_MUST, AUTO_SLACK
from benchmarks.tables import table
from tpnumba.outputs import write_whole
from tpnumba.studies.advice.requirement import read_requirement
from tpnumba.studies.backends import make_ready
from tpnumba.studies.machine import describe_machine
from tpnumba.studies.registry import CONFIGURATIONS
from tpnumba.studies.timing import interleaved

_BATCHES = (100, 1000, 10_000)
_TRIPLES = (1, 2, 3)

Entry = dict[str, Any]


@dataclass(frozen=True)
class Asked:
    """One requirement, as the adviser takes it."""

    irreps_in1: str
    irreps_in2: str
    irreps_out: str
    must_couple: tuple[str, ...]
    batch: int
    dtype: str

    def advise(self) -> Any:
        """What the adviser says by its model."""
        irreps = self.irreps_in1, self.irreps_in2, self.irreps_out
        return tp.advise(*irreps, self.must_couple, batch=self.batch, dtype=self.dtype)


def requirements(count: int, lmax: int, seed: int) -> Iterator[Asked]:
    """Random ones that leave a choice between products, none with the degrees of a configuration of the registry."""
    rng = np.random.default_rng(seed)
    fitted = {configuration.degrees(L) for configuration in CONFIGURATIONS for L in range(lmax + 1)}
    found = 0
    while found < count:
        in1, in2 = (tuple(sorted(rng.choice(lmax + 1, rng.integers(1, lmax + 2), replace=False))) for _ in range(2))
        top = min(max(in1) + max(in2), lmax + 2)
        out = tuple(sorted(rng.choice(top + 1, rng.integers(1, top + 2), replace=False)))
        if (in1, in2, out) in fitted:
            continue
        both = rng.random() < 0.5
        irreps = _natural(in1), _natural(in2), _natural(out) + (tp.Irreps(_opposite(out)) if both else tp.Irreps())
        everything = read_requirement(*irreps, "all").must_couple if _coupled(irreps) else frozenset()
        if not everything:
            continue
        listed = sorted(everything)
        chosen = rng.choice(len(listed), min(len(listed), int(rng.choice(_TRIPLES))), replace=False)
        asked = Asked(
            *(str(block) for block in irreps),
            must_couple=tuple(",".join(map(str, listed[i])) for i in sorted(chosen)),
            batch=int(rng.choice(_BATCHES)),
            dtype=str(rng.choice(["float32", "float64"])),
        )
        if len({choice.product for choice in asked.advise().ranking}) > 1:
            found += 1
            yield asked


def _natural(degrees: Sequence[int]) -> tp.Irreps:
    return tp.Irreps([(1, (int(degree), (-1) ** int(degree))) for degree in degrees])


def _opposite(degrees: Sequence[int]) -> list[tuple[int, tuple[int, int]]]:
    return [(1, (int(degree), -((-1) ** int(degree)))) for degree in degrees]


def _coupled(irreps: tuple[tp.Irreps, ...]) -> bool:
    return bool(tp.interactability(tp.FullTensorProduct(*irreps)))


def judge(asked: Asked, *, clock: Callable[[], float] = time.perf_counter, repeats: int = 7) -> Entry:
    """The first choice of the model beside the measured times of all alternatives, in turns."""
    ranking = asked.advise().ranking
    rng = np.random.default_rng(0)

    def call(p: Any) -> Callable[[], Any]:
        x1, x2 = (
            rng.standard_normal((asked.batch, irreps.dim)).astype(asked.dtype)
            for irreps in (p.irreps_in1, p.irreps_in2)
        )
        make_ready(p, asked.dtype, "auto")
        return lambda: p(x1, x2)

    calls = {(choice.product, choice.method): call(choice.operator) for choice in ranking}
    timings = interleaved(calls, repeats=repeats, repeat_seconds=0.004, limit_seconds=10, clock=clock)
    measured = {name: timing.seconds / asked.batch for name, timing in timings.items()}
    first = ranking[0]
    best = min(measured, key=lambda name: measured[name])
    return {
        **asdict(asked),
        "first": [first.product, first.method],
        "best": list(best),
        "slower": measured[first.product, first.method] / measured[best],
        "modelled": first.seconds_per_sample,
        "seconds": [[*name, seconds] for name, seconds in measured.items()],
    }


def verdict(entries: Sequence[Entry]) -> Entry:
    """How many first choices are within the slack of the measured best, and the others."""
    misses = sorted((e for e in entries if e["slower"] > AUTO_SLACK), key=lambda e: -e["slower"])
    share = 1 - len(misses) / len(entries) if entries else 0.0
    return {"requirements": len(entries), "share": share, "met": share >= AUTO_MUST, "misses": misses}


def report(document: Entry) -> str:
    """The results as Markdown."""
    found = document["verdict"]
    said = (
        f"Of {found['requirements']} random requirements, the adviser's first choice was within {AUTO_SLACK - 1:.0%} "
        f"of the best in measured {document['measured']} in {found['share']:.1%} (bar: {AUTO_MUST:.0%}). "
        + ", ".join(f"{key} {value}" for key, value in document["machine"].items())
    )
    rows = [
        (
            " x ".join((miss["irreps_in1"], miss["irreps_in2"])) + " -> " + miss["irreps_out"],
            "; ".join(miss["must_couple"]),
            f"{miss['batch']:,}",
            miss["dtype"],
            ", ".join(miss["first"]),
            ", ".join(miss["best"]),
            f"{miss['slower']:.2f}x",
        )
        for miss in found["misses"]
    ]
    head = ("irreps", "must couple", "batch", "dtype", "first choice", "measured best", "slower by")
    return (
        "\n\n".join(["# The adviser's first choice", said, "## Misses", table(head, rows) if rows else "None."]) + "\n"
    )


def main() -> int:
    """Draw, judge and write; the exit status is 1 if the bar is not met."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.advice", description=__doc__)
    parser.add_argument("--requirements", type=int, default=120)
    parser.add_argument("--lmax", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--processor-time",
        action="store_true",
        help="of all threads, in place of time: for a machine that has other work to do",
    )
    parser.add_argument("--name", default="cpu", help="of the files in the folder")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results", metavar="FOLDER")
    options = parser.parse_args()
    entries = []
    clock = time.process_time if options.processor_time else time.perf_counter
    for number, asked in enumerate(requirements(options.requirements, options.lmax, options.seed), start=1):
        entries.append(judge(asked, clock=clock))
        last = entries[-1]
        shown = "right" if last["slower"] <= AUTO_SLACK else f"missed: {last['best']} by {last['slower']:.2f}x"
        print(f"[{number}/{options.requirements}] {', '.join(last['first'])}: {shown}", file=sys.stderr, flush=True)
    what = "processor time" if options.processor_time else "time"
    document = {"machine": describe_machine(), "measured": what, "verdict": verdict(entries), "entries": entries}
    path = options.output / f"advice-{options.name}"
    write_whole(f"{path}.json", lambda stream: stream.write(json.dumps(document, indent=1).encode()))
    text = report(document)
    write_whole(f"{path}.md", lambda stream: stream.write(text.encode()))
    print(text)
    return 0 if document["verdict"]["met"] else 1


if __name__ == "__main__":
    sys.exit(main())
