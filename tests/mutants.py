"""Faults planted on purpose, one at a time, each of which the tests must notice: ``python tests/mutants.py [cuda]``.

Every mutant is a copy of the package with one line changed, on which a few test files run. It survives if they pass.
``cuda``: those in the kernels of the GPU and their launch, for which the tests need a C++ compiler.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cuda_host.cuda_faults import CUDA_MUTANTS
from faults import MUTANTS, Mutant

ROOT = Path(__file__).parent.parent


def survives(mutant: Mutant) -> str | None:
    """None if the tests noticed; otherwise what there is to say."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for name in ("tpnumba", "tests"):
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", ".hypothesis"))
        shutil.copy(ROOT / "pyproject.toml", copy)
        path = copy / "tpnumba" / mutant.file
        text = path.read_text(encoding="utf-8")
        if text.count(mutant.old) != 1:
            return f"{mutant.file} has {text.count(mutant.old)} times: {mutant.old}"
        path.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
        command += [f"tests/{name}" for name in mutant.tests.split()]
        environment = {**os.environ, "PYTHONPATH": folder}
        done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False)
    if done.returncode == 1 or done.returncode < 0:  # tests were run, and some failed, or one fell over
        return None
    return done.stdout[-2000:] + done.stderr[-2000:]


def main(which: str = "") -> int:
    """Run all mutants; return how many the tests did not notice."""
    mutants = CUDA_MUTANTS if which == "cuda" else MUTANTS
    survivors = 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for mutant, said in zip(mutants, pool.map(survives, mutants), strict=True):
            print(f"{'noticed ' if said is None else 'SURVIVED'}  {mutant.what}", flush=True)
            if said is not None:
                survivors += 1
                print(said, file=sys.stderr)
    print(f"{len(mutants) - survivors} passed, {survivors} failed")
    return survivors


if __name__ == "__main__":
    sys.exit(min(main(*sys.argv[1:]), 1))
