"""Time and memory of potentials beside the original code: energy, forces and stress, in one interleaved run.

``python -m benchmarks.potentials WHEEL --original PYTHON`` takes the checkpoints in the wheel of ``sevenn``, and the
Python of an environment in which ``sevenn`` and torch are installed, and writes
``benchmarks/results/potentials-NAME.json`` and ``.md``. Each of the two works in a process of its own; they take turns,
so that a change of the machine's speed falls on both. Beside each time stand the differences of energies and forces.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.tables import table
from tpnumba.outputs import write_whole
from tpnumba.studies.machine import describe_machine

#: What is evaluated: name of the structure, cubic cells along each edge.
STRUCTURES = {"NaCl 216": ("NaCl", 3), "Si 216": ("Si", 3), "NaCl 1728": ("NaCl", 6)}
CHECKPOINTS = ("SevenNet_0__11Jul2024", "SevenNet_l3i5")
#: Bars of the time (the original over tpnumba), and of the memory.
BAR = 5.0

_WORKER = Path(__file__).with_name("potential_worker.py")


class Worker:
    """A process that evaluates on request."""

    def __init__(self, python: str, kind: str, model: str, structure: tuple[str, int], threads: int) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "TPNUMBA_NUM_THREADS": str(threads)}
        command = [python, str(_WORKER), kind, model, structure[0], str(structure[1]), str(threads)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def ask(self, what: str) -> Any:
        """The answer to ``time`` (seconds), or ``end``: energies, forces, and peak memory in bytes."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(what + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the process {self._process.args} has ended")
        answer = json.loads(line)
        if what == "end":
            self._process.stdin.close()
            self._process.wait()
        return answer


def rows(
    wheel: str, original: str, repeats: int, threads: int, models: list[str], chosen: list[str]
) -> Iterator[dict[str, Any]]:
    """Measure checkpoints on structures."""
    from tpnumba.models.potential import Potential
    from tpnumba.models.sevennet import read_sevennet

    with tempfile.TemporaryDirectory() as folder:
        for checkpoint in models:
            path = str(Path(folder) / f"{checkpoint}.safetensors")
            Potential(*read_sevennet(wheel, name=checkpoint)).save(path)
            for name in chosen:
                ours = Worker(sys.executable, "tpnumba", path, STRUCTURES[name], threads)
                theirs = Worker(original, "sevenn", checkpoint, STRUCTURES[name], threads)
                workers = {"tpnumba": ours, "sevenn": theirs}
                times = {kind: [worker.ask("time") for _ in range(6)][6:] for kind, worker in workers.items()}  # warm
                for _ in range(repeats):
                    for kind, worker in workers.items():
                        times[kind].append(worker.ask("time"))
                ends = {kind: worker.ask("end") for kind, worker in workers.items()}
                forces = [np.array(ends[kind]["forces"]) for kind in workers]
                yield {
                    "model": checkpoint,
                    "structure": name,
                    "atoms": len(forces[0]),
                    "seconds": {kind: float(np.median(values)) for kind, values in times.items()},
                    "ratio": float(np.median(np.divide(times["sevenn"], times["tpnumba"]))),
                    "memory": {kind: end["memory"] for kind, end in ends.items()},
                    "energy_difference_an_atom": abs(ends["tpnumba"]["energy"] - ends["sevenn"]["energy"])
                    / len(forces[0]),
                    "force_difference": float(np.abs(forces[0] - forces[1]).max()),
                }


def report(machine: dict[str, Any], found: list[dict[str, Any]]) -> str:
    """The results as Markdown."""
    head = ("model", "structure", "tpnumba (s)", "sevenn (s)", "ratio", "microseconds an atom")
    head += ("memory (MB)", "sevenn's (MB)", "ratio", "energy (eV an atom)", "forces (eV/A)")
    lines = []
    for row in found:
        memory = [row["memory"][kind] / 2**20 for kind in ("tpnumba", "sevenn")]
        lines.append(
            (
                row["model"],
                row["structure"],
                *(f"{row['seconds'][kind]:.3f}" for kind in ("tpnumba", "sevenn")),
                f"{row['ratio']:.1f}",
                f"{row['seconds']['tpnumba'] / row['atoms'] * 1e6:.0f}",
                *(f"{size:.0f}" for size in memory),
                f"{memory[1] / memory[0]:.1f}",
                f"{row['energy_difference_an_atom']:.1e}",
                f"{row['force_difference']:.1e}",
            )
        )
    described = ", ".join(f"{key} {value}" for key, value in machine.items())
    return (
        f"# Potentials beside the original\n\n{described}\n\nEnergy, forces and stress of one structure in float32, "
        "graph included; medians of times, and of the ratios of times that follow each other. Memory is the largest "
        "resident size of the process. Energies and forces: the difference from the original.\n\n"
        f"{table(head, lines)}\n"
    )


def main() -> None:
    """Run, print and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.potentials", description=__doc__)
    parser.add_argument("wheel", help="of sevenn")
    parser.add_argument("--original", required=True, metavar="PYTHON", help="of an environment with sevenn and torch")
    parser.add_argument("--name", default="cpu", help="of the results")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--models", nargs="+", choices=CHECKPOINTS, default=list(CHECKPOINTS))
    parser.add_argument("--structures", nargs="+", choices=tuple(STRUCTURES), default=list(STRUCTURES))
    options = parser.parse_args()
    found = []
    for row in rows(
        options.wheel, options.original, options.repeats, options.threads, options.models, options.structures
    ):
        found.append(row)
        print(json.dumps(row), flush=True)
    machine = {**describe_machine(), "threads": options.threads}
    text = report(machine, found)
    print(text)
    target = Path(__file__).with_name("results") / f"potentials-{options.name}"
    write_whole(f"{target}.md", lambda stream: stream.write(text.encode()))
    content = json.dumps({"machine": machine, "rows": found}, indent=1).encode()
    write_whole(f"{target}.json", lambda stream: stream.write(content))


if __name__ == "__main__":
    main()
