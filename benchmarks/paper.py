"""What the paper says beside what was measured: ``python -m benchmarks.paper RUN.json TETRIS.json --name NAME``.

Takes a run of ``tpnumba benchmark --reference --json RUN.json`` and one of ``tpnumba tetris --json TETRIS.json``, and
writes ``benchmarks/results/paper-NAME.md``. Numbers of the paper are those of *The Price of Freedom* (Xie, Daigavane,
Kotak, Smidt, ICML 2025, arXiv 2506.13523), its table of times on a processor, for which none is named.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from math import isnan, nan
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from benchmarks.tables import table
from tpnumba.outputs import write_whole


class Column(NamedTuple):
    """A column of the paper's table: the product, its way there, and the method that does the same here."""

    name: str
    product: str
    paper: str
    ours: str


COLUMNS = (
    Column("CG dense", "Clebsch-Gordan", "dense (paper)", "dense"),
    Column("CG sparse", "Clebsch-Gordan", "sparse (paper)", "direct"),
    Column("Gaunt grid", "Gaunt", "grid (paper)", "grid"),
    Column("vector", "vector spherical (cross)", "grid (paper)", "grid"),
    Column("matrix", "matrix", "matrix (paper)", "matrix"),
    Column("Gaunt Fourier", "Gaunt", "fourier (paper)", "fourier"),
)
#: Milliseconds of 10,000 samples, MIMO, by L.
PAPER: Mapping[int, Sequence[float]] = {
    1: (0.98, 1.17, 2.27, 6.59, 14.4, 11.2),
    2: (3.57, 3.68, 1.89, 8.27, 19.8, 20.9),
    4: (21.0, 33.2, 5.08, 37.9, 81.7, 217.0),
    7: (158.0, 274.0, 29.6, 102.0, 333.0, 1716.0),
    10: (425.0, 837.0, 60.1, 180.0, 1086.0, 4658.0),
}

Rows = Mapping[tuple[str, int, str, str], Mapping[str, Any]]


def index(run: Mapping[str, Any]) -> Rows:
    """The rows of a run by setting, L, product and method."""
    return {(row["setting"], row["lmax"], row["product"], row["method"]): row for row in run["rows"]}


def milliseconds(rows: Rows, lmax: int, product: str, method: str) -> float | None:
    """Of 10,000 samples in the setting MIMO; None if it was not timed."""
    row = rows.get(("MIMO", lmax, product, method))
    return None if row is None else row["seconds_per_sample"] * 1e7


def times(rows: Rows) -> str:
    """The paper's table: its number, its way timed here, and the method that does the same here."""
    lines = []
    for lmax, numbers in PAPER.items():
        cells = []
        for column, number in zip(COLUMNS, numbers, strict=True):
            found = (milliseconds(rows, lmax, column.product, method) for method in (column.paper, column.ours))
            cells.append(" / ".join([f"{number:.3g}", *("-" if one is None else f"{one:.3g}" for one in found)]))
        lines.append((str(lmax), *cells))
    return table(("L", *(column.name for column in COLUMNS)), lines)


def ratios(rows: Rows) -> str:
    """Times over that of the Gaunt product on a grid: the paper's, its way timed here, ours."""
    lines = []
    for lmax, numbers in PAPER.items():
        cells = []
        for i, column in enumerate(COLUMNS):
            parts = [numbers[i] / numbers[2]]
            for way in ("paper", "ours"):
                one, grid = (milliseconds(rows, lmax, c.product, getattr(c, way)) for c in (column, COLUMNS[2]))
                parts.append(nan if one is None or grid is None else one / grid)
            cells.append(" / ".join("-" if isnan(part) else f"{part:.2g}" for part in parts))
        lines.append((str(lmax), *cells))
    return table(("L", *(column.name for column in COLUMNS)), lines)


