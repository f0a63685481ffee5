"""The weights of a network: which there are, and how many numbers each has."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from tpnumba import nn
from tpnumba.irreps import Irreps
from tpnumba.models.network import Network
from tpnumba.models.readout import readout_irreps

#: At the end of the name of a bias; every linear map may have one or not.
BIAS = ".bias"


def weight_sizes(network: Network, *, biases: bool = True) -> dict[str, int]:
    """The number of weights by name; each array has one axis.

    Args:
        network: a network.
        biases: whether those that it may have are listed too: linear maps have them or not, one by one.

    Example:
        >>> from tpnumba.models import Interaction, Network, Radial
        >>> one = Interaction("4x0e", "4x0e", ((0, 0, 0),), (6,), "silu", 1.0, "none", "3x0e", ("silu",), "", (), "")
        >>> network = Network("small", (1, 8), 5.0, Radial(8, 0.4, "cosine", 0.0), 1, 1, True, "4x0e", (one,), (2,))
        >>> sizes = weight_sizes(network, biases=False)
        >>> [(name, size) for name, size in sizes.items() if not name.startswith("interactions")]
        [('embedding', 8), ('radial.frequencies', 8), ('readout.1', 6), ('readout.2', 2), ('shift', 2), ('scale', 2)]
        >>> {name: size for name, size in sizes.items() if name.startswith("interactions")}
        {'interactions.0.linear_1': 16, 'interactions.0.linear_2': 12, 'interactions.0.radial': 72}
    """
    count = len(network.elements)
    irreps = Irreps(network.irreps_embedding)
    found = _linear("embedding", Irreps(f"{count}x0e"), irreps)
    for t, described in enumerate(network.interactions):
        name, before = f"interactions.{t}", Irreps(described.irreps_in)
        gate = described.gate("ir_mul")
        found |= _linear(f"{name}.linear_1", before, before)
        found |= _linear(f"{name}.linear_2", Irreps(described.irreps_messages), gate.irreps_in)
        own = _linear(f"{name}.self_connection", before, gate.irreps_in)
        if described.self_connection == "elements":
            own = {f"{name}.self_connection": own[f"{name}.self_connection"] * count}
        if described.self_connection != "none":
            found |= own
        found[f"{name}.radial"] = described.radial_network(network.radial.number).weight_numel
        irreps = gate.irreps_out
    found["radial.frequencies"] = network.radial.number
    for number, (before, after) in enumerate(pairwise(readout_irreps(network, irreps))):
        found |= _linear(f"readout.{number + 1}", before, after)
    found["shift"] = found["scale"] = count
    return {name: size for name, size in found.items() if biases or not name.endswith(BIAS)}


def _linear(name: str, irreps_in: Irreps, irreps_out: Irreps) -> dict[str, int]:
    layer = nn.Linear(irreps_in, irreps_out, biases=True)
    return {name: layer.weight_numel, f"{name}{BIAS}": layer.bias_numel}


def check_weights(network: Network, weights: Mapping[str, npt.NDArray[Any]]) -> None:
    """Raise unless these are the weights of a network.

    Raises:
        TypeError: an array is not one of NumPy's, of float32 or float64.
        ValueError: arrays are missing or left over, or one has another shape; all such names are in the message.
    """
    sizes = weight_sizes(network)
    missing = [name for name in sizes if name not in weights and not name.endswith(BIAS)]
    if missing:
        raise ValueError(f"weights lack {', '.join(missing)}")
    unknown = [name for name in weights if name not in sizes]
    if unknown:
        raise ValueError(f"weights have {', '.join(unknown)}, of which the network knows nothing")
    for name, array in weights.items():
        if not isinstance(array, np.ndarray) or array.dtype not in (np.float32, np.float64):
            kind = getattr(array, "dtype", type(array).__name__)
            raise TypeError(f"weights[{name!r}] must be a NumPy array of float32 or float64, got {kind}")
        if array.shape != (sizes[name],):
            raise ValueError(f"weights[{name!r}] must have shape ({sizes[name]},), got {array.shape}")
