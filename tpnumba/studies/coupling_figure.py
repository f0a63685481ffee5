"""What products couple, as a figure."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, sqrt
from typing import Any

from tpnumba.extras import need
from tpnumba.measures.selection import REASONS, SelectionRules, Triple

#: Marker, fill and colour of a triple: by shape alone they differ, and the colours (Okabe and Ito) for every sight.
_MARKS = {
    "coupled": ("o", "#000000", "#000000"),
    "sum": ("o", "none", "#0072B2"),
    "6j": ("s", "none", "#D55E00"),
    "9j": ("^", "none", "#009E73"),
    "parity": ("x", "#777777", "#777777"),
    "degree": ("+", "#CC79A7", "#CC79A7"),
}
_ACROSS = 4
#: Sides of a box in inches, and the most of a panel.
_WIDE, _HIGH, _MOST = 0.62, 0.5, 6.0


def figure(selections: Sequence[SelectionRules], triples: Sequence[Triple]) -> Any:
    """A panel a product: a box for each pair of irreps, in it a mark for each irrep of the result.

    In a box the degree rises from left to right, then line by line.
    """
    firsts, seconds = (sorted({triple[i] for triple in triples}) for i in (0, 1))
    inside = {(a, b): [triple for triple in triples if triple[:2] == (a, b)] for a in firsts for b in seconds}
    most = max(len(some) for some in inside.values())
    columns = most if most <= 5 else ceil(sqrt(1.5 * most))
    lines = ceil(most / columns)
    rows = ceil(len(selections) / _ACROSS)
    width, height = min(max(_WIDE * len(seconds), 2.4), _MOST), min(max(_HIGH * len(firsts), 1.2), _MOST)
    drawing = need("matplotlib.figure").Figure(
        figsize=(_ACROSS * (width + 0.5), rows * (height + 0.8) + 1.6), layout="constrained"
    )
    panels = drawing.subplots(rows, _ACROSS, squeeze=False)
    pitch = min(width / len(seconds) / (columns + 0.5), height / len(firsts) / (lines + 0.5))
    points = min(0.6 * pitch * 72, 7.0)

    def place(triple: Triple) -> tuple[float, float]:
        line, column = divmod(inside[triple[0], triple[1]].index(triple), columns)
        x = seconds.index(triple[1]) + (column - (columns - 1) / 2) / (columns + 0.5)
        return x, firsts.index(triple[0]) + (line - (lines - 1) / 2) / (lines + 0.5)

    shown: dict[str, Any] = {}
    for axis, selection in zip(panels.flat, selections, strict=False):
        for kind, (marker, face, edge) in _MARKS.items():
            places = [place(triple) for triple in triples if _kind(selection, triple) == kind]
            if places:
                colours = {"color": edge} if marker in "x+" else {"facecolors": face, "edgecolors": edge}
                x, y = zip(*places, strict=True)
                shown[kind] = axis.scatter(x, y, s=points**2, marker=marker, linewidths=0.9, **colours)
        axis.set_title(f"{selection.product}\n{len(selection.coupled)} of {len(triples)} triples", fontsize=9)
        axis.set_xticks(range(len(seconds)), [str(ir) for ir in seconds], fontsize=8)
        axis.set_yticks(range(len(firsts)), [str(ir) for ir in firsts], fontsize=8)
        axis.set(xlim=(-0.5, len(seconds) - 0.5), ylim=(len(firsts) - 0.5, -0.5))
        axis.set_xticks([i - 0.5 for i in range(1, len(seconds))], minor=True)
        axis.set_yticks([i - 0.5 for i in range(1, len(firsts))], minor=True)
        axis.grid(which="minor", color="0.85", linewidth=0.6)
        axis.tick_params(which="both", length=0)
    for rest in panels.flat[len(selections) :]:
        rest.axis("off")
    names = {"coupled": "coupled", **{kind: f"left out: {text}" for kind, text in REASONS.items()}}
    ordered = [kind for kind in _MARKS if kind in shown]
    drawing.legend(
        [shown[kind] for kind in ordered],
        [names[kind] for kind in ordered],
        loc="outside lower center",
        ncols=2,
        fontsize=8,
        frameon=False,
    )
    drawing.suptitle(
        "down: irreps of the first input; across: of the second; in a box: of the result, by rising degree", fontsize=9
    )
    return drawing


def _kind(selection: SelectionRules, triple: Triple) -> str:
    reason = selection.left_out.get(triple)
    return "coupled" if reason is None else reason.kind
