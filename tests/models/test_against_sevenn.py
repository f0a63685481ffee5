"""The checkpoints of SevenNet against the package sevenn on torch: energies of atoms, forces and stress.

In float32, as users run both; and in float64, against the original rebuilt in float64 with exact Clebsch-Gordan
coefficients, and with those that its checkpoint has in float32.
"""

from __future__ import annotations

import functools
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ase.build
import numpy as np
import pytest
from ase import Atoms

from tpnumba.models import Potential
from tpnumba.tables.clebsch_gordan import clebsch_gordan

pytest.importorskip("sevenn", reason="sevenn 0.13.0 is to be installed, with torch==2.13.0 before it")

#: Raised by sevenn and what it imports.
pytestmark = pytest.mark.filterwarnings("ignore")

Checkpoint = tuple[str, str | None]


def crystal(name: str, structure: str, repeat: tuple[int, int, int], **cell: Any) -> Atoms:
    atoms = ase.build.bulk(name, structure, cubic=structure != "hcp", **cell) * repeat
    atoms.rattle(0.08, seed=3)
    return atoms


def triclinic() -> Atoms:
    atoms = crystal("MgO", "rocksalt", (1, 1, 1), a=4.2)
    strain = np.array([[1.03, 0.2, -0.1], [0.0, 0.97, 0.15], [0.0, 0.0, 1.02]])
    atoms.set_cell(atoms.cell.array @ strain, scale_atoms=True)
    atoms.wrap()
    return atoms


def slab() -> Atoms:
    atoms = ase.build.fcc111("Pt", (2, 2, 3), vacuum=8.0)
    ase.build.add_adsorbate(atoms, ase.build.molecule("CO"), 1.9, "ontop")
    atoms.rattle(0.05, seed=5)
    return atoms


def molecule(name: str) -> Atoms:
    atoms = ase.build.molecule(name)
    atoms.rattle(0.05, seed=1)
    return atoms


def smaller_than_the_cutoff() -> Atoms:
    atoms = ase.build.bulk("Cu", "fcc", a=3.6)
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + 0.03 * np.tri(3)), scale_atoms=True)
    return atoms


STRUCTURES: dict[str, Callable[[], Atoms]] = {
    "NaCl": lambda: crystal("NaCl", "rocksalt", (2, 1, 1), a=5.64),
    "Si": lambda: crystal("Si", "diamond", (2, 1, 1), a=5.43),
    "Ti": lambda: crystal("Ti", "hcp", (2, 2, 1), a=2.95, c=4.68),
    "triclinic": triclinic,
    "slab": slab,
    "ethanol": lambda: molecule("CH3CH2OH"),
    "SiF4": lambda: molecule("SiF4"),
    "small cell": smaller_than_the_cutoff,
    "atom": lambda: Atoms("Fe"),
    "atom in a cell": lambda: Atoms("O", cell=[20, 20, 20], pbc=True),
}


class Original:
    """A checkpoint as sevenn evaluates it; ``coefficients``: ``loaded`` or ``exact``."""

    def __init__(self, path: Path, modal: str | None, dtype: str, coefficients: str) -> None:
        import torch
        from sevenn.calculator import SevenNetCalculator

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.calculator = SevenNetCalculator(str(path), device="cpu", **({"modal": modal} if modal else {}))
        if dtype == "float64":
            self._rebuild(torch, coefficients == "exact")

    def _rebuild(self, torch: Any, exact: bool) -> None:
        """In float64; sevenn asks no one for the precision, so that its inputs are made anew too."""
        self.calculator.model.double()
        changed = 0
        for name, buffer in self.calculator.model.named_buffers():
            if exact and "_w3j_" in name:
                degrees = [int(number) for number in name.split("_w3j_")[1].split("_")]
                table = torch.from_numpy(clebsch_gordan(*degrees))
                sign = torch.sign(torch.sum(table * buffer))
                assert torch.allclose(buffer, sign * table, rtol=0, atol=1e-6)
                buffer.copy_(sign * table)
                changed += 1
        assert changed > 0 or not exact

    def evaluate(self, atoms: Atoms, dtype: str) -> dict[str, Any]:
        import torch
        from sevenn.atom_graph_data import AtomGraphData
        from sevenn.train.dataload import unlabeled_atoms_to_graph

        calculator = self.calculator
        if dtype == "float32":
            calculator.calculate(atoms.copy())
            return calculator.results
        before = torch.get_default_dtype()
        torch.set_default_dtype(torch.float64)
        try:
            graph = unlabeled_atoms_to_graph(atoms, calculator.cutoff, with_shift=False)
            data = AtomGraphData.from_numpy_dict(graph)
            if calculator.modal:
                data["data_modality"] = calculator.modal
            for key in ("pos", "edge_vec", "cell_lattice_vectors", "cell_volume"):
                if key in data:
                    data[key] = torch.as_tensor(np.asarray(graph[key], dtype=np.float64))
            return calculator.output_to_results(calculator.model(data))
        finally:
            torch.set_default_dtype(before)


