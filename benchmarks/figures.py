"""The results as figures: times of peers against L, ratios of works that have no L, and methods against L."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.bars import CHANNELWISE, CHANNELWISE_GRADIENT, CONNECTED, HARMONICS, ROTATIONS
from benchmarks.kinds import ON_SPHERE
from tpnumba.extras import need

Entry = dict[str, Any]

_PANELS = (
    ("mimo-natural", "forward", "float32"),
    ("mimo-all", "forward", "float32"),
    ("mimo-natural", "backward", "float32"),
    ("mimo-all", "backward", "float32"),
    ("simo", "forward", "float32"),
    ("siso", "forward", "float32"),
    ("mimo-natural", "forward", "float64"),
    ("gaunt", "forward", "float32"),
    ("gaunt", "backward", "float32"),
    ("bracket", "forward", "float32"),
    ("matrix", "forward", "float32"),
    ("vector-cross", "forward", "float32"),
    ("vector-dot", "forward", "float32"),
    ("vector-cross", "backward", "float32"),
)
#: Two of each hue, for more peers than matplotlib has colours.
_COLOURS = [f"C{i}" for i in range(10)] + ["gold", "navy", "lime", "salmon", "teal"]


def figure(document: Entry) -> Any:
    """A panel for each family with L, a line a peer; the last panel has bars of ratios."""
    drawing = need("matplotlib.figure").Figure(figsize=(22, 13), layout="constrained")
    ticker = need("matplotlib.ticker")
    peers = [name for name, about in document["peers"].items() if about["missing"] is None]
    colours = {name: _COLOURS[i % len(_COLOURS)] for i, name in enumerate(peers)}
    panels = drawing.subplots(3, 5).ravel()
    for axis, panel in zip(panels, _PANELS, strict=False):
        chosen = [
            work
            for work in document["works"]
            if (work["group"], work["task"], work["dtype"]) == panel and work["status"] == "timed"
        ]
        for peer in peers:
            line = [(work["lmax"], work["times"][peer]["seconds"] * 1e3) for work in chosen if work["peer"] == peer]
            if line:
                label = document["peers"][peer]["label"]
                axis.plot(*zip(*line, strict=True), "o-", ms=4, color=colours[peer], label=label)
        for name, style in (("tpnumba", "k-"), ("tpnumba out=", "k--")):
            ours: dict[int, float] = {}
            for work in chosen:
                if name in work["times"]:
                    ours.setdefault(work["lmax"], work["times"][name]["seconds"] * 1e3)
            if ours:
                axis.plot(list(ours), list(ours.values()), style, lw=2, label=name)
        axis.set_visible(bool(axis.lines))
        axis.set_title(", ".join(panel))
        axis.set_xlabel("L")
        axis.set_yscale("log")
        axis.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))
        axis.grid(visible=True, which="major", alpha=0.4)
    for axis in panels[::5]:
        axis.set_ylabel("ms")
    _ratios(document, panels[-1], peers, colours)
    handles: dict[str, Any] = {}
    for axis in panels[:-1]:
        handles |= dict(zip(*reversed(axis.get_legend_handles_labels()), strict=True))
    drawing.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=max(1, min(7, len(handles))))
    quick = " (a quick run)" if document["quick"] else ""
    drawing.suptitle(f"{document['machine']['processor']}, {document['threads']} threads{quick}")
    return drawing


def _ratios(document: Entry, axis: Any, peers: list[str], colours: dict[str, str]) -> None:
    titles = {bar.title for bar in (CHANNELWISE, CHANNELWISE_GRADIENT, CONNECTED, HARMONICS, ROTATIONS)}
    judged = [entry for entry in document["bars"] if entry["bar"] in titles]
    height = 0.8 / max(1, len(peers))
    for row, entry in enumerate(judged):
        for place, peer in enumerate(peers):
            if peer in entry["ratios"]:
                axis.barh(
                    row + (place - len(peers) / 2 + 0.5) * height, entry["ratios"][peer], height, color=colours[peer]
                )
        axis.plot([entry["must"]] * 2, [row - 0.45, row + 0.45], "r-", lw=1.5)
    axis.set_yticks(range(len(judged)), [entry["work"].removesuffix("-float32") for entry in judged], fontsize=7)
    axis.invert_yaxis()
    axis.set_xscale("log")
    axis.set_title("times as long as tpnumba (red: must)")
    axis.grid(visible=True, axis="x", alpha=0.4)


def methods_figure(document: Entry) -> Any:
    """A panel for each product on the sphere, a line a method, with the exponent fitted and that of theory."""
    drawing = need("matplotlib.figure").Figure(figsize=(15, 9), layout="constrained")
    ticker = need("matplotlib.ticker")
    panels = drawing.subplots(2, 3, sharex=True, sharey=True).ravel()
    for axis, kind in zip(panels, ON_SPHERE, strict=True):
        for number, entry in enumerate(e for e in document["exponents"] if e["kind"] == kind):
            times = np.array(entry["seconds"]) * 1e6
            fitted = "not fitted" if entry["exponent"] is None else f"L^{entry['exponent']:.1f}"
            label = f"{entry['method']}: {fitted} (theory: {entry['theory']})"
            axis.plot(entry["degrees"], times, "o-", ms=4, color=f"C{number}", label=label)
            if entry["exponent"] is not None:
                degrees = np.array(entry["fitted"], dtype=float)
                middle = np.exp(np.mean(np.log(times[-len(degrees) :])) - np.mean(np.log(degrees)) * entry["exponent"])
                axis.plot(degrees, middle * degrees ** entry["exponent"], "--", lw=1, color=f"C{number}")
        axis.set_title(ON_SPHERE[kind])
        axis.set_xscale("log", base=2)
        axis.set_yscale("log")
        axis.xaxis.set_major_formatter(ticker.FormatStrFormatter("%g"))
        axis.grid(visible=True, which="major", alpha=0.4)
        if axis.get_legend_handles_labels()[0]:
            axis.legend(fontsize=8, loc="upper left")
    for axis in panels[3:]:
        axis.set_xlabel("L")
    for axis in panels[::3]:
        axis.set_ylabel("microseconds a sample")
    quick = " (a quick run)" if document["quick"] else ""
    processor = document["machine"]["processor"]
    drawing.suptitle(f"methods, MIMO, float32: {processor}, {document['threads']} threads{quick}")
    return drawing
