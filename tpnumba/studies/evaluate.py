"""The command ``tpnumba evaluate``: a potential on structures from files."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tpnumba.extras import need
from tpnumba.models.graphs import EvaluatesGraphs, Results, check_structure, graph_of, results_of
from tpnumba.outputs import check_apart, check_writable, write_json, write_whole
from tpnumba.structures.files import read_frames, shown_name, source_of
from tpnumba.studies.columns import print_columns


class Frame(NamedTuple):
    """One structure of a file: ``frame`` counts from 1, up to ``frames``; ``source`` is its name in errors."""

    name: str
    source: str
    frame: int
    frames: int
    atoms: Any


class Evaluated(NamedTuple):
    """A structure and what the potential says of it."""

    frame: Frame
    results: Results

    @property
    def pressure(self) -> float | None:
        """In GPa; None without a stress."""
        if self.results.stress is None:
            return None
        return float(-self.results.stress[:3].mean() / need("ase.units").GPa)

    @property
    def largest_force(self) -> float:
        """The length of the longest force, in eV/angstrom."""
        return float(np.linalg.norm(self.results.forces, axis=1).max())


def run(options: argparse.Namespace, load: Callable[..., EvaluatesGraphs]) -> None:
    """Run the command: ``options`` are those of ``tpnumba evaluate --help``, ``load`` reads the potential."""
    from tpnumba.studies.report import progress_bar

    outputs = {"--json": options.json, "--xyz": options.xyz}
    for option, path in outputs.items():
        if path is not None:
            check_writable(option, path)
    check_apart(outputs.items())
    if options.structures.count("-") > 1:
        raise ValueError("standard input (-) is named more than once")
    model = load(options.model, dtype=options.dtype, radial=options.radial)
    frames = [frame for path in options.structures for frame in frames_of(path, options.format)]
    with progress_bar("structures") as report:
        evaluated = evaluate(model, frames, on_progress=report)
    print_table(evaluated)
    if sys.stdout is not None:  # closed by whoever started us
        sys.stdout.flush()  # a file may be /dev/stdout
    if options.json is not None:
        about = {"file": Path(options.model).name, "dtype": options.dtype, "radial": options.radial}
        about["cutoff"] = model.cutoff
        write_json(options.json, document(evaluated, about))
    if options.xyz is not None:
        written = extended_xyz(evaluated).encode()
        write_whole(options.xyz, lambda stream: stream.write(written))


def frames_of(path: str, file_format: str | None = None) -> list[Frame]:
    """All structures of a file, see `tpnumba.structures.files.read_frames`."""
    listed = read_frames(path, file_format)
    frames = len(listed)
    return [Frame(shown_name(path), source_of(path), i, frames, atoms) for i, atoms in enumerate(listed, 1)]


def evaluate(
    model: EvaluatesGraphs,
    frames: Sequence[Frame],
    *,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> list[Evaluated]:
    """Evaluate structures, one after the other.

    Args:
        model: a potential.
        frames: structures; all are looked at before the first is evaluated.
        on_progress: called with a description, the number of structures done, and their total.

    Raises:
        ValueError: a structure cannot be evaluated, see `tpnumba.models.graphs.graph_of`; file and frame are named.
    """
    for frame in frames:
        with _errors_of(frame):
            check_structure(frame.atoms, model.elements)
    evaluated = []
    for done, frame in enumerate(frames):
        if on_progress is not None:
            on_progress(frame.name if frame.frames == 1 else f"{frame.name}, frame {frame.frame}", done, len(frames))
        with _errors_of(frame):
            graph = graph_of(frame.atoms, model.cutoff)
            evaluated.append(Evaluated(frame, results_of(graph, model.evaluate_graph(graph))))
    if on_progress is not None:
        on_progress("done", len(frames), len(frames))
    return evaluated


@contextmanager
def _errors_of(frame: Frame) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        which = f", frame {frame.frame} of {frame.frames:,}" if frame.frames > 1 else ""
        raise ValueError(f"{frame.source}{which}: {error}") from error


_HEADER = ("structure", "frame", "atoms", "energy (eV)", "eV an atom", "largest force (eV/A)", "pressure (GPa)")


def print_table(evaluated: Sequence[Evaluated]) -> None:
    """A line a structure, in columns."""
    rows = [_HEADER]
    for one in evaluated:
        frame, results = one.frame, one.results
        n = len(results.energies)
        pressure = "-" if one.pressure is None else f"{one.pressure:.3f}"
        energies = f"{results.energy:.6f}", f"{results.energy / n:.6f}"
        rows.append((frame.name, str(frame.frame), f"{n:,}", *energies, f"{one.largest_force:.4f}", pressure))
    print_columns(rows)


def document(evaluated: Sequence[Evaluated], model: dict[str, Any]) -> dict[str, Any]:
    """What ``--json`` writes: the machine, the potential, and for each structure all its results.

    In eV, eV/angstrom and eV/angstrom^3; what is not finite is null.
    """
    from tpnumba.studies.machine import describe_machine

    rows = []
    for one in evaluated:
        row = {"name": one.frame.name, "frame": one.frame.frame, "atoms": len(one.results.energies)}
        rows.append({**row, **{name: _plain(value) for name, value in one.results._asdict().items()}})
    return {"machine": describe_machine(), "model": model, "structures": rows}


def _plain(value: Any) -> Any:
    """Numbers and arrays as JSON has them."""
    if isinstance(value, (list, np.ndarray)):
        return [_plain(one) for one in (value.tolist() if isinstance(value, np.ndarray) else value)]
    return value if value is None or np.isfinite(value) else None


def extended_xyz(evaluated: Sequence[Evaluated]) -> str:
    """What ``--xyz`` writes: the structures with their results, as ASE reads them back."""
    calculator = need("ase.calculators.singlepoint").SinglePointCalculator
    images = []
    for one in evaluated:
        atoms, results = one.frame.atoms.copy(), one.results
        known = {"energy": results.energy, "energies": results.energies, "forces": results.forces}
        if results.stress is not None:
            known["stress"] = results.stress
        atoms.calc = calculator(atoms, **known)
        images.append(atoms)
    text = io.StringIO()
    need("ase.io").write(text, images, format="extxyz")
    return text.getvalue()
