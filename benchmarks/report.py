"""The results as Markdown: every bar row by row, every time, and what is missing and why."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from benchmarks.bars import BARS, ROOFLINE_AIM, ROOFLINE_MUST
from benchmarks.method_report import method_sections, method_summary
from benchmarks.peers import PEERS
from benchmarks.tables import table
from tpnumba.studies.checks import COMPARED

Entry = dict[str, Any]

_METHOD = """\
Each peer has a process of its own, in which it, tpnumba and NumPy by hand are timed in turns; a ratio is of two times
of one process. Before that, every column of {compared} samples of each result is compared with the float64 reference;
a deviation beyond rounding makes the run an error. Times are medians with half the distance between the quartiles, of
calls after the first, so that building, tracing and compiling are not in them. Unless `out=` is said, the result is
made anew in each call; of the peers only NumPy can write into memory that is there. Before each repeat, memory of the
size of the results is touched and freed, so that nobody pays for what a virtual machine gave back to its host.

Backward is the gradients of all operands for a given cotangent: `vjp` here, `torch.autograd.grad` over a graph that was
recorded before, or a jitted vjp of jax, which for bilinear products needs no forward pass. Permutations into the order
of a peer (its layout of channels, its order of parities) are done outside the time. Threads that wait do so asleep.

The paper's way is that of the reference code of *The Price of Freedom* on its grid that grows with L, 2 L + 1 rings of
2 (2 L + 1) points: harmonics at all points as one matrix. NumPy by hand, for the Gaunt product, does the same on the
smallest grid that is exact. "The same plan" is tpnumba's reference backend, array operations of NumPy or of jax, by the
method that tpnumba takes, or by that which `auto` takes for them if it is quicker. Errors of products on the sphere are
measured against their sparse coefficients, those of Wigner D against harmonics of turned points.

