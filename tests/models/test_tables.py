"""Potentials whose radial networks are replaced by tables of splines: error, consistency, refusals."""

from __future__ import annotations

import json
from pathlib import Path

import ase.build
import ase.io
import numpy as np
import pytest
from ase import Atoms
from models import small
from models.structures import numerical_forces, numerical_stress

from tpnumba.cli import main
from tpnumba.models import Potential, load, tables
from tpnumba.models.sevennet import read_sevennet

NAMES = ("energies", "forces", "stress")


def made(name: str, **options) -> Potential:
    network = small.NETWORKS[name]
    return Potential(network, small.random_weights(network, biases=True), **{"dtype": "float64", **options})


def error(potential: Potential, exact: Potential, atoms: Atoms, name: str) -> float:
    expected = getattr(exact.evaluate(atoms), name)
    return float(np.abs(getattr(potential.evaluate(atoms), name) - expected).max() / np.abs(expected).max())


@pytest.mark.parametrize("name", small.NETWORKS)
def test_error_follows_the_tolerance(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of energies as that of the tables, whose fourth power of the step forces fall behind by one."""
    exact, atoms, found = made(name), small.crystal(), {}
    for tolerance in (1e-4, 1e-6, 1e-8):
        monkeypatch.setattr(tables, "TOLERANCE", tolerance)
        potential = made(name, radial="spline")
        assert 0 < potential.radial_error <= tolerance
        found[tolerance] = [error(potential, exact, atoms, kind) for kind in NAMES]
        assert 0 < found[tolerance][0] < 20 * tolerance
        assert max(found[tolerance][1:]) < 20 * tolerance**0.75
    assert found[1e-8][0] < found[1e-4][0] / 100


@pytest.mark.parametrize("name", small.NETWORKS)
def test_forces_and_stress_are_slopes_of_its_energy(name: str) -> None:
    potential, atoms = made(name, radial="spline"), small.crystal()
    found = potential.evaluate(atoms)

    def energy(changed: Atoms) -> float:
        return potential.evaluate(changed).energy

    np.testing.assert_allclose(found.forces, numerical_forces(energy, atoms, 1e-4), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(found.stress, numerical_stress(energy, atoms, 1e-4), rtol=1e-6, atol=1e-6)


def test_coarse_tables_have_forces_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where energies are off by a percent, forces are still the slopes of these, and not those of the network."""
    monkeypatch.setattr(tables, "TOLERANCE", 0.2)
    monkeypatch.setattr("tpnumba.nn.spline._FEWEST_INTERVALS", 8)
    exact, potential, atoms = made("even"), made("even", radial="spline"), small.crystal()
    found = potential.evaluate(atoms)

    def energy(changed: Atoms) -> float:
        return potential.evaluate(changed).energy

    wanted = numerical_forces(energy, atoms, 1e-5)
    np.testing.assert_allclose(found.forces, wanted, rtol=1e-5, atol=1e-5)
    assert np.abs(found.forces - exact.evaluate(atoms).forces).max() > 1e-3


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_results_do_not_depend_on_the_number_of_threads(dtype: str) -> None:
    potential, atoms = made("odd", dtype=dtype, radial="spline"), small.crystal() * (4, 3, 3)
    results = [potential.evaluate(atoms, num_threads=threads) for threads in (1, 2, 3)]
    for other in results[1:]:
        for name in NAMES:
            assert getattr(other, name).tobytes() == getattr(results[0], name).tobytes()


def test_float32_agrees_with_float64() -> None:
    double, single = (made("odd", dtype=dtype, radial="spline") for dtype in ("float64", "float32"))
    for name in NAMES:
        assert 0 < error(single, double, small.crystal(), name) < 2e-5


def test_an_atom_without_neighbours() -> None:
    assert made("even", radial="spline").evaluate(Atoms("C")).energy == made("even").evaluate(Atoms("C")).energy


def test_of_a_file_and_by_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    potential, path, out = made("even", radial="spline"), tmp_path / "small.safetensors", tmp_path / "out.json"
    potential.save(path)
    ase.io.write(tmp_path / "atoms.xyz", small.crystal(), format="extxyz")
    atoms = ase.io.read(tmp_path / "atoms.xyz")
    loaded = load(path, dtype="float64", radial="spline")
    assert (loaded.radial, loaded.radial_error) == ("spline", potential.radial_error)
    command = ["evaluate", str(path), str(tmp_path / "atoms.xyz"), "--dtype", "float64", "--json", str(out)]
    for radial in ("spline", "network"):
        assert main([*command, "--radial", radial]) == 0
        written = json.loads(out.read_text())
        assert written["model"]["radial"] == radial
        expected = load(path, dtype="float64", radial=radial).evaluate(atoms)
        assert written["structures"][0]["energy"] == expected.energy
    assert loaded.evaluate(atoms).energy != expected.energy
    assert load(path).radial == "network"


def test_what_it_says_of_itself() -> None:
    plain, potential = made("even"), made("even", radial="spline")
    assert (plain.radial, plain.radial_error) == ("network", 0.0)
    assert repr(potential).endswith(f"float64, radial tables with an error of {potential.radial_error:.1e})")


def test_what_it_cannot_is_refused() -> None:
    with pytest.raises(ValueError, match="radial must be one of network, spline, got 'table'"):
        made("even", radial="table")
    with pytest.raises(ValueError, match="tables of splines have no gradients by the weights: use radial='network'"):
        made("even", radial="spline").gradients(small.crystal())
    network = small.NETWORKS["even"]
    weights = small.random_weights(network, biases=False)
    weights["interactions.1.radial"][3] = np.nan
    with pytest.raises(ValueError, match="function must be finite from start to cutoff"):
        Potential(network, weights, radial="spline")


@pytest.mark.parametrize("name", ["SevenNet_0__11Jul2024", "SevenNet_l3i5"])
def test_error_of_published_potentials(name: str, wheel: Path) -> None:
    """What the page of potentials says: within 1e-7 eV an atom and 1e-4 eV/A."""
    network, weights = read_sevennet(wheel, name=name)
    exact, *others = (
        Potential(network, weights, dtype=dtype, radial=radial)
        for dtype, radial in (("float64", "network"), ("float64", "spline"), ("float32", "spline"))
    )
    silicon = ase.build.bulk("Si", a=5.43, cubic=True) * (2, 1, 1)
    salt = ase.build.bulk("NaCl", "rocksalt", a=5.64, cubic=True)
    for atoms in (silicon, salt, ase.build.molecule("CH3CH2OH")):
        atoms.rattle(0.1, seed=1)
        expected = exact.evaluate(atoms)
        for potential, of_energy in zip(others, (1e-7, 1e-6), strict=True):
            found = potential.evaluate(atoms)
            assert abs(found.energy - expected.energy) < of_energy * len(atoms)
            assert np.abs(found.forces - expected.forces).max() < 1e-4
