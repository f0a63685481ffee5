"""Atoms and their neighbours: from a structure file to features on the sphere."""

from __future__ import annotations

import warnings
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tpnumba.limits import require_memory
from tpnumba.sphere.harmonics import SphericalHarmonics
from tpnumba.studies.extras import need

Array = npt.NDArray[np.float64]

#: Neighbours within this distance, in angstrom.
CUTOFF = 5.0


class Neighbourhoods(NamedTuple):
    """For every pair of an atom and a neighbour within the cutoff: the atom's number and the vector to the neighbour.

    Every atom is also its own neighbour, at distance 0. Lengths in angstrom.
    """

    name: str
    n_atoms: int
    centres: npt.NDArray[np.int64]
    vectors: Array


def read_neighbourhoods(path: str | None) -> Neighbourhoods:
    """Read a structure: any file that ASE reads, or without a path the caffeine molecule of the package.

    Raises:
        ValueError: a file that is missing, cannot be read as a structure, or holds no atoms or no finite positions.
        ImportError: a path is given and ASE is not installed.
    """
    if path is None:
        text = resources.files("tpnumba").joinpath("data/caffeine.xyz").read_text(encoding="utf-8")
        positions = np.loadtxt(text.splitlines()[2:], usecols=(1, 2, 3), ndmin=2)
        return _gather("caffeine", positions, *_pairs_without_cell(positions))
    atoms = _read_file(path)
    positions = np.asarray(atoms.get_positions(), dtype=np.float64)
    if len(positions) == 0:
        raise ValueError(f"the structure file {path} holds no atoms")
    if not np.isfinite(positions).all():
        raise ValueError(f"the structure file {path} has positions that are not finite")
    if any(atoms.pbc):
        centres, vectors = need("ase.neighborlist").neighbor_list("iD", atoms, CUTOFF)
        return _gather(Path(path).name, positions, centres, vectors)
    return _gather(Path(path).name, positions, *_pairs_without_cell(positions))


def _read_file(path: str) -> Any:
    if not Path(path).is_file():
        what = "is a directory" if Path(path).is_dir() else "does not exist"
        raise ValueError(f"the structure file {path} {what}")
    reader = need("ase.io")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what a reader thinks of a file's dialect changes nothing here
            atoms = reader.read(path)
    except Exception as error:  # every format's reader fails in its own way
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"the structure file {path} cannot be read: {reason}") from error
    return atoms[-1] if isinstance(atoms, list) else atoms


def _pairs_without_cell(positions: Array) -> tuple[npt.NDArray[np.int64], Array]:
    """All ordered pairs of different atoms within the cutoff."""
    from scipy.spatial import cKDTree

    pairs = cKDTree(positions).query_pairs(CUTOFF, output_type="ndarray")
    both = np.concatenate([pairs, pairs[:, ::-1]]).astype(np.int64)
    return both[:, 0], positions[both[:, 1]] - positions[both[:, 0]]


def _gather(name: str, positions: Array, centres: npt.NDArray[Any], vectors: Array) -> Neighbourhoods:
    n = len(positions)
    return Neighbourhoods(
        name,
        n,
        np.concatenate([np.arange(n), centres]).astype(np.int64),
        np.concatenate([np.zeros((n, 3)), vectors]),
    )


def neighbourhood_features(neighbourhoods: Neighbourhoods, lmax: int) -> tuple[Array, Array]:
    """Two expansions of each atom's neighbourhood in orthonormal spherical harmonics, with different radial functions.

    ``x[atom, lm] = sum over neighbours of f(r) Y_lm(r / |r|)`` with a cosine cutoff, and the same weighted towards near
    neighbours: two channels as a descriptor has them, so that antisymmetric products do not vanish.

    Returns:
        Two arrays of shape ``(n_atoms, (lmax + 1)**2)``, each scaled to unit root mean square.
    """
    size = (lmax + 1) ** 2
    require_memory(8 * size * (len(neighbourhoods.centres) + 2 * neighbourhoods.n_atoms), "the harmonics of all pairs")
    harmonics = SphericalHarmonics(lmax)(neighbourhoods.vectors)
    distances = np.linalg.norm(neighbourhoods.vectors, axis=1)
    wide = (1 + np.cos(np.pi * np.minimum(distances / CUTOFF, 1.0))) / 2
    features = []
    for radial in (wide, wide * np.exp(-2 * distances / CUTOFF)):
        x = np.zeros((neighbourhoods.n_atoms, size))
        np.add.at(x, neighbourhoods.centres, radial[:, None] * harmonics)
        features.append(x / np.sqrt(np.mean(x**2)))
    return features[0], features[1]
