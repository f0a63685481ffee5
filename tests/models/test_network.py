"""Small random networks, with every option of a description, against their mathematics."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from models import reference, small
from models.structures import full, numerical_forces, numerical_stress, rotated, rotation, slope

from tpnumba.irreps import Irreps
from tpnumba.models import Network, Potential, Radial, Repulsion, graph_of, load
from tpnumba.models.file import read_arrays, write_arrays
from tpnumba.models.network import VERSION

CASES = [(name, biases) for name in small.NETWORKS for biases in (False, True)]
IDS = [f"{name}-{'biases' if biases else 'plain'}" for name, biases in CASES]


@pytest.fixture(params=CASES, ids=IDS)
def potential(request: pytest.FixtureRequest) -> Potential:
    name, biases = request.param
    network = small.NETWORKS[name]
    return Potential(network, small.random_weights(network, biases=biases), dtype="float64")


def expected_energies(potential: Potential, atoms: Atoms) -> np.ndarray:
    graph = graph_of(atoms, potential.cutoff, elements=potential.elements)
    return reference.energies(potential.network, potential.weights, graph)


def molecule() -> Atoms:
    return Atoms("OHCH", positions=[[0, 0, 0], [0.9, 0.2, -0.1], [-0.4, 1.1, 0.6], [6, 6, 6]])


@pytest.mark.parametrize("atoms", [small.crystal(), molecule(), Atoms("C")], ids=["crystal", "molecule", "atom"])
def test_energies_are_those_of_the_mathematics(potential: Potential, atoms: Atoms) -> None:
    found = potential.evaluate(atoms)
    expected = expected_energies(potential, atoms)
    np.testing.assert_allclose(found.energies, expected, rtol=1e-11, atol=1e-11)
    assert found.energy == pytest.approx(expected.sum(), rel=1e-11)
    if len(set(atoms.numbers)) > 1:
        assert np.ptp(expected) > 1e-3, "energies of one number would prove little"


def test_forces_and_stress_are_slopes_of_the_energy_of_the_mathematics() -> None:
    """One network for all: the others follow from the test below."""
    network = small.NETWORKS["even"]
    potential = Potential(network, small.random_weights(network, biases=True), dtype="float64")
    atoms = small.crystal()[:4]
    found = potential.evaluate(atoms)

    def energy(changed: Atoms) -> float:
        return float(expected_energies(potential, changed).sum())

    np.testing.assert_allclose(found.forces, numerical_forces(energy, atoms, 1e-4), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(found.stress, numerical_stress(energy, atoms, 1e-4), rtol=1e-6, atol=1e-6)
    assert np.abs(found.forces).max() > 1e-2


def test_forces_and_stress_are_slopes_of_the_energy(potential: Potential) -> None:
    atoms = small.crystal()
    found = potential.evaluate(atoms)

    def energy(changed: Atoms) -> float:
        return potential.evaluate(changed).energy

    np.testing.assert_allclose(found.forces, numerical_forces(energy, atoms, 1e-4), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(found.stress, numerical_stress(energy, atoms, 1e-4), rtol=1e-6, atol=1e-6)


def assert_turned(potential: Potential, turn: np.ndarray) -> None:
    atoms = small.crystal()
    before, after = potential.evaluate(atoms), potential.evaluate(rotated(atoms, turn))
    np.testing.assert_allclose(after.energies, before.energies, rtol=1e-11)
    np.testing.assert_allclose(after.forces, before.forces @ turn.T, rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(full(after.stress), turn @ full(before.stress) @ turn.T, rtol=1e-9, atol=1e-11)


def test_results_turn_with_the_structure(potential: Potential) -> None:
    assert_turned(potential, rotation())


@pytest.mark.parametrize("name", ["odd", "lengths"])
def test_with_parities_results_are_reflected_with_the_structure(name: str) -> None:
    network = small.NETWORKS[name]
    assert network.parity == -1
    assert_turned(Potential(network, small.random_weights(network, biases=True), dtype="float64"), -rotation())


def test_odd_messages_matter() -> None:
    """Or the network with parities would prove nothing of them."""
    network = small.NETWORKS["odd"]
    weights = small.random_weights(network, biases=False)
    third = network.interactions[2]
    features, blocks = Irreps(third.irreps_in), Irreps(third.irreps_messages)
    odd = np.concatenate([np.full(features[i].mul, blocks[k].ir.p == -1) for i, _, k in third.instructions])
    last = weights["interactions.2.radial"][-third.hidden[-1] * odd.size :].reshape(third.hidden[-1], odd.size)
    before = Potential(network, weights, dtype="float64").evaluate(small.crystal())
    last[:, odd] = 0
    after = Potential(network, weights, dtype="float64").evaluate(small.crystal())
    assert np.abs(before.energies - after.energies).max() > 1e-3


def test_the_order_of_atoms_does_not_matter(potential: Potential) -> None:
    atoms, order = small.crystal(), np.array([3, 6, 0, 2, 5, 1, 4])
    before, after = potential.evaluate(atoms), potential.evaluate(atoms[order])
    np.testing.assert_allclose(after.energies, before.energies[order], rtol=1e-11)
    np.testing.assert_allclose(after.forces, before.forces[order], rtol=1e-9, atol=1e-10)


def test_a_supercell_has_the_energies_of_its_cell(potential: Potential) -> None:
    atoms = small.crystal()
    before, after = potential.evaluate(atoms), potential.evaluate(atoms * (2, 1, 2))
    np.testing.assert_allclose(after.energies, np.tile(before.energies, 4), rtol=1e-11)
    np.testing.assert_allclose(after.forces, np.tile(before.forces, (4, 1)), rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(after.stress, before.stress, rtol=1e-9, atol=1e-11)


def test_gradients_by_weights_are_slopes_of_the_energy(potential: Potential) -> None:
    """Of every array, along a random direction."""
    atoms, rng, step = small.crystal(), np.random.default_rng(7), 1e-5
    gradients = potential.gradients(atoms)
    assert set(gradients) == set(potential.weights)
    for name, array in potential.weights.items():
        direction = rng.standard_normal(array.size)

        def energy(by: float, name: str = name, direction: np.ndarray = direction) -> float:
            changed = {**potential.weights, name: potential.weights[name] + by * direction}
            return Potential(potential.network, changed, dtype="float64").evaluate(atoms).energy

        assert gradients[name].shape == array.shape
        assert gradients[name] @ direction == pytest.approx(slope(energy, step), rel=1e-6, abs=1e-6), name
    graph = graph_of(atoms, potential.cutoff)
    assert all(array.tobytes() == gradients[name].tobytes() for name, array in potential.gradients(graph).items())


@pytest.mark.parametrize("name", ["even", "odd"])
def test_weights_may_change_afterwards_and_stand_anywhere_in_memory(name: str) -> None:
    network = small.NETWORKS[name]
    weights = small.random_weights(network, biases=True)
    expected = Potential(network, weights, dtype="float64").evaluate(small.crystal())
    apart = {key: np.repeat(array, 2)[::2] for key, array in weights.items()}
    potential = Potential(network, apart, dtype="float64")
    gradients = potential.gradients(small.crystal())
    for array in apart.values():
        array[...] = 7
    found = potential.evaluate(small.crystal())
    np.testing.assert_array_equal(found.energies, expected.energies)
    np.testing.assert_array_equal(found.forces, expected.forces)
    for key, array in potential.gradients(small.crystal()).items():
        np.testing.assert_array_equal(array, gradients[key])
    with pytest.raises(ValueError, match="read-only"):
        potential.weights["scale"] *= 2


def test_float32_agrees_with_float64(potential: Potential) -> None:
    atoms = small.crystal()
    single = Potential(potential.network, potential.weights)
    assert single.dtype == "float32"
    before, after = potential.evaluate(atoms), single.evaluate(atoms)
    for name in ("energies", "forces", "stress"):
        expected = getattr(before, name)
        np.testing.assert_allclose(getattr(after, name), expected, atol=2e-5 * (1 + np.abs(expected).max()), rtol=2e-5)
        assert not np.array_equal(getattr(after, name), expected), "it was evaluated in float32"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_results_do_not_depend_on_the_number_of_threads(dtype: str) -> None:
    """Bit for bit, also where edges are worked in several parts."""
    network = small.NETWORKS["odd"]
    potential = Potential(network, small.random_weights(network, biases=True), dtype=dtype)
    atoms = small.crystal() * (4, 3, 3)
    atoms.rattle(0.05, seed=2)
    results = [potential.evaluate(atoms, num_threads=threads) for threads in (1, 2, 3, 5)]
    for other in results[1:]:
        for name in ("energies", "forces", "stress"):
            assert getattr(other, name).tobytes() == getattr(results[0], name).tobytes()


def test_nan_in_the_weights_is_no_silence() -> None:
    network = small.NETWORKS["even"]
    weights = small.random_weights(network, biases=False)
    weights["readout.2"][0] = np.nan
    assert np.isnan(Potential(network, weights, dtype="float64").evaluate(small.crystal()).energies).all()


@pytest.mark.parametrize("name", small.NETWORKS)
def test_a_description_is_read_as_it_was_written(name: str) -> None:
    network = small.NETWORKS[name]
    assert Network.from_json(network.to_json()) == network
    assert hash(Network.from_json(network.to_json())) == hash(network)


def test_a_file_keeps_every_bit(potential: Potential, tmp_path: Path) -> None:
    path = tmp_path / "small.safetensors"
    potential.save(path)
    again = load(path, dtype="float64")
    assert again.network == potential.network
    assert set(again.weights) == set(potential.weights)
    for name, array in potential.weights.items():
        assert again.weights[name].tobytes() == array.tobytes()
        assert not again.weights[name].flags.writeable
    before, after = potential.evaluate(small.crystal()), again.evaluate(small.crystal())
    for name in ("energies", "forces", "stress"):
        assert getattr(before, name).tobytes() == getattr(after, name).tobytes()
    copied = tmp_path / "again.safetensors"
    again.save(copied)
    assert copied.read_bytes() == path.read_bytes()


def test_repr_says_what_it_is() -> None:
    network = small.NETWORKS["odd"]
    potential = Potential(network, small.random_weights(network, biases=False))
    assert repr(potential) == "Potential(odd: 3 elements, 4 interactions, cutoff 3.2 A, float32)"


def saved(tmp_path: Path, change=lambda arrays, metadata: None) -> Path:
    """The file of a small potential, after a change."""
    network = small.NETWORKS["even"]
    path = tmp_path / "small.safetensors"
    Potential(network, small.random_weights(network, biases=False)).save(path)
    arrays, metadata = read_arrays(path)
    arrays = {name: np.array(array) for name, array in arrays.items()}
    change(arrays, metadata)
    changed = tmp_path / "changed.safetensors"
    write_arrays(changed, arrays, metadata)
    return changed


def described(**changes):
    """A change of the description in a file."""

    def change(arrays, metadata):
        fields = json.loads(metadata["tpnumba.network"])
        metadata["tpnumba.network"] = json.dumps({**fields, **changes})

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda arrays, metadata: arrays.pop("interactions.1.linear_2"), r"lack interactions\.1\.linear_2"),
        (lambda arrays, metadata: arrays.update(more=np.zeros(3)), "have more, of which the network knows nothing"),
        (
            lambda arrays, metadata: arrays.update(scale=np.zeros(2)),
            r"weights\['scale'\] must have shape \(3,\), got \(2,\)",
        ),
        (lambda arrays, metadata: metadata.clear(), "holds arrays, but no network of tpnumba"),
        (described(version=99), f"has version 99, and this tpnumba reads {VERSION}"),
        (described(interactions=[{"hidden": [3]}]), "description of the network is malformed"),
        (lambda arrays, metadata: metadata.update({"tpnumba.network": "[1"}), "is malformed"),
        (lambda arrays, metadata: metadata.update({"tpnumba.network": "[1]"}), "is malformed"),
        (described(color="red"), "is malformed.*color"),
        (described(cutoff=0.0), "cutoff must be finite and above zero, got 0.0"),
        (
            described(radial={"number": 4, "prefactor": 0.4, "envelope": "step", "parameter": 0.0}),
            "envelope must be one of polynomial, xplor, cosine, got 'step'",
        ),
    ],
)
def test_a_file_that_is_no_potential_is_refused(tmp_path: Path, change, message: str) -> None:
    path = saved(tmp_path, change)
    with pytest.raises(ValueError, match=message) as caught:
        load(path)
    assert str(path) in str(caught.value)


EVEN = small.NETWORKS["even"]
FIRST, LAST = EVEN.interactions


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: replace(FIRST, denominator=0.0), "denominator must be finite and above zero, got 0.0"),
        (lambda: replace(FIRST, denominator=np.nan), "denominator must be finite and above zero, got nan"),
        (lambda: replace(FIRST, sender_factors=(1.0, np.nan, 1.0)), "sender_factors[1] must be finite, got nan"),
        (
            lambda: replace(FIRST, instructions=((1, 0, 0),)),
            "instructions[0] must be of one of the 1 blocks of irreps_in, got 1",
        ),
        (lambda: Radial(0, 1.0, "cosine", 0.0), "number must be a positive integer, got 0"),
        (lambda: Radial(4, np.inf, "cosine", 0.0), "prefactor must be finite, got inf"),
        (lambda: Radial(4, 1.0, "polynomial", 5.5), "parameter must be an integer, the power of a polynomial envelope"),
        (lambda: Radial(4, 1.0, "polynomial", np.inf), "parameter must be finite, got inf"),
        (lambda: replace(EVEN, elements=(1, 8, 1)), "elements must differ from each other, got 1 twice"),
        (lambda: replace(EVEN, elements=(1, 8, -1)), "elements[2] must be a non-negative integer, got -1"),
        (lambda: replace(EVEN, cutoff=np.nan), "cutoff must be finite and above zero, got nan"),
        (lambda: replace(EVEN, irreps_embedding="4x0o"), "irreps_in of interaction 0 must be 4x0o, got 4x0e"),
        (lambda: replace(EVEN, interactions=(FIRST, FIRST)), "irreps_in of interaction 1 must be 4x0e+3x1e+2x2e"),
    ],
)
def test_descriptions_that_describe_nothing_are_refused(make, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        make()


def test_numbers_of_numpy_are_described_as_those_of_python() -> None:
    first = replace(FIRST, denominator=np.float32(2.5), sender_factors=np.ones(3, np.float32))
    network = replace(EVEN, interactions=(first, LAST))
    assert Network.from_json(network.to_json()) == network


def test_other_arguments_are_refused() -> None:
    network = small.NETWORKS["even"]
    weights = small.random_weights(network, biases=False)
    with pytest.raises(ValueError, match="dtype must be float32 or float64, got 'float16'"):
        Potential(network, weights, dtype="float16")
    with pytest.raises(TypeError, match=r"weights\['shift'\] must be a NumPy array of float32 or float64, got int64"):
        Potential(network, {**weights, "shift": np.zeros(3, np.int64)})
    with pytest.raises(TypeError, match=r"weights\['shift'\] must be a NumPy array of float32 or float64, got list"):
        Potential(network, {**weights, "shift": [0, 0, 0]})
    with pytest.raises(ValueError, match="self_connection must be one of linear, elements, none, got 'some'"):
        replace(network.interactions[0], self_connection="some")
    with pytest.raises(ValueError, match="interactions must hold at least one Interaction, got none"):
        replace(network, interactions=())
    with pytest.raises(ValueError, match="elements must hold at least one atomic number, got none"):
        replace(network, elements=())
    with pytest.raises(ValueError, match="prefactor must be"):
        Repulsion(-1.0, 6)
    with pytest.raises((TypeError, ValueError), match="power must be"):
        Repulsion(14.4, 0)
    with pytest.raises(ValueError, match=r"readout_activation must be one of silu, .*, got 'step'"):
        replace(network, readout_activation="step")
    with pytest.raises(ValueError, match="sender_factors of interaction 0 must be empty or have one for each of the 3"):
        replace(network, interactions=(replace(network.interactions[0], sender_factors=(1.0, 2.0)),))
    with pytest.raises(ValueError, match="envelope must be one of polynomial, xplor, cosine, got 'step'"):
        Radial(4, 1.0, "step", 0.0)
    potential = Potential(network, weights)
    with pytest.raises(ValueError, match=r"element of atom 0 \(Cu\), atomic number 29; it knows H, C, O"):
        potential.evaluate(Atoms("Cu"))
    with pytest.raises(ValueError, match="positions must be finite"):
        potential.evaluate(Atoms("C", positions=[[np.nan, 0, 0]]))
    with pytest.raises(ValueError, match=r"atoms overlap: atom 0 \(C\) and atom 1 \(O\)"):
        potential.evaluate(Atoms("CO"))
    for evaluate in (potential.evaluate_graph, potential.gradients):
        for atoms, message in (
            (Atoms("CN"), r"atom 1 \(N\), atomic number 7"),
            (Atoms("X"), r"atom 0 \(X\), atomic n"),
        ):
            atoms.positions[-1, 0] = 1.0
            with pytest.raises(ValueError, match=message):
                evaluate(graph_of(atoms, potential.cutoff))
        with pytest.raises(ValueError, match=r"graph must have a cutoff of at least 3\.2 angstrom, got 3\.1"):
            evaluate(graph_of(Atoms("C"), 3.1))


def test_edges_beyond_the_cutoff_change_nothing() -> None:
    """Neither of a network nor of its repulsion."""
    network = small.NETWORKS["lengths"]
    assert network.repulsion is not None
    potential = Potential(network, small.random_weights(network, biases=True), dtype="float64")
    near, far = (graph_of(small.crystal(), cutoff) for cutoff in (network.cutoff, 1.3 * network.cutoff))
    assert len(far.edges) > len(near.edges)
    before, after = potential.evaluate_graph(near), potential.evaluate_graph(far)
    np.testing.assert_allclose(after.energies, before.energies, rtol=1e-12)
    np.testing.assert_allclose(np.abs(after.gradients).sum(), np.abs(before.gradients).sum(), rtol=1e-11)
