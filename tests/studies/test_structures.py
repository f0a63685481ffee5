"""Structures and their features."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import sys
from pathlib import Path
from threading import Thread

import ase
import ase.build
import ase.data
import ase.io
import numpy as np
import pytest
from strategies import tolerance

import tpnumba as tp
from tpnumba.studies.structures import CUTOFF, neighbourhood_features, read_neighbourhoods

CELL = '2\nLattice="{}"\nC 0 0 0\nO 0 0 1.1\n'


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
        ("empty.xyz", "", "is empty"),
        ("blank.cif", " \n\n", "is empty"),
        ("zero.xyz", "0\n\n", "holds no atoms"),
        ("text.xyz", "hello\nworld\n", "cannot be read"),
        ("cut.xyz", "3\n\nH 0 0 0\n", "cannot be read"),
        ("nan.xyz", "2\n\nH 0 0 0\nO nan 0 0\n", r"not finite.*atom 2 of 2 \(O\) at \(nan 0 0\)"),
        ("inf.xyz", "1\n\nH inf 0 0\n", "not finite"),
        ("large.xyz", "1\n\nH 1e200 0 0\n", "whose squares are not"),
        ("unknown.zzz", "what is this", "name it with --format"),
        ("symbol.xyz", "2\n\nH 0 0 0\nQq 0 0 1\n", "unknown element 'Qq'"),
        ("symbol.in", "atom 0 0 0 Qq\n", "unknown element 'Qq'"),
        ("POSCAR", "c\n1\n2 0 0\n0 2 0\n0 0 2\nQq\n1\nDirect\n0 0 0\n", "unknown element 'Qq'"),
        (
            "symbol.pdb",
            "ATOM      1  QQ  MOL     1       0.000   0.000   0.000  1.00  0.00          QQ\n",
            "unknown element 'QQ'",
        ),
        ("flat.xyz", CELL.format("1 0 0 2 0 0 0 0 9"), r"the cell is flat.*\(1 0 0\) \(2 0 0\) \(0 0 9\)"),
        ("flat_POSCAR", "c\n1\n2 0 0\n4 0 0\n0 0 2\nC\n1\nDirect\n0 0 0\n", "the cell is flat"),
        ("infinite.xyz", CELL.format("1 0 0 0 nan 0 0 0 9"), "vectors that are not finite"),
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


@pytest.mark.parametrize("name", ["frames.xyz", "frames.traj", "one@2.xyz"])
def test_several_frames_give_the_last(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    ase.io.write(path, [ase.build.molecule("H2O"), ase.build.molecule("CH4")], format=None if name[0] == "f" else "xyz")
    read = read_neighbourhoods(str(path))
    assert (read.n_atoms, read.frames) == (5, 2)


@pytest.mark.parametrize(
    ("lattice", "pbc", "pairs"),
    [
        ("0 0 0 0 0 0 0 0 0", "", 2),
        ("0 0 0 0 0 0 0 0 0", "T T T", 2),
        ("40 0 0 0 40 0 0 0 0", "", 2),
        ("40 0 0 0 40 0 0 0 0", "T T T", 2),
        ("0 0 0 0 40 0 0 0 40", "T T T", 2),
        ("0 0 0 0 0 0 0 0 4", "T T T", 2 + 2 * 2 + 2),
        ("4 0 0 0 4 0 0 0 4", "F F F", 2),
        ("4 0 0 8 0 0 0 0 0", "T F T", 2 + 2 * 2 + 2 * 2),
    ],
)
def test_a_direction_without_a_cell_vector_does_not_repeat(tmp_path: Path, lattice: str, pbc: str, pairs: int) -> None:
    path = tmp_path / "co.xyz"
    stated = f' pbc="{pbc}"' if pbc else ""
    path.write_text(f'2\nLattice="{lattice}"{stated}\nC 0 0 0\nO 0 0 1.1\n')
    assert read_neighbourhoods(str(path)).pairs == pairs


@pytest.mark.parametrize("symbol", ["D", "T"])
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.xyz", "2\n\nO 0 0 0\n{} 0 0 1\n"),
        ("a.in", "atom 0 0 0 O\natom 0 0 1 {}\n"),
        ("POSCAR", "c\n1\n30 0 0\n0 30 0\n0 0 30\nO {}\n1 1\nCartesian\n0 0 0\n0 0 1\n"),
        ("a.gen", "2 C\nO {}\n1 1 0 0 0\n2 2 0 0 1\n"),
        (
            "a.pdb",
            "ATOM      1  O   MOL     1       0.000   0.000   0.000  1.00  0.00           O\n"
            "ATOM      2  {}   MOL     1       0.000   0.000   1.000  1.00  0.00           {}\n",
        ),
    ],
)
def test_isotopes_of_hydrogen_are_hydrogen(tmp_path: Path, symbol: str, name: str, content: str) -> None:
    path = tmp_path / name
    path.write_text(content.replace("{}", symbol))
    read = read_neighbourhoods(str(path))
    assert (read.n_atoms, read.pairs) == (2, 2)
    assert symbol not in ase.data.atomic_numbers
    assert symbol not in ase.data.chemical_symbols


FORMATS = ("extxyz", "xyz", "cif", "proteindatabank", "json", "vasp", "traj", "gen", "lammps-dump-text", "mol")


def water(file_format: str, folder: Path) -> bytes:
    """Water in a box, as ASE or, where it cannot write the format, we ourselves write it."""
    atoms = ase.build.molecule("H2O")
    atoms.set_cell([20.0, 21.0, 22.0])
    atoms.set_pbc(True)
    positions = atoms.get_positions()
    if file_format == "lammps-dump-text":
        lines = [f"{i + 1} 1 {x} {y} {z}" for i, (x, y, z) in enumerate(positions)]
        box = "ITEM: BOX BOUNDS pp pp pp\n0 20\n0 21\n0 22\n"
        start = f"ITEM: TIMESTEP\n0\nITEM: NUMBER OF ATOMS\n3\n{box}ITEM: ATOMS id type x y z\n"
        return (start + "\n".join(lines) + "\n").encode()
    if file_format == "mol":
        lines = [f"{x:10.4f}{y:10.4f}{z:10.4f} {s}  0  0" for s, (x, y, z) in zip("OHH", positions, strict=True)]
        return ("\n\n\n  3  0  0  0  0  0  0  0  0  0999 V2000\n" + "\n".join(lines) + "\nM  END\n").encode()
    ase.io.write(folder / "water", atoms, format=file_format)
    return (folder / "water").read_bytes()


class Piped:
    """Bytes as standard input."""

    def __init__(self, content: bytes) -> None:
        self.buffer = io.BytesIO(content)


@pytest.mark.parametrize("packed", [bytes, gzip.compress, bz2.compress, lzma.compress])
@pytest.mark.parametrize("file_format", FORMATS)
def test_standard_input_is_read_in_every_format(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file_format: str, packed
) -> None:
    content = packed(water(file_format, tmp_path))
    for stated in (None, file_format) if file_format != "gen" else (file_format,):
        monkeypatch.setattr(sys, "stdin", Piped(content))
        read = read_neighbourhoods("-", stated)
        assert (read.name, read.n_atoms, read.pairs) == ("standard input", 3, 6)


@pytest.mark.parametrize(
    ("content", "stated", "message"),
    [
        (b"", None, "is empty"),
        (gzip.compress(b"1\n\nH 0 0 0\n" * 99, mtime=0)[:-12], None, "cannot be read: Compressed file ended"),
        (gzip.compress(b"1\n\nH 0 0 0\n", mtime=0)[:12] + b"broken" * 9, None, "cannot be read"),
        (b"what is this", None, "name it with --format"),
        (b"1\n\nH 0 0 0\n", "zzz", "'zzz' is no format that ASE knows"),
        (b"1\n\nH 0 0 0\n", "cif", "cannot be read"),
        (b"1\n\nH 0 0 0\n", "gif", "cannot be read"),
        (b"1\n\nQq 0 0 0\n", None, "unknown element 'Qq'"),
    ],
    ids=["empty", "cut", "broken", "text", "unknown-format", "wrong-format", "no-reader", "unknown-element"],
)
def test_bad_standard_input(monkeypatch: pytest.MonkeyPatch, content: bytes, stated: str | None, message: str) -> None:
    monkeypatch.setattr(sys, "stdin", Piped(content))
    with pytest.raises(ValueError, match=message) as caught:
        read_neighbourhoods("-", stated)
    assert str(caught.value).startswith("the structure on standard input")


def test_closed_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(ValueError, match="standard input cannot be read: it is closed"):
        read_neighbourhoods("-")


def test_named_pipes_keep_their_names(tmp_path: Path) -> None:
    """Their endings tell the format, as those of files do."""
    content = water("gen", tmp_path)
    pipe = tmp_path / "water.gen"
    os.mkfifo(pipe)
    Thread(target=pipe.write_bytes, args=(content,), daemon=True).start()  # not waited for, should nobody read
    read = read_neighbourhoods(str(pipe))
    assert (read.name, read.n_atoms) == ("water.gen", 3)


@pytest.mark.parametrize("path", ["/dev/null", "/dev/zero"])
def test_devices_hold_no_structure(path: str) -> None:
    with pytest.raises(ValueError, match=f"{path} is a device"):
        read_neighbourhoods(path)


def test_endings_that_mean_nothing_do_not_matter(tmp_path: Path) -> None:
    for name in ("water", "water.structure", "water.zzz"):
        (tmp_path / name).write_bytes(water("cif", tmp_path))
        assert read_neighbourhoods(str(tmp_path / name)).pairs == 6


def test_features_of_many_pairs_are_those_of_one_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pairs are taken some at a time; the memory for all their harmonics is never asked for."""
    caffeine = read_neighbourhoods(None)
    repeated = 2**22 // 25 // len(caffeine.centres) + 2
    many = caffeine._replace(
        n_atoms=24 * repeated,
        centres=(np.arange(repeated)[:, None] * 24 + caffeine.centres).ravel(),
        vectors=np.tile(caffeine.vectors, (repeated, 1)),
    )
    for few, all_of_them in zip(neighbourhood_features(caffeine, 4), neighbourhood_features(many, 4), strict=True):
        np.testing.assert_allclose(np.tile(few, (repeated, 1)), all_of_them, atol=tolerance("float64", 4))