An error is the greatest deviation from float64, relative to the greatest number of the array. Expressivity counts the
dimensions of the maps that one copy of each degree can reach."""

_TIMES = """\
In ms, with the error in brackets; of a peer also how many times as long as tpnumba in the same process it takes."""


def markdown(document: Entry, figure_name: str, methods_name: str) -> str:
    """The whole report; the names are those of the files of its figures."""
    works = document["works"]
    parts = [f"# tpnumba and its peers on {document['machine']['processor']}"]
    if document["quick"]:
        parts.append("**A quick run: small batches and few repeats, which show that all works, not how fast.**")
    parts += [f"![times and ratios]({figure_name})", "## The machine and the packages", _machine(document)]
    parts += ["## How it was measured", _METHOD.format(compared=COMPARED)]
    parts += ["## The bars", _summary(document), *_bars(document), *_roofline(document)]
    parts += method_sections(document, methods_name)
    parts += ["## Every time", _TIMES, *_times(document)]
    parts += ["## What is missing", _missing(document, works)]
    return "\n\n".join(parts) + "\n"


def _machine(document: Entry) -> str:
    rows = [(key, str(value)) for key, value in document["machine"].items()]
    rows.append(("threads of everyone", str(document["threads"])))
    versions = {name: v for about in document["peers"].values() for name, v in about["versions"].items()}
    rows += [(name, version) for name, version in versions.items() if name not in document["machine"]]
    limits = _limits(document)
    if limits is not None:
        rows.append(("copy bandwidth", f"{limits['bytes_per_second'] / 1e9:.1f} GB/s (read and written together)"))
        for dtype, rate in limits["flops_per_second"].items():
            rows.append((f"multiply-add, {dtype}", f"{rate / 1e9:.0f} GFLOP/s"))
    return table(("what", "value"), rows)


def _limits(document: Entry) -> Entry | None:
    return next((about["roofline"] for about in document["peers"].values() if about["roofline"]), None)


def _summary(document: Entry) -> str:
    rows: list[Sequence[str]] = []
    for bar in BARS:
        judged = [entry for entry in document["bars"] if entry["bar"] == bar.title]
        if judged:
            lowest = min((min(entry["ratios"].values()) for entry in judged if entry["ratios"]), default=None)
            must = f"{bar.must:g}x" + (f" ({bar.must_numpy:g}x NumPy)" if bar.must_numpy else "")
            rows.append((bar.title, must, f"{bar.aim:g}x", _times_as(lowest), *_counts(judged)))
    judged = [entry for entry in document["roofline"] if entry["must"] is not None]
    if judged:
        lowest = f"{min(entry['share'] for entry in judged):.0%}"
        title = "share of the roofline, MIMO L = 4..8, `out=`"
        rows.append((title, f"{ROOFLINE_MUST:.0%}", f"{ROOFLINE_AIM:.0%}", lowest, *_counts(judged)))
    rows += method_summary(document)
    return table(("work", "must", "aim", "worst", "must met", "aim met"), rows)


def _counts(judged: list[Entry]) -> tuple[str, str]:
    must, aim = (sum(entry[key] for entry in judged) for key in ("met_must", "met_aim"))
    return f"{must} of {len(judged)}", f"{aim} of {len(judged)}"


def _bars(document: Entry) -> list[str]:
    works = {(work["peer"], work["name"]): work for work in document["works"]}
    head = (
        "work",
        "tpnumba, ms",
        "`out=`, ms",
        "fastest peer",
        "its ms",
        "ratio",
        "ratio to NumPy",
        "must",
        "aim",
        "verdict",
        "error",
        "its error",
        "paths",
        "expressivity",
    )
    parts = []
    for bar in BARS:
        rows = []
        for entry in document["bars"]:
            if entry["bar"] != bar.title:
                continue
            fastest = entry["fastest"]
            must = f"{bar.must:g}x" + (f" ({bar.must_numpy:g}x)" if bar.must_numpy else "")
            if fastest is None:
                rows.append((entry["work"], *["-"] * 6, must, f"{bar.aim:g}x", _verdict(entry), *["-"] * 4))
                continue
            work = works[fastest, entry["work"]]
            ours, theirs = work["times"]["tpnumba"], work["times"][fastest]
            rows.append(
                (
                    entry["work"],
                    _ms(ours),
                    _ms(work["times"].get("tpnumba out=")),
                    document["peers"][fastest]["label"],
                    _ms(theirs),
                    _times_as(entry["ratios"][fastest]),
                    _times_as(entry["ratios"].get("numpy")),
                    must,
                    f"{bar.aim:g}x",
                    _verdict(entry),
                    f"{ours['error']:.0e}",
                    f"{theirs['error']:.0e}",
                    _number(work["paths"]),
                    _number(work["expressivity"]),
                )
            )
        if rows:
            parts += [f"### {bar.title}", table(head, rows)]
    return parts


def _roofline(document: Entry) -> list[str]:
    if not document["roofline"]:
        return []
    rows = []
    for entry in document["roofline"]:
        judged = entry["must"] is not None
        verdict = "not judged"
        if judged:
            short = f"**short: {entry['share']:.0%} of {entry['must']:.0%}**"
            verdict = "aim met" if entry["met_aim"] else "must met" if entry["met_must"] else short
        rows.append(
            (
                entry["work"],
                _ms(entry),
                f"{entry['seconds_of_copy'] * 1e3:.3g}",
                f"{entry['seconds_of_arithmetic'] * 1e3:.3g}",
                f"{entry['share']:.0%}",
                f"{entry['must']:.0%}" if judged else "-",
                f"{entry['aim']:.0%}" if judged else "-",
                verdict,
            )
        )
    head = ("work", "`out=`, ms", "ms to copy", "ms to compute", "share", "must", "aim", "verdict")
    return ["### Share of the roofline", table(head, rows)]


def _times(document: Entry) -> list[str]:
    parts = []
    listed = {(work["peer"], work["name"]): work for work in document["works"]}
    names = {work["name"]: work for work in document["works"]}
    tables: dict[tuple[str, ...], list[Entry]] = {}
    for work in names.values():
        tables.setdefault((work["group"], work["task"], work["dtype"]), []).append(work)
    for title, members in tables.items():
        asked = {peer for peer, name in listed for member in members if name == member["name"]}
        peers = [peer for peer in document["peers"] if peer in asked]
        rows = []
        for member in members:
            found = [listed.get((peer, member["name"])) for peer in peers]
            first: Entry = next((work["times"] for work in found if work and work["status"] == "timed"), {})
            ours = (_with_error(first.get(name)) for name in ("tpnumba", "tpnumba out="))
            row = [member["size"], f"{member['batch']:,}", *ours]
            for peer, work in zip(peers, found, strict=True):
                row += _cells(peer, work)
            rows.append((*row, *(_number(member[key]) for key in ("paths", "expressivity"))))
        labels = []
        for peer in peers:
            labels += [document["peers"][peer]["label"], *(["NumPy `out=`"] if peer == "numpy" else [])]
        head = ("size", "batch", "tpnumba", "tpnumba `out=`", *labels, "paths", "expressivity")
        parts += [f"### {', '.join(title)}", table(head, rows)]
    return parts


def _cells(peer: str, work: Entry | None) -> list[str]:
    """The time of a peer; of NumPy also that with the output given."""
    times = work["times"] if work else {}
    if peer in times:
        against = times[peer]["seconds"] / times["tpnumba"]["seconds"]
        shown = _with_error(times[peer], _times_as(against))
    else:
        shown = work["status"] if work else "-"
    return [shown, _with_error(times.get("numpy out="))] if peer == "numpy" else [shown]


def _with_error(timing: Entry | None, more: str = "") -> str:
    if timing is None:
        return "-"
    error = f"{timing['error']:.0e}"
    return f"{_ms(timing)} ({f'{more}, {error}' if more else error})"


def _number(value: int | None) -> str:
    return "-" if value is None else str(value)


def _missing(document: Entry, works: list[Entry]) -> str:
    lines = [
        f"- {about['label']}: not installed here ({about['missing']})"
        for about in document["peers"].values()
        if about["missing"]
    ]
    lines += [f"- {name}: was not asked for" for name in _not_asked(document)]
    untimed = sorted((w for w in works if w["status"] != "timed"), key=lambda w: (w["peer"], w["status"], w["reason"]))
    for (peer, status, reason), group in groupby(untimed, key=lambda w: (w["peer"], w["status"], w["reason"])):
        label = document["peers"][peer]["label"]
        lines.append(f"- {label}, {status}: {', '.join(work['name'] for work in group)} ({reason})")
    return "\n".join(lines) or "Nothing."


def _not_asked(document: Entry) -> list[str]:
    return [peer.label for name, peer in PEERS.items() if name not in document["peers"]]


def _verdict(entry: Entry) -> str:
    if entry["shortfall"]:
        return f"**short: {entry['shortfall']}**"
    return "aim met" if entry["met_aim"] else "must met"


def _ms(timing: Entry | None) -> str:
    return "-" if timing is None else f"{timing['seconds'] * 1e3:.3g} ± {timing['spread'] * 1e3:.2g}"


def _times_as(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}x" if value >= 2 else f"{value:.2f}x"
