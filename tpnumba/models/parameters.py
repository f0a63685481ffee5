"""Gradients of the energy by the weights of a potential, as training needs them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tpnumba import nn
from tpnumba.models.graphs import Graph
from tpnumba.models.interaction import LAYOUT, EdgeData, InteractionLayers, Kept, Memory
from tpnumba.models.parts import Part

if TYPE_CHECKING:
    from tpnumba.models.potential import Potential

Array = npt.NDArray[Any]
Found = dict[str, Array]


def energy_gradients(potential: Potential, graph: Graph, *, num_threads: int | None = None) -> Found:
    """The gradients of the sum of the energies of a graph, see :meth:`tpnumba.models.Potential.gradients`."""
    inputs, weights = potential.inputs.prepare(graph, num_threads), potential.weights
    species, data, parts = inputs.species, inputs.data, inputs.parts
    memory = Memory(potential.dtype)
    features, kept = [potential.embedding[species]], []
    for layers in potential.layers:
        after, needed = layers.forward(features[-1], species, data, parts, memory, num_threads)
        features.append(after)
        kept.append(needed)
    count = len(potential.elements)
    numbers, between = potential.readout.forward(features[-1])
    scale = potential.scale[species].astype(numbers.dtype)
    cotangent, of_readout = potential.readout.gradients(features.pop(), between, scale)
    found: Found = dict(of_readout)
    found["shift"] = np.bincount(species, minlength=count)
    found["scale"] = np.bincount(species, weights=numbers, minlength=count)
    of_radial = np.zeros_like(data.radial)
    for t in reversed(range(len(potential.layers))):
        layers, x = potential.layers[t], features.pop()
        own: Found = {}
        cotangent = _interaction(
            layers, kept.pop(), x, cotangent, species, data, parts, of_radial, own, memory, num_threads
        )
        found |= {f"interactions.{t}.{name}": gradient for name, gradient in own.items()}
    rows = np.zeros((count, cotangent.shape[1]), cotangent.dtype)
    np.add.at(rows, species, cotangent)
    names = ("embedding", "embedding.bias")
    embedding = nn.Linear(f"{count}x0e", potential.network.irreps_embedding, biases=names[1] in weights, layout=LAYOUT)
    one_hot = np.eye(count, dtype=rows.dtype)
    _, *of_embedding = embedding.vjp(one_hot, rows, weights=weights["embedding"].astype(rows.dtype))
    found |= dict(zip(names, of_embedding, strict=False))
    found["radial.frequencies"] = potential.inputs.by_frequencies(inputs, of_radial)
    return {name: found[name].astype(np.float64) for name in weights}


def _interaction(
    layers: InteractionLayers,
    kept: Kept,
    x: Array,
    cotangent: Array,
    species: npt.NDArray[np.intp],
    data: EdgeData,
    parts: tuple[Part, ...],
    of_radial: Array,
    found: Found,
    memory: Memory,
    threads: int | None,
) -> Array:
    """The gradient by the features before; those by weights are put in ``found``, by radial functions added."""
    mixed = layers.gate.vjp(kept.before_gate, cotangent)
    messages = np.zeros((x.shape[0], layers.convolution.irreps_out.dim), x.dtype)
    for part in parts:
        weights = layers.product_weights(part, data, memory, threads)
        harmonics = data.harmonics[part.edges]
        layers.convolution(kept.sent, harmonics, weights, part.graph, out=messages, add=True, num_threads=threads)
    scale = x.dtype.type(layers.denominator)
    of_messages, *own = layers.linear_2.layer.vjp(messages / scale, mixed, weights=layers.linear_2.weights)
    found |= dict(zip(("linear_2", "linear_2.bias"), own, strict=False))
    of_messages = of_messages / scale
    sent = np.zeros_like(kept.sent)
    found["radial"] = np.zeros(layers.radial_network.weight_numel, x.dtype)
    for part in parts:
        radial, harmonics = data.radial[part.pairs], data.harmonics[part.edges]
        weights = layers.product_weights(part, data, memory, threads)
        layers.by_features(of_messages, harmonics, weights, part.graph, out=sent, add=True, num_threads=threads)
        layers.by_weights(kept.sent, harmonics, of_messages, part.graph, out=weights, num_threads=threads)
        of_part, of_network = layers.radial_network.vjp(
            radial, weights, weights=layers.radial_weights, num_threads=threads
        )
        of_radial[part.pairs] += of_part
        found["radial"] += of_network
    gradient, *own = layers.linear_1.layer.vjp(x, layers.sent(sent, species), weights=layers.linear_1.weights)
    found |= dict(zip(("linear_1", "linear_1.bias"), own, strict=False))
    connection = layers.self_connection
    by_features: Array = gradient
    if connection is None:
        return by_features
    if isinstance(connection.layer, nn.SelfConnection):
        more, *own = connection.layer.vjp(x, species, mixed, weights=connection.weights)
    else:
        more, *own = connection.layer.vjp(x, mixed, weights=connection.weights)
    found |= dict(zip(("self_connection", "self_connection.bias"), own, strict=False))
    by_features += more
    return by_features
