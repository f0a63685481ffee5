"""Energies, forces and stress of NequIP's models are those of ``nequip``. Runs in the session ``nequip``."""

from __future__ import annotations

import subprocess
import sys
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from models import small
from models.test_without_torch import REFUSES

from tpnumba.cli import main
from tpnumba.models import Potential, Results, load
from tpnumba.models.nequip import read_nequip

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what nequip, lightning and e3nn use of torch is on its way out
    pytest.importorskip("nequip", reason="needs nequip 0.19 and torch==2.13.0 (session nequip)")
    from models.against_nequip.original import (
        CUTOFF,
        OPTIONS,
        SIZES,
        build,
        build_full,
        evaluate,
        load_original,
        write_checkpoint,
        write_training,
    )

pytestmark = pytest.mark.filterwarnings("ignore")


def ethanol() -> Atoms:
    atoms = molecule("CH3CH2OH")
    atoms.rattle(0.1, seed=3)
    return atoms


def perovskite() -> Atoms:
    """Five atoms in a cubic cell; the elements stand for others."""
    places = [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
    atoms = Atoms("CHO3", scaled_positions=places, cell=[4.3] * 3, pbc=True)
    atoms.rattle(0.1, seed=4)
    return atoms


STRUCTURES = {
    "molecule": ethanol(),
    "crystal": perovskite(),
    "triclinic, below the cutoff": small.crystal(),
    "one atom in a small cell": Atoms("C", cell=[[2.0, 0.1, 0.0], [0.3, 2.2, 0.0], [0.0, -0.2, 2.4]], pbc=True),
    "carbon": Atoms(
        "C2", positions=[[0, 0, 0], [0.8, 1.0, 0.7]], cell=[[0, 1.8, 1.7], [1.9, 0, 1.8], [1.7, 1.8, 0]], pbc=True
    ),
    "two atoms, one far": Atoms("HOC", positions=[[0, 0, 0], [0.1, 0.2, 0.9], [0, 40, 0]]),
}


def compare(found: Results, expected: Results, limit: float) -> None:
    """To a relative error: of energies of atoms; of the largest force; of the largest component of the stress."""
    for name in ("energies", "forces", "stress"):
        value, other = getattr(found, name), getattr(expected, name)
        assert (value is None) == (other is None)
        if value is not None:
            np.testing.assert_allclose(value, other, rtol=0, atol=limit * np.abs(other).max() + 1e-14, err_msg=name)


def check(model: Any, structures: dict[str, Atoms] = STRUCTURES) -> Potential:
    """A model, converted, on structures."""
    potential = Potential(*read_nequip(model), dtype="float64")
    largest = 0.0
    for atoms in structures.values():
        expected = evaluate(model, atoms)
        compare(potential.evaluate(atoms), expected, 1e-11)
        largest = max(largest, float(np.abs(expected.forces).max()))
    assert largest > 1e-3, "forces of nothing would prove nothing"
    return potential


@pytest.mark.parametrize("size", SIZES)
def test_models_of_every_size(size: str) -> None:
    potential = check(build(**SIZES[size]))
    assert potential.elements == (8, 1, 6)
    assert potential.cutoff == CUTOFF
    assert potential.network.name.startswith("NequIP 0.19")


@pytest.mark.parametrize("option", OPTIONS)
def test_models_of_every_kind(option: str) -> None:
    model = build(**{**SIZES["parities"], **OPTIONS[option]})
    names = set(model.type_names)
    check(model, {key: atoms for key, atoms in STRUCTURES.items() if set(atoms.get_chemical_symbols()) <= names})


def test_a_model_whose_irreps_are_listed() -> None:
    irreps = ["6x0e + 3x1o + 2x2e + 4x0o", "5x0e + 3x1o + 2x1e + 2x2o", "4x0e"]
    check(build_full(feature_irreps_hidden=irreps, irreps_edge_sh=3))


def test_harmonics_that_are_taken_for_even_ones() -> None:
    irreps = ["6x0e + 3x1e + 2x2e", "4x0e"]
    potential = check(build_full(feature_irreps_hidden=irreps, irreps_edge_sh="0e + 1e + 2e"))
    assert potential.network.parity == 1


def test_a_model_of_float32() -> None:
    model = build(**SIZES["degree 2"], model_dtype="float32")
    potential = Potential(*read_nequip(model))
    for atoms in STRUCTURES.values():
        compare(potential.evaluate(atoms), evaluate(model, atoms), 1e-5)


def test_files_of_nequip_become_files_of_their_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Converted where nequip is, evaluated where it is not."""
    source, target = tmp_path / "best.ckpt", tmp_path / "model.safetensors"
    model = write_checkpoint(source, **SIZES["degree 2, parities"])
    assert main(["convert", str(source), str(target)]) == 0
    assert "3 elements, 3 interactions, cutoff 4 A" in capsys.readouterr().out
    expected = evaluate(model, STRUCTURES["crystal"])
    compare(load(target, dtype="float64").evaluate(STRUCTURES["crystal"]), expected, 1e-11)
    program = (
        f"{REFUSES}\nimport ase.io\nfrom tpnumba.models import load\n"
        "print(load(sys.argv[1], dtype='float64').evaluate(ase.io.read(sys.argv[2])).energy)"
    )
    structure = tmp_path / "crystal.traj"
    STRUCTURES["crystal"].write(structure)
    command = [sys.executable, "-c", program, str(target), str(structure)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert float(done.stdout) == pytest.approx(expected.energy, rel=1e-11)


def test_models_that_were_trained_and_packaged(tmp_path: Path) -> None:
    """By the commands of nequip, from its training to a file of our own."""
    folder = write_training(tmp_path)
    checkpoint, package = folder / "best.ckpt", folder / "model.nequip.zip"
    train = ["-cp", str(folder), "-cn", "config", f"hydra.run.dir={folder / 'run'}"]
    for command in (["train", *train], ["package", "build", str(checkpoint), str(package)]):
        program = f"from nequip.scripts.{command[0]} import main; main()"
        done = subprocess.run(
            [sys.executable, "-c", program, *command[1:]], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    potentials = []
    for source in (checkpoint, package):
        target = folder / "model.safetensors"
        assert main(["convert", str(source), str(target)]) == 0
        potentials.append(load(target, dtype="float64"))
        expected = evaluate(load_original(source), STRUCTURES["crystal"])
        compare(potentials[-1].evaluate(STRUCTURES["crystal"]), expected, 1e-11)
    for name, array in potentials[0].weights.items():
        np.testing.assert_array_equal(potentials[1].weights[name], array)


REFUSED = {
    "cutoffs": (
        {"per_edge_type_cutoff": {"H": 2.0}},
        r"cutoffs by edge type \(per_edge_type_cutoff\) are not supported",
    ),
    "pair potential": (
        {
            "pair_potential": {
                "_target_": "nequip.nn.pair_potential.LennardJones",
                "lj_sigma": 1.0,
                "lj_epsilon": 1.0,
                "lj_exponent": 6.0,
            }
        },
        "the part pair_potential of the model, of type LennardJones, is not supported",
    ),
    "repulsion": (
        {
            "pair_potential": {
                "_target_": "nequip.nn.pair_potential.ZBL",
                "units": "metal",
                "chemical_species": ["O", "H", "Cu"],
            }
        },
        r"a repulsion of other elements, \(8, 1, 29\) for \(8, 1, 6\), is not supported",
    ),
    "residual": ({"convnet_resnet": True}, r"residual connections \(convnet_resnet\), as of interaction 1, are not"),
    "norm": (
        {"convnet_nonlinearity_type": "norm"},
        "the nonlinearity NormActivation of interaction 0 is not supported",
    ),
    "readout": (
        {
            "readout_mlp_hidden_layers_depth": 1,
            "readout_mlp_hidden_layers_width": 4,
            "readout_mlp_nonlinearity": "mish",
        },
        "the activation Mish of the readout is not supported",
    ),
    "power": ({"polynomial_cutoff_p": 4.5}, "the power 4.5 of the cutoff function, which is no integer, is not"),
    "names": ({"type_names": ["O", "Hw"]}, "type_names must be chemical symbols, got 'Hw'"),
    "no element": ({"type_names": ["O", "X"]}, "type_names must be chemical symbols, got 'X'"),
    "charges": (
        {"categorical_graph_field_embed": [{"field": "charge", "num_features": 2, "min": -1, "max": 1}]},
        "embeddings of fields of the graph are not supported",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_supported_is_refused(case: str) -> None:
    options, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        read_nequip(build(**{**SIZES["plain"], "num_layers": 3, **options}))


def test_other_objects_and_files_are_refused(tmp_path: Path) -> None:
    import torch

    with pytest.raises(TypeError, match="source must be a path or a model that nequip has built, got Linear"):
        read_nequip(torch.nn.Linear(2, 3))
    with pytest.raises(OSError, match=r"absent\.ckpt"):
        read_nequip("absent.ckpt")
    for name, message in (
        ("some.ckpt", "is no model that nequip loads"),
        ("some.nequip.zip", "is no package of nequip"),
    ):
        (tmp_path / name).write_text("hello")
        with pytest.raises(ValueError, match=message):
            read_nequip(tmp_path / name)
    with zipfile.ZipFile(tmp_path / "old.nequip.zip", "w") as archive:
        archive.writestr("old/model/package_metadata.txt", "versions:\n  nequip: 0.14.0\n")
    with pytest.raises(ValueError, match=r"old\.nequip\.zip is of release 0\.14\.0, and models of 0\.19 are known"):
        read_nequip(tmp_path / "old.nequip.zip")
    model = build(**SIZES["parities"])
    buffers = model.model.func.layer1_convnet.conv.tp_scatter.tp._compiled_main_left_right
    buffers._w3j_1_1_1 *= 1.01
    with pytest.raises(ValueError, match=r"coefficients _w3j_1_1_1 are not those of the degrees 1, 1, 1"):
        read_nequip(model)
