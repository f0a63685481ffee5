"""From atoms to the graph that a potential reads, and from what it returns to energy, forces and stress.

Edge e goes from a sender to a receiver, and its vector leads the other way: from the receiver to the image of the
sender that is its neighbour, ``vectors[e] = positions[senders[e]] + shifts[e] @ cell - positions[receivers[e]]``. So
every atom receives from the atoms around it, along the vectors at which it sees them.

Lengths are in angstrom, energies in eV. The stress is ASE's: the derivative of the energy by the strain, divided by the
volume, in the order xx, yy, zz, yz, xz, xy; it is positive under tension.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from threading import Lock
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from tpnumba.edges import Edges
from tpnumba.structures.neighbours import NeighbourList, neighbour_list, periods

Array = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

#: Atoms nearer than this, in angstrom, are in one place but for the rounding of their positions in a file.
_OVERLAP = 1e-6
#: Rows and columns of a matrix in the order of Voigt, as ASE has it.
_VOIGT = ((0, 1, 2, 1, 0, 0), (0, 1, 2, 2, 2, 1))


@dataclass(frozen=True, eq=False)
class Graph:
    """Atoms and their neighbours within a cutoff; arrays are read-only.

    Attributes:
        numbers: atomic numbers, shape ``(n,)``.
        edges: sorted by receiver, then by sender, then by image, so that one structure has one graph.
        vectors: from each receiver to the image of its sender, shape ``(E, 3)``, in angstrom.
        shifts: of the senders' images, in cell vectors, shape ``(E, 3)``; zero along those that do not repeat.
        cutoff: all vectors are shorter, in angstrom.
        volume: of the cell, in cubic angstrom; None unless it has three independent vectors.
        pbc: along which of the cell vectors the structure repeats, shape ``(3,)``.
    """

    numbers: Integers
    edges: Edges
    vectors: Array
    shifts: Integers
    cutoff: float
    volume: float | None
    pbc: npt.NDArray[np.bool_]


class GraphResult(NamedTuple):
    """What a potential makes of a graph: energies of atoms ``(n,)``, and gradients of their sum by vectors ``(E, 3)``.

    In eV and eV/angstrom.
    """

    energies: npt.NDArray[Any]
    gradients: npt.NDArray[Any]


class Results(NamedTuple):
    """What a potential says of atoms, in float64.

    ``energy`` in eV is the sum of ``energies`` of the atoms, shape ``(n,)``; ``forces``, shape ``(n, 3)``, are in
    eV/angstrom; ``stress`` is xx, yy, zz, yz, xz, xy, shape ``(6,)``, in eV/angstrom^3, and None without a cell of
    three independent vectors.
    """

    energy: float
    energies: Array
    forces: Array
    stress: Array | None


class EvaluatesGraphs(Protocol):
    """What is needed of a potential by what stands above it: dynamics, commands, many machines."""

    @property
    def cutoff(self) -> float:
        """Of the graphs that it is given, in angstrom."""

    @property
    def elements(self) -> tuple[int, ...]:
        """Atomic numbers that it knows."""

    def evaluate_graph(self, graph: Graph, *, num_threads: int | None = None) -> GraphResult:
        """Energies of the atoms, and gradients of their sum by the vectors."""


class _Structure(NamedTuple):
    """Atoms whose numbers are finite: copies, so that a change of the atoms is noticed."""

    numbers: Integers
    positions: Array
    cell: Array
    pbc: npt.NDArray[np.bool_]
    volume: float | None

    @property
    def periodic(self) -> npt.NDArray[np.bool_]:
        """Along which cell vectors it repeats: one of length zero is no period."""
        found: npt.NDArray[np.bool_] = self.pbc & (np.linalg.norm(self.cell, axis=1) > 0)
        return found

    def symbol(self, atom: int) -> str:
        """Which atom, by its number and element."""
        return _atom(self.numbers, atom)


def graph_of(atoms: Any, cutoff: float, *, elements: Collection[int] | None = None) -> Graph:
    """The graph of a structure.

    Args:
        atoms: an ``ase.Atoms``, or whatever has its ``positions``, ``numbers``, ``cell`` and ``pbc``.
        cutoff: atoms at this distance and beyond are no neighbours, in angstrom.
        elements: atomic numbers that are known; by default, all.

    Raises:
        TypeError: ``atoms`` are no atoms.
        ValueError: there is no atom, one of an unknown element, one whose position is not finite, two atoms are in one
            place, or the cell is flat or not finite; the message names atom and element.
        MemoryError: the pairs would not fit; their number and size are named.

    Example:
        >>> from ase import Atoms
        >>> from tpnumba.models.graphs import graph_of
        >>> graph = graph_of(Atoms("CO", positions=[[0, 0, 0], [0, 0, 1.1]]), 5.0)
        >>> graph.edges.senders, graph.edges.receivers, graph.vectors[:, 2]
        (array([1, 0], dtype=int32), array([0, 1], dtype=int32), array([ 1.1, -1.1]))
    """
    _check_length("cutoff", cutoff)
    structure = _structure_of(atoms, elements)
    return _graph(structure, _neighbours(structure, cutoff), cutoff)


def check_structure(atoms: Any, elements: Collection[int] | None = None) -> None:
    """Raise what `graph_of` raises for these atoms, but for what needs the distances between them.

    Args:
        atoms, elements: as of `graph_of`.
    """
    _structure_of(atoms, elements)


def require_elements(numbers: Integers, elements: Collection[int]) -> None:
    """Raise ``ValueError``, which names the atom, if one is of none of the elements that are known."""
    unknown = np.flatnonzero(~np.isin(numbers, np.array(sorted(elements), dtype=np.int64)))
    if unknown.size:
        raise ValueError(
            f"the potential does not know the element of {_atom(numbers, int(unknown[0]))}, atomic number "
            f"{numbers[unknown[0]]}; it knows {_listed(elements)}"
        )


def results_of(graph: Graph, result: GraphResult) -> Results:
    """Energy, forces and stress from energies of atoms and gradients by vectors.

    Args:
        graph: of a structure.
        result: of a potential, for this graph.

    Example:
        >>> from ase import Atoms
        >>> from tpnumba.models.graphs import GraphResult, graph_of, results_of
        >>> graph = graph_of(Atoms("CO", positions=[[0, 0, 0], [0, 0, 1.1]]), 5.0)
        >>> spring = GraphResult(np.sum(graph.vectors**2, axis=1) / 2, graph.vectors)  # 1/2 |v|^2 an edge
        >>> results_of(graph, spring).forces[:, 2]
        array([ 2.2, -2.2])
    """
    n = len(graph.numbers)
    energies = np.asarray(result.energies, dtype=np.float64)
    gradients = np.asarray(result.gradients, dtype=np.float64)
    if energies.shape != (n,) or gradients.shape != graph.vectors.shape:
        raise ValueError(
            f"energies and gradients must have shapes ({n},) and {graph.vectors.shape}, got {energies.shape} and "
            f"{gradients.shape}"
        )
    forces = np.empty((n, 3))
    for axis in range(3):
        along = np.ascontiguousarray(gradients[:, axis])
        pulled = np.bincount(graph.edges.receivers, weights=along, minlength=n)
        forces[:, axis] = pulled - np.bincount(graph.edges.senders, weights=along, minlength=n)
    stress = None
    if graph.volume is not None:
        virial = np.einsum("ei,ej->ij", graph.vectors, gradients)
        stress = ((virial + virial.T) / (2 * graph.volume))[_VOIGT]
    return Results(float(np.sum(energies)), energies, forces, stress)


class NeighbourCache:
    """Graphs of a structure that moves: its neighbours are listed anew only when an atom has gone far.

    Pairs within ``cutoff + skin`` are kept (Verlet's list). Vectors are those of the atoms as they are, and pairs
    beyond the cutoff are left out, so each graph is what `graph_of` gives, bit for bit. The list is made anew when an
    atom has moved by more than half of the skin since it was made, and when numbers, cell or periods are others.

    Threads may share it. The last structure alone is remembered, so that structures that take turns are better served
    by a cache each.

    Args:
        cutoff: as of `graph_of`.
        skin: in angstrom; 0 lists the neighbours each time that something moved.
        elements: as of `graph_of`.

    Attributes:
        lists: how often neighbours were listed.

    Example:
        >>> from ase import Atoms
        >>> from tpnumba.models.graphs import NeighbourCache
        >>> atoms, cache = Atoms("CO", positions=[[0, 0, 0], [0, 0, 1.1]]), NeighbourCache(5.0, 1.0)
        >>> for _ in range(3):
        ...     atoms.positions[1, 2] += 0.2
        ...     graph = cache.graph(atoms)
        >>> graph.vectors[0, 2], cache.lists
        (np.float64(1.7), 1)
    """

    def __init__(self, cutoff: float, skin: float = 0.5, *, elements: Collection[int] | None = None) -> None:
        _check_length("cutoff", cutoff)
        if not (np.isfinite(skin) and skin >= 0):
            raise ValueError(f"skin must be a finite length of at least 0 angstrom, got {skin!r}")
        self.cutoff, self.skin, self.elements = float(cutoff), float(skin), elements
        self.lists = 0
        self._last: tuple[_Structure, NeighbourList] | None = None
        self._lock = Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return _new_cache, (self.cutoff, self.skin, self.elements)

    def graph(self, atoms: Any) -> Graph:
        """The graph of a structure; arguments and errors are those of `graph_of`."""
        structure = _structure_of(atoms, self.elements)
        with self._lock:
            last = self._last
        if last is None or not self._holds(last[0], structure):
            last = structure, _neighbours(structure, self.cutoff + self.skin)
            with self._lock:
                self._last = last
                self.lists += 1
        return _graph(structure, last[1], self.cutoff)

    def _holds(self, listed: _Structure, now: _Structure) -> bool:
        if not all(np.array_equal(a, b) for a, b in ((listed.numbers, now.numbers), (listed.pbc, now.pbc))):
            return False
        if not np.array_equal(listed.cell[listed.periodic], now.cell[now.periodic]):
            return False
        moved = np.sum((now.positions - listed.positions) ** 2, axis=1)
        # a little less than half, as both the distances and this one are rounded
        return bool(moved.max() <= (0.5 * self.skin * (1 - 1e-9)) ** 2)


def _new_cache(cutoff: float, skin: float, elements: Collection[int] | None) -> NeighbourCache:
    return NeighbourCache(cutoff, skin, elements=elements)


def _check_length(name: str, value: float) -> None:
    if not (np.isfinite(value) and value > 0):
        raise ValueError(f"{name} must be a finite length above 0 angstrom, got {value!r}")


def _structure_of(atoms: Any, elements: Collection[int] | None) -> _Structure:
    try:
        positions = np.array(atoms.positions, dtype=np.float64)
        numbers = np.array(atoms.numbers, dtype=np.int64)
        cell, pbc = np.array(atoms.cell, dtype=np.float64), np.array(atoms.pbc, dtype=np.bool_)
    except AttributeError as error:
        raise TypeError(
            f"atoms must have positions, numbers, cell and pbc, as ase.Atoms has, got {type(atoms).__name__}"
        ) from error
    n = len(numbers)
    if (positions.shape, numbers.shape, cell.shape, pbc.shape) != ((n, 3), (n,), (3, 3), (3,)):
        raise ValueError(
            "positions, numbers, cell and pbc of atoms must have shapes (n, 3), (n,), (3, 3) and (3,), got "
            f"{positions.shape}, {numbers.shape}, {cell.shape} and {pbc.shape}"
        )
    if n == 0:
        raise ValueError("the structure holds no atoms")
    periods(cell, pbc)  # the cell is looked at first: nothing can be said of atoms in one that is not finite
    structure = _Structure(numbers, positions, cell, pbc, _volume(cell))
    with np.errstate(over="ignore"):
        infinite = np.flatnonzero(~np.isfinite(np.sum(positions**2, axis=1)))
    if infinite.size:
        x, y, z = positions[infinite[0]]
        raise ValueError(
            f"positions must be finite, and so must their squares: {structure.symbol(int(infinite[0]))} of {n} is at "
            f"({x:g} {y:g} {z:g})"
        )
    if elements is not None:
        require_elements(numbers, elements)
    return structure


def _volume(cell: Array) -> float | None:
    volume = abs(float(np.linalg.det(cell))) if np.isfinite(cell).all() else 0.0
    return volume if volume > 0 else None


def _neighbours(structure: _Structure, cutoff: float) -> NeighbourList:
    found = neighbour_list(structure.positions, periods(structure.cell, structure.pbc), cutoff)
    shifts = np.zeros((len(found.centres), 3), dtype=np.int64)
    shifts[:, structure.periodic] = found.shifts
    return found._replace(shifts=shifts)


def _graph(structure: _Structure, listed: NeighbourList, cutoff: float) -> Graph:
    """The graph of the listed pairs that are within the cutoff."""
    positions = structure.positions
    vectors = positions[listed.others]
    vectors -= positions[listed.centres]
    vectors += listed.offsets
    squares = np.einsum("ei,ei->e", vectors, vectors)
    _refuse_overlap(structure, listed, squares)
    within = np.flatnonzero(squares < cutoff**2)
    senders, receivers, shifts = listed.others[within], listed.centres[within], listed.shifts[within]
    vectors = vectors[within]
    for array in (vectors, shifts):
        array.setflags(write=False)
    edges = Edges(senders, receivers, len(positions))
    numbers, pbc = structure.numbers, structure.pbc
    for fixed in (numbers, pbc):
        fixed.setflags(write=False)
    return Graph(numbers, edges, vectors, shifts, float(cutoff), structure.volume, pbc)


def _refuse_overlap(structure: _Structure, listed: NeighbourList, squares: Array) -> None:
    if squares.size and squares.min() < _OVERLAP**2:
        pair = int(squares.argmin())
        first, second = (int(atoms[pair]) for atoms in (listed.centres, listed.others))
        image = " an image of" if listed.shifts[pair].any() else ""
        raise ValueError(
            f"atoms overlap: {structure.symbol(first)} and{image} {structure.symbol(second)} are "
            f"{np.sqrt(squares[pair]):.2g} angstrom apart"
        )


def _atom(numbers: Integers, atom: int) -> str:
    return f"atom {atom} ({_symbol(int(numbers[atom]))})"


def _symbol(number: int) -> str:
    """Of an element; its number, if ASE is not there to say."""
    try:
        from ase.data import chemical_symbols
    except ImportError:
        return f"Z = {number}"
    return str(chemical_symbols[number]) if 0 <= number < len(chemical_symbols) else f"Z = {number}"


def _listed(elements: Collection[int]) -> str:
    """Elements, as few words as say them."""
    known = sorted(elements)
    if len(known) <= 12:
        return ", ".join(_symbol(number) for number in known)
    missing = [number for number in range(known[0], known[-1]) if number not in set(known)]
    but = f" but {', '.join(_symbol(number) for number in missing)}" if 0 < len(missing) <= 12 else ""
    return f"{len(known)} elements from {_symbol(known[0])} to {_symbol(known[-1])}{but}"
