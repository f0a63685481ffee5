"""What products couple, as tables of 80 columns, as a document, and as a figure."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import fill
from typing import Any

from tpnumba.extras import need
from tpnumba.measures.selection import REASONS, Selection, Triple
from tpnumba.studies.expressivity_growth import Growth
from tpnumba.studies.machine import describe_machine
from tpnumba.studies.registry import CONFIGURATIONS

_WIDTH = 80
#: Heads of columns, by product.
_SHORT = {
    "Clebsch-Gordan": "CG",
    "Gaunt + bracket": "both",
    "matrix, split": "split",
    "vector spherical (cross)": "cross",
    "vector spherical (dot)": "dot",
}


def print_summary(selections: Sequence[Selection], triples: Sequence[Triple]) -> None:
    """A line a product: how many triples it couples, what it reaches, and how many are left out for what reason."""
    rows = [("product", "column", "couples", "expressivity", "left out")]
    for selection in selections:
        kinds = [reason.kind for reason in selection.left_out.values()]
        rows.append(
            (
                selection.product,
                _SHORT.get(selection.product, selection.product),
                f"{len(selection.coupled)} of {len(triples)}",
                str(selection.expressivity),
                ", ".join(f"{kind} {kinds.count(kind)}" for kind in REASONS if kind in kinds) or "-",
            )
        )
    _print_columns(rows, left=(0, 1, 4))


def print_triples(selections: Sequence[Selection], triples: Sequence[Triple]) -> None:
    """A line a triple, a column a product: whether it is coupled, or the kind of the reason why not."""
    rows = [("triple", *(_SHORT.get(selection.product, selection.product) for selection in selections))]
    for triple in triples:
        reasons = [selection.left_out.get(triple) for selection in selections]
        cells = ("yes" if reason is None else reason.kind for reason in reasons)
        rows.append((_shown(triple), *cells))
    _print_columns(rows, left=tuple(range(len(rows[0]))))
    print()
    kinds = {reason.kind for selection in selections for reason in selection.left_out.values()}
    for kind in REASONS:
        if kind in kinds:
            print(fill(f"{kind}: {REASONS[kind]}", _WIDTH))
    zeros = [
        (selection.product, reason.statement)
        for selection in selections
        for reason in selection.left_out.values()
        if reason.kind in {"6j", "9j"}
    ]
    for product, statement in dict.fromkeys(zeros):
        print(fill(f"{product}: {statement}", _WIDTH, subsequent_indent="    "))


def print_growth(growths: Sequence[Growth]) -> None:
    """A table a configuration: the expressivity of every L, and the power of L."""
    for configuration in CONFIGURATIONS:
        some = [growth for growth in growths if growth.setting == configuration.name]
        print(f"{configuration.name}: {configuration.description}")
        rows = [("expressivity, L =", *(str(L) for L in some[0].lmax), "fit", "theory", "law")]
        for growth in some:
            counts = (str(count) for count in growth.expressivity)
            rows.append(
                (
                    growth.product.replace("vector spherical", "vector"),
                    *counts,
                    f"{growth.fitted:.1f}",
                    f"{growth.theory:g}",
                    growth.law,
                )
            )
        _print_columns(rows, left=(0, len(rows[0]) - 1))
        print()


def _print_columns(rows: Sequence[tuple[str, ...]], *, left: tuple[int, ...]) -> None:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = (
            cell.ljust(width) if column in left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        print("  ".join(cells).rstrip())


def _shown(triple: Triple) -> str:
    return ", ".join(str(ir) for ir in triple)


def document(selections: Sequence[Selection], triples: Sequence[Triple], growths: Sequence[Growth]) -> dict[str, Any]:
    """What ``--json`` writes: the machine, the triples, every product with its reasons, and the growth."""
    products = []
    for selection in selections:
        products.append(
            {
                "product": selection.product,
                "interactable": len(selection.coupled),
                "triples": len(triples),
                "expressivity": selection.expressivity,
                "couples": [_plain(triple) for triple in selection.coupled],
                "leaves_out": [
                    {"triple": _plain(triple), "reason": reason.kind, "statement": reason.statement}
                    for triple, reason in selection.left_out.items()
                ],
            }
        )
    return {
        "machine": describe_machine(),
        "triples": [_plain(triple) for triple in triples],
        "reasons": dict(REASONS),
        "products": products,
        "growth": [growth.as_dict() for growth in growths],
    }


def _plain(triple: Triple) -> list[str]:
    return [str(ir) for ir in triple]


#: Marker, fill and colour of a triple: by shape alone they differ, and the colours (Okabe and Ito) for every sight.
_MARKS = {
    "coupled": ("o", "#000000", "#000000"),
    "sum": ("o", "none", "#0072B2"),
    "6j": ("s", "none", "#D55E00"),
    "9j": ("^", "none", "#009E73"),
    "parity": ("x", "#777777", "#777777"),
    "degree": ("+", "#CC79A7", "#CC79A7"),
}


def figure(selections: Sequence[Selection], triples: Sequence[Triple]) -> Any:
    """A panel a product: a box for each pair of irreps, in it a mark for each irrep of the result, by rising degree."""
    firsts, seconds = (sorted({triple[i] for triple in triples}) for i in (0, 1))
    rows = -(-len(selections) // 4)
    side = min(0.6 * max(len(firsts), len(seconds), 4), 7.0)
    drawing = need("matplotlib.figure").Figure(figsize=(4 * side + 1, rows * side + 1.6), layout="constrained")
    panels = drawing.subplots(rows, 4, squeeze=False)
    inside = {(a, b): [t for t in triples if t[:2] == (a, b)] for a in firsts for b in seconds}
    most = max(len(some) for some in inside.values())
    size = (min(9.0, 40.0 / most)) ** 2 / 1.6
    shown: dict[str, Any] = {}
    for axis, selection in zip(panels.flat, selections, strict=False):
        for kind, (marker, face, edge) in _MARKS.items():
            points = [
                (seconds.index(b) + (k - (len(some) - 1) / 2) / (most + 1), firsts.index(a))
                for (a, b), some in inside.items()
                for k, triple in enumerate(some)
                if _kind(selection, triple) == kind
            ]
            if points:
                colours = {"color": edge} if marker in "x+" else {"facecolors": face, "edgecolors": edge}
                mark = axis.scatter(*zip(*points, strict=True), s=size, marker=marker, linewidths=0.9, **colours)
                shown.setdefault(kind, mark)
        axis.set_title(f"{selection.product}\n{len(selection.coupled)} of {len(triples)} triples", fontsize=9)
        axis.set_xticks(range(len(seconds)), [str(ir) for ir in seconds], fontsize=8)
        axis.set_yticks(range(len(firsts)), [str(ir) for ir in firsts], fontsize=8)
        axis.set(xlim=(-0.5, len(seconds) - 0.5), ylim=(len(firsts) - 0.5, -0.5), aspect="equal")
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
        ncols=2 if side * 4 > 10 else 1,
        fontsize=8,
        frameon=False,
    )
    drawing.suptitle(
        "down: irreps of the first input; across: of the second; in a box: of the result, by rising degree", fontsize=9
    )
    return drawing


def _kind(selection: Selection, triple: Triple) -> str:
    reason = selection.left_out.get(triple)
    return "coupled" if reason is None else reason.kind
