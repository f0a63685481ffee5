"""Structures and their features."""

from __future__ import annotations

from pathlib import Path

import ase
import ase.build
import ase.io
import numpy as np
import pytest
from strategies import tolerance

import tpnumba as tp
from tpnumba.studies.structures import CUTOFF, neighbourhood_features, read_neighbourhoods


def write(path: Path, atoms: ase.Atoms) -> str:
    ase.io.write(path, atoms)
    return str(path)


def test_caffeine_needs_no_file() -> None:
    caffeine = read_neighbourhoods(None)
    assert caffeine.n_atoms == 24
    assert caffeine.name == "caffeine"


def test_pairs_are_all_within_the_cutoff(tmp_path: Path) -> None:
    molecule = ase.build.molecule("C6H6")
    read = read_neighbourhoods(write(tmp_path / "benzene.xyz", molecule))
    distances = molecule.get_all_distances()
    assert len(read.centres) == np.count_nonzero(distances <= CUTOFF)
    for atom in range(len(molecule)):
        mine = np.sort(np.linalg.norm(read.vectors[read.centres == atom], axis=1))
        np.testing.assert_allclose(mine, np.sort(distances[atom][distances[atom] <= CUTOFF]), atol=1e-6)


def test_periodic_images_are_neighbours(tmp_path: Path) -> None:
    copper = ase.build.bulk("Cu", cubic=True)
    read = read_neighbourhoods(write(tmp_path / "cu.cif", copper))
    # fcc with a = 3.61: shells at a/sqrt2, a, a sqrt(3/2) hold 12, 6 and 24 neighbours, and the atom itself
    assert np.bincount(read.centres).tolist() == [43] * 4


def test_features_turn_with_the_structure(tmp_path: Path) -> None:
    molecule = ase.build.molecule("CH3CH2OH")
    rotation = np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))[0]
    turned = molecule.copy()
    turned.set_positions(molecule.get_positions() @ rotation.T)
    lmax = 3
    names = [write(tmp_path / f"{i}.traj", atoms) for i, atoms in enumerate((molecule, turned))]
    one, other = (neighbourhood_features(read_neighbourhoods(name), lmax) for name in names)
    irreps = tp.Irreps.spherical_harmonics(lmax)
    for x, y in zip(one, other, strict=True):
        np.testing.assert_allclose(tp.rotate(irreps, rotation, x), y, atol=tolerance("float64", lmax))


def test_the_two_channels_differ() -> None:
    x1, x2 = neighbourhood_features(read_neighbourhoods(None), 2)
    assert np.linalg.matrix_rank(np.stack([x1[0], x2[0]])) == 2


def test_a_single_atom_has_a_scalar_only(tmp_path: Path) -> None:
    features = neighbourhood_features(read_neighbourhoods(write(tmp_path / "h.xyz", ase.Atoms("H"))), 2)
    for x in features:
        assert x[0, 0] > 0
        assert not x[0, 1:].any()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.xyz", None, "does not exist"),
        ("empty.xyz", "", "cannot be read"),
        ("zero.xyz", "0\n\n", "holds no atoms"),
        ("text.xyz", "hello\nworld\n", "cannot be read"),
        ("cut.xyz", "3\n\nH 0 0 0\n", "cannot be read"),
        ("nan.xyz", "1\n\nH nan 0 0\n", "not finite"),
        ("unknown.zzz", "what is this", "cannot be read"),
    ],
)
def test_bad_files(tmp_path: Path, name: str, content: str | None, message: str) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_text(content)
    with pytest.raises(ValueError, match=message) as caught:
        read_neighbourhoods(str(path))
    assert str(path) in str(caught.value)


def test_a_directory_is_no_structure(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is a directory"):
        read_neighbourhoods(str(tmp_path))


def test_several_frames_give_the_last(tmp_path: Path) -> None:
    path = tmp_path / "frames.xyz"
    ase.io.write(path, [ase.build.molecule("H2O"), ase.build.molecule("CH4")])
    assert read_neighbourhoods(str(path)).n_atoms == 5
