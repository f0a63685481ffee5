"""Checkpoints of SevenNet: a small one made here, and the four that the package sevenn ships, without torch.

The four need the wheel of sevenn, which the session ``models`` downloads.
"""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import ase.build
import numpy as np
import pytest
from ase import Atoms
from models import checkpoints, reference
from models.structures import full, numerical_forces, numerical_stress, rotated, rotation

from tpnumba.cli import main
from tpnumba.models import Network, Potential, graph_of, load, sevennet
from tpnumba.models.sevennet import read_sevennet

Checkpoint = tuple[str, str | None]
Read = Callable[..., Potential]


@pytest.fixture
def read_content(monkeypatch: pytest.MonkeyPatch):
    """Read a checkpoint from what is in it."""

    def read(content, **options):
        monkeypatch.setattr(sevennet, "read_torch_file", lambda path: content)
        return read_sevennet("small.pth", **options)

    return read


# ---- a small checkpoint


def methane() -> Atoms:
    atoms = ase.build.molecule("CH4")
    atoms.rattle(0.05, seed=1)
    return atoms


def test_a_small_checkpoint_has_the_energies_of_the_mathematics(read_content) -> None:
    network, weights = read_content(checkpoints.checkpoint())
    assert network.elements == (1, 6, 8)
    assert (network.cutoff, network.lmax, network.parity, network.unit_vectors) == (4.0, 1, 1, True)
    assert [entry.denominator for entry in network.interactions] == [3.0, 4.0]
    assert network.interactions[0].irreps_in == "4x0e"
    assert network.radial.envelope == "xplor"
    found = Potential(network, weights, dtype="float64").evaluate(methane())
    expected = reference.energies(network, weights, graph_of(methane(), network.cutoff))
    np.testing.assert_allclose(found.energies, expected, rtol=1e-11)


@pytest.mark.parametrize(
    ("changes", "options"),
    [
        ({"use_bias_in_linear": True}, {"biases": True}),
        ({"self_connection_type": "nequip"}, {"nequip": True}),
        (
            {"readout_as_fcn": True, "readout_fcn_hidden_neurons": [5, 6], "readout_fcn_activation": "relu"},
            {"readout": (5, 6)},
        ),
        (
            {"irreps_manual": False, "channel": 4, "num_convolution_layer": 2, "lmax_node": -1},
            {"vectors": 4},
        ),
    ],
    ids=["biases", "nequip", "readout", "irreps"],
)
def test_other_settings_have_the_energies_of_the_mathematics(read_content, changes, options) -> None:
    content = {"config": checkpoints.config(**changes), "model_state_dict": checkpoints.state(**options)}
    network, weights = read_content(content)
    found = Potential(network, weights, dtype="float64").evaluate(methane())
    expected = reference.energies(network, weights, graph_of(methane(), network.cutoff))
    np.testing.assert_allclose(found.energies, expected, rtol=1e-11)
    plain, plain_weights = read_content(checkpoints.checkpoint())
    others = Potential(plain, plain_weights, dtype="float64").evaluate(methane()).energies
    assert np.abs(found.energies - others).min() > 1e-3, "the settings matter"
    for key in checkpoints.state(**options):
        if "_w3j_" not in key:
            less = {name: array for name, array in content["model_state_dict"].items() if name != key}
            with pytest.raises(ValueError, match="lacks"):
                read_content({**content, "model_state_dict": less})


def test_features_that_are_not_listed_are_all_irreps_of_the_products(read_content) -> None:
    changes = {"irreps_manual": False, "channel": 4, "num_convolution_layer": 2, "lmax_node": -1}
    content = {"config": checkpoints.config(**changes), "model_state_dict": checkpoints.state(vectors=4)}
    network, _ = read_content(content)
    assert network.irreps_embedding == "4x0e"
    assert [entry.irreps_in for entry in network.interactions] == ["4x0e", "4x0e+4x1e"]
    assert [(entry.scalars, entry.gated) for entry in network.interactions] == [("4x0e", "4x1e"), ("4x0e", "")]


