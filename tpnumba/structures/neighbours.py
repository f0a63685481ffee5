"""Neighbours within a cutoff in a structure that may be periodic, at a cost that follows the atoms and not the cell.

Atoms are wrapped into a reduced cell, the images that can be neighbours of any atom are listed, and one search tree is
asked for those near another. There are as many images as atoms have in a shell of one cutoff around the occupied part
of the cell, however large the empty part of it is. Grids of cells, as ASE and matscipy have them, take memory with the
volume of the cell (2 GB for 24 atoms in a box of 500 angstrom), and those with a limit on the number of cells, as vesin
has it, take time with the square of the atoms if these fill a small part (10 s for a drop of 40,000 atoms in a box of
1e6 angstrom, where the same drop in a box of 100 angstrom takes 0.1 s).
"""

from __future__ import annotations

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
_BYTES_PER_IMAGE, _BYTES_PER_PAIR = 160, 128


class _Images(NamedTuple):
    """Positions of the listed images, and for each atom the number of the image that is the atom itself."""

    positions: Array
    own: Integers


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
    wrapped, images = _wrapped_and_images(positions, lattice, reach)
    atoms = cKDTree(wrapped)
    candidates = cKDTree(images.positions) if len(lattice) else atoms
    count = int(atoms.count_neighbors(candidates, reach)) - len(positions)
    require_memory(_BYTES_PER_PAIR * count, f"{count:,} pairs of neighbours within {cutoff:g} angstrom")
    found = atoms.sparse_distance_matrix(candidates, reach, output_type="ndarray")
    first, second = found["i"].astype(np.int64), found["j"].astype(np.int64)
    others = second != images.own[first]
    first, second = first[others], second[others]
    return first, images.positions[second] - wrapped[first]


def _wrapped_and_images(positions: Array, lattice: Array, reach: float) -> tuple[Array, _Images]:
    """Atoms in one cell, and all images in the box, along the lattice vectors, that reaches that far beyond them."""
    n = len(positions)
    if len(lattice) == 0:
        return positions, _Images(positions, np.arange(n))
    reduced = _reduced(lattice)
    lengths = np.linalg.norm(reduced, axis=1)
    dual = np.linalg.pinv(reduced / lengths[:, None]) / lengths  # columns: fractional coordinates are positions @ dual
    wrapped = positions - np.floor(positions @ dual) @ reduced
    fractions = wrapped @ dual
    margin = reach * np.linalg.norm(dual, axis=0) + _ROUNDING
    first = np.ceil(fractions.min(axis=0) - margin - fractions)
    last = np.floor(fractions.max(axis=0) + margin - fractions)
    with np.errstate(over="ignore"):
        total = int(min(np.sum(np.prod(last - first + 1, axis=1)), 2.0**80))
    shown = " ".join(f"({x:g} {y:g} {z:g})" for x, y, z in lattice)
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
    return wrapped, _Images(wrapped[atom] + shifts @ reduced, own)


def _reduced(lattice: Array) -> Array:
    """The same lattice by its shortest vectors, so that few images are far from the cell."""
    n = len(lattice)
    if n == 1:
        return lattice
    padded = np.zeros((3, 3))
    padded[:n] = lattice
    reduced, _ = need("ase.geometry").minkowski_reduce(padded, np.arange(3) < n)
    return np.asarray(reduced, dtype=np.float64)[:n]
