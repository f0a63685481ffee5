"""A small checkpoint as SevenNet 0.9 writes it: what is in the file, without the file."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from tpnumba.tables.clebsch_gordan import clebsch_gordan

ELEMENTS = {1: 0, 6: 1, 8: 2}
#: Features before, between and after the interactions.
IRREPS = ["4x0e", "4x0e+3x1e", "4x0e"]
#: Degrees of the products of each interaction (features, edges, messages) with their copies, in the order of weights.
PRODUCTS = (
    [((0, 0, 0), 4), ((0, 1, 1), 4)],
    [((0, 0, 0), 4), ((1, 1, 0), 3)],
)


def config(**changes: Any) -> dict[str, Any]:
    fields = {
        "version": "0.9.1",
        "_model_type": "E3_equivariant_model",
        "_type_map": dict(ELEMENTS),
        "cutoff": 4.0,
        "lmax": 1,
        "lmax_edge": -1,
        "is_parity": False,
        "irreps_manual": list(IRREPS),
        "radial_basis": {"radial_basis_name": "bessel", "bessel_basis_num": 5},
        "cutoff_function": {"cutoff_function_name": "XPLOR", "cutoff_on": 3.5},
        "act_radial": "silu",
        "act_scalar": {"e": "silu", "o": "tanh"},
        "act_gate": {"e": "silu", "o": "tanh"},
        "weight_nn_hidden_neurons": [6, 7],
        "self_connection_type": "linear",
        "_normalize_sph": True,
        "use_bias_in_linear": False,
        "readout_as_fcn": False,
    }
    return {**fields, **changes}


def state(
    seed: int = 0, *, vectors: int = 3, biases: bool = False, nequip: bool = False, readout: tuple[int, ...] = ()
) -> dict[str, np.ndarray]:
    """Random weights, and the coefficients with their signs of today.

    Args:
        seed: of the weights.
        vectors: how many the features have.
        biases, nequip: whether there are biases, and self-connections of that type.
        readout: the widths of the hidden layers of one with activations.
    """
    rng = np.random.default_rng(seed)

    def numbers(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32)

    found = {"edge_embedding.basis_function.coeffs": np.arange(1, 6, dtype=np.float32) * np.float32(np.pi / 4)}
    found["onehot_to_feature_x.linear.weight"] = numbers(3 * 4)
    gates = 4 + vectors
    sizes = ((16, 4 * gates + 4 * vectors, 4 * gates), (16 + vectors**2, gates * 4, 4 * 4))
    if biases:
        for name, size in (
            ("onehot_to_feature_x", 4),
            ("0_self_interaction_1", 4),
            ("0_self_interaction_2", gates),
            ("1_self_interaction_1", 4),
            ("1_self_interaction_2", 4),
            ("reduce_input_to_hidden", 2),
            ("reduce_hidden_to_energy", 1),
        ):
            found[f"{name}.linear.bias"] = numbers(size)
    for t, (intro, outro, own) in enumerate(sizes):
        found[f"{t}_self_interaction_1.linear.weight"] = numbers(intro)
        found[f"{t}_self_interaction_2.linear.weight"] = numbers(outro)
        if nequip:
            found[f"{t}_self_connection_intro.fc_tensor_product.weight"] = numbers(3 * own)
        else:
            found[f"{t}_self_connection_intro.linear.weight"] = numbers(own)
        widths = [5, 6, 7, 8 if t == 0 else gates]
        for i, shape in enumerate(pairwise(widths)):
            found[f"{t}_convolution.weight_nn.layer{i}.weight"] = numbers(*shape)
        found[f"{t}_convolution.denominator"] = np.array([3.0 + t], dtype=np.float32)
        for degrees, _ in PRODUCTS[t]:
            found[coefficients(t, *degrees)] = clebsch_gordan(*degrees).astype(np.float32)
    if readout:
        for i, shape in enumerate(pairwise([4, *readout, 1])):
            found[f"readout_FCN.fcn.layer{i}.weight"] = numbers(*shape)
    else:
        found["reduce_input_to_hidden.linear.weight"] = numbers(4 * 2)
        found["reduce_hidden_to_energy.linear.weight"] = numbers(2)
    found["rescale_atomic_energy.shift"] = numbers(3)
    found["rescale_atomic_energy.scale"] = np.float32([1.5])
    return found


def coefficients(t: int, l1: int, l2: int, l3: int) -> str:
    return f"{t}_convolution.convolution._compiled_main_left_right._w3j_{l1}_{l2}_{l3}"


def checkpoint(**changes: Any) -> dict[str, Any]:
    return {"config": config(**changes), "model_state_dict": state()}