def test_readouts_of_another_shape_are_refused(read_content) -> None:
    changes = {"readout_as_fcn": True, "readout_fcn_hidden_neurons": [5], "readout_fcn_activation": "silu"}
    content = {"config": checkpoints.config(**changes), "model_state_dict": checkpoints.state(readout=(6,))}
    with pytest.raises(ValueError, match=r"readout_FCN\.fcn\.layer0\.weight has shape \(4, 6\) where \(4, 5\)"):
        read_content(content)


@pytest.mark.parametrize("t", [0, 1])
def test_signs_of_coefficients_go_into_the_weights(read_content, t: int) -> None:
    """Into those of their product alone: the last columns, of both interactions."""
    content = checkpoints.checkpoint()
    _, plain = read_content(content)
    degrees, copies = checkpoints.PRODUCTS[t][-1]
    content["model_state_dict"][checkpoints.coefficients(t, *degrees)] *= -1
    _, flipped = read_content(content)
    name = f"interactions.{t}.radial"
    assert {key for key in plain if plain[key].tobytes() != flipped[key].tobytes()} == {name}
    count = sum(number for _, number in checkpoints.PRODUCTS[t])
    before, after = (weights[name][-7 * count :].reshape(7, count) for weights in (plain, flipped))
    np.testing.assert_array_equal(after[:, -copies:], -before[:, -copies:])
    np.testing.assert_array_equal(after[:, :-copies], before[:, :-copies])


def test_old_names_are_read(read_content) -> None:
    """As the checkpoint of May 2024 has them."""
    content = checkpoints.checkpoint()
    expected = read_content(content)
    old = {
        "edge_embedding": "EdgeEmbedding",
        "reduce_input_to_hidden": "reducing nn input to hidden",
        "reduce_hidden_to_energy": "reducing nn hidden to energy",
        "rescale_atomic_energy": "rescale atomic energy",
    }
    state = {}
    for key, array in content["model_state_dict"].items():
        first, _, rest = key.partition(".")
        words = old.get(first, first.replace("_", " ") if first[0].isdigit() else first)
        state[f"{words}.{rest.replace('denominator', 'denumerator')}"] = array
    assert set(state) != set(content["model_state_dict"])
    network, weights = read_content({**content, "model_state_dict": state})
    assert network == expected[0]
    assert {key: array.tobytes() for key, array in weights.items()} == {
        key: array.tobytes() for key, array in expected[1].items()
    }


