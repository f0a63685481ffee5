"""Neighbours within a cutoff in a structure that may be periodic, at a cost that follows the atoms and not the cell.

Atoms are wrapped into a reduced cell, the images that can be neighbours of any atom are listed, and one search tree is
asked for those near another. There are as many images as atoms have in a shell of one cutoff around the occupied part
of the cell, however large the empty part of it is. Grids of cells, as ASE and matscipy have them, take memory with the
volume of the cell (2 GB for 24 atoms in a box of 500 angstrom), and those with a limit on the number of cells, as vesin
has it, take time with the square of the atoms if these fill a small part (10 s for a drop of 40,000 atoms in a box of
1e6 angstrom, where the same drop in a box of 100 angstrom takes 0.1 s).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from tpnumba.extras import need
from tpnumba.limits import require_memory

Array = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

#: A distance this much beyond the cutoff, relatively, is still within it: it may be rounding.
_ROUNDING = 1e-12
#: Unit vectors along the periods whose smallest singular value is below this lie in a plane or on a line.
_FLAT = 1e-8
#: Memory while images and pairs are listed: numbers, vectors, nodes of the tree and temporaries.
_BYTES_PER_IMAGE, _BYTES_PER_PAIR, _BYTES_PER_LISTED_PAIR = 200, 128, 240


class _Images(NamedTuple):
    """The listed images: their positions, atoms, and whole numbers of reduced lattice vectors from where the atom is.

    ``own``: for each atom the number of the image that is the atom itself, in the cell that all are wrapped into.
    """

    positions: Array
    atoms: Integers
    shifts: Array
    own: Integers


class _Lattice(NamedTuple):
    """A lattice as ``given``, reduced, and the whole numbers between them: ``vectors = op @ given``."""

    given: Array
    vectors: Array
    op: Integers


class NeighbourList(NamedTuple):
    """Ordered pairs of neighbours, sorted by ``centres``, then ``others``, then image: one order for one set of pairs.

    The vector from an atom to its neighbour is ``positions[others] - positions[centres] + offsets``, and ``offsets`` is
    ``shifts @ lattice`` but for rounding (exact where a very skewed lattice would lose digits).

    Attributes:
        centres, others: numbers of atoms, shape ``(pairs,)``.
        shifts: in lattice vectors, shape ``(pairs, len(lattice))``.
        offsets: shape ``(pairs, 3)``.
    """

    centres: Integers
    others: Integers
    shifts: Integers
    offsets: Array


def periods(cell: Array, pbc: npt.NDArray[np.bool_]) -> Array:
    """The lattice vectors along which a structure repeats, shape ``(n, 3)``: those of ``cell`` that are not zero.

    Raises:
        ValueError: they are not finite, or linearly dependent.
    """
    vectors: Array = cell[pbc]
    shown = " ".join(f"({x:g} {y:g} {z:g})" for x, y, z in cell)
    if not np.isfinite(vectors).all():
        raise ValueError(f"the cell has vectors that are not finite: {shown}")
    lengths = np.linalg.norm(vectors, axis=1)
    vectors, lengths = vectors[lengths > 0], lengths[lengths > 0]
    if len(vectors) > 1 and np.linalg.svd(vectors / lengths[:, None], compute_uv=False)[-1] < _FLAT:
        raise ValueError(f"the cell is flat, its periodic vectors are linearly dependent: {shown}")
    return vectors


def neighbour_pairs(positions: Array, lattice: Array, cutoff: float) -> tuple[Integers, Array]:
    """All ordered pairs of an atom and another atom, or an image of any atom, no further away than the cutoff.

    Args:
        positions: shape ``(n, 3)``, anywhere, also outside the cell.
        lattice: linearly independent lattice vectors, shape ``(0, 3)`` to ``(3, 3)``; see `periods`.
        cutoff: in the unit of the positions.

    Returns:
        The number of the first atom of each pair, and the vectors from it to the second, shape ``(pairs, 3)``.

    Raises:
        MemoryError: images or pairs would not fit; their number and size are named.
        ImportError: there are several lattice vectors, and ASE is not installed.

    Example:
        >>> np.sort(neighbour_pairs(np.zeros((1, 3)), np.array([[4.0, 0.0, 0.0]]), 5.0)[1][:, 0])
        array([-4.,  4.])
    """
    reach = cutoff * (1 + _ROUNDING)
    wrapped, images = _wrapped_and_images(positions, _reduced(lattice), reach)
    first, second = _pairs(wrapped, images, cutoff, reach, _BYTES_PER_PAIR)
    return first, images.positions[second] - wrapped[first]


def neighbour_list(positions: Array, lattice: Array, cutoff: float) -> NeighbourList:
    """The pairs of `neighbour_pairs`, with the numbers of both atoms and the images; arguments and errors as there.

    A pair within rounding of the cutoff is listed: who needs those within it looks at the vectors.

    Example:
        >>> found = neighbour_list(np.zeros((1, 3)), np.array([[4.0, 0.0, 0.0]]), 5.0)
        >>> found.others, found.shifts[:, 0]
        (array([0, 0]), array([-1,  1]))
    """
    reduced = _reduced(lattice)
    rounding = 8 * np.finfo(np.float64).eps * float(np.max(np.abs(positions), initial=0.0))
    reach = cutoff * (1 + _ROUNDING) + rounding
    wrapped, images = _wrapped_and_images(positions, reduced, reach)
    first, second = _pairs(wrapped, images, cutoff, reach, _BYTES_PER_LISTED_PAIR)
    shifts = (images.shifts[second] - images.shifts[images.own[first]]).astype(np.int64)
    others = images.atoms[second]
    order = _order(len(positions), first, others, shifts)
    first, others, shifts = first[order], others[order], shifts[order]
    offsets = np.zeros((len(first), 3))
    for axis, vector in enumerate(reduced.vectors):  # a matrix product may round each row differently
        offsets += shifts[:, axis, None] * vector
    return NeighbourList(first, others, shifts @ reduced.op, offsets)


def _pairs(wrapped: Array, images: _Images, cutoff: float, reach: float, size: int) -> tuple[Integers, Integers]:
    """Numbers of atoms and of images no further away than ``reach``, not the atoms themselves."""
    atoms = cKDTree(wrapped)
    candidates = atoms if images.positions is wrapped else cKDTree(images.positions)
    count = int(atoms.count_neighbors(candidates, reach)) - len(wrapped)
    require_memory(size * count, f"{count:,} pairs of neighbours within {cutoff:g} angstrom")
    found = atoms.sparse_distance_matrix(candidates, reach, output_type="ndarray")
    first, second = found["i"].astype(np.int64), found["j"].astype(np.int64)
    different = second != images.own[first]
    return first[different], second[different]


def _order(n: int, first: Integers, others: Integers, shifts: Integers) -> Integers:
    """What sorts pairs by both atoms and by image."""
    if len(first) == 0:
        return np.zeros(0, dtype=np.int64)
    low = shifts.min(axis=0, initial=0)
    extents = [int(extent) for extent in shifts.max(axis=0, initial=0) - low + 1]
    if math.prod([n, n, *extents]) >= 2**63:
        return np.lexsort([*shifts.T[::-1], others, first])
    key = first * n + others
    for axis, extent in enumerate(extents):
        key = key * extent + (shifts[:, axis] - low[axis])
    return np.argsort(key)


def _wrapped_and_images(positions: Array, lattice: _Lattice, reach: float) -> tuple[Array, _Images]:
    """Atoms in one cell, and all images in the box, along the lattice vectors, that reaches that far beyond them."""
    n, reduced = len(positions), lattice.vectors
    if len(reduced) == 0:
        return positions, _Images(positions, np.arange(n), np.zeros((n, 0)), np.arange(n))
    lengths = np.linalg.norm(reduced, axis=1)
    dual = np.linalg.pinv(reduced / lengths[:, None]) / lengths  # columns: fractional coordinates are positions @ dual
    cells = np.floor(positions @ dual)
    wrapped = positions - cells @ reduced
    fractions = wrapped @ dual
    margin = reach * np.linalg.norm(dual, axis=0) + _ROUNDING
    first = np.ceil(fractions.min(axis=0) - margin - fractions)
    last = np.floor(fractions.max(axis=0) + margin - fractions)
    with np.errstate(over="ignore"):
        total = int(min(np.sum(np.prod(last - first + 1, axis=1)), 2.0**80))
    shown = " ".join(f"({x:g} {y:g} {z:g})" for x, y, z in lattice.given)
    require_memory(_BYTES_PER_IMAGE * total, f"{total:,} images of atoms in the lattice {shown}")
    atom, shifts = np.arange(n), np.zeros((n, 0))
    for axis in range(len(reduced)):
        counts = (last - first + 1)[atom, axis].astype(np.int64)
        before = np.repeat(np.cumsum(counts) - counts, counts)
        source = np.repeat(np.arange(len(atom)), counts)
        shift = first[atom[source], axis] + (np.arange(len(source)) - before)
        atom, shifts = atom[source], np.column_stack([shifts[source], shift])
    own = np.empty(n, dtype=np.int64)
    unmoved = np.flatnonzero(~shifts.any(axis=1))
    own[atom[unmoved]] = unmoved
    return wrapped, _Images(wrapped[atom] + shifts @ reduced, atom, shifts - cells[atom], own)


def _reduced(lattice: Array) -> _Lattice:
    """The same lattice by its shortest vectors, so that few images are far from the cell."""
    n = len(lattice)
    if n < 2:
        return _Lattice(lattice, lattice, np.eye(n, dtype=np.int64))
    padded = np.zeros((3, 3))
    padded[:n] = lattice
    reduced, op = need("ase.geometry").minkowski_reduce(padded, np.arange(3) < n)
    vectors: Array = np.asarray(reduced, dtype=np.float64)[:n]
    return _Lattice(lattice, vectors, np.asarray(op, dtype=np.int64)[:n, :n])
