"""The runs of the experiment as a table, as a document, and as a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from math import log
from statistics import median
from textwrap import fill
from typing import Any, NamedTuple

import numpy as np

from tpnumba.extras import need
from tpnumba.studies.columns import print_columns
from tpnumba.studies.machine import describe_machine
from tpnumba.studies.tetris.layer import CHANNELS, SCALARS
from tpnumba.studies.tetris.network import EMBEDDING, HARMONICS_LMAX, LAYERS
from tpnumba.studies.tetris.pieces import PIECES
from tpnumba.studies.tetris.training import ENOUGH, LEARNING_RATE, Run

#: The loss of a network that is certain of all pieces but the two mirror images, between which it cannot tell.
BLIND = 2 * log(2) / len(PIECES)

_HEADER = ("product", "runs", "right", "steps", "ms/step", "expressivity", "error")
_NOTES = (
    "right: pieces of 8, the median of the runs, and the least and the most; steps: until the loss fell below "
    f"{ENOUGH:g}, or all; expressivity: dimensions of the bilinear maps that the product reaches; error: how far the "
    "logits of a piece lie apart under the rotations, relative to the largest.",
)


class Summary(NamedTuple):
    """The runs of one product."""

    product: str
    correct: list[int]
    steps: float
    seconds_per_step: float
    expressivity: int
    deviation: float
    #: How many runs took each piece for another.
    wrong: dict[str, int]


def summarize(runs: Sequence[Run]) -> list[Summary]:
    """The runs of each product together, in the order that the products came in."""
    found = []
    for product in dict.fromkeys(run.product for run in runs):
        some = [run for run in runs if run.product == product]
        wrong = [piece for run in some for piece in run.wrong]
        found.append(
            Summary(
                product,
                [run.correct for run in some],
                median(run.steps for run in some),
                median(run.seconds_per_step for run in some),
                some[0].expressivity,
                max(run.deviation for run in some),
                {piece: wrong.count(piece) for piece in PIECES if piece in wrong},
            )
        )
    return found


def print_runs(runs: Sequence[Run], settings: Mapping[str, int]) -> None:
    """A line a product, then which pieces were taken for others; at most 80 columns."""
    machine = describe_machine()
    print(
        fill(
            f"Tetris: {LAYERS} layers, features to degree {settings['lmax']}, harmonics to {HARMONICS_LMAX}, Adam at "
            f"{LEARNING_RATE:g}, at most {settings['steps']:,} steps, {settings['rotations']:,} rotations",
            80,
        )
    )
    print(f"{machine['processor']}, {machine['cores']} cores, {machine['system']}\n")
    summaries = summarize(runs)
    rows = [_HEADER, *(_cells(summary) for summary in summaries)]
    print_columns(rows)
    print()
    for summary in summaries:
        for piece, count in summary.wrong.items():
            print(f"{summary.product}: {piece} taken for another piece in {count} of {len(summary.correct)} runs")
    for note in _NOTES:
        print(fill(note, 80))


def _cells(summary: Summary) -> tuple[str, ...]:
    return (
        summary.product,
        str(len(summary.correct)),
        _right(summary),
        f"{summary.steps:g}",
        f"{summary.seconds_per_step * 1e3:.1f}",
        str(summary.expressivity),
        f"{summary.deviation:.0e}",
    )


def _right(summary: Summary) -> str:
    return f"{median(summary.correct):g} ({min(summary.correct)}-{max(summary.correct)})"


def document(runs: Sequence[Run], settings: Mapping[str, int], *, complete: bool) -> dict[str, Any]:
    """What ``--json`` writes: the machine, the settings, and every run; ``complete`` is false after an interrupt."""
    fixed = {
        "layers": LAYERS,
        "harmonics_lmax": HARMONICS_LMAX,
        "embedding": EMBEDDING,
        "channels": CHANNELS,
        "scalars": SCALARS,
        "learning_rate": LEARNING_RATE,
        "ends_below_loss": ENOUGH,
    }
    return {
        "machine": describe_machine(),
        "settings": {**settings, **fixed},
        "complete": complete,
        "runs": [{**asdict(run), "losses": [float(f"{loss:.5g}") for loss in run.losses]} for run in runs],
    }


#: By the place of the product: colours that differ for every kind of sight (Okabe and Ito), markers and lines.
_STYLES = (
    ("#000000", "o", "-"),
    ("#D55E00", "s", "--"),
    ("#0072B2", "^", "-."),
    ("#009E73", "D", ":"),
    ("#CC79A7", "v", (0, (6, 1, 1, 1, 1, 1))),
)


def figure(runs: Sequence[Run], settings: Mapping[str, int]) -> Any:
    """Left the loss against the step, the median of the runs; right the time a step, and what it bought.

    The marker is where half of the runs of a product have ended; a run that has ended keeps its last loss.
    """
    drawing = need("matplotlib.figure").Figure(figsize=(11, 4.6), layout="constrained")
    losses, times = drawing.subplots(1, 2, width_ratios=(3, 2))
    summaries = summarize(runs)
    for number, summary in enumerate(summaries):
        colour, marker, line = _STYLES[number % len(_STYLES)]
        curves = [run.losses for run in runs if run.product == summary.product]
        length = int(summary.steps)
        ended = [np.pad(curve, (0, max(0, length - len(curve))), mode="edge")[:length] for curve in curves]
        look = {"color": colour, "linestyle": line, "marker": marker, "label": summary.product}
        losses.plot(np.arange(length) + 1, np.median(ended, axis=0), **look, markevery=[length - 1], linewidth=1.5)
    losses.axhline(BLIND, color="0.5", linewidth=1)
    losses.text(1, BLIND, "least loss without handedness", va="bottom", fontsize=8, color="0.3")
    losses.set(xscale="log", yscale="log", xlabel="step", ylabel="loss (mean cross entropy)")
    losses.legend(fontsize=8, handlelength=4)
    places = np.arange(len(summaries))
    bars = times.barh(places, [summary.seconds_per_step * 1e3 for summary in summaries], color="0.75", edgecolor="0.2")
    times.bar_label(bars, [f"{_right(summary)} right" for summary in summaries], padding=4, fontsize=8)
    names = [f"{summary.product}\nexpressivity {summary.expressivity}" for summary in summaries]
    times.set_yticks(places, names, fontsize=8)
    times.invert_yaxis()
    times.margins(x=0.4)
    times.set(xlabel="ms a step")
    times.set_title(f"pieces right, of {len(PIECES)}: median (least-most)", fontsize=9)
    losses.grid(alpha=0.3)
    times.grid(axis="x", alpha=0.3)
    seeds = max(len(summary.correct) for summary in summaries)
    drawing.suptitle(f"Tetris: features to degree {settings['lmax']}, {seeds} seeds, medians", fontsize=10)
    return drawing
