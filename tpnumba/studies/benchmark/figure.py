"""The figures of the paper from a run: time, normalised time, operations and bytes a second, against L."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tpnumba.extras import need
from tpnumba.studies.benchmark.document import Run
from tpnumba.studies.benchmark.rows import PAPER, Measurement
from tpnumba.studies.registry import CONFIGURATIONS, PRODUCTS

#: Colours that colour-blind readers tell apart (Okabe and Ito), but for the yellow, which paper hides.
COLOURS = ("#000000", "#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00", "#CC79A7")
#: And markers and lines for those who see no colours: a product has its colour and marker, a method its line.
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "h")
LINES: Mapping[str, Any] = {
    "direct": "-",
    "dense": ":",
    "sparse": "-",
    "grid": "--",
    "fourier": "-.",
    "matrix": (0, (5, 1, 1, 1, 1, 1)),
}

#: The width of the longest name in the legend, with its line.
_LEGEND_INCHES = 2.9

_ROWS: tuple[tuple[str, Callable[[Measurement], float | None], float], ...] = (
    ("ms a batch", lambda row: None if row.seconds_per_sample is None else row.seconds_per_sample * row.batch, 1e3),
    (
        "normalised time: ms a batch\nand irrep of the result",
        lambda row: None if row.seconds_per_irrep is None else row.seconds_per_irrep * row.batch,
        1e3,
    ),
    ("GFLOP/s", lambda row: row.flops_per_second, 1e-9),
    ("GB/s", lambda row: row.bytes_per_second, 1e-9),
)


def figure(run: Run) -> Any:
    """A column a setting, a row a quantity, a line a product and method; the paper's ways have hollow markers."""
    make_figure, ticker = need("matplotlib.figure").Figure, need("matplotlib.ticker")
    settings = [entry for entry in CONFIGURATIONS if entry.name in run.options.settings]
    kinds = list(dict.fromkeys((row.product, row.method) for row in run.rows))
    styles = {kind: _style(*kind) for kind in kinds}
    width = 2 + 4.2 * len(settings)
    columns = max(1, int(width / _LEGEND_INCHES))
    size = width, 10.5 + 0.2 * -(-len(kinds) // columns)
    drawing = make_figure(figsize=size, layout="constrained")
    axes = drawing.subplots(len(_ROWS), len(settings), sharex=True, sharey="row", squeeze=False)
    handles: dict[str, Any] = {}
    for column, setting in enumerate(settings):
        for kind in kinds:
            chosen = [row for row in run.rows if (row.setting, row.product, row.method) == (setting.name, *kind)]
            for line, (_, value, scale) in enumerate(_ROWS):
                points = [(row.lmax, found * scale) for row in chosen if (found := value(row)) is not None]
                if points:
                    (drawn,) = axes[line, column].plot(*zip(*points, strict=True), **styles[kind])
                    handles.setdefault(", ".join(kind), drawn)
        axes[0, column].set_title(f"{setting.name}\n{setting.description}", fontsize=9)
        axes[-1, column].set_xlabel("L")
        axes[-1, column].xaxis.set_major_locator(ticker.MaxNLocator(integer=True))
    for line, (label, *_) in enumerate(_ROWS):
        axes[line, 0].set_ylabel(label)
        for axis in axes[line]:
            axis.set_yscale("log")
            axis.grid(visible=True, which="major", alpha=0.4)
    columns = min(columns, max(1, len(handles)))
    drawing.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=columns, fontsize=8)
    options = run.options
    drawing.suptitle(
        f"{run.machine['processor']}, {run.machine['cores']} cores; batch {options.batch:,}, {options.dtype}, "
        f"backend {options.backend}"
    )
    return drawing


def _style(product: str, method: str) -> dict[str, Any]:
    number = [entry.name for entry in PRODUCTS].index(product)
    colour = COLOURS[number % len(COLOURS)]
    is_paper = method.endswith(PAPER)
    return {
        "color": colour,
        "marker": MARKERS[number % len(MARKERS)],
        "markersize": 5,
        "markerfacecolor": "white" if is_paper else colour,
        "linestyle": LINES[method.removesuffix(PAPER)],
        "linewidth": 0.9 if is_paper else 1.4,
    }
