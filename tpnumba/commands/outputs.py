"""The files that a command writes besides what it prints: ``--json`` and ``--plot``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tpnumba.outputs import check_apart, check_writable, write_json, write_whole


def add_outputs(parser: argparse.ArgumentParser, *, json_help: str, plot_help: str) -> None:
    """The options ``--json`` and ``--plot``."""
    parser.add_argument("--json", metavar="FILE", help=json_help)
    parser.add_argument("--plot", metavar="FILE", help=f"{plot_help}; the ending says the format, .png or .svg")


def check_outputs(options: argparse.Namespace) -> None:
    """Raise ``ValueError`` unless the files of ``--json`` and ``--plot`` can be written, and are two."""
    from tpnumba.studies.report import check_figure_format

    if options.json is not None:
        check_writable("--json", options.json)
    if options.plot is not None:
        check_writable("--plot", options.plot)
        check_figure_format("--plot", options.plot)
    check_apart([("--json", options.json), ("--plot", options.plot)])


def write_outputs(options: argparse.Namespace, document: Callable[[], Any], figure: Callable[[], Any]) -> None:
    """Write what ``--json`` and ``--plot`` ask for."""
    if options.json is not None:
        write_json(options.json, document())
    if options.plot is not None:
        drawing = figure()
        kind = Path(options.plot).suffix.removeprefix(".").lower()
        write_whole(options.plot, lambda stream: drawing.savefig(stream, format=kind, dpi=150))