@pytest.fixture(scope="session")
def original(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Original]:
    """Checkpoints on torch, each made once; those of the wheel, which need not be the package's that is installed."""
    folder = tmp_path_factory.mktemp("checkpoints")
    with zipfile.ZipFile(wheel) as archive:
        for entry in archive.namelist():
            if entry.endswith(".pth"):
                (folder / f"{entry.split('/')[-2]}.pth").write_bytes(archive.read(entry))

    @functools.cache
    def made(name: str, modal: str | None, dtype: str, coefficients: str) -> Original:
        return Original(folder / f"{name}.pth", modal, dtype, coefficients)

    return made


def compared(
    potential: Potential, original: Original, dtype: str, structures: Iterator[tuple[str, Atoms]] | None = None
) -> dict[str, float]:
    """The largest differences over structures: of energies relative to those of atoms, of forces and stress."""
    worst = {"energy": 0.0, "energies": 0.0, "forces": 0.0, "stress": 0.0}
    for _, atoms in structures or ((name, make()) for name, make in STRUCTURES.items()):
        found, expected = potential.evaluate(atoms), original.evaluate(atoms, dtype)
        an_atom = abs(expected["energy"]) / len(atoms)
        differences = {
            "energy": abs(found.energy - expected["energy"]) / len(atoms) / an_atom,
            "energies": np.abs(found.energies - expected["energies"]).max() / np.abs(expected["energies"]).max(),
            "forces": np.abs(found.forces - expected["forces"]).max(),
        }
        if found.stress is not None:
            differences["stress"] = np.abs(found.stress - expected["stress"]).max()
        worst = {key: max(value, float(differences.get(key, 0.0))) for key, value in worst.items()}
    return worst


def test_float32(checkpoint: Checkpoint, read, original) -> None:
    found = compared(read(checkpoint, "float32"), original(*checkpoint, "float32", "loaded"), "float32")
    print(found)
    assert found["energy"] < 1e-5
    assert found["energies"] < 1e-5
    assert found["forces"] < 1e-4
    assert found["stress"] < 1e-5


@pytest.mark.parametrize(("coefficients", "bound"), [("exact", 1e-9), ("loaded", 1e-6)])
def test_float64(checkpoint: Checkpoint, read, original, coefficients: str, bound: float) -> None:
    found = compared(read(checkpoint), original(*checkpoint, "float64", coefficients), "float64")
    print(found)
    assert found["energy"] < bound
    assert found["energies"] < bound
    assert found["forces"] < bound * 10
    assert found["stress"] < bound


def test_every_element(checkpoint: Checkpoint, read, original) -> None:
    """Alone, and with two others of the first row around it."""
    potential = read(checkpoint, "float32")

    def structures() -> Iterator[tuple[str, Atoms]]:
        for number in potential.elements:
            positions = [[0, 0, 0], [0.2, 0.1, 2.0], [-0.4, 2.1, 0.7]]
            yield str(number), Atoms(numbers=[number, 8, 6], positions=positions)
            yield str(number), Atoms(numbers=[number])

    found = compared(potential, original(*checkpoint, "float32", "loaded"), "float32", structures())
    print(found)
    assert found["energies"] < 1e-5
    assert found["forces"] < 1e-4
