"""Graphs of atoms: vectors, images and results are what ASE finds, and a cache of neighbours changes no bit of them."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import ase.build
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.lj import LennardJones as ASELennardJones
from ase.neighborlist import neighbor_list
from hypothesis import given
from hypothesis import strategies as st
from toy_potential import LennardJones

from tpnumba.models.graphs import Graph, GraphResult, NeighbourCache, graph_of, results_of

CUTOFF = 5.0


def copper(*, repeat: int = 2, rattle: float = 0.1) -> Atoms:
    atoms = ase.build.bulk("Cu", cubic=True) * (repeat, repeat, repeat)
    atoms.rattle(rattle, seed=1)
    return atoms


def structure(seed: int, n: int, size: float, skew: float, pbc: tuple[bool, bool, bool]) -> Atoms:
    """Atoms in and around a turned and skewed cell."""
    rng = np.random.default_rng(seed)
    turned = np.linalg.qr(rng.standard_normal((3, 3)))[0] * rng.uniform(0.5, 1.5, (3, 1)) * size
    cell = (np.eye(3) + np.tril(rng.uniform(-skew, skew, (3, 3)), -1)) @ turned
    return Atoms(f"C{n}", positions=rng.uniform(-2, 2, (n, 3)) * size, cell=cell, pbc=pbc)


structures = st.builds(
    structure,
    st.integers(0, 2**32 - 1),
    st.integers(1, 6),
    st.sampled_from([2.5, 6.0, 30.0]),
    st.sampled_from([0.0, 0.9, 3.0]),
    st.tuples(st.booleans(), st.booleans(), st.booleans()),
)


def rows(senders: np.ndarray, receivers: np.ndarray, shifts: np.ndarray) -> set[tuple[int, ...]]:
    return {tuple(row) for row in np.column_stack([senders, receivers, shifts]).tolist()}


@given(structures)
def test_edges_and_images_are_those_of_ase(atoms: Atoms) -> None:
    graph = graph_of(atoms, CUTOFF)
    i, j, shifts, vectors = neighbor_list("ijSD", atoms, CUTOFF)
    edges = graph.edges
    assert rows(edges.senders, edges.receivers, graph.shifts) == rows(j, i, shifts)
    assert len(edges) == len(i)
    assert edges.by_receiver.edges is None, "sorted by receiver"
    expected = atoms.positions[edges.senders] + graph.shifts @ atoms.cell.array - atoms.positions[edges.receivers]
    limit = 1e3 * np.finfo(np.float64).eps * (np.abs(atoms.positions).max() + np.abs(atoms.cell.array).sum())
    np.testing.assert_allclose(graph.vectors, expected, rtol=0, atol=limit)
    assert np.allclose(np.sort(np.linalg.norm(graph.vectors, axis=1)), np.sort(np.linalg.norm(vectors, axis=1)))


def assert_same(first: Graph, second: Graph) -> None:
    """Every bit."""
    assert first.edges == second.edges
    for name in ("numbers", "vectors", "shifts", "pbc"):
        assert getattr(first, name).tobytes() == getattr(second, name).tobytes()
    assert (first.cutoff, first.volume) == (second.cutoff, second.volume)


@given(structures, st.sampled_from([0.0, 0.3, 2.0]), st.integers(0, 2**32 - 1))
def test_a_cache_gives_the_graph_of_the_atoms_as_they_are(atoms: Atoms, skin: float, seed: int) -> None:
    rng, cache = np.random.default_rng(seed), NeighbourCache(CUTOFF, skin)
    for _ in range(6):
        atoms.positions += rng.normal(scale=0.1, size=atoms.positions.shape)
        assert_same(cache.graph(atoms), graph_of(atoms, CUTOFF))


def test_a_cache_lists_neighbours_when_an_atom_went_far_or_the_structure_is_another() -> None:
    atoms, cache = copper(), NeighbourCache(CUTOFF, 1.0)
    cache.graph(atoms)
    atoms.positions[3] += [0.49, 0, 0]
    atoms.positions[4] -= [0.49, 0, 0]
    cache.graph(atoms)
    assert cache.lists == 1
    atoms.positions[4] -= [0.02, 0, 0]
    cache.graph(atoms)
    assert cache.lists == 2

    def strain(a: Atoms) -> None:
        a.set_cell(a.cell * [[1.0], [1.0], [1.001]])

    changes = (
        strain,
        lambda a: a.set_pbc([True, True, False]),
        lambda a: a.numbers.__setitem__(0, 13),
        lambda a: a.__delitem__(0),
    )
    for count, change in enumerate(changes, 3):
        change(atoms)
        assert_same(cache.graph(atoms), graph_of(atoms, CUTOFF))
        assert cache.lists == count


def test_an_atom_that_is_wrapped_stays_where_it_was() -> None:
    atoms, cache = copper(), NeighbourCache(CUTOFF, 1.0)
    before = cache.graph(atoms)
    atoms.positions[0] += atoms.cell.array.sum(axis=0)
    after = cache.graph(atoms)
    assert_same(after, graph_of(atoms, CUTOFF))
    np.testing.assert_allclose(np.sort(before.vectors, axis=0), np.sort(after.vectors, axis=0), atol=1e-12)


def test_threads_share_a_cache() -> None:
    cache = NeighbourCache(CUTOFF, 0.4)
    moved = [copper(rattle=0.02 * step) for step in range(1, 25)]
    with ThreadPoolExecutor(8) as pool:
        graphs = list(pool.map(cache.graph, moved))
    for atoms, graph in zip(moved, graphs, strict=True):
        assert_same(graph, graph_of(atoms, CUTOFF))
    assert cache.lists < len(moved) + 8


def test_a_cache_is_copied_without_what_it_remembers() -> None:
    cache = NeighbourCache(CUTOFF, 0.7, elements=(29,))
    cache.graph(copper())
    for twin in (copy.deepcopy(cache), pickle.loads(pickle.dumps(cache))):
        assert (twin.cutoff, twin.skin, twin.elements, twin.lists) == (CUTOFF, 0.7, (29,), 0)
        assert_same(twin.graph(copper()), cache.graph(copper()))


def test_graphs_do_not_change_with_the_atoms() -> None:
    atoms = copper()
    graph = graph_of(atoms, CUTOFF)
    atoms.numbers[:] = 13
    assert set(graph.numbers) == {29}
    for array in (graph.numbers, graph.vectors, graph.shifts, graph.pbc):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


@pytest.mark.parametrize("pbc", [True, False, (True, True, False)])
def test_results_are_those_of_ases_lennard_jones(pbc) -> None:
    """Whose `smooth=False` is shifted, not tilted, at the cutoff: so the toy without its tilt."""
    atoms = copper(rattle=0.1)
    atoms.set_cell(atoms.cell @ np.array([[1.0, 0.1, 0], [0, 1, 0.05], [0, 0, 1]]), scale_atoms=True)
    atoms.pbc = pbc
    toy = LennardJones()
    pair = toy._pair
    toy._pair = lambda r: pair(r) if np.ndim(r) else (pair(r)[0], np.float64(0.0))
    found = toy.evaluate(atoms)
    atoms.calc = ASELennardJones(sigma=toy.sigma, epsilon=toy.epsilon, rc=toy.cutoff)
    assert found.energy == pytest.approx(atoms.get_potential_energy(), rel=1e-12)
    np.testing.assert_allclose(found.energies, atoms.get_potential_energies(), rtol=1e-10)
    np.testing.assert_allclose(found.forces, atoms.get_forces(), atol=1e-12)
    np.testing.assert_allclose(found.stress, atoms.get_stress(), atol=1e-14)


@pytest.mark.parametrize("size", [3.0, 6.0])
def test_forces_and_stress_are_slopes_of_the_energy(size: float) -> None:
    """Also in a cell smaller than the cutoff, where an atom is its own neighbour."""
    atoms = Atoms("Cu2", positions=[[0, 0, 0], [1.1, 1.3, 1.6]], cell=np.eye(3) * size, pbc=True)
    atoms.set_cell(atoms.cell @ np.array([[1, 0.2, 0.1], [0, 1, 0.1], [0.1, 0, 1]]), scale_atoms=True)
    toy, step = LennardJones(epsilon=1e-3), 1e-5
    found = toy.evaluate(atoms)

    def energy(move: np.ndarray, strain: np.ndarray) -> float:
        changed = atoms.copy()
        changed.positions += move
        changed.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
        return toy.evaluate(changed).energy

    for at in np.ndindex(2, 3):
        move = np.zeros((2, 3))
        move[at] = step
        slope = (energy(move, np.zeros((3, 3))) - energy(-move, np.zeros((3, 3)))) / (2 * step)
        assert found.forces[at] == pytest.approx(-slope, rel=1e-6, abs=1e-8)
    for number, (a, b) in enumerate([(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]):
        strain = np.zeros((3, 3))
        strain[a, b] += step / 2
        strain[b, a] += step / 2
        slope = (energy(np.zeros((2, 3)), strain) - energy(np.zeros((2, 3)), -strain)) / (2 * step)
        assert found.stress[number] == pytest.approx(slope / atoms.get_volume(), rel=1e-6, abs=1e-9)


class Uneven:
    """An edge has as much energy as its receiver's number says, so that its gradient is not that of the edge back."""

    @staticmethod
    def evaluate(atoms: Atoms):
        graph = graph_of(atoms, 4.0)
        r = np.linalg.norm(graph.vectors, axis=1)
        scale = 1.0 + graph.edges.receivers
        energies = np.bincount(graph.edges.receivers, weights=scale * (4.0 - r) ** 3, minlength=len(atoms))
        return results_of(graph, GraphResult(energies, (-3 * scale * (4.0 - r) ** 2 / r)[:, None] * graph.vectors))


