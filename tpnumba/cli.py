"""The command ``tpnumba``."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import tpnumba
from tpnumba.commands import advise, benchmark, dial, expressivity, tetris, warmup
from tpnumba.commands.arguments import add_calls, add_dtype, whole_number
from tpnumba.commands.outputs import add_outputs, check_outputs, write_outputs

_USAGE_ERROR = 2
_INTERRUPTED = 130


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(_USAGE_ERROR, f"{self.prog}: error: {message}\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="tpnumba", description="E(3)-equivariant tensor products without a deep-learning framework.")
    parser.add_argument("--version", action="version", version=f"tpnumba {tpnumba.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    compare = commands.add_parser(
        "compare",
        help="compare all products and methods on a real structure",
        description="Expand each atom's neighbourhood in spherical harmonics, run every product and method on these "
        "features, and print what couples everything and what is cheapest; with --all, what each can express, what it "
        "costs and how exact it is.",
    )
    compare.add_argument(
        "structure",
        nargs="?",
        metavar="STRUCTURE",
        help="any file or pipe that ASE reads, or - for standard input; of several frames the last (default: a "
        "caffeine molecule)",
    )
    compare.add_argument(
        "--format",
        metavar="NAME",
        help="ASE's name of the format of STRUCTURE, such as extxyz, cif or vasp (default: by name and content)",
    )
    compare.add_argument(
        "--lmax",
        type=whole_number(0),
        default=4,
        metavar="L",
        help="largest degree; all up to it are run (default: 4)",
    )
    add_calls(compare, batch=1000, samples="samples: the atoms, repeated")
    compare.add_argument("--all", action="store_true", help="also print the tables of all cases, before the summary")
    add_outputs(
        compare,
        json_help="also write the machine, the structure and the rows of all cases to FILE",
        plot_help="also draw time and time a degree of freedom against L",
    )
    compare.set_defaults(run=_compare)
    dial.add_to(commands)
    _add_convert(commands)
    _add_evaluate(commands)
    benchmark.add_to(commands)
    advise.add_to(commands)
    expressivity.add_to(commands)
    tetris.add_to(commands)
    warmup.add_to(commands)
    calibrate = commands.add_parser(
        "calibrate",
        help="measure what method='auto' and 'tpnumba advise' choose by",
        description="Time the plans of every product on this machine, and fit the model by which method='auto' "
        "compares methods, and 'tpnumba advise' products. Takes some minutes on a machine with nothing else to do.",
    )
    calibrate.add_argument(
        "--lmax", type=whole_number(2), default=10, metavar="L", help="largest degree timed (default: 10)"
    )
    calibrate.add_argument(
        "--output", metavar="FILE", help="where to write the coefficients (default: into the installed package)"
    )
    calibrate.set_defaults(run=_calibrate)
    return parser


def _add_convert(commands: Any) -> None:
    convert = commands.add_parser(
        "convert",
        help="a model of SevenNet or NequIP to a file of a potential",
        description="Read a model, and write its network and weights in the format safetensors, for 'tpnumba evaluate' "
        "and tpnumba.models.load. A checkpoint of SevenNet needs nothing but this package, and nothing in it is "
        "executed. A model of NequIP is loaded by the package nequip 0.19, which must be installed beside this one and "
        "executes what is in the file.",
    )
    convert.add_argument(
        "checkpoint",
        metavar="CHECKPOINT",
        help="of SevenNet: a .pth file, or the wheel of the package sevenn, which has some; of NequIP: a .ckpt or "
        ".nequip.zip file",
    )
    convert.add_argument("output", metavar="OUT.safetensors", help="the file to write")
    convert.add_argument(
        "--name", metavar="NAME", help="which checkpoint of a wheel, by its folder, such as SevenNet_0__11Jul2024"
    )
    convert.add_argument(
        "--modal", metavar="NAME", help="the fidelity, of a network of SevenNet that was trained for several"
    )
    convert.set_defaults(run=_convert)


def _convert(options: argparse.Namespace) -> None:
    from tpnumba.models.nequip import read_nequip
    from tpnumba.models.nequip_files import SUFFIXES
    from tpnumba.models.potential import Potential
    from tpnumba.models.sevennet import read_sevennet
    from tpnumba.outputs import check_writable

    check_writable("OUT", options.output)
    if options.checkpoint.endswith(SUFFIXES):
        for name in ("name", "modal"):
            if getattr(options, name) is not None:
                raise ValueError(f"--{name} is of SevenNet, and {options.checkpoint} is a model of NequIP by its name")
        network, weights = read_nequip(options.checkpoint)
    else:
        network, weights = read_sevennet(options.checkpoint, name=options.name, modal=options.modal)
    potential = Potential(network, weights)
    potential.save(options.output)
    print(f"{options.output}: {potential!r}")


def _add_evaluate(commands: Any) -> None:
    evaluate = commands.add_parser(
        "evaluate",
        help="energy, forces and stress of structures by a potential",
        description="Evaluate a potential on every structure of the files, and print energy, largest force and "
        "pressure of each.",
    )
    evaluate.add_argument("model", metavar="MODEL", help="a file of a potential")
    evaluate.add_argument(
        "structures",
        nargs="+",
        metavar="STRUCTURES",
        help="files or pipes that ASE reads, or - for standard input; all frames of each are held in memory",
    )
    evaluate.add_argument(
        "--format",
        metavar="NAME",
        help="ASE's name of the format of all STRUCTURES, such as extxyz, cif or vasp (default: by name and content)",
    )
    add_dtype(evaluate, "evaluation")
    evaluate.add_argument(
        "--radial",
        choices=("network", "spline"),
        default="network",
        help="what gives the weights of products: the potential's networks, or tables of splines in their place, which "
        "are quicker and not exact (default: network)",
    )
    evaluate.add_argument("--json", metavar="FILE", help="also write energies, forces and stresses to FILE")
    evaluate.add_argument("--xyz", metavar="FILE", help="also write structures and results to FILE, as extended XYZ")
    evaluate.set_defaults(run=_evaluate)


def _evaluate(options: argparse.Namespace) -> None:
    from tpnumba.models import load
    from tpnumba.studies.evaluate import run

    run(options, load)


def _calibrate(options: argparse.Namespace) -> None:
    from importlib.resources import files

    from tpnumba.outputs import check_writable, write_whole
    from tpnumba.plans.speed import COEFFICIENTS
    from tpnumba.studies.calibrate import calibrate, measure_calls
    from tpnumba.studies.machine import describe_machine
    from tpnumba.studies.report import progress_bar

    path = options.output or str(files("tpnumba.plans").joinpath(COEFFICIENTS))
    check_writable("--output", path)
    with progress_bar("plans") as report:
        coefficients, deviations = calibrate(lmax=options.lmax, on_progress=report)
    document = {
        "machine": describe_machine(),
        "lmax": options.lmax,
        "calls": measure_calls()._asdict(),
        "coefficients": coefficients,
    }
    write_whole(path, lambda stream: stream.write((json.dumps(document, indent=1) + "\n").encode()))
    for name, deviation in deviations.items():
        print(f"{name}: half of the plans within {deviation:.0%} of the model")
    print(f"written to {path}")


def _compare(options: argparse.Namespace) -> None:
    from tpnumba.structures.files import COUNTED_FRAMES
    from tpnumba.studies.compare import compare
    from tpnumba.studies.machine import describe_machine
    from tpnumba.studies.report import figure, print_summary, print_tables, progress_bar
    from tpnumba.studies.structures import CUTOFF, read_neighbourhoods

    check_outputs(options)
    if options.format is not None and options.structure is None:
        raise ValueError("--format is that of a STRUCTURE, and none is given")
    neighbourhoods = read_neighbourhoods(options.structure, options.format)
    with progress_bar("tables") as report:
        rows = compare(
            neighbourhoods,
            lmax=options.lmax,
            batch=options.batch,
            dtype=options.dtype,
            backend=options.backend,
            on_progress=report,
        )
    machine = describe_machine()
    more = " or more" if neighbourhoods.frames == COUNTED_FRAMES else ""
    frame = f", the last of {neighbourhoods.frames:,}{more} frames" if neighbourhoods.frames > 1 else ""
    subject = (
        f"{neighbourhoods.name}{frame}: {neighbourhoods.n_atoms:,} atoms, {neighbourhoods.pairs:,} neighbour pairs "
        f"within {CUTOFF:g} angstrom, as {options.batch:,} samples in {options.dtype}, backend {options.backend}"
    )
    print(subject)
    print(f"{machine['processor']}, {machine['cores']} cores, {machine['system']}\n")
    if options.all:
        print_tables(rows)
    print_summary(rows)
    if not options.all:
        print(
            "\nA degree of freedom is a dimension of the bilinear maps that a product can reach: its expressivity.\n"
            f"All {len(rows)} cases: --all prints them as tables, --json FILE writes them."
        )
    structure = {"name": neighbourhoods.name, "atoms": neighbourhoods.n_atoms, "pairs": neighbourhoods.pairs}
    document = {"machine": machine, "structure": structure, "rows": [row.as_dict() for row in rows]}
    write_outputs(options, lambda: document, lambda: figure(rows, subject))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code: 0, 2 for a usage error (one line on standard error), 130 on Ctrl-C."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        options.run(options)
        if sys.stdout is not None:  # closed by whoever started us
            sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read our output has gone; nothing is left to say, also not at shutdown.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print("tpnumba: interrupted", file=sys.stderr)
        return _INTERRUPTED
    except (ValueError, TypeError, MemoryError, RuntimeError, ImportError, OSError) as error:
        print(f"{parser.prog} {options.command}: error: {' '.join(str(error).split())}", file=sys.stderr)
        return _USAGE_ERROR
    return 0
