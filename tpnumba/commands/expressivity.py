"""The command ``tpnumba expressivity``."""

from __future__ import annotations

import argparse
from typing import Any

from tpnumba.commands.arguments import whole_number
from tpnumba.commands.outputs import add_outputs, check_outputs, write_outputs


def add_to(commands: Any) -> None:
    """Add the command to the parsers of commands."""
    expressivity = commands.add_parser(
        "expressivity",
        help="which irreps every product couples, which not and why",
        description="For one copy of each irrep and for every product: which triples of irreps interact, which do not "
        "and for what reason, and how many dimensions the maps have that it reaches; then how these grow with the "
        "largest degree. The triples are those that an equivariant product may couple.",
    )
    expressivity.add_argument("irreps1", metavar="IRREPS1", help="of the first input, such as 0e+1o+2e")
    expressivity.add_argument("irreps2", metavar="IRREPS2", help="of the second input")
    expressivity.add_argument(
        "irreps_out", nargs="?", metavar="IRREPS_OUT", help="of the result (default: all that can be reached)"
    )
    expressivity.add_argument(
        "--degree",
        type=whole_number(0),
        metavar="A",
        help="of the operators of the matrix product (default: the smallest that cuts nothing off)",
    )
    add_outputs(
        expressivity,
        json_help="also write all triples with their reasons, and the growth, to FILE",
        plot_help="also draw the pattern of the couplings",
    )
    expressivity.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    from tpnumba.irreps import Irreps
    from tpnumba.measures.selection import candidates, select
    from tpnumba.studies.coupling_figure import figure
    from tpnumba.studies.coupling_report import document, print_growth, print_summary, print_triples
    from tpnumba.studies.expressivity_growth import grow
    from tpnumba.studies.report import progress_bar

    check_outputs(options)

    def read(name: str, text: str) -> Irreps:
        try:
            irreps = Irreps(text)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
        if not any(block.mul for block in irreps):
            raise ValueError(f"{name} must have an irrep, got {text!r}")
        return irreps

    first, second = read("IRREPS1", options.irreps1), read("IRREPS2", options.irreps2)
    out = None if options.irreps_out is None else read("IRREPS_OUT", options.irreps_out)
    triples = candidates(first, second, out)
    if not triples:
        raise ValueError(f"no product of {first} and {second} can reach {out}")
    selections = select(triples, degree=options.degree)
    with progress_bar("growth") as report:
        growths = grow(on_progress=report)
    print_summary(selections, triples)
    print()
    print_triples(selections, triples)
    print()
    print_growth(growths)
    print("Expressivity counts the dimensions of the bilinear maps that a product reaches.")
    write_outputs(options, lambda: document(selections, triples, growths), lambda: figure(selections, triples))
