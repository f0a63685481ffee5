"""The calculator in the hands of ASE: dynamics, relaxations, sockets, copies, threads."""

from __future__ import annotations

import copy
import pickle
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import ase.build
import ase.io
import numpy as np
import pytest
from ase import Atoms, units
from ase.calculators.calculator import PropertyNotImplementedError, PropertyNotPresent
from ase.calculators.socketio import SocketClient, SocketIOCalculator
from ase.filters import FrechetCellFilter
from ase.md.verlet import VelocityVerlet
from ase.optimize import BFGS
from toy_potential import LennardJones

from tpnumba.interop.ase import Calculator

PROPERTIES = ("energy", "free_energy", "energies", "forces", "stress")


def argon(*, repeat: int = 2, seed: int = 1) -> Atoms:
    atoms = ase.build.bulk("Ar", a=3.8, cubic=True) * (repeat, repeat, repeat)
    atoms.rattle(0.1, seed=seed)
    return atoms


class Counting(LennardJones):
    """Counts its evaluations."""

    def __init__(self, *args, **options) -> None:
        super().__init__(*args, **options)
        self.evaluations, self.threads = 0, None

    def evaluate_graph(self, graph, *, num_threads=None):
        self.evaluations += 1
        self.threads = num_threads
        return super().evaluate_graph(graph)


def test_properties_are_those_of_the_potential() -> None:
    atoms, model = argon(), Counting()
    atoms.calc = Calculator(model, num_threads=2)
    found = LennardJones().evaluate(atoms)
    assert atoms.get_potential_energy() == atoms.get_potential_energy(force_consistent=True) == found.energy
    np.testing.assert_array_equal(atoms.get_potential_energies(), found.energies)
    np.testing.assert_array_equal(atoms.get_forces(), found.forces)
    np.testing.assert_array_equal(atoms.get_stress(), found.stress)
    assert (model.evaluations, model.threads) == (1, 2)
    atoms.get_forces()[:] = 0
    np.testing.assert_array_equal(atoms.get_forces(), found.forces)


@pytest.mark.parametrize(
    ("change", "again"),
    [
        (lambda a: a.positions.__setitem__((0, 0), a.positions[0, 0] + 1e-9), True),
        (lambda a: a.set_cell(a.cell * 1.01), True),
        (lambda a: a.set_pbc(False), True),
        (lambda a: a.numbers.__setitem__(0, 29), True),
        (lambda a: a.set_initial_charges([1.0] * len(a)), False),
        (lambda a: a.set_initial_magnetic_moments([1.0] * len(a)), False),
        (lambda a: a.set_momenta(np.ones((len(a), 3))), False),
    ],
)
def test_what_changes_a_result_is_calculated_again(change, again: bool) -> None:
    atoms, model = argon(), Counting()
    atoms.calc = Calculator(model)
    atoms.get_forces()
    change(atoms)
    expected = LennardJones().evaluate(atoms)
    assert atoms.get_potential_energy() == expected.energy
    np.testing.assert_array_equal(atoms.get_forces(), expected.forces)
    assert model.evaluations == 1 + again


def test_a_molecule_has_no_stress() -> None:
    atoms = Atoms("Ar2", positions=[[0, 0, 0], [0, 0, 3]], calculator=Calculator(LennardJones()))
    assert atoms.get_forces()[0, 2] == -atoms.get_forces()[1, 2]
    with pytest.raises(PropertyNotImplementedError, match="no three independent vectors"):
        atoms.get_stress()
    with pytest.raises(PropertyNotImplementedError):
        atoms.get_dipole_moment()
    with pytest.raises(PropertyNotPresent, match="nothing was calculated yet"):
        Calculator(LennardJones()).get_property("energy")


def test_errors_leave_no_results_behind() -> None:
    atoms = argon()
    atoms.calc = Calculator(LennardJones())
    atoms.get_potential_energy()
    atoms.numbers[3] = 95
    for _ in range(2):
        with pytest.raises(ValueError, match=r"atom 3 \(Am\)"):
            atoms.get_potential_energy()
    atoms.numbers[3] = 18
    assert atoms.get_potential_energy() == LennardJones().evaluate(atoms).energy


