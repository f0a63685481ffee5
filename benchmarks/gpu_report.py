"""What ``benchmarks.gpu`` found, as Markdown and as a figure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from tpnumba.extras import need

Entry = dict[str, Any]

_METHOD = """Times are those of the device between two CUDA events: medians of 15 calls, warm, with the caches flushed
before each, into memory that was there (`out=`) where there is one result. Shares are of the copy bandwidth (least
bytes: every operand once) and of the multiply-add rate measured in the same run. Errors are relative to the greatest
number, against the reference in float64, on 64 samples. Peers are timed by the host over many queued calls, so their
times hold what their launches cost beyond the device's time; those on jax wait for each call."""


def markdown(document: Entry, figure_name: str) -> str:
    """The report."""
    limits, tests = document["limits"], document["tests"]
    rows = [
        ("commit of the kernels", document["commit"]),
        ("their sha256", document["kernels"]),
        ("copy bandwidth", f"{limits['bytes_per_second'] / 1e9:,.0f} GB/s"),
        ("multiply-add, float32", f"{limits['flops_per_second'] / 1e12:,.1f} TFLOP/s"),
        ("tests on this device", f"{tests['status']}: {tests['said']}"),
        *((key, str(value)) for key, value in document["machine"].items()),
    ]
    parts = [
        f"# tpnumba on {document['device']}",
        f"![times]({figure_name})",
        _table(("what", "value"), rows),
        _METHOD,
        "## Works with an aim",
        _works([entry for entry in document["works"] if entry["aim"] is not None]),
        "## Other works",
        _works([entry for entry in document["works"] if entry["aim"] is None]),
        "## Peers",
        _peers(document),
    ]
    return "\n\n".join(parts) + "\n"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *rows))


def _works(entries: list[Entry]) -> str:
    head = ("work", "batch", "backend", "us", "aim", "of bandwidth", "of multiply-add", "error", "expressivity")
    rows = []
    for entry in entries:
        if "microseconds" not in entry:
            rows.append((entry["name"], *[""] * 2, entry["status"], _aim(entry), *[""] * 4))
            continue
        wrong = " (WRONG)" if entry["status"] == "wrong" else ""
        rows.append(
            (
                entry["name"],
                f"{entry['batch']:,}",
                entry["backend"],
                f"{entry['microseconds']:,.1f}",
                _aim(entry),
                f"{entry['bandwidth_share']:.0%}",
                f"{entry['flops_share']:.0%}",
                f"{entry['error']:.0e}{wrong}",
                "" if entry["expressivity"] is None else str(entry["expressivity"]),
            )
        )
    return _table(head, rows)


def _aim(entry: Entry) -> str:
    if entry["aim"] is None:
        return ""
    aim = f"{entry['aim']:g} us" if entry["aim"] >= 1 else f"{entry['aim']:.0%} of bandwidth"
    return aim + ({True: ", met", False: ", missed"}[entry["met"]] if "met" in entry else "")


def _peers(document: Entry) -> str:
    ours = {entry["name"]: entry for entry in document["works"] if "microseconds" in entry}
    rows = []
    for entry in document["peers"]:
        own = ours.get(entry["name"])
        if "microseconds" in entry:
            ratio = f"{entry['microseconds'] / own['microseconds']:.2f}" if own else ""
            said = f"{entry['microseconds']:,.1f}"
            status = f"{entry['status']}, error {entry['error']:.0e}"
        else:
            said, ratio, status = "", "", f"{entry['status']}: {entry['reason']}"
        rows.append((entry["name"], entry["peer"], said, f"{own['microseconds']:,.1f}" if own else "", ratio, status))
    return _table(("work", "peer", "us", "tpnumba, us", "times as long", "how it went"), rows)


def figure(document: Entry) -> Any:
    """Times of the works with an aim, beside the aims."""
    drawing = need("matplotlib.figure").Figure(figsize=(10, 5), layout="constrained")
    axis = drawing.subplots()
    chosen = [entry for entry in document["works"] if entry["aim"] and "microseconds" in entry]
    places = range(len(chosen))
    axis.bar(places, [entry["microseconds"] for entry in chosen], color="C0", label="tpnumba")
    aims = [(place, entry["aim"]) for place, entry in zip(places, chosen, strict=True) if entry["aim"] >= 1]
    axis.plot([place for place, _ in aims], [aim for _, aim in aims], "k_", ms=20, label="aim")
    axis.set_xticks(list(places), [entry["name"] for entry in chosen], rotation=40, ha="right")
    if chosen:
        axis.set_yscale("log")
    axis.set_ylabel("microseconds")
    axis.set_title(document["device"])
    axis.legend()
    return drawing