def test_both_ends_of_an_edge_are_pulled() -> None:
    atoms = Atoms("C3", positions=[[0, 0, 0], [1.5, 0.3, 0.2], [0.4, 1.7, 1.1]], cell=[5.0, 5.5, 6.0], pbc=True)
    found, step = Uneven.evaluate(atoms), 1e-5
    np.testing.assert_allclose(found.forces.sum(axis=0), 0, atol=1e-12)
    for at in np.ndindex(3, 3):
        energies = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.positions[at] += sign * step
            energies.append(Uneven.evaluate(moved).energy)
        assert found.forces[at] == pytest.approx((energies[1] - energies[0]) / (2 * step), rel=1e-6, abs=1e-7)


def test_only_a_cell_of_three_vectors_has_a_stress() -> None:
    molecule = ase.build.molecule("CO")
    assert LennardJones().evaluate(molecule).stress is None
    molecule.set_cell([10, 10, 0])
    assert LennardJones().evaluate(molecule).stress is None
    molecule.set_cell([10, 10, 10])
    assert LennardJones().evaluate(molecule).stress.shape == (6,)


def test_an_isolated_atom_has_no_edge() -> None:
    graph = graph_of(Atoms("C"), CUTOFF)
    assert len(graph.edges) == 0
    found = results_of(graph, GraphResult(np.array([2.5], dtype=np.float32), np.zeros((0, 3), dtype=np.float32)))
    assert (found.energy, found.forces.tolist()) == (2.5, [[0, 0, 0]])


