"""The Tetris experiment with all products and ten seeds: ``python -m benchmarks.tetris``.

Writes ``tetris-PROCESSOR.json``, ``.md`` and ``.png`` into ``benchmarks/results``.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.tables import table
from tpnumba.outputs import write_whole
from tpnumba.studies.machine import describe_machine
from tpnumba.studies.report import progress_bar
from tpnumba.studies.tetris.report import BLIND, document, figure, summarize
from tpnumba.studies.tetris.training import PRODUCTS, Run, run_all

_HEAD = ("product", "right (median)", "least, most", "steps", "ms a step", "weights", "expressivity", "error", "wrong")


def main() -> None:
    """Run the experiment and write its results."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tetris", description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--steps", type=int, default=1000, help="at most")
    parser.add_argument("--hidden-lmax", type=int, default=2)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results", metavar="FOLDER")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    settings = {"seeds": options.seeds, "steps": options.steps, "lmax": options.hidden_lmax, "rotations": 100}
    start = time.perf_counter()
    with progress_bar("Tetris") as report:
        runs = list(run_all(list(PRODUCTS), **settings, on_progress=report))
    seconds = time.perf_counter() - start
    processor = re.sub(r"[^a-z0-9]+", "-", str(describe_machine()["processor"]).lower()).strip("-")
    stem = options.output / f"tetris-{processor or 'unknown'}"
    written = {**document(runs, settings, complete=True), "seconds": seconds}
    write_whole(f"{stem}.json", lambda stream: stream.write(json.dumps(written, indent=1).encode()))
    write_whole(f"{stem}.md", lambda stream: stream.write(markdown(runs, written, f"{stem.name}.png").encode()))
    drawing = figure(runs, settings)
    write_whole(f"{stem}.png", lambda stream: drawing.savefig(stream, format="png", dpi=110))
    print(f"{stem}.md", file=sys.stderr)


def markdown(runs: Sequence[Run], written: dict[str, Any], picture: str) -> str:
    """The results as Markdown."""
    asked = written["settings"]
    machine = ", ".join(f"{name} {value}" for name, value in written["machine"].items())
    rows = []
    for summary in summarize(runs):
        wrong = (f"{piece} in {count} of {len(summary.correct)}" for piece, count in summary.wrong.items())
        rows.append(
            (
                summary.product,
                f"{median(summary.correct):g} of 8",
                f"{min(summary.correct)}, {max(summary.correct)}",
                f"{summary.steps:g}",
                f"{summary.seconds_per_step * 1e3:.1f}",
                f"{next(run.weights for run in runs if run.product == summary.product):,}",
                str(summary.expressivity),
                f"{summary.deviation:.0e}",
                "; ".join(wrong) or "-",
            )
        )
    return f"""# Tetris

{machine}

Eight pieces of four cubes, of which two are mirror images, told apart by a network of {asked["layers"]} layers around
one product: features to degree {asked["lmax"]}, harmonics to degree {asked["harmonics_lmax"]}, {asked["channels"]}
channels of each parity. Adam at {asked["learning_rate"]:g}, all pieces in one random rotation a step, at most
{asked["steps"]:,} steps; a run ends once its loss is below {asked["ends_below_loss"]:g}. {asked["seeds"]} seeds; all
took {written["seconds"]:.0f} s.

{table(_HEAD, rows)}

Right: pieces whose own logit is the largest under all of {asked["rotations"]} random rotations (of equal logits the
first). Steps and times are medians of the runs. Expressivity is of the product, one copy of each degree. Error: how far
the logits of a piece lie apart under the rotations, relative to the largest. A network that cannot tell the mirror
images apart has a loss of log(2) / 4 = {BLIND:.3f} at least.

![loss against step, and time a step]({picture})
"""


if __name__ == "__main__":
    main()
