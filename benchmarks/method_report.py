"""The study of methods as Markdown: growth beside theory, what ``auto`` missed, and every time."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from benchmarks.bars import AUTO_MUST, AUTO_SLACK, GROWTH_AIM, GROWTH_DEGREES, GROWTH_MUST
from benchmarks.kinds import ON_SPHERE
from benchmarks.tables import table

Entry = dict[str, Any]


def method_summary(document: Entry) -> list[tuple[str, ...]]:
    """Rows of the summary of bars."""
    rows = []
    growth = document["growth"]
    if growth:
        worst = max(entry["exponent"] for entry in growth)
        met = (f"{sum(entry[key] for entry in growth)} of {len(growth)}" for key in ("met_must", "met_aim"))
        title = f"Gaunt on the grid, growth from L = {GROWTH_DEGREES[0]}: exponent"
        rows.append((title, f"<= {GROWTH_MUST}", f"<= {GROWTH_AIM}", f"{worst:.2f}", *met))
    auto = document["auto"]
    if auto["cases"]:
        title = f"`auto` within {AUTO_SLACK - 1:.0%} of the fastest method: share of cases"
        within = f"{auto['cases'] - len(auto['misses'])} of {auto['cases']} cases"
        rows.append((title, f"{AUTO_MUST:.0%}", "-", f"{auto['share']:.1%}", "yes" if auto["met"] else "no", within))
    return rows


def method_sections(document: Entry, figure_name: str) -> list[str]:
    """Everything about methods; nothing if none was asked for."""
    cases = document["methods"]
    if not cases:
        return []
    parts = ["## The methods", f"![time against L for each method]({figure_name})"]
    parts += [*_growth(document), *_auto(document), *_times(cases)]
    untimed = [case for case in cases if case["status"] not in ("timed", "empty")]
    for reason, group in groupby(untimed, key=lambda case: case["reason"]):
        parts.append(f"Not run: {', '.join(case['name'] for case in group)} ({reason}).")
    return parts


def _growth(document: Entry) -> list[str]:
    parts = ["### How they grow", "Time a sample against L, MIMO, float32; fitted to the larger L, as L to a power."]
    rows = [
        (
            ON_SPHERE[entry["kind"]],
            entry["method"],
            f"{entry['fitted'][0]}..{entry['fitted'][-1]}",
            "-" if entry["exponent"] is None else f"{entry['exponent']:.2f}",
            str(entry["theory"]),
        )
        for entry in document["exponents"]
    ]
    parts.append(table(("product", "method", "L", "exponent", "theory"), rows))
    rows = [
        (
            f"{entry['from']} to {entry['to']}",
            *(f"{seconds * 1e6:.3g}" for seconds in entry["seconds"]),
            f"{entry['exponent']:.2f}",
            "aim met" if entry["met_aim"] else "must met" if entry["met_must"] else "**short**",
            f"{entry['error']:.0e}",
            str(entry["expressivity"]),
        )
        for entry in document["growth"]
    ]
    if rows:
        head = ("Gaunt on the grid, L", "us a sample", "then", "exponent", "verdict", "error", "expressivity")
        parts.append(table(head, rows))
    return parts


def _auto(document: Entry) -> list[str]:
    auto = document["auto"]
    if not auto["cases"]:
        return []
    said = (
        f"Of {auto['cases']} cases `auto` took a method within {AUTO_SLACK - 1:.0%} of the fastest in "
        f"{auto['share']:.1%} (bar: {AUTO_MUST:.0%}). The others:"
    )
    rows = [
        (
            miss["name"],
            miss["auto"],
            miss["fastest"],
            f"{miss['slower']:.2f}x",
            ", ".join(f"{method} {seconds * 1e6:.3g}" for method, seconds in miss["seconds"].items()),
        )
        for miss in auto["misses"]
    ]
    head = ("case", "`auto` took", "fastest", "slower by", "us a sample")
    return ["### What `auto` missed", said, *([table(head, rows)] if rows else ["None."])]


def _times(cases: list[Entry]) -> list[str]:
    parts = ["### Every method", "Microseconds a sample, with the error in brackets; `auto` takes the one in bold."]
    tables: dict[tuple[str, ...], list[Entry]] = {}
    for case in cases:
        if case["study"] == "methods" and case["status"] == "timed":
            tables.setdefault((ON_SPHERE[case["kind"]], case["setting"], case["dtype"]), []).append(case)
    for title, listed in tables.items():
        rows = []
        for case in listed:
            first = case["runs"][0]
            times = (_shown(run, case["auto"]) for run in case["runs"])
            extent = (str(first[key]) for key in ("paths", "expressivity"))
            rows.append((str(first["lmax"]), f"{first['batch']:,}", *times, *extent))
        head = ("L", "batch", *listed[0]["methods"], "paths", "expressivity")
        parts += [f"#### {', '.join(title)}", table(head, rows)]
    return parts


def _shown(run: Entry, auto: str) -> str:
    text = f"{run['seconds'] * 1e6:.3g} ± {run['spread'] * 1e6:.2g} ({run['error']:.0e})"
    return f"**{text}**" if run["method"] == auto else text
