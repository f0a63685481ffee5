"""Atoms and their neighbours: from a structure file to features on the sphere."""

from __future__ import annotations

from importlib import resources
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tpnumba.limits import require_memory
from tpnumba.sphere.harmonics import SphericalHarmonics
from tpnumba.structures.files import Structure, read_structure
from tpnumba.structures.neighbours import neighbour_pairs

Array = npt.NDArray[np.float64]

#: Neighbours within this distance, in angstrom.
CUTOFF = 5.0


class Neighbourhoods(NamedTuple):
    """For every pair of an atom and a neighbour within the cutoff: the atom's number and the vector to the neighbour.

    Every atom is also its own neighbour, at distance 0. Lengths in angstrom. ``frames``: of the file that was read, of
    which this is the last; counted up to `tpnumba.structures.files.COUNTED_FRAMES`.
    """

    name: str
    n_atoms: int
    centres: npt.NDArray[np.int64]
    vectors: Array
    frames: int = 1

    @property
    def pairs(self) -> int:
        """Ordered pairs of different atoms, or of an atom and an image, within the cutoff."""
        return len(self.centres) - self.n_atoms


def read_neighbourhoods(path: str | None, file_format: str | None = None) -> Neighbourhoods:
    """Read a structure: any file or pipe that ASE reads, or without a path the caffeine molecule of the package.

    Args:
        path: see `tpnumba.structures.files.read_structure`; of several frames the last is taken.
        file_format: ASE's name of the format; by default it is found by name and content.

    Raises:
        ValueError: a file that is missing, cannot be read as a structure, or holds no atoms, unknown elements,
            positions that are not finite, or a flat cell.
        MemoryError: the pairs would not fit; their number and size are named.
        ImportError: a path is given and ASE is not installed.
    """
    if path is None:
        text = resources.files("tpnumba").joinpath("data/caffeine.xyz").read_text(encoding="utf-8")
        positions = np.loadtxt(text.splitlines()[2:], usecols=(1, 2, 3), ndmin=2)
        structure = Structure("caffeine", positions, np.zeros((0, 3)), 1)
    else:
        structure = read_structure(path, file_format)
    n = len(structure.positions)
    centres, vectors = neighbour_pairs(structure.positions, structure.lattice, CUTOFF)
    return Neighbourhoods(
        structure.name,
        n,
        np.concatenate([np.arange(n), centres]),
        np.concatenate([np.zeros((n, 3)), vectors]),
        structure.frames,
    )


def neighbourhood_features(neighbourhoods: Neighbourhoods, lmax: int) -> tuple[Array, Array]:
    """Two expansions of each atom's neighbourhood in orthonormal spherical harmonics, with different radial functions.

    ``x[atom, lm] = sum over neighbours of f(r) Y_lm(r / |r|)`` with a cosine cutoff, and the same weighted towards near
    neighbours: two channels as a descriptor has them, so that antisymmetric products do not vanish.

    Returns:
        Two arrays of shape ``(n_atoms, (lmax + 1)**2)``, each scaled to unit root mean square.

    Raises:
        MemoryError: they would not fit.
    """
    size = (lmax + 1) ** 2
    # The harmonics of as many pairs at a time as take 32 MiB; and the features and one scaled copy.
    at_once = max(1, 2**22 // size)
    require_memory(8 * size * (2 * at_once + 4 * neighbourhoods.n_atoms), f"the features up to L = {lmax:,}")
    of_unit_vectors = SphericalHarmonics(lmax)
    features = [np.zeros((neighbourhoods.n_atoms, size)) for _ in range(2)]
    for start in range(0, len(neighbourhoods.centres), at_once):
        chunk = slice(start, start + at_once)
        centres, vectors = neighbourhoods.centres[chunk], neighbourhoods.vectors[chunk]
        harmonics = of_unit_vectors(vectors)
        distances = np.linalg.norm(vectors, axis=1)
        wide = (1 + np.cos(np.pi * np.minimum(distances / CUTOFF, 1.0))) / 2
        for x, radial in zip(features, (wide, wide * np.exp(-2 * distances / CUTOFF)), strict=True):
            np.add.at(x, centres, radial[:, None] * harmonics)
    first, second = (x / np.sqrt(np.mean(x**2)) for x in features)
    return first, second
