"""The command ``tpnumba evaluate``: what it prints and writes, and how it refuses."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import ase.build
import ase.io
import numpy as np
import pytest
import toy_potential
from ase import Atoms, units
from studies.refusals import assert_refused

import tpnumba.models
from tpnumba.cli import main


@pytest.fixture(autouse=True)
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a potential and structures."""
    monkeypatch.setattr(tpnumba.models, "load", toy_potential.load, raising=False)
    monkeypatch.chdir(tmp_path)
    Path("toy").write_text("5.0")
    ase.io.write("cu.cif", copper())
    ase.io.write("frames.xyz", frames())
    return tmp_path


def copper() -> Atoms:
    atoms = ase.build.bulk("Cu", cubic=True) * (2, 1, 1)
    atoms.rattle(0.1, seed=1)
    return atoms


def frames() -> list[Atoms]:
    return [Atoms("CO", positions=[[0, 0, 0], [0, 0, 2.2 + 0.2 * step]]) for step in range(3)]


def test_a_line_a_structure(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "toy", "cu.cif", "frames.xyz", "--dtype", "float64"]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    header, *lines = printed.out.splitlines()
    assert len({len(line) for line in printed.out.splitlines()}) == 1
    assert header.split("  ")[0] == "structure"
    read = [ase.io.read("cu.cif"), *frames()]
    names = [("cu.cif", "1"), *(("frames.xyz", str(i)) for i in (1, 2, 3))]
    assert len(lines) == len(read)
    for line, atoms, name in zip(lines, read, names, strict=True):
        found = toy_potential.LennardJones().evaluate(atoms)
        cells = line.split()
        assert tuple(cells[:2]) == name
        assert int(cells[2]) == len(atoms)
        assert float(cells[3]) == pytest.approx(found.energy, abs=1e-6)
        assert float(cells[4]) == pytest.approx(found.energy / len(atoms), abs=1e-6)
        assert float(cells[5]) == pytest.approx(np.linalg.norm(found.forces, axis=1).max(), abs=1e-4)
        if found.stress is None:
            assert cells[6] == "-"
        else:
            assert float(cells[6]) == pytest.approx(-found.stress[:3].sum() / 3 / units.GPa, abs=1e-3)


def test_json_holds_all_results() -> None:
    assert main(["evaluate", "toy", "cu.cif", "frames.xyz", "--dtype", "float64", "--json", "out.json"]) == 0
    written = json.loads(Path("out.json").read_text())
    assert written["model"] == {"file": "toy", "dtype": "float64", "radial": "network", "cutoff": 5.0}
    assert written["machine"]["cores"] >= 1
    read = [ase.io.read("cu.cif"), *ase.io.read("frames.xyz", index=":")]
    assert [(one["name"], one["frame"]) for one in written["structures"]] == [
        ("cu.cif", 1),
        *(("frames.xyz", i) for i in (1, 2, 3)),
    ]
    for one, atoms in zip(written["structures"], read, strict=True):
        found = toy_potential.LennardJones().evaluate(atoms)
        assert one["atoms"] == len(atoms)
        assert one["energy"] == found.energy
        for name in ("energies", "forces", "stress"):
            value = getattr(found, name)
            assert one[name] == (None if value is None else value.tolist())


def test_extended_xyz_is_read_back_with_its_results() -> None:
    assert main(["evaluate", "toy", "cu.cif", "frames.xyz", "--xyz", "out.xyz"]) == 0
    read = [ase.io.read("cu.cif"), *ase.io.read("frames.xyz", index=":")]
    back = ase.io.read("out.xyz", index=":")
    for atoms, one in zip(read, back, strict=True):
        found = toy_potential.LennardJones(dtype="float32").evaluate(atoms)
        np.testing.assert_allclose(one.positions, atoms.positions, atol=1e-7)
        assert one.get_potential_energy() == pytest.approx(found.energy, abs=1e-7)
        np.testing.assert_allclose(one.get_potential_energies(), found.energies, atol=1e-7)
        np.testing.assert_allclose(one.get_forces(), found.forces, atol=1e-7)
        if found.stress is not None:
            np.testing.assert_allclose(one.get_stress(), found.stress, atol=1e-7)


class Piped:
    """Bytes as standard input."""

    def __init__(self, content: bytes) -> None:
        self.buffer = io.BytesIO(content)


def test_standard_input_and_other_files(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stdin", Piped(Path("frames.xyz").read_bytes()))
    assert main(["evaluate", "toy", "-", "cu.cif"]) == 0
    lines = capsys.readouterr().out.splitlines()[1:]
    assert [line.split("  ")[0] for line in lines] == ["standard input"] * 3 + ["cu.cif"]


def test_progress_counts_structures(monkeypatch: pytest.MonkeyPatch) -> None:
    from tpnumba.studies.evaluate import evaluate, frames_of

    told: list[tuple[str, int, int]] = []
    listed = [*frames_of("cu.cif"), *frames_of("frames.xyz")]
    evaluate(toy_potential.LennardJones(), listed, on_progress=lambda *what: told.append(what))
    assert told == [
        ("cu.cif", 0, 4),
        *((f"frames.xyz, frame {i}", i, 4) for i in (1, 2, 3)),
        ("done", 4, 4),
    ]


def test_what_is_not_finite_is_null(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tpnumba.models, "load", lambda *_, **__: toy_potential.LennardJones(epsilon=np.inf))
    with np.errstate(all="ignore"):
        assert main(["evaluate", "toy", "frames.xyz", "--json", "out.json"]) == 0
    assert json.loads(Path("out.json").read_text())["structures"][0]["energy"] is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["evaluate"], "MODEL, STRUCTURES"),
        (["evaluate", "toy"], "STRUCTURES"),
        (["evaluate", "no_such", "cu.cif"], "no_such"),
        (["evaluate", "toy", "no_such.xyz"], "no_such.xyz does not exist"),
        (["evaluate", "toy", "cu.cif", "--format", "zzz"], "'zzz' is no format"),
        (["evaluate", "toy", "cu.cif", "--dtype", "float16"], "float16"),
        (["evaluate", "toy", "cu.cif", "--json", "no/out.json"], "no/out.json cannot be written"),
        (["evaluate", "toy", "cu.cif", "--xyz", "."], "is a directory"),
        (["evaluate", "toy", "cu.cif", "--json", "a", "--xyz", "a"], "are both a"),
        (["evaluate", "toy", "-", "-"], "standard input (-) is named more than once"),
        (["evaluate", "toy", "cu.cif", "au.xyz"], "file au.xyz, frame 2 of 2: the potential does not know the element"),
        (["evaluate", "toy", "twice.xyz"], "file twice.xyz: atoms overlap: atom 0 (C) and atom 1 (C)"),
        (["evaluate", "toy", "nan.xyz"], "file nan.xyz: positions must be finite"),
    ],
    ids=" ".join,
)
def test_errors_are_one_line_and_nothing_is_written(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ase.io.write("au.xyz", [Atoms("C"), Atoms("Au")])
    ase.io.write("twice.xyz", Atoms("C2"))
    Path("nan.xyz").write_text("1\n\nC 0 0 nan\n")
    before = sorted(Path().iterdir())
    assert_refused(arguments, message, capsys)
    assert sorted(Path().iterdir()) == before
