"""Energies, forces and stress of SevenNet's published networks are those of ``sevenn``. Runs in the session ``sevenn``.

In float64, with the original rebuilt in float64, to rounding; in float32, with the original as it loads itself.
"""

from __future__ import annotations

import warnings
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule

from tpnumba.models import Potential, Results, load
from tpnumba.models.sevennet import read_sevennet

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what sevenn and e3nn use of torch is on its way out; their numbers are not
    pytest.importorskip("sevenn", reason="needs sevenn 0.13 and torch==2.13.0 (session sevenn)")
    from models.against_sevenn.original import (
        BIASED,
        CHECKPOINTS,
        INFERRED,
        OTHER,
        RELU,
        Numbers,
        Original,
        write_checkpoint,
    )

pytestmark = pytest.mark.filterwarnings("ignore")

NETWORKS = (
    ("SevenNet_0__11Jul2024", None),
    ("SevenNet_0__22May2024", None),
    ("SevenNet_MF_0", "PBE"),
    ("SevenNet_MF_0", "R2SCAN"),
    ("SevenNet_l3i5", None),
)


def rattled(atoms: Atoms, seed: int) -> Atoms:
    atoms.rattle(0.1, seed=seed)
    return atoms


def triclinic() -> Atoms:
    cell = [[4.1, 0.2, -0.3], [1.1, 3.7, 0.4], [-0.8, 0.9, 5.0]]
    places = [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0.02], [0.48, 0, 0.5], [0, 0.5, 0.55]]
    return Atoms("LaFeO3", scaled_positions=places, cell=cell, pbc=True)


STRUCTURES = {
    "NaCl": rattled(bulk("NaCl", "rocksalt", a=5.64, cubic=True), 1),
    "Si": rattled(bulk("Si", cubic=True), 2),
    "ethanol": rattled(molecule("CH3CH2OH"), 3),
    "two atoms, one far": Atoms("HFAr", positions=[[0, 0, 0], [0.1, 0.2, 0.9], [0, 40, 0]]),
    "triclinic": triclinic(),
    "cell below the cutoff": bulk("Cu", a=3.6),
    "slab": rattled(fcc111("Pt", (1, 1, 3), vacuum=6.0), 5),
    "one atom": Atoms("O", cell=[20, 20, 20], pbc=True),
}


def all_elements(elements: tuple[int, ...]) -> Atoms:
    """Every element once, at random places of a lattice."""
    rng = np.random.default_rng(6)
    places = rng.permutation(np.stack(np.meshgrid(*[np.arange(5)] * 3, indexing="ij"), -1).reshape(-1, 3))
    positions = 2.8 * places[: len(elements)] + rng.uniform(-0.2, 0.2, (len(elements), 3))
    return Atoms(list(elements), positions=positions, cell=[14.0] * 3, pbc=True)


@cache
def both(path: Path, modal: str | None, dtype: str) -> tuple[Original, Potential]:
    return Original(path, dtype), Potential(*read_sevennet(path, modal=modal), dtype=dtype)


def check(path: Path, modal: str | None, atoms: Atoms, dtype: str) -> None:
    original, ours = both(path, modal, dtype)
    compare(ours.evaluate(atoms), original.evaluate(atoms, modal), dtype)


def compare(found: Results, expected: Numbers, dtype: str) -> None:
    scale = np.abs(expected.energies).max()
    limits: dict[str, Any] = {"float64": (1e-13 * scale, 1e-12, 1e-13), "float32": (5e-6 * scale, 5e-5, 1e-6)}
    for name, limit in zip(("energies", "forces", "stress"), limits[dtype], strict=True):
        value = getattr(found, name)
        if value is not None:  # of molecules, sevenn divides by a volume that is none
            np.testing.assert_allclose(value, getattr(expected, name), rtol=0, atol=limit, err_msg=name)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize(("name", "modal"), NETWORKS)
def test_published_networks(name: str, modal: str | None, structure: str, dtype: str) -> None:
    check(CHECKPOINTS[name], modal, STRUCTURES[structure], dtype)


@pytest.mark.parametrize(("name", "modal"), NETWORKS)
def test_every_element(name: str, modal: str | None) -> None:
    _, ours = both(CHECKPOINTS[name], modal, "float64")
    assert len(ours.elements) == 89
    check(CHECKPOINTS[name], modal, all_elements(ours.elements), "float64")


@pytest.fixture(
    scope="module",
    params=[{}, OTHER, BIASED, INFERRED, RELU],
    ids=["published", "other settings", "biases", "inferred", "relu"],
)
def of_today(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint as the newest release writes it: the products in another order, today's coefficients."""
    path = tmp_path_factory.mktemp("today") / "checkpoint.pth"
    write_checkpoint(path, CHECKPOINTS["SevenNet_l3i5"], request.param)
    return path


def test_checkpoints_of_the_newest_release(of_today: Path) -> None:
    for structure in ("ethanol", "triclinic"):
        check(of_today, None, STRUCTURES[structure], "float64")


def test_biases_beside_fidelities(tmp_path: Path) -> None:
    """Those of a fidelity are added to those of a linear map."""
    write_checkpoint(tmp_path / "both.pth", CHECKPOINTS["SevenNet_MF_0"], BIASED)
    energies = []
    for modal in ("PBE", "R2SCAN"):
        check(tmp_path / "both.pth", modal, STRUCTURES["triclinic"], "float64")
        energies.append(both(tmp_path / "both.pth", modal, "float64")[1].evaluate(STRUCTURES["triclinic"]).energy)
    assert abs(energies[0] - energies[1]) > 1e-3


def test_a_file_has_the_numbers_of_its_checkpoint(tmp_path: Path) -> None:
    path, modal = CHECKPOINTS["SevenNet_MF_0"], "PBE"
    original, ours = both(path, modal, "float64")
    ours.save(tmp_path / "model.safetensors")
    loaded = load(tmp_path / "model.safetensors", dtype="float64")
    compare(loaded.evaluate(STRUCTURES["Si"]), original.evaluate(STRUCTURES["Si"], modal), "float64")


@pytest.mark.parametrize(("version", "message"), [("0.14.0", "of sevenn 0.14.0, and those up to 0.13"), (None, "None")])
def test_a_later_release_is_refused(version: str | None, message: str, tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "later.pth", CHECKPOINTS["SevenNet_0__11Jul2024"], {}, version=version)
    with pytest.raises(ValueError, match=message):
        read_sevennet(tmp_path / "later.pth")


def test_the_fidelity_is_one_that_the_network_has() -> None:
    for modal in (None, "SCAN"):
        with pytest.raises(ValueError, match=f"modal must be one of R2SCAN, PBE, got {modal!r}"):
            read_sevennet(CHECKPOINTS["SevenNet_MF_0"], modal=modal)
    with pytest.raises(ValueError, match="modal 'PBE' was asked for, but the model has one fidelity only"):
        read_sevennet(CHECKPOINTS["SevenNet_l3i5"], modal="PBE")


def test_other_coefficients_are_refused(tmp_path: Path) -> None:
    def spoil(state: dict[str, Any]) -> None:
        (name, *_) = [name for name in state if name.endswith("_w3j_1_2_2")]
        state[name] = state[name] * 1.01

    write_checkpoint(tmp_path / "other.pth", CHECKPOINTS["SevenNet_l3i5"], {}, edit=spoil)
    with pytest.raises(ValueError, match=r"_w3j_1_2_2 are not those of the degrees 1, 2, 2"):
        read_sevennet(tmp_path / "other.pth")