def test_options_with_defaults_may_be_absent(read_content) -> None:
    content = checkpoints.checkpoint()
    for key in ("_normalize_sph", "use_bias_in_linear", "readout_as_fcn"):
        del content["config"][key]
    network, _ = read_content(content)
    assert not network.unit_vectors


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"_model_type": "other"}, "holds a model of type 'other', not 'E3_equivariant_model'"),
        ({"use_bias_in_linear": True}, "lacks 'onehot_to_feature_x.linear.bias'"),
        ({"readout_as_fcn": True}, "lacks 'readout_fcn_hidden_neurons'"),
        ({"interaction_type": "mace"}, "interactions of type 'mace' are not supported"),
        ({"irreps_manual": False}, "lacks 'channel'"),
        ({"radial_basis": {"radial_basis_name": "gaussian"}}, "the radial basis 'gaussian' is not supported"),
        ({"cutoff_function": {"cutoff_function_name": "step"}}, "the cutoff function 'step' is not supported"),
        ({"self_connection_type": "other"}, "self-connections of type 'other' are not supported"),
        ({"weight_nn_hidden_neurons": [6, 7, 8]}, "lacks '0_convolution.weight_nn.layer3.weight'"),
        ({"act_scalar": {"e": "elu", "o": "tanh"}}, r"scalar_activations\[0\] must be one of silu, .*, got 'elu'"),
        ({"act_gate": {"e": "elu", "o": "tanh"}}, r"gate_activations\[0\] must be one of silu, .*, got 'elu'"),
        ({"act_radial": "elu"}, "radial_activation must be one of silu, .*, got 'elu'"),
    ],
)
def test_what_is_not_supported_is_refused(read_content, changes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_content(checkpoints.checkpoint(**changes))


def test_incomplete_or_damaged_checkpoints_are_refused(read_content) -> None:
    for content in ([1], {"config": {}}):
        with pytest.raises(ValueError, match="is no checkpoint of SevenNet"):
            read_content(content)
    for key in checkpoints.state():
        content = checkpoints.checkpoint()
        del content["model_state_dict"][key]
        if "_w3j_" in key and "0" in key[-5:]:
            read_content(content)  # e3nn has none of those with a zero; their sign is that of today
            continue
        with pytest.raises(ValueError, match="lacks"):
            read_content(content)
    content = checkpoints.checkpoint()
    name = checkpoints.coefficients(1, 1, 1, 0)
    content["model_state_dict"][name] = content["model_state_dict"][name] * 2
    with pytest.raises(ValueError, match="are not those of the degrees 1, 1, 0"):
        read_content(content)
    content = checkpoints.checkpoint()
    content["model_state_dict"]["1_self_interaction_2.linear.weight"] = np.zeros(5, np.float32)
    with pytest.raises(ValueError, match="1_self_interaction_2 has 5 weights where 28 are expected"):
        read_content(content)


# ---- files that are none


def test_foreign_files_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text, archive = tmp_path / "text.pth", tmp_path / "archive.pth"
    text.write_text("hello")
    with zipfile.ZipFile(archive, "w") as stream:
        stream.writestr("something", b"else")
    out = tmp_path / "out.safetensors"
    for path in (text, archive, tmp_path / "absent.pth"):
        assert main(["convert", str(path), str(out)]) == 2
        printed = capsys.readouterr()
        assert printed.out == ""
        assert printed.err.startswith("tpnumba convert: error: ")
        assert printed.err.count("\n") == 1
        assert path.name in printed.err
        assert not out.exists()
    assert main(["convert", str(text), str(out), "--name", "SevenNet_0__11Jul2024"]) == 2
    assert "is no wheel" in capsys.readouterr().err
    assert main(["convert", str(text), str(tmp_path / "no" / "out.safetensors")]) == 2
    assert "OUT" in capsys.readouterr().err


class Malicious:
    """Would write a file when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self):
        return Path.write_text, (self.trace, "executed")


def test_a_malicious_checkpoint_is_refused_and_nothing_in_it_is_executed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trace, path, out = tmp_path / "trace", tmp_path / "evil.pth", tmp_path / "out.safetensors"
    pickled = pickle.dumps({"config": Malicious(trace), "model_state_dict": {}}, protocol=2)
    pickle.loads(pickled)
    assert trace.read_text() == "executed", "it is malicious"
    trace.unlink()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("evil/data.pkl", pickled)
        archive.writestr("evil/version", "3\n")
        archive.writestr("evil/byteorder", "little")
    assert main(["convert", str(path), str(out)]) == 2
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 1
    assert "the pickle names" in printed.err
    assert "nothing was executed" in printed.err
    assert not trace.exists()
    assert not out.exists()


# ---- the four of the wheel


def structure() -> Atoms:
    """Of three elements, in a triclinic cell that is smaller than the cutoff."""
    atoms = ase.build.bulk("NaCl", "rocksalt", a=5.64) * (1, 1, 2)
    atoms.numbers[3] = 8
    atoms.rattle(0.1, seed=1)
    strain = np.array([[1.02, 0.03, 0.0], [0.0, 0.99, 0.02], [0.0, 0.0, 1.01]])
    atoms.set_cell(atoms.cell.array @ strain, scale_atoms=True)
    return atoms


def test_checkpoints_are_files_of_a_potential(
    checkpoint: Checkpoint, read: Read, wheel: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Converted by the command, loaded bit for bit, and mapped rather than read."""
    name, modal = checkpoint
    path = tmp_path / "potential.safetensors"
    options = [] if modal is None else ["--modal", modal]
    assert main(["convert", str(wheel), str(path), "--name", name, *options]) == 0
    assert "89 elements, 5 interactions, cutoff 5 A" in capsys.readouterr().out
    made, loaded = read(checkpoint, "float32"), load(path)
    assert loaded.network == made.network == Network.from_json(made.network.to_json())
    assert set(loaded.weights) == set(made.weights)
    for key, array in made.weights.items():
        other = loaded.weights[key]
        assert (other.dtype, other.shape) == (array.dtype, array.shape)
        assert other.tobytes() == array.tobytes()
        assert not other.flags.writeable
        base = other
        while isinstance(base, np.ndarray) and not isinstance(base, np.memmap):
            base = base.base
        assert isinstance(base, np.memmap), f"{key} was copied"
    atoms = structure()
    first, second = made.evaluate(atoms), loaded.evaluate(atoms)
    for key in ("energies", "forces", "stress"):
        assert getattr(first, key).tobytes() == getattr(second, key).tobytes()


def test_forces_and_stress_are_slopes_of_the_energy(checkpoint: Checkpoint, read: Read) -> None:
    potential, atoms = read(checkpoint), structure()
    found = potential.evaluate(atoms)

    def energy(changed: Atoms) -> float:
        return potential.evaluate(changed).energy

    np.testing.assert_allclose(found.forces, numerical_forces(energy, atoms, 1e-4), rtol=1e-6, atol=2e-7)
    np.testing.assert_allclose(found.stress, numerical_stress(energy, atoms, 1e-4), rtol=1e-6, atol=1e-8)
    assert np.abs(found.forces).max() > 0.1


def test_energies_are_those_of_the_mathematics(checkpoint: Checkpoint, read: Read) -> None:
    potential, atoms = read(checkpoint), methane()
    expected = reference.energies(potential.network, potential.weights, graph_of(atoms, potential.cutoff))
    np.testing.assert_allclose(potential.evaluate(atoms).energies, expected, rtol=1e-11)


def test_results_follow_the_structure(checkpoint: Checkpoint, read: Read) -> None:
    """Turned, in another order, and twice as large."""
    potential, atoms, turn = read(checkpoint), structure(), rotation()
    before, after = potential.evaluate(atoms), potential.evaluate(rotated(atoms, turn))
    np.testing.assert_allclose(after.energies, before.energies, rtol=1e-11)
    np.testing.assert_allclose(after.forces, before.forces @ turn.T, atol=1e-9)
    np.testing.assert_allclose(full(after.stress), turn @ full(before.stress) @ turn.T, atol=1e-10)
    order = np.array([2, 0, 3, 1])
    other = potential.evaluate(atoms[order])
    np.testing.assert_allclose(other.energies, before.energies[order], rtol=1e-11)
    np.testing.assert_allclose(other.forces, before.forces[order], atol=1e-9)
    double = potential.evaluate(atoms * (2, 1, 1))
    np.testing.assert_allclose(double.energies, np.tile(before.energies, 2), rtol=1e-11)
    np.testing.assert_allclose(double.forces, np.tile(before.forces, (2, 1)), atol=1e-9)
    np.testing.assert_allclose(double.stress, before.stress, atol=1e-10)


def test_float32_agrees_with_float64(checkpoint: Checkpoint, read: Read) -> None:
    """To the bars that hold against the original."""
    before, after = (read(checkpoint, dtype).evaluate(structure()) for dtype in ("float64", "float32"))
    np.testing.assert_allclose(after.energies, before.energies, rtol=1e-5)
    np.testing.assert_allclose(after.forces, before.forces, atol=1e-4)
    np.testing.assert_allclose(after.stress, before.stress, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_results_do_not_depend_on_the_number_of_threads(checkpoint: Checkpoint, read: Read, dtype: str) -> None:
    potential, atoms = read(checkpoint, dtype), structure() * (2, 2, 1)
    atoms.rattle(0.05, seed=4)
    results = [potential.evaluate(atoms, num_threads=threads) for threads in (1, 2, 3)]
    for other in results[1:]:
        for name in ("energies", "forces", "stress"):
            assert getattr(other, name).tobytes() == getattr(results[0], name).tobytes()


def test_every_element_is_evaluated(checkpoint: Checkpoint, read: Read) -> None:
    """Alone, and next to another."""
    potential = read(checkpoint, "float32")
    assert len(potential.elements) == 89
    alone, bound = [], []
    for number in potential.elements:
        single = potential.evaluate(Atoms(numbers=[number]))
        assert single.forces.tolist() == [[0, 0, 0]]
        alone.append(single.energy)
        pair = potential.evaluate(Atoms(numbers=[number, 8], positions=[[0, 0, 0], [0, 0.3, 2.0]]))
        assert np.isfinite(pair.energies).all()
        assert np.isfinite(pair.forces).all()
        np.testing.assert_allclose(pair.forces[0], -pair.forces[1], atol=1e-5)
        bound.append(pair.energies[0])
    assert np.isfinite(alone).all()
    for energies in (alone, bound):
        assert len(np.unique(np.round(energies, 4))) > 80, "elements differ"


def test_what_cannot_be_evaluated_is_refused(checkpoint: Checkpoint, read: Read) -> None:
    potential = read(checkpoint, "float32")
    for atoms, message in (
        (Atoms("Rn"), "89 elements from H to Pu but Po, At, Rn, Fr, Ra"),
        (Atoms("NaCl"), r"atoms overlap: atom 0 \(Na\) and atom 1 \(Cl\)"),
        (Atoms("Na", positions=[[0, np.nan, 0]]), "positions must be finite"),
        (Atoms(), "holds no atoms"),
    ):
        with pytest.raises(ValueError, match=message):
            potential.evaluate(atoms)


def test_fidelities_differ(read: Read) -> None:
    energies = [read(("SevenNet_MF_0", modal)).evaluate(structure()).energy for modal in ("PBE", "R2SCAN")]
    assert abs(energies[0] - energies[1]) > 0.1


def test_other_names_are_refused(wheel: Path) -> None:
    names = "SevenNet_0__11Jul2024, SevenNet_0__22May2024, SevenNet_MF_0, SevenNet_l3i5"
    for name in (None, "SevenNet-0"):
        with pytest.raises(ValueError, match=f"name must be one of the checkpoints in .*: {names}; got {name!r}"):
            read_sevennet(wheel, name=name)
    for modal in (None, "pbe"):
        with pytest.raises(ValueError, match=f"modal must be one of R2SCAN, PBE, got {modal!r}"):
            read_sevennet(wheel, name="SevenNet_MF_0", modal=modal)
    with pytest.raises(ValueError, match="modal 'PBE' was asked for, but the model has one fidelity only"):
        read_sevennet(wheel, name="SevenNet_0__11Jul2024", modal="PBE")


def test_checkpoints_are_read_outside_of_their_wheel_too(wheel: Path, tmp_path: Path, read: Read) -> None:
    with zipfile.ZipFile(wheel) as archive:
        entry = next(name for name in archive.namelist() if "11Jul2024" in name and name.endswith(".pth"))
        path = Path(archive.extract(entry, tmp_path))
    network, weights = read_sevennet(path)
    expected = read(("SevenNet_0__11Jul2024", None))
    assert network == expected.network
    assert all(weights[name].tobytes() == array.tobytes() for name, array in expected.weights.items())
    cut = tmp_path / "cut.pth"
    cut.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(ValueError, match=r"cut\.pth"):
        read_sevennet(cut)
