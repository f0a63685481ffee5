"""A process that evaluates one potential on one structure: run by :mod:`benchmarks.potentials`, in any environment.

``python potential_worker.py KIND MODEL STRUCTURE CELLS THREADS`` answers each line ``time`` on standard input by the
seconds of one evaluation, and ``end`` by energy, forces and the largest resident size.
"""

from __future__ import annotations

import contextlib
import json
import resource
import sys
import time
from typing import Any

from ase.build import bulk

LATTICE = {"NaCl": ("rocksalt", 5.64), "Si": ("diamond", 5.43)}


def calculator(kind: str, model: str, threads: int) -> Any:
    """The calculator of ASE; torch's warm start of TorchScript is its own affair."""
    if kind == "sevenn":
        import torch
        from sevenn.calculator import SevenNetCalculator

        torch.set_num_threads(threads)
        names = {"SevenNet_0__11Jul2024": "7net-0_11July2024", "SevenNet_l3i5": "7net-l3i5"}
        return SevenNetCalculator(names[model], device="cpu")
    from tpnumba.interop.ase import Calculator
    from tpnumba.models import load

    return Calculator(load(model), num_threads=threads)


def main() -> None:
    """Answer until the end."""
    kind, model, structure, cells, threads = sys.argv[1:]
    answers = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):
        lattice, length = LATTICE[structure]
        atoms = bulk(structure, lattice, a=length, cubic=True) * ((int(cells),) * 3)
        atoms.rattle(0.05, seed=0)
        atoms.calc = calculator(kind, model, int(threads))
        energy, forces = 0.0, None
        for number, line in enumerate(sys.stdin):
            if line.strip() == "end":
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
                answer: Any = {"energy": energy, "forces": forces.tolist(), "memory": peak}
            else:
                atoms.positions[0, 0] += 1e-6 if number % 2 else -1e-6
                start = time.perf_counter()
                energy = float(atoms.get_potential_energy())
                forces = atoms.get_forces()
                atoms.get_stress()
                answer = time.perf_counter() - start
            print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