def test_an_atom_at_the_cutoff_is_no_neighbour() -> None:
    for distance, count in ((CUTOFF, 0), (np.nextafter(CUTOFF, 0), 2)):
        assert len(graph_of(Atoms("C2", positions=[[0, 0, 0], [0, 0, distance]]), CUTOFF).edges) == count


def changed(change) -> Atoms:
    atoms = copper(rattle=0)
    change(atoms)
    return atoms


@pytest.mark.parametrize(
    ("atoms", "message"),
    [
        (Atoms(), "the structure holds no atoms"),
        (changed(lambda a: a.numbers.__setitem__(5, 95)), r"element of atom 5 \(Am\), atomic number 95; it knows C, O"),
        (changed(lambda a: a.numbers.__setitem__(5, 0)), r"element of atom 5 \(X\), atomic number 0"),
        (changed(lambda a: a.numbers.__setitem__(5, 200)), r"element of atom 5 \(Z = 200\)"),
        (
            changed(lambda a: a.positions.__setitem__((7, 1), np.nan)),
            r"finite.*atom 7 \(Cu\) of 32 is at \(.* nan .*\)",
        ),
        (
            changed(lambda a: a.positions.__setitem__((7, 1), np.inf)),
            r"finite.*atom 7 \(Cu\) of 32 is at \(.* inf .*\)",
        ),
        (changed(lambda a: a.positions.__setitem__((7, 1), 1e200)), "finite, and so must their squares"),
        (changed(lambda a: a.cell.__setitem__((1, 1), np.nan)), "the cell has vectors that are not finite"),
        (changed(lambda a: a.set_cell([[1, 0, 0], [2, 0, 0], [0, 0, 1]])), "the cell is flat"),
        (
            changed(lambda a: a.positions.__setitem__(7, a.positions[2])),
            r"atoms overlap: atom 2 \(Cu\) and atom 7 \(Cu\) are 0 angstrom apart",
        ),
        (
            changed(lambda a: a.positions.__setitem__(7, a.positions[2] + a.cell.array[1])),
            r"atoms overlap: atom 2 \(Cu\) and an image of atom 7 \(Cu\) are",
        ),
    ],
)
def test_what_no_potential_can_evaluate_is_refused(atoms: Atoms, message: str) -> None:
    elements = (6, 8, 29)
    for evaluate in (
        lambda: graph_of(atoms, CUTOFF, elements=elements),
        lambda: NeighbourCache(CUTOFF, 1.0, elements=elements).graph(atoms),
    ):
        with pytest.raises(ValueError, match=message):
            evaluate()


def test_known_elements_are_listed_shortly() -> None:
    elements = tuple(number for number in range(1, 95) if number not in {84, 85, 86, 87, 88})
    with pytest.raises(ValueError, match="89 elements from H to Pu but Po, At, Rn, Fr, Ra"):
        graph_of(Atoms("Rn"), CUTOFF, elements=elements)


def test_other_arguments_are_refused() -> None:
    with pytest.raises(TypeError, match=r"as ase\.Atoms has, got list"):
        graph_of([1, 2], CUTOFF)
    for cutoff in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match="cutoff must be a finite length above 0 angstrom"):
            graph_of(Atoms("C"), cutoff)
    for skin in (-1.0, np.nan):
        with pytest.raises(ValueError, match="skin must be a finite length of at least 0 angstrom"):
            NeighbourCache(CUTOFF, skin)
    with pytest.raises(ValueError, match=r"must have shapes \(1,\) and \(0, 3\), got \(2,\)"):
        results_of(graph_of(Atoms("C"), CUTOFF), GraphResult(np.zeros(2), np.zeros((0, 3))))


def test_a_box_that_is_nearly_empty_costs_no_more_than_its_atoms() -> None:
    atoms = copper()
    atoms.set_cell(np.eye(3) * 1e6)
    assert len(graph_of(atoms, CUTOFF).edges) == len(graph_of(Atoms(atoms.symbols, atoms.positions), CUTOFF).edges)
