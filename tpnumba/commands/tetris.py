"""The command ``tpnumba tetris``."""

from __future__ import annotations

import argparse
from typing import Any

from tpnumba.commands.arguments import whole_number
from tpnumba.commands.outputs import add_outputs, check_outputs, write_outputs

#: As ``tpnumba.studies.tetris.training.PRODUCTS`` has them; not imported, as every command would load them.
_PRODUCTS = ("clebsch-gordan", "gaunt", "matrix", "vector-cross", "gaunt-bracket")


def add_to(commands: Any) -> None:
    """Add the command to the parsers of commands."""
    tetris = commands.add_parser(
        "tetris",
        help="train a network with each product to tell eight Tetris pieces apart",
        description="The experiment of The Price of Freedom, in NumPy: eight pieces of four cubes, two of them mirror "
        "images, are told apart by a network of three layers around one product, trained by Adam in one random "
        "rotation a step. A piece is right if its own logit is the largest under all random rotations of the test; "
        "of equal logits the first counts. A run takes at most --steps steps, and ends earlier once its loss (the "
        "mean cross entropy) is below 0.01. All products and ten seeds take some minutes. Ctrl-C keeps the runs that "
        "have ended.",
    )
    tetris.add_argument(
        "--product",
        action="append",
        choices=_PRODUCTS,
        metavar="NAME",
        help=f"may be repeated: {', '.join(_PRODUCTS)} (default: all)",
    )
    tetris.add_argument(
        "--seeds", type=whole_number(1), default=10, metavar="N", help="networks a product (default: 10)"
    )
    tetris.add_argument(
        "--steps", type=whole_number(1), default=1000, metavar="N", help="of training, at most (default: 1000)"
    )
    tetris.add_argument(
        "--hidden-lmax",
        type=int,
        choices=(1, 2, 3, 4),
        default=2,
        metavar="L",
        help="largest degree of the features, 1 to 4 (default: 2)",
    )
    tetris.add_argument(
        "--rotations", type=whole_number(1), default=100, metavar="N", help="random ones, of the test (default: 100)"
    )
    add_outputs(
        tetris,
        json_help="also write the machine, the settings and every run with its losses to FILE",
        plot_help="also draw the learning curves, and the time of a step with the pieces that are right",
    )
    tetris.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    from tpnumba.studies.report import progress_bar
    from tpnumba.studies.tetris.report import document, figure, print_runs
    from tpnumba.studies.tetris.training import PRODUCTS, run_all

    check_outputs(options)
    products = list(dict.fromkeys(options.product or PRODUCTS))
    settings = {
        "seeds": options.seeds,
        "steps": options.steps,
        "lmax": options.hidden_lmax,
        "rotations": options.rotations,
    }
    runs, interrupted = [], False
    try:
        with progress_bar("tables") as report:
            for one in run_all(products, **settings, on_progress=report):
                runs.append(one)
    except KeyboardInterrupt:
        interrupted = True
    if runs:
        print_runs(runs, settings)
        write_outputs(
            options,
            lambda: document(runs, settings, complete=not interrupted),
            lambda: figure(runs, settings),
        )
    if interrupted:
        raise KeyboardInterrupt
