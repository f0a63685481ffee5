"""The command ``tpnumba advise``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from tpnumba.backends.registry import BACKENDS
from tpnumba.commands.arguments import add_calls

if TYPE_CHECKING:
    from tpnumba.studies.advice.advise import Advice


def add_to(commands: Any) -> None:
    """Add the command to the parsers of commands."""
    parser = commands.add_parser(
        "advise",
        help="which product to use for what must be coupled",
        description="Make every product for these irreps, keep those that couple what must be coupled, and rank them "
        "by what they cost on this machine, each with what it gives up.",
    )
    for number, name in enumerate(("IRREPS1", "IRREPS2", "IRREPS_OUT")):
        what = ("the first input", "the second input", "the output")[number]
        parser.add_argument(name.lower(), metavar=name, help=f"irreps of {what}, such as '0e+1o+2e'")
    parser.add_argument(
        "--must-couple",
        action="append",
        required=True,
        metavar="L1,L2,L3",
        help="a triple of degrees that must be coupled, such as 1,1,1; may be given more than once; or all: "
        "everything that the complete product couples",
    )
    add_calls(parser, batch=10_000, samples="samples of a call", of="arrays", products="product", backends=BACKENDS)
    parser.add_argument(
        "--measure", action="store_true", help="time the alternatives; else a model of their times is asked"
    )
    parser.add_argument("--json", metavar="FILE", help="also write the ranking to FILE")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    from tpnumba.outputs import check_writable, write_json
    from tpnumba.studies.advice.advise import advise
    from tpnumba.studies.machine import describe_machine
    from tpnumba.studies.report import progress_bar

    if options.json is not None:
        check_writable("--json", options.json)
    with progress_bar("alternatives") as report:
        advice = advise(
            options.irreps1,
            options.irreps2,
            options.irreps_out,
            options.must_couple,
            batch=options.batch,
            dtype=options.dtype,
            backend=options.backend,
            measure=options.measure,
            on_progress=report,
        )
    _print(advice)
    if options.json is not None:
        write_json(options.json, {"machine": describe_machine(), **advice.as_dict()})


def _print(advice: Advice) -> None:
    from tpnumba.extras import need
    from tpnumba.studies.advice.advise import listed

    output = need("rich.console").Console(highlight=False, markup=False)
    if not output.is_terminal:
        output.width = 10_000
    for statement in advice.statements():
        output.print(statement)
    box, make_table = need("rich.box"), need("rich.table").Table
    how = "measured" if advice.measured else "by the model of tpnumba calibrate"
    title = f"times {how}; batch {advice.batch:,}, {advice.dtype}, backend {advice.backend}"
    table = make_table(title=title, title_justify="left", title_style="", box=box.SIMPLE_HEAD)
    for name in ("product", "method", "ns a sample", "couples", "gives up"):
        right = name in {"ns a sample", "couples"}
        table.add_column(name, justify="right" if right else "left", overflow="fold")
    for choice in advice.ranking:
        table.add_row(
            choice.product,
            choice.method,
            f"{choice.seconds_per_sample * 1e9:,.0f}",
            str(len(choice.couples)),
            listed(choice.gives_up),
        )
    output.print(table)
