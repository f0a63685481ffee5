"""Neighbours: as many as a count over all images finds, whatever the cell, and at a cost that follows the atoms."""

from __future__ import annotations

import itertools
import tracemalloc

import ase
import numpy as np
import pytest
from ase.neighborlist import neighbor_list
from hypothesis import given
from hypothesis import strategies as st

from tpnumba.structures.neighbours import neighbour_list, neighbour_pairs, periods

CUTOFF = 5.0
OPEN = np.zeros((0, 3))


def all_distances(positions: np.ndarray, lattice: np.ndarray, cutoff: float) -> list[np.ndarray]:
    """Of each atom, sorted: by going through every image that could be near enough, with margin."""
    shifts = np.zeros((1, 3))
    if len(lattice):
        dual = np.linalg.pinv(lattice)
        reach = np.ptp(positions @ dual, axis=0) + cutoff * np.linalg.norm(dual, axis=0)
        shifts = np.array(list(itertools.product(*(range(-int(r) - 1, int(r) + 2) for r in reach)))) @ lattice
    between = (positions[None, :, None] + shifts - positions[:, None, None]).reshape(len(positions), -1, 3)
    distances = np.sort(np.linalg.norm(between, axis=-1), axis=1)
    return [row[1:][row[1:] <= cutoff] for row in distances]  # the first is the atom itself


def found_distances(positions: np.ndarray, lattice: np.ndarray, cutoff: float) -> list[np.ndarray]:
    centres, vectors = neighbour_pairs(positions, lattice, cutoff)
    distances = np.linalg.norm(vectors, axis=1)
    return [np.sort(distances[centres == atom]) for atom in range(len(positions))]


def random_cell(rng: np.random.Generator, size: float, skew: float) -> np.ndarray:
    """Orthogonal vectors of at least half that length, turned, and each mixed with those before it."""
    turned = np.linalg.qr(rng.standard_normal((3, 3)))[0] * rng.uniform(0.5, 1.5, (3, 1)) * size
    mixed = np.eye(3) + np.tril(rng.uniform(-skew, skew, (3, 3)), -1)
    return mixed @ turned


@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 6),
    size=st.sampled_from([2.5, 6.0, 30.0]),
    skew=st.sampled_from([0.0, 0.9, 3.0]),
    pbc=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    spread=st.sampled_from([0.4, 3.0]),
)
def test_pairs_are_those_of_a_count_over_all_images(
    seed: int, n: int, size: float, skew: float, pbc: tuple[bool, bool, bool], spread: float
) -> None:
    """In skewed cells, cells smaller than the cutoff, mixed periods, atoms far outside; and ASE finds as many."""
    rng = np.random.default_rng(seed)
    cell = random_cell(rng, size, skew)
    positions = rng.uniform(-spread, spread, (n, 3)) * size
    found = found_distances(positions, periods(cell, np.array(pbc)), CUTOFF)
    expected = all_distances(positions, cell[list(pbc)], CUTOFF)
    limit = 1e3 * np.finfo(np.float64).eps * (np.abs(positions).max() + np.abs(cell).sum())
    for mine, theirs in zip(found, expected, strict=True):
        assert len(mine) == len(theirs)
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=limit)
    centres = neighbor_list("i", ase.Atoms(f"C{n}", positions=positions, cell=cell, pbc=pbc), CUTOFF)
    assert [len(mine) for mine in found] == np.bincount(centres, minlength=n).tolist()


def test_vectors_lead_to_the_neighbours() -> None:
    rng = np.random.default_rng(1)
    lattice = random_cell(rng, 4.0, 2.0)
    positions = rng.uniform(-10, 10, (5, 3))
    centres, vectors = neighbour_pairs(positions, lattice, CUTOFF)
    ends = positions[centres] + vectors
    fractions = (ends[:, None] - positions) @ np.linalg.inv(lattice)
    away = np.abs(fractions - np.round(fractions)).max(axis=-1).min(axis=-1)
    assert away.max() < 1e3 * np.finfo(np.float64).eps * 20


def test_pairs_come_in_both_orders() -> None:
    rng = np.random.default_rng(2)
    _, vectors = neighbour_pairs(rng.uniform(0, 9, (40, 3)), np.diag([9.0, 9.0, 9.0])[:2], CUTOFF)
    forth, back = (vectors[np.lexsort(np.round(vectors, 6).T)], -vectors[np.lexsort(np.round(-vectors, 6).T)])
    np.testing.assert_allclose(forth, back, atol=1e-12)


@pytest.mark.parametrize("length", [5.0, 2.5, 5.0 / 3])
def test_neighbours_at_the_cutoff_are_within_it(length: float) -> None:
    """Six of them at a distance of the cutoff itself: rounding must not take some and leave the others."""
    around = len(neighbour_pairs(np.full((1, 3), 0.1), np.eye(3) * length, CUTOFF)[0])
    reach = round(CUTOFF / length)
    steps = np.array(list(itertools.product(range(-reach, reach + 1), repeat=3)))
    assert around == np.count_nonzero(np.sum(steps**2, axis=1) <= reach**2) - 1


def test_atoms_in_one_place_are_neighbours() -> None:
    assert len(neighbour_pairs(np.ones((3, 3)), OPEN, CUTOFF)[0]) == 6
    assert len(neighbour_pairs(np.ones((3, 3)), np.eye(3) * 4.9, CUTOFF)[0]) == 3 * (3 * 7 - 1)


