"""The command ``tpnumba benchmark``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from tpnumba.backends.registry import BACKENDS, require, resolve_threads
from tpnumba.commands.arguments import add_calls, whole_number
from tpnumba.studies.benchmark.rows import NAMES, SETTINGS, Options

#: Degrees, samples and repeats of a whole run, and of a quick one.
WHOLE: Mapping[str, Any] = {"degrees": tuple(range(1, 11)), "batch": 10_000, "repeats": 9}
QUICK: Mapping[str, Any] = {"degrees": (1, 2, 3, 4, 6), "batch": 2_000, "repeats": 3}


def add_to(commands: Any) -> None:
    """Add the command to the parsers of commands."""
    parser = commands.add_parser(
        "benchmark",
        help="the benchmark of The Price of Freedom: time, growth and expressivity of every product and method",
        description="Time every product and method in the settings of the paper, and print time, spread, throughput, "
        "share of the roofline, error and expressivity of each, and how they grow with L beside theory. Clebsch-Gordan "
        "direct is its sparse form; dense is the same by coefficients with all their zeros.",
    )
    parser.add_argument(
        "--products",
        nargs="+",
        choices=tuple(NAMES),
        default=list(NAMES),
        metavar="NAME",
        help=f"of {', '.join(NAMES)}",
    )
    parser.add_argument(
        "--settings",
        nargs="+",
        choices=SETTINGS,
        default=list(SETTINGS),
        metavar="NAME",
        help=f"of {', '.join(SETTINGS)}",
    )
    parser.add_argument(
        "--degrees", nargs="+", type=whole_number(1), metavar="L", help="largest degrees (default: 1 to 10)"
    )
    add_calls(parser, batch=10_000, backends=BACKENDS)
    parser.set_defaults(batch=None)  # with --quick, another one
    parser.add_argument("--repeats", type=whole_number(1), metavar="N", help="of each time (default: 9)")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="about a minute: degrees 1 2 3 4 6, 2000 samples, 3 repeats, where nothing else is said",
    )
    parser.add_argument(
        "--reference", action="store_true", help="also time the products as the paper computes them, in plain NumPy"
    )
    parser.add_argument("--json", metavar="FILE", help="also write the run to FILE, after each setting and L anew")
    parser.add_argument(
        "--plot",
        action="append",
        default=[],
        metavar="FILE",
        help="also draw the figures of the paper: FILE.png, FILE.svg, ...; may be given more than once",
    )
    parser.add_argument(
        "--resume",
        metavar="FILE",
        help="go on with an earlier run of the same machine and options, and write to FILE unless --json names another",
    )
    parser.add_argument("--against", metavar="FILE", help="also set the run beside an earlier one, as ratios of times")
    parser.set_defaults(run=_run)


def _read_options(options: argparse.Namespace) -> Options:
    usual = QUICK if options.quick else WHOLE
    return Options(
        products=tuple(name for name in NAMES if name in options.products),
        settings=tuple(name for name in SETTINGS if name in options.settings),
        degrees=tuple(sorted(set(options.degrees or usual["degrees"]))),
        batch=options.batch or usual["batch"],
        dtype=options.dtype,
        backend=options.backend,
        threads=resolve_threads(None),
        reference=options.reference,
        repeats=options.repeats or usual["repeats"],
    )


def _check_outputs(options: argparse.Namespace) -> str | None:
    """Raise unless everything can be written, and return where the run goes."""
    from tpnumba.outputs import check_apart, check_writable
    from tpnumba.studies.report import check_figure_format

    target: str | None = options.json or options.resume
    if target is not None:
        check_writable("--json" if options.json else "--resume", target)
    for path in options.plot:
        check_writable("--plot", path)
        check_figure_format("--plot", path)
    for name, path in (("--json" if options.json else "--resume", target), ("--against", options.against)):
        check_apart([(name, path), *(("--plot", plot) for plot in options.plot)])
    return target


def _run(options: argparse.Namespace) -> None:
    from tpnumba.studies.benchmark.document import Run, ratios, read_run, require_same
    from tpnumba.studies.benchmark.measure import measure
    from tpnumba.studies.benchmark.rows import subjects
    from tpnumba.studies.machine import describe_machine
    from tpnumba.studies.progress import progress_with_time
    from tpnumba.studies.roofline import measure_roofline

    asked = _read_options(options)
    machine: dict[str, Any] = dict(describe_machine())
    before = None if options.resume is None else read_run("--resume", options.resume)
    there = None if options.against is None else read_run("--against", options.against)
    if before is not None:
        require_same("--resume", options.resume, before, machine, asked)
    keys = {subject.key for group in subjects(asked) for subject in group}
    if there is not None and not keys & {row.key for row in there.rows}:
        raise ValueError(f"--against {options.against} has nothing in common with what is to be timed")
    target = _check_outputs(options)
    if asked.backend != "auto":
        require(asked.backend)

    if before is None:
        threads = asked.threads or int(machine["cores"])
        scale = 0.05 if options.quick else 1.0
        roofline = None if asked.backend == "gpu" else measure_roofline(threads, scale=scale)
        run = Run(machine, asked, roofline)
    else:
        run = before
    interrupted = None
    with progress_with_time("benchmark") as report:
        try:
            for rows in measure(asked, run.roofline, {row.key for row in run.rows}, on_progress=report):
                measured = {row.key for row in rows}
                run.rows = [row for row in run.rows if row.key not in measured] + rows
                if target is not None:
                    run.write_so_far(target)
        except KeyboardInterrupt as error:
            interrupted = error
    order = {key: number for number, key in enumerate(s.key for group in subjects(asked) for s in group)}
    run.rows.sort(key=lambda row: order[row.key])
    if run.rows:
        _show(run, options, target)
        if there is not None and ratios(run.rows, there.rows):
            from tpnumba.studies.benchmark.report import print_against

            print_against(run, there, options.against)
    if interrupted is not None:
        kept = f"kept in {target}, --resume {target} goes on" if target and run.rows else "not kept without --json"
        print(f"{len(run.rows)} of {len(order)} rows were measured; {kept}", file=sys.stderr)
        raise interrupted


def _show(run: Any, options: argparse.Namespace, target: str | None) -> None:
    """Print what was measured, and write it."""
    from tpnumba.outputs import write_whole
    from tpnumba.studies.benchmark.figure import figure
    from tpnumba.studies.benchmark.report import print_run

    machine, asked = run.machine, run.options
    print(f"{machine['processor']}, {machine['cores']} cores, {machine['system']}")
    print(f"batch {asked.batch:,}, {asked.dtype}, backend {asked.backend}, {asked.repeats} repeats")
    if run.roofline is not None:
        print(
            f"roofline: {run.roofline.bytes_per_second / 1e9:.1f} GB/s, "
            f"{run.roofline.flops_per_second[asked.dtype] / 1e9:.0f} GFLOP/s\n"
        )
    print_run(run)
    if target is not None:
        run.write(target)
    for path in options.plot:
        kind = Path(path).suffix.removeprefix(".").lower()
        write_whole(path, partial(figure(run).savefig, format=kind, dpi=150))
