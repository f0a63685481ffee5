"""What products couple, as tables of 80 columns and as a document."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import fill
from typing import Any

from tpnumba.measures.selection import REASONS, SelectionRules, Triple
from tpnumba.studies.columns import print_columns
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


def print_summary(selections: Sequence[SelectionRules], triples: Sequence[Triple]) -> None:
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
    print_columns(rows, left=(0, 1, 4))


def print_triples(selections: Sequence[SelectionRules], triples: Sequence[Triple]) -> None:
    """A line a triple, a column a product: whether it is coupled, or the kind of the reason why not."""
    rows = [("triple", *(_SHORT.get(selection.product, selection.product) for selection in selections))]
    for triple in triples:
        reasons = [selection.left_out.get(triple) for selection in selections]
        cells = ("yes" if reason is None else reason.kind for reason in reasons)
        rows.append((_shown(triple), *cells))
    print_columns(rows, left=tuple(range(len(rows[0]))))
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
                    "-" if growth.theory is None else f"{growth.theory:g}",
                    growth.law or "-",
                )
            )
        print_columns(rows, left=(0, len(rows[0]) - 1))
        print()


def _shown(triple: Triple) -> str:
    return ", ".join(str(ir) for ir in triple)


def document(
    selections: Sequence[SelectionRules], triples: Sequence[Triple], growths: Sequence[Growth]
) -> dict[str, Any]:
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