def test_a_very_skewed_cell_costs_no_more_than_its_reduced_form() -> None:
    skewed = np.array([[3.0, 0.0, 0.0], [3e6 + 1.0, 3.0, 0.0], [3e6, -3e6, 3.0]])
    reduced = np.array([[3.0, 0.0, 0.0], [1.0, 3.0, 0.0], [0.0, 0.0, 3.0]])
    expected = found_distances(np.zeros((1, 3)), reduced[:2], CUTOFF)[0]
    np.testing.assert_allclose(found_distances(np.zeros((1, 3)), skewed[:2], CUTOFF)[0], expected, atol=1e-8)


def test_a_list_names_images_in_the_vectors_of_the_lattice() -> None:
    """Its offsets keep the digits that whole numbers of very long vectors would lose."""
    skewed = np.array([[3.0, 0.0, 0.0], [3e6 + 1.0, 3.0, 0.0], [3e6, -3e6, 3.0]])
    positions = np.random.default_rng(6).uniform(-2, 2, (3, 3))
    found = neighbour_list(positions, skewed, CUTOFF)
    vectors = positions[found.others] - positions[found.centres] + found.offsets
    np.testing.assert_allclose(
        np.sort(np.linalg.norm(vectors, axis=1)),
        np.sort(np.concatenate(found_distances(positions, skewed, CUTOFF))),
        atol=1e-9,
    )
    exact = [
        [sum(int(s) * int(x) for s, x in zip(shift, column, strict=True)) for column in skewed.T.astype(int)]
        for shift in found.shifts.tolist()
    ]
    np.testing.assert_allclose(found.offsets, exact, atol=1e-9)
    keys = np.column_stack([found.centres, found.others])
    assert np.array_equal(np.lexsort(keys.T[::-1]), np.arange(len(keys)))


def peak_bytes(positions: np.ndarray, lattice: np.ndarray) -> tuple[int, int]:
    tracemalloc.start()
    try:
        pairs = len(neighbour_pairs(positions, lattice, CUTOFF)[0])
        return pairs, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("length", [500.0, 1e6, 1e9])
def test_an_empty_box_costs_nothing(length: float) -> None:
    drop = np.random.default_rng(3).uniform(0, 20, (400, 3))
    pairs, in_the_open = peak_bytes(drop, OPEN)
    boxed, in_a_box = peak_bytes(drop, np.eye(3) * length)
    assert boxed == pairs > 400
    # images take memory, of a few atoms at most
    assert in_a_box < 2 * in_the_open


def test_few_atoms_far_apart_in_a_huge_cell_cost_nothing() -> None:
    pairs, peak = peak_bytes(np.random.default_rng(4).uniform(0, 300, (50, 3)), np.eye(3) * 1e6)
    assert pairs == 0
    assert peak < 1e6


@pytest.mark.parametrize("length", [1e-3, 1e-9, 1e-150])
def test_images_that_would_not_fit_are_refused_with_their_size(length: float) -> None:
    with pytest.raises(MemoryError, match=rf"images of atoms in the lattice \({length:g} 0 0\).* would take .*iB"):
        neighbour_pairs(np.zeros((1, 3)), np.eye(3) * length, CUTOFF)


def test_pairs_that_would_not_fit_are_refused_with_their_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tpnumba.limits.available_bytes", lambda: 2**28)
    with pytest.raises(MemoryError, match=r"15,996,000 pairs of neighbours within 5 angstrom would take 1\.9 GiB"):
        neighbour_pairs(np.random.default_rng(5).uniform(0, 1, (4000, 3)), OPEN, CUTOFF)


def test_the_example_of_the_docstring() -> None:
    np.testing.assert_allclose(
        np.sort(neighbour_pairs(np.zeros((1, 3)), np.array([[4.0, 0.0, 0.0]]), CUTOFF)[1][:, 0]), [-4.0, 4.0]
    )


ALL = np.array([True, True, True])


def test_a_zero_vector_is_no_period() -> None:
    assert periods(np.zeros((3, 3)), ALL).shape == (0, 3)
    np.testing.assert_array_equal(periods(np.diag([4.0, 0.0, 6.0]), ALL), np.diag([4.0, 0.0, 6.0])[[0, 2]])
    np.testing.assert_array_equal(periods(np.eye(3), np.array([False, True, False])), np.eye(3)[[1]])


@pytest.mark.parametrize(
    ("cell", "pbc", "message"),
    [
        ([[1, 0, 0], [2, 0, 0], [0, 0, 3]], ALL, r"the cell is flat.*\(1 0 0\) \(2 0 0\) \(0 0 3\)"),
        ([[1, 0, 0], [0, 2, 0], [1, 1, 0]], ALL, "the cell is flat"),
        ([[1, 0, 0], [1e9, 1e-3, 0], [0, 0, 0]], ALL, "the cell is flat"),
        ([[1, 0, 0], [0, np.nan, 0], [0, 0, 1]], ALL, "not finite"),
        ([[np.inf, 0, 0], [0, 1, 0], [0, 0, 1]], ALL, "not finite"),
    ],
)
def test_flat_and_infinite_cells_are_refused(cell: list[list[float]], pbc: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        periods(np.array(cell, dtype=np.float64), pbc)


def test_what_is_wrong_with_a_vector_that_is_no_period_does_not_matter() -> None:
    cell = np.array([[1.0, 0, 0], [2.0, 0, 0], [0, np.nan, 0]])
    assert periods(cell, np.array([True, False, False])).shape == (1, 3)
