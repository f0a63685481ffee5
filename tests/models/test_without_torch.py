"""The commands of the README, and dynamics, where no framework can be imported; they need the wheel of sevenn."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import ase.build
import ase.io
import numpy as np
import pytest
from models.dynamics import energy_slope

ROOT = Path(__file__).parents[2]

#: Run by every Python that starts with it in its path.
REFUSES = """
import sys

class Refuses:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "sevenn", "nequip", "e3nn", "jax", "tensorflow"):
            raise ImportError(f"{name} is not to be imported here")

sys.meta_path.insert(0, Refuses())
"""

#: 1,000 steps of 1 fs of eight atoms of silicon at about 300 K; prints the total energy after each.
DYNAMICS = """
import json, sys
import ase.build
import numpy as np
from ase import units
from ase.md.velocitydistribution import Stationary
from ase.md.verlet import VelocityVerlet
from tpnumba.interop.ase import Calculator
from tpnumba.models import load

atoms = ase.build.bulk("Si", a=5.43, cubic=True)
atoms.rattle(0.02, seed=1)
atoms.calc = Calculator(load(sys.argv[1], dtype="float64"))
spread = np.sqrt(atoms.get_masses() * units.kB * 600)
atoms.set_momenta(np.random.default_rng(1).standard_normal((8, 3)) * spread[:, None])
Stationary(atoms)
dynamics, energies = VelocityVerlet(atoms, 1.0 * units.fs), []
dynamics.attach(lambda: energies.append(atoms.get_total_energy()))
dynamics.run(1000)
loaded = sorted({name.partition(".")[0] for name in sys.modules} & {"torch", "sevenn", "e3nn", "jax"})
print(json.dumps({"energies": energies, "loaded": loaded, "moved": float(np.ptp(atoms.get_velocities()))}))
"""


@pytest.fixture
def folder(tmp_path: Path, wheel: Path) -> Path:
    """With the wheel, a crystal, and what refuses frameworks."""
    shutil.copy(wheel, tmp_path / "sevenn-0.13.0-py3-none-any.whl")
    (tmp_path / "refuses").mkdir()
    (tmp_path / "refuses" / "sitecustomize.py").write_text(REFUSES)
    ase.io.write(tmp_path / "crystal.cif", ase.build.bulk("NaCl", "rocksalt", a=5.64, cubic=True))
    return tmp_path


def python(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(folder / "refuses"), str(ROOT), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


def commands_of_the_readme() -> list[list[str]]:
    blocks = re.findall(r"```console\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL)
    (block,) = (block for block in blocks if "tpnumba convert" in block)
    return [shlex.split(line, comments=True) for line in block.splitlines() if line.startswith("tpnumba ")]


def test_the_refusal_works(folder: Path) -> None:
    found = python(folder, "-c", "import torch")
    assert found.returncode != 0
    assert "not to be imported here" in found.stderr


def test_the_commands_of_the_readme_give_the_energy_of_a_crystal(folder: Path) -> None:
    commands = commands_of_the_readme()
    assert [command[1] for command in commands] == ["convert", "evaluate"]
    for command in commands:
        arguments = [argument.replace("sevenn-*.whl", "sevenn-0.13.0-py3-none-any.whl") for argument in command[1:]]
        done = python(folder, "-m", "tpnumba", *arguments)
        assert done.returncode == 0, done.stderr
    header, line = done.stdout.splitlines()
    assert header.startswith("structure")
    name, _, atoms, energy, *_ = line.split()
    assert (name, atoms) == ("crystal.cif", "8")
    assert float(energy) / 8 == pytest.approx(-3.4, abs=0.1), "of sodium chloride by PBE, in eV an atom"


def test_dynamics_keep_their_energy(folder: Path) -> None:
    """The slope of the total energy is zero, within twice its standard error."""
    convert = ["convert", "sevenn-0.13.0-py3-none-any.whl", "model.safetensors", "--name", "SevenNet_0__11Jul2024"]
    done = python(folder, "-m", "tpnumba", *convert)
    assert done.returncode == 0, done.stderr
    (folder / "dynamics.py").write_text(DYNAMICS)
    done = python(folder, "dynamics.py", "model.safetensors")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["loaded"] == []
    assert found["moved"] > 0
    energies = np.array(found["energies"][1:])
    assert energies.shape == (1000,)
    slope, error = energy_slope(energies)
    print(f"slope {slope:.3e} +- {error:.1e} eV/ps, deviation {energies.std():.1e} eV")
    assert abs(slope) < 2 * error
    assert 0 < energies.std() < 1e-2


def test_the_page_of_potentials_runs(folder: Path) -> None:
    """And draws the figure that it shows."""
    page = (ROOT / "docs" / "potentials.md").read_text(encoding="utf-8")
    snippets = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    assert len(snippets) == 5
    (folder / "page.py").write_text("import matplotlib\nmatplotlib.use('agg')\n" + "\n".join(snippets))
    done = python(folder, "page.py")
    assert done.returncode == 0, done.stderr
    assert (folder / "dynamics.png").stat().st_size > 10_000
