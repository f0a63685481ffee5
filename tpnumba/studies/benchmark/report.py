"""The benchmark on the terminal: a table a setting, growth beside theory, and two runs side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from tpnumba.extras import need
from tpnumba.studies.benchmark.document import Run, growths, mean_ratios, ratios
from tpnumba.studies.benchmark.rows import Measurement
from tpnumba.studies.registry import CONFIGURATIONS


class Column(NamedTuple):
    """``rank``: the higher it is, the earlier the column is left out on a narrow terminal; 0: never."""

    title: str
    rank: int
    cell: Callable[[Measurement], str]


def _number(value: float | None, form: str, scale: float = 1.0) -> str:
    return "-" if value is None else format(value * scale, form)


def _spread(row: Measurement) -> str:
    if row.seconds_per_sample is None or row.seconds_spread is None:
        return "-"
    return f"{row.seconds_spread / row.seconds_per_sample:.0%}"


#: A time never stands without the error and the expressivity that belong to it.
COLUMNS = (
    Column("product", 0, lambda row: row.product),
    Column("method", 0, lambda row: row.method),
    Column("L", 0, lambda row: str(row.lmax)),
    Column("ns a sample", 0, lambda row: _number(row.seconds_per_sample, ",.0f", 1e9)),
    Column("spread", 2, _spread),
    Column("couples", 3, lambda row: f"{row.interactable} of {row.triples}"),
    Column("expressivity", 0, lambda row: str(row.expressivity)),
    Column("ns a degree of freedom", 1, lambda row: _number(row.seconds_per_degree_of_freedom, ",.1f", 1e9)),
    Column("ns an irrep", 5, lambda row: _number(row.seconds_per_irrep, ",.1f", 1e9)),
    Column("flops", 7, lambda row: f"{row.flops:,}"),
    Column("bytes", 8, lambda row: f"{row.bytes:,}"),
    Column("Msamples/s", 9, lambda row: _number(row.samples_per_second, ",.2f", 1e-6)),
    Column("GFLOP/s", 6, lambda row: _number(row.flops_per_second, ",.1f", 1e-9)),
    Column("GB/s", 6, lambda row: _number(row.bytes_per_second, ",.1f", 1e-9)),
    Column("roofline", 4, lambda row: _number(row.roofline, ".0%")),
    Column("error", 0, lambda row: _number(row.error, ".0e")),
    Column("backend", 9, lambda row: row.backend),
    Column("equivariance error", 10, lambda row: _number(row.equivariance_error, ".0e")),
)

#: Titles of columns of words; all others are of numbers.
_OF_WORDS = frozenset({"setting", "product", "method"})

LEGEND = (
    "couples: triples (l1, l2, l3) of the setting that the product joins; expressivity: dimensions of the bilinear "
    "maps it reaches, its degrees of freedom; an irrep: one of the result, as the paper divides; flops, bytes: a "
    "sample; "
    "spread: half the distance between the quartiles; roofline: the least time that the machine needs for operations "
    "or operands, as a share of the time (above 100 %: operands stayed in the caches); error: from float64, relative "
    "to the greatest number."
)


def print_run(run: Run) -> None:
    """Tables of all settings, and of growth."""
    output = _console()
    left_out: set[str] = set()
    for configuration in CONFIGURATIONS:
        rows = [row for row in run.rows if row.setting == configuration.name]
        if rows:
            left_out |= _print_rows(output, f"{configuration.name}: {configuration.description}", rows)
    if left_out:
        output.print(
            f"Left out, as the terminal is narrow: {', '.join(c.title for c in COLUMNS if c.title in left_out)}."
        )
    output.print(LEGEND + "\n")
    _print_growth(output, run)


def _console() -> Any:
    """On a terminal of its width; elsewhere lines are as long as they need to be."""
    output = need("rich.console").Console(highlight=False, markup=False)
    if not output.is_terminal:
        output.width = 10_000
    return output


def _print_rows(output: Any, title: str, rows: Sequence[Measurement]) -> set[str]:
    """Print a table, and return the titles of the columns that found no place."""
    left_out: set[str] = set()
    while True:
        shown = [column for column in COLUMNS if column.title not in left_out]
        table = _table(title, (column.title for column in shown))
        for _, group in groupby(rows, key=lambda row: row.lmax):
            for row in group:
                table.add_row(*(column.cell(row) for column in shown))
            table.add_section()
        needed = output.measure(table, options=output.options.update(width=10_000)).maximum
        optional = [column for column in shown if column.rank > 0]
        if needed <= output.width or not optional:
            break
        left_out.add(max(optional, key=lambda column: column.rank).title)
    output.print(table)
    return left_out


def _table(title: str, columns: Iterable[str]) -> Any:
    """A table without rows; ``columns``: their titles."""
    make_table, box = need("rich.table").Table, need("rich.box")
    table = make_table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    for name in columns:
        table.add_column(name, justify="left" if name in _OF_WORDS else "right", overflow="fold")
    return table


def _print_growth(output: Any, run: Run) -> None:
    listed = [entry for entry in growths(run.rows) if entry.seconds_exponent is not None]
    if not listed:
        output.print("Growth with L is not known from one L.")
        return
    titles = "setting", "product", "method", "L", "flops", "time", "theory"
    table = _table("How a sample grows: L to the power of", titles)
    for entry in listed:
        table.add_row(
            entry.setting,
            entry.product,
            entry.method,
            f"{entry.fitted[0]}..{entry.fitted[-1]}",
            _number(entry.flops_exponent, ".2f"),
            _number(entry.seconds_exponent, ".2f"),
            "-" if entry.theory is None else str(entry.theory),
        )
    output.print(table)


def print_against(run: Run, there: Run, name: str) -> None:
    """Two runs side by side: each row, and the means over L."""
    output = _console()
    for what, here, other in (
        ("machine", run.machine, there.machine),
        ("options", run.options.as_dict(), there.options.as_dict()),
    ):
        for key in {**here, **other}:
            if here.get(key) != other.get(key):
                output.print(f"{what}: {key} is {here.get(key)!r}, and {other.get(key)!r} in {name}")
    listed = ratios(run.rows, there.rows)
    lines = list(mean_ratios(listed))  # in the order of their first rows
    listed.sort(key=lambda entry: lines.index((entry.key.setting, entry.key.product, entry.key.method)))
    title = f"Times of {name}, as multiples of those of this run (above 1: this run is quicker)"
    table = _table(title, ("setting", "product", "method", "L", "ns a sample", "there", "ratio"))
    for names, group in groupby(listed, key=lambda entry: (entry.key.setting, entry.key.product, entry.key.method)):
        for entry in group:
            table.add_row(
                *names,
                str(entry.key.lmax),
                f"{entry.seconds * 1e9:,.0f}",
                f"{entry.seconds_there * 1e9:,.0f}",
                f"{entry.ratio:.2f}",
            )
        table.add_section()
    output.print(table)
    means = _table("Their geometric mean over L", ("setting", "product", "method", "ratio"))
    for names, mean in mean_ratios(listed).items():
        means.add_row(*names, f"{mean:.2f}")
    output.print(means)
