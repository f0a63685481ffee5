"""The results as one figure: times against L, and ratios of the works that have no L."""

from __future__ import annotations

from typing import Any

from benchmarks.works import CHANNELWISE, CHANNELWISE_GRADIENT, CONNECTED
from tpnumba.studies.extras import need

Entry = dict[str, Any]

_PANELS = (
    ("mimo-natural", "forward", "float32"),
    ("mimo-all", "forward", "float32"),
    ("mimo-natural", "backward", "float32"),
    ("mimo-all", "backward", "float32"),
    ("simo", "forward", "float32"),
    ("siso", "forward", "float32"),
    ("mimo-natural", "forward", "float64"),
)


def figure(document: Entry) -> Any:
    """A panel for each family with L, a line a peer; the last panel has bars of ratios."""
    drawing = need("matplotlib.figure").Figure(figsize=(18, 9), layout="constrained")
    ticker = need("matplotlib.ticker")
    peers = [name for name, about in document["peers"].items() if about["missing"] is None]
    colours = {name: f"C{i}" for i, name in enumerate(peers)}
    panels = drawing.subplots(2, 4).ravel()
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
        axis.set_title(", ".join(panel))
        axis.set_xlabel("L")
        axis.set_yscale("log")
        axis.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))
        axis.grid(visible=True, which="major", alpha=0.4)
    panels[0].set_ylabel("ms")
    panels[4].set_ylabel("ms")
    _ratios(document, panels[-1], peers, colours)
    handles: dict[str, Any] = {}
    for axis in panels[:-1]:
        handles |= dict(zip(*reversed(axis.get_legend_handles_labels()), strict=True))
    drawing.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=max(1, len(handles)))
    quick = " (a quick run)" if document["quick"] else ""
    drawing.suptitle(f"{document['machine']['processor']}, {document['threads']} threads{quick}")
    return drawing


def _ratios(document: Entry, axis: Any, peers: list[str], colours: dict[str, str]) -> None:
    titles = {bar.title for bar in (CHANNELWISE, CHANNELWISE_GRADIENT, CONNECTED)}
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
