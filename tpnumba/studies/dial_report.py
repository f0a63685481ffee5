"""Rows of the dial as a table on the terminal, as JSON, and as a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from tpnumba.extras import need
from tpnumba.studies.dial import TABLES, Row
from tpnumba.studies.machine import describe_machine

#: Errors that are asked for, in the lines below the table.
_ERRORS = (0.1, 0.01)
#: Degrees that the figure shows, at most, and the least error.
_DRAWN, _LEAST_DRAWN = 5, 1e-5


def document(rows: Sequence[Row], settings: Mapping[str, Any]) -> dict[str, Any]:
    """What ``--json`` writes."""
    return {"machine": describe_machine(), "settings": dict(settings), "rows": [row.as_dict() for row in rows]}


def subject(settings: Mapping[str, Any]) -> str:
    """What was timed, for the head of the table and the title of the figure."""
    return f"{settings['batch']:,} samples in {settings['dtype']}, backend {settings['backend']}"


def print_table(rows: Sequence[Row], settings: Mapping[str, Any]) -> None:
    """A row for each rank, and for each L a line that says where the low-rank product pays."""
    box, console, table = need("rich.box"), need("rich.console"), need("rich.table")
    output = console.Console(highlight=False, markup=False)
    machine = describe_machine()
    print(f"{subject(settings)}; {machine['processor']}, {machine['cores']} cores, {machine['system']}\n")
    printed = table.Table(box=box.SIMPLE_HEAD)
    columns = ("L", "ranks", "expressivity", *(f"error, {name}" for name in TABLES))
    for name in (*columns, "ns a sample", "spread", "complete, ns", "spread", "share of its time"):
        printed.add_column(name, justify="right")
    for _, group in groupby(rows, key=lambda row: row.lmax):
        for row in group:
            printed.add_row(*_cells(row))
        printed.add_section()
    output.width = max(output.width, output.measure(printed, options=output.options.update(width=10_000)).maximum)
    output.print(printed)
    print(
        "ranks: of Gaunt products + brackets, by grids; expressivity: of that of the complete product; error:\n"
        "of the best fit found to a table of path weights, relative to the norm of the bilinear map; complete: the\n"
        "sparse contraction with a weight for each path; spread: half the distance between the quartiles.\n"
        "The random table holds independent normal numbers, the learned one the least-squares weights for a target:\n"
        "the hyperbolic tangent of the product, and of the bracket, of two functions on the sphere.\n"
    )
    for lmax, group in groupby(rows, key=lambda row: row.lmax):
        print(f"L = {lmax}: {verdict(list(group))}")


def verdict(rows: Sequence[Row]) -> str:
    """Up to which ranks the low-rank product is the quicker one, and what error that buys.

    Args:
        rows: of one L, by rising rank.
    """
    quicker = [row for row in rows if row.share_of_time < 1]
    if not quicker:
        return "the complete product is quicker than any rank"
    last = quicker[-1]
    errors = " and ".join(f"{last.errors[name]:.1g} ({name})" for name in TABLES)
    found = f"quicker than the complete product up to ranks {last.label} of {rows[-1].label}, with the errors {errors}"
    for name in TABLES:
        for error in _ERRORS:
            first = next((row for row in rows if row.errors[name] <= error), None)
            if first is not None:
                found += f"; {name} to {error:g} by ranks {first.label}, at {first.share_of_time:.2g} of its time"
    return found


def _cells(row: Row) -> list[str]:
    return [
        str(row.lmax),
        row.label,
        f"{row.expressivity} of {row.complete_expressivity}",
        *(f"{row.errors[name]:.1e}" for name in TABLES),
        f"{row.seconds_per_sample * 1e9:,.0f}",
        f"{row.seconds_spread / row.seconds_per_sample:.0%}",
        f"{row.complete_seconds_per_sample * 1e9:,.0f}",
        f"{row.complete_seconds_spread / row.complete_seconds_per_sample:.0%}",
        f"{row.share_of_time:.2f}",
    ]


def figure(rows: Sequence[Row], title: str) -> Any:
    """Expressivity, and the error of either table, against the share of the complete product's time.

    A line an L, told apart by marker and by a colour whose lightness rises with L, so that it reads in grey as well.
    """
    make_figure, colormaps = need("matplotlib.figure").Figure, need("matplotlib").colormaps
    by_degree = {lmax: list(group) for lmax, group in groupby(rows, key=lambda row: row.lmax)}
    degrees = _spaced(sorted(by_degree))
    drawing = make_figure(figsize=(13, 4.8), layout="constrained")
    axes = drawing.subplots(1, 1 + len(TABLES), sharex=True)
    for number, lmax in enumerate(degrees):
        group = by_degree[lmax]
        times = [row.share_of_time for row in group]
        style = {
            "color": colormaps["viridis"](0.85 * number / max(len(degrees) - 1, 1)),
            "marker": "osD^v"[number % 5],
            "linestyle": ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))[number % 5],
            "label": f"L = {lmax}, ranks {group[0].label} to {group[-1].label}",
        }
        axes[0].plot(times, [row.expressivity / row.complete_expressivity for row in group], **style)
        for axis, name in zip(axes[1:], TABLES, strict=True):
            axis.plot(times, [max(row.errors[name], _LEAST_DRAWN) for row in group], **style)
    axes[0].set_title("expressivity, of that of the complete product", fontsize=10)
    axes[0].set_ylim(0, 1.05)
    for axis, name in zip(axes[1:], TABLES, strict=True):
        axis.set_title(f"error of the fit to a {name} table ({_LEAST_DRAWN:g}: at most that)", fontsize=10)
        axis.set_yscale("log")
        axis.set_ylim(_LEAST_DRAWN / 2, 2)
    for axis in axes:
        axis.set_xscale("log")
        axis.axvline(1, color="black", linewidth=1)
        axis.grid(visible=True, which="major", alpha=0.4)
        axis.set_xlabel("time / time of the complete product")
    drawing.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(degrees))
    drawing.suptitle(f"Low-rank products; left of the line they are quicker than the complete product ({title})")
    return drawing


def _spaced(degrees: Sequence[int]) -> list[int]:
    """At most so many as are drawn, from the first to the last, evenly."""
    if len(degrees) <= _DRAWN:
        return list(degrees)
    return [degrees[round(i * (len(degrees) - 1) / (_DRAWN - 1))] for i in range(_DRAWN)]