def normalized(rows: Rows, degrees: Iterable[int]) -> str:
    """Of the quickest method of each product: time, time an irrep, time a degree of freedom."""
    lines = []
    for lmax in degrees:
        products: dict[str, Mapping[str, Any]] = {}
        for (setting, found, product, method), row in rows.items():
            if setting != "MIMO" or found != lmax or "paper" in method:
                continue
            if product not in products or row["seconds_per_sample"] < products[product]["seconds_per_sample"]:
                products[product] = row
        for row in sorted(products.values(), key=lambda row: row["seconds_per_sample"]):
            lines.append(
                (
                    str(lmax),
                    row["product"],
                    row["method"],
                    f"{row['seconds_per_sample'] * 1e9:.3g}",
                    f"{row['seconds_per_irrep'] * 1e9:.3g}",
                    str(row["expressivity"]),
                    f"{row['seconds_per_degree_of_freedom'] * 1e9:.3g}",
                    f"{row['error']:.0e}",
                )
            )
    head = ("L", "product", "quickest", "ns a sample", "ns an irrep", "expressivity", "ns a degree of freedom", "error")
    return table(head, lines)


def growth(run: Mapping[str, Any]) -> str:
    """Exponents of L in the setting MIMO: operations and times as fitted, and theory."""
    lines = [
        (
            row["product"],
            row["method"],
            f"{min(row['fitted'])} to {max(row['fitted'])}",
            *("-" if row[name] is None else f"{row[name]:.2f}" for name in ("flops_exponent", "seconds_exponent")),
            "-" if row["theory"] is None else str(row["theory"]),
        )
        for row in run["growth"]
        if row["setting"] == "MIMO"
    ]
    return table(("product", "method", "L", "operations", "time", "theory"), lines)


def tetris(run: Mapping[str, Any]) -> str:
    """Pieces right and steps, by product."""
    lines = []
    for product in dict.fromkeys(row["product"] for row in run["runs"]):
        found = [row for row in run["runs"] if row["product"] == product]
        correct = [row["correct"] for row in found]
        wrong = Counter(piece for row in found for piece in row["wrong"])
        spread = f"{min(correct)} to {max(correct)}"
        named = ", ".join(f"{piece} in {count} of {len(found)}" for piece, count in wrong.items())
        lines.append((product, f"{median(correct):g} of {found[0]['of']}", spread, named or "-"))
    return table(("product", "right (median)", "least to most", "wrong"), lines)


def report(run: Mapping[str, Any], trained: Mapping[str, Any]) -> str:
    """The page."""
    rows = index(run)
    machine = ", ".join(f"{key} {value}" for key, value in run["machine"].items())
    options = run["options"]
    measured = sorted({lmax for setting, lmax, _, _ in rows if setting == "MIMO"})
    chosen = [lmax for lmax in (2, 4, 7, 10) if lmax in measured]
    return f"""# What the paper says, and what was measured

{machine}; {options["dtype"]}, {options["batch"]:,} samples, medians of {options["repeats"]}.

## Times

MIMO, milliseconds: the paper's number / its way, written anew in NumPy and timed here / the method of tpnumba that
computes the same.

{times(rows)}

The same over the time of the Gaunt product on a grid:

{ratios(rows)}

## Normalised times

{normalized(rows, chosen)}

## Growth

{growth(run)}

## Tetris

{tetris(trained)}
"""


def main() -> None:
    """Read, and write the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.paper", description=__doc__)
    parser.add_argument("run", type=Path, help="of tpnumba benchmark --reference")
    parser.add_argument("tetris", type=Path, help="of tpnumba tetris")
    parser.add_argument("--name", default="cpu", help="of the results")
    options = parser.parse_args()
    found = [json.loads(path.read_text(encoding="utf-8")) for path in (options.run, options.tetris)]
    text = report(*found)
    print(text)
    target = Path(__file__).with_name("results") / f"paper-{options.name}.md"
    write_whole(str(target), lambda stream: stream.write(text.encode()))


if __name__ == "__main__":
    main()
