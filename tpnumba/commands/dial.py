"""The command ``tpnumba dial``."""

from __future__ import annotations

import argparse
from typing import Any

from tpnumba.commands.arguments import add_calls, whole_number
from tpnumba.commands.outputs import add_outputs, check_outputs, write_outputs

#: The least degree of the command; the largest by default, and that with ``--quick``.
LEAST, USUAL_LMAX, QUICK_LMAX = 2, 10, 4


def add_to(commands: Any) -> None:
    """Add the command to the parsers of commands."""
    dial = commands.add_parser(
        "dial",
        help="expressivity, error and time of low-rank products, by rank",
        description="Between one Gaunt product and the complete product: fit low-rank products (Gaunt products and "
        "brackets between weights of each degree, as many of each) to tables of path weights, random and learned ones, "
        "and time them on grids against the complete product as a sparse contraction. High degrees take minutes.",
    )
    dial.add_argument(
        "--lmax",
        type=whole_number(LEAST),
        metavar="L",
        help=f"largest degree; all from {LEAST} up to it are run (default: {USUAL_LMAX}; {QUICK_LMAX} with --quick)",
    )
    add_calls(dial, batch=1000, of="calls")
    dial.add_argument("--quick", action="store_true", help="a smaller default of --lmax, for some seconds")
    add_outputs(
        dial,
        json_help="also write the machine and all rows to FILE",
        plot_help="also draw time, error and expressivity",
    )
    dial.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    from tpnumba.studies.dial import measure
    from tpnumba.studies.dial_report import document, figure, print_table, subject
    from tpnumba.studies.report import progress_bar

    check_outputs(options)
    lmax = (QUICK_LMAX if options.quick else USUAL_LMAX) if options.lmax is None else options.lmax
    with progress_bar("fits and times") as report:
        rows = measure(
            range(LEAST, lmax + 1),
            batch=options.batch,
            dtype=options.dtype,
            backend=options.backend,
            on_progress=report,
        )
    settings = {"lmax": lmax, "batch": options.batch, "dtype": options.dtype, "backend": options.backend}
    print_table(rows, settings)
    write_outputs(options, lambda: document(rows, settings), lambda: figure(rows, subject(settings)))