def test_dynamics_conserve_energy_and_do_not_depend_on_the_skin() -> None:
    ends = []
    for skin in (0.0, 0.6):
        atoms = argon()
        speeds = np.random.default_rng(2).standard_normal((len(atoms), 3))
        atoms.set_momenta(np.sqrt(60 * units.kB * atoms.get_masses())[:, None] * speeds)
        atoms.calc = Calculator(LennardJones(), skin=skin)
        energies = []
        run = VelocityVerlet(atoms, timestep=2 * units.fs)
        run.attach(lambda atoms=atoms, energies=energies: energies.append(atoms.get_total_energy()))
        run.run(200)
        kinetic = atoms.get_kinetic_energy()
        assert np.ptp(energies) < 0.01 * kinetic
        lists = atoms.calc._neighbours.lists
        assert lists == 201 if skin == 0 else 1 < lists < 50
        ends.append(atoms.positions)
    assert ends[0].tobytes() == ends[1].tobytes()


def test_relaxation_with_its_cell() -> None:
    atoms = argon()
    atoms.set_cell(atoms.cell @ np.array([[1.02, 0.03, 0], [0, 0.99, 0], [0.01, 0, 1.0]]), scale_atoms=True)
    atoms.calc = Calculator(LennardJones())
    assert BFGS(FrechetCellFilter(atoms), logfile=None).run(fmax=1e-4, steps=200)
    assert np.abs(atoms.get_forces()).max() < 1e-4
    assert np.abs(atoms.get_stress()).max() * atoms.get_volume() / len(atoms) < 1e-3


def test_sockets_give_what_the_calculator_gives(tmp_path) -> None:
    """The protocol of i-PI, through a socket of the file system."""
    name = f"tpnumba-{tmp_path.name}"
    expected = argon()
    expected.calc = Calculator(LennardJones())
    atoms = argon()
    with SocketIOCalculator(unixsocket=name, timeout=60) as server:
        remote = argon()
        remote.calc = Calculator(LennardJones())
        client = SocketClient(unixsocket=name, timeout=60)
        thread = threading.Thread(target=client.run, args=(remote,), kwargs={"use_stress": True})
        thread.start()
        atoms.calc = server
        for _ in range(3):
            np.testing.assert_allclose(atoms.get_forces(), expected.get_forces(), atol=1e-10)
            np.testing.assert_allclose(atoms.get_stress(), expected.get_stress(), atol=1e-12)
            for moved in (atoms, expected):
                moved.rattle(0.02, seed=3)
    thread.join(60)
    assert not thread.is_alive()


def test_copies_and_pickles() -> None:
    atoms = argon()
    atoms.calc = Calculator(LennardJones(), skin=0.7, num_threads=3)
    energy = atoms.get_potential_energy()
    for twin in (copy.copy(atoms.calc), copy.deepcopy(atoms.calc), pickle.loads(pickle.dumps(atoms.calc))):
        assert (twin._neighbours.skin, twin.num_threads, twin.results) == (0.7, 3, {})
        assert twin.get_potential_energy(atoms) == energy
    assert copy.deepcopy(atoms.calc).model is atoms.calc.model
    assert copy.deepcopy(atoms).get_potential_energy() == energy


def test_threads_that_share_a_calculator_get_their_own_results() -> None:
    calculator = Calculator(LennardJones())
    structures = [argon(seed=seed, repeat=1 + seed % 2) for seed in range(1, 13)]
    expected = [LennardJones().evaluate(atoms) for atoms in structures]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            names = [(i, name) for i in range(12) for name in PROPERTIES for _ in range(4)]
            found = list(pool.map(lambda job: calculator.get_property(job[1], structures[job[0]]), names))
    finally:
        sys.setswitchinterval(before)
    for (i, name), value in zip(names, found, strict=True):
        np.testing.assert_array_equal(value, getattr(expected[i], name.removeprefix("free_")))


def test_results_travel_with_written_structures(tmp_path) -> None:
    atoms = argon()
    atoms.calc = Calculator(LennardJones())
    atoms.get_forces()
    ase.io.write(tmp_path / "a.xyz", atoms)
    read = ase.io.read(tmp_path / "a.xyz")
    assert read.get_potential_energy() == pytest.approx(atoms.get_potential_energy(), rel=1e-7)
    np.testing.assert_allclose(read.get_forces(), atoms.get_forces(), atol=1e-7)
