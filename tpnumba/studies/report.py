"""Rows of a comparison as a summary, as tables on the terminal, and as a figure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import PurePath
from textwrap import fill
from typing import Any

from tpnumba.extras import need
from tpnumba.studies.compare import Row
from tpnumba.studies.registry import CONFIGURATIONS

_COLUMNS = (
    "product",
    "method",
    "L",
    "couples",
    "expressivity",
    "flops",
    "bytes",
    "ns a sample",
    "spread",
    "ns a degree of freedom",
    "deviation",
    "equivariance error",
)


def print_tables(rows: Iterable[Row]) -> None:
    """One table a configuration, wide enough that nothing is cut off."""
    box, console, table = need("rich.box"), need("rich.console"), need("rich.table")
    output = console.Console(highlight=False)
    by_configuration = _by_configuration(rows)
    for configuration in CONFIGURATIONS:
        printed = table.Table(
            title=f"{configuration.name}: {configuration.description}",
            title_justify="left",
            title_style="bold",
            box=box.SIMPLE_HEAD,
        )
        for name in _COLUMNS:
            left = name in {"product", "method"}
            printed.add_column(name, justify="left" if left else "right", no_wrap=name not in _COLUMNS[7:])
        for _, group in groupby(by_configuration.get(configuration.name, []), key=lambda row: row.lmax):
            for row in group:
                printed.add_row(*_cells(row))
            printed.add_section()
        width = output.measure(printed, options=output.options.update(width=10_000)).maximum
        output.width = max(output.width, width)
        output.print(printed)
    print(
        "couples: triples (l1, l2, l3) of the configuration that the product joins; expressivity: dimensions of the "
        "bilinear\nmaps it reaches; flops, bytes: of the plan, a sample; spread: half the distance between the "
        "quartiles; deviation: from\nthe direct method in float64, relative to the greatest component.\n"
    )


def _by_configuration(rows: Iterable[Row]) -> dict[str, list[Row]]:
    return {name: list(group) for name, group in groupby(rows, key=lambda row: row.setting)}


def print_summary(rows: Iterable[Row]) -> None:
    """For the largest L of each configuration: what couples everything, and what is cheapest, in two senses.

    On a terminal it is folded to its width; elsewhere each statement is one line.
    """
    output = need("rich.console").Console(highlight=False, markup=False)
    by_configuration = _by_configuration(rows)
    for configuration in CONFIGURATIONS:
        listed = by_configuration.get(configuration.name, [])
        largest = max((row.lmax for row in listed), default=0)
        output.print(f"{configuration.name}: {configuration.description}; L = {largest}", style="bold", soft_wrap=True)
        for label, statement in summarize([row for row in listed if row.lmax == largest]):
            line = f"  {label:<29} {statement}"
            if output.is_terminal:
                line = fill(line, max(output.width, 60), subsequent_indent=" " * 32)
            output.print(line, soft_wrap=True)


def summarize(rows: Iterable[Row]) -> list[tuple[str, str]]:
    """What to know first about cases of the same degrees: pairs of a label and a statement.

    A time comes with the error, the triples and the expressivity that it buys.
    """
    listed = list(rows)
    complete = {row.product: row.expressivity for row in listed if row.interactable == row.triples}
    names = [f"{product} (expressivity {number})" for product, number in complete.items()]
    if len(names) > 1 and len(set(complete.values())) == 1:
        names = [*complete]
        names[-1] += f" (each of expressivity {max(complete.values())})"
    statements = [("couples everything", ", ".join(names) or "none")]
    timed = [row for row in listed if row.seconds_per_sample is not None]
    if timed:
        quickest = min(timed, key=lambda row: _ns(row.seconds_per_sample))
        densest = min(timed, key=lambda row: _ns(row.seconds_per_degree))
        also = "; also cheapest a degree of freedom" if densest is quickest else ""
        statements.append(
            ("cheapest a sample", f"{_ns(quickest.seconds_per_sample):,.0f} ns: {_described(quickest)}{also}")
        )
        if not also:
            statements.append(
                ("cheapest a degree of freedom", f"{_ns(densest.seconds_per_degree):,.1f} ns: {_described(densest)}")
            )
    return statements


def _described(row: Row) -> str:
    return (
        f"{row.product}, {row.method} (couples {row.interactable} of {row.triples}, expressivity {row.expressivity}, "
        f"deviation {row.error:.0e}, spread {_spread(row)})"
    )


def _spread(row: Row) -> str:
    seconds, spread = row.seconds_per_sample, row.seconds_spread
    return "-" if seconds is None or spread is None else f"{spread / seconds:.0%}"


def _cells(row: Row) -> list[str]:
    def number(value: float | None, form: str) -> str:
        return "-" if value is None else format(value, form)

    return [
        row.product,
        row.method,
        str(row.lmax),
        f"{row.interactable} of {row.triples}",
        str(row.expressivity),
        f"{row.flops:,}",
        f"{row.bytes:,}",
        number(None if row.seconds_per_sample is None else row.seconds_per_sample * 1e9, ",.0f"),
        _spread(row),
        number(None if row.seconds_per_degree is None else row.seconds_per_degree * 1e9, ",.1f"),
        number(row.error, ".0e"),
        number(row.equivariance_error, ".0e"),
    ]


@contextmanager
def progress_bar(total_description: str) -> Iterator[Any]:
    """A progress bar on standard error if that is a terminal, nothing otherwise; yields what ``compare`` reports to."""
    console, progress = need("rich.console"), need("rich.progress")
    errors = console.Console(stderr=True)
    with progress.Progress(console=errors, transient=True, disable=not errors.is_terminal) as bar:
        task = bar.add_task(total_description, total=None)

        def report(description: str, done: int, total: int) -> None:
            bar.update(task, description=description, completed=done, total=total)

        yield report


def check_figure_format(option: str, path: str) -> None:
    """Raise ``ValueError`` if the ending of ``path`` is not that of a figure."""
    kinds = need("matplotlib.figure").Figure().canvas.get_supported_filetypes()
    if PurePath(path).suffix.removeprefix(".").lower() not in kinds:
        raise ValueError(f"{option} {path} must end in one of {', '.join('.' + kind for kind in sorted(kinds))}")


_METHOD_STYLES = {"direct": ("o", "-"), "grid": ("s", "--"), "fourier": ("^", "-."), "matrix": ("D", "--")}


def figure(rows: Iterable[Row], title: str) -> Any:
    """Time a sample, and time a degree of freedom, against L: a column a configuration, a line a product and method.

    The product has the colour, the method the marker and the line.
    """
    make_figure = need("matplotlib.figure").Figure
    ticker = need("matplotlib.ticker")
    listed = list(rows)
    kinds = list(dict.fromkeys((row.product, row.method) for row in listed))
    colours = {product: f"C{i}" for i, product in enumerate(dict.fromkeys(product for product, _ in kinds))}
    drawing = make_figure(figsize=(12, 8), layout="constrained")
    axes = drawing.subplots(2, len(CONFIGURATIONS), sharex=True, sharey="row", squeeze=False)
    for column, configuration in enumerate(CONFIGURATIONS):
        for product, method in kinds:
            chosen = [
                row
                for row in listed
                if (row.setting, row.product, row.method) == (configuration.name, product, method)
                and row.seconds_per_sample is not None
            ]
            degrees = [row.lmax for row in chosen]
            marker, line = _METHOD_STYLES.get(method, ("x", ":"))
            style = {"color": colours[product], "marker": marker, "linestyle": line, "label": f"{product}, {method}"}
            axes[0, column].plot(degrees, [_ns(row.seconds_per_sample) for row in chosen], **style)
            axes[1, column].plot(degrees, [_ns(row.seconds_per_degree) for row in chosen], **style)
        axes[0, column].set_title(f"{configuration.name}\n{configuration.description}", fontsize=9)
        axes[1, column].set_xlabel("L")
        axes[1, column].xaxis.set_major_locator(ticker.MaxNLocator(integer=True))
    for row_of_axes in axes:
        for axis in row_of_axes:
            axis.set_yscale("log")
            axis.grid(visible=True, which="major", alpha=0.4)
    axes[0, 0].set_ylabel("ns a sample")
    axes[1, 0].set_ylabel("ns a degree of freedom\n(time / expressivity)")
    drawing.legend(*axes[0, -1].get_legend_handles_labels(), loc="outside lower center", ncols=min(len(kinds), 5))
    drawing.suptitle(title)
    return drawing


def _ns(seconds: float | None) -> float:
    return float("nan") if seconds is None else seconds * 1e9
