"""Gradients of the energy by the weights of a potential, as training needs them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tpnumba import nn
from tpnumba.irreps import Irreps
from tpnumba.models.graphs import Graph
from tpnumba.models.interaction import EdgeData, InteractionLayers, Kept, Memory
from tpnumba.models.parts import Part, cut

if TYPE_CHECKING:
    from tpnumba.models.potential import Potential

Array = npt.NDArray[Any]
Found = dict[str, Array]


def energy_gradients(potential: Potential, graph: Graph, *, num_threads: int | None = None) -> Found:
    """The gradients of the sum of the energies of a graph, see :meth:`tpnumba.models.Potential.gradients`."""
    species, weights = potential._species[graph.numbers], potential.weights
    order, first, parts = cut(graph, potential._pairs_at_once)
    lengths = nn.edge_lengths(graph.vectors[first])
    radial = potential._radial(lengths, potential._frequencies)
    vectors = graph.vectors[order].astype(potential.dtype)
    data = EdgeData(radial.astype(potential.dtype), potential._harmonics(vectors, num_threads=num_threads))
    memory = Memory(potential.dtype)
    features, kept = [potential._embedding[species]], []
    for layers in potential.layers:
        after, needed = layers.forward(features[-1], species, data, parts, memory, num_threads)
        features.append(after)
        kept.append(needed)
    found: Found = {}
    cotangent = _readout(potential, features.pop(), species, found)
    of_radial = np.zeros_like(data.radial)
    for t in reversed(range(len(potential.layers))):
        layers, x = potential.layers[t], features.pop()
        own: Found = {}
        cotangent = _interaction(
            layers, kept.pop(), x, cotangent, species, data, parts, of_radial, own, memory, num_threads
        )
        found |= {f"interactions.{t}.{name}": gradient for name, gradient in own.items()}
    count = len(potential.elements)
    rows = np.zeros((count, cotangent.shape[1]), cotangent.dtype)
    np.add.at(rows, species, cotangent)
    irreps = Irreps(potential.network.irreps_embedding)
    _, own = _linear(f"{count}x0e", irreps, np.eye(count, dtype=rows.dtype), rows, weights, "embedding")
    found |= own
    basis: Any = potential._radial.basis
    falling = of_radial * potential._radial.envelope(lengths)[:, None]
    found["radial.frequencies"] = basis.frequencies_vjp(lengths, falling, frequencies=potential._frequencies)
    return {name: found[name].astype(np.float64) for name in weights}


def _linear(
    irreps_in: Any, irreps_out: Any, x: Array, cotangent: Array, weights: Mapping[str, Array], name: str
) -> tuple[Array, Found]:
    """The gradients of a linear map by its input, and by weights and biases."""
    biases = f"{name}.bias"
    layer = nn.Linear(irreps_in, irreps_out, biases=biases in weights, layout="ir_mul")
    of_input, *rest = layer.vjp(x, cotangent, weights=weights[name].astype(x.dtype))
    return of_input, dict(zip((name, biases), rest, strict=False))


def _readout(potential: Potential, x: Array, species: npt.NDArray[np.intp], found: Found) -> Array:
    """The gradient by the last features; those by the weights of the readout, shift and scale are put in ``found``."""
    network, weights, count = potential.network, potential.weights, len(potential.elements)
    irreps, hidden = potential.layers[-1].gate.irreps_out, Irreps(network.hidden)
    raw = (x @ potential._readout[0] + potential._readout[1]).astype(np.float64)
    found["shift"] = np.bincount(species, minlength=count).astype(np.float64)
    found["scale"] = np.bincount(species, weights=raw, minlength=count)
    first = nn.Linear(irreps, hidden, biases="readout.1.bias" in weights, layout="ir_mul")
    bias = weights.get("readout.1.bias")
    y = first(x, weights["readout.1"].astype(x.dtype), None if bias is None else bias.astype(x.dtype))
    cotangent = potential._scale[species].astype(x.dtype)[:, None]
    cotangent, own = _linear(hidden, "0e", y, cotangent, weights, "readout.2")
    cotangent, more = _linear(irreps, hidden, x, cotangent, weights, "readout.1")
    found |= own | more
    return cotangent


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
    gradient, *own = layers.linear_1.layer.vjp(x, sent, weights=layers.linear_1.weights)
    found |= dict(zip(("linear_1", "linear_1.bias"), own, strict=False))
    connection = layers.self_connection
    if isinstance(connection.layer, nn.SelfConnection):
        more, *own = connection.layer.vjp(x, species, mixed, weights=connection.weights)
    else:
        more, *own = connection.layer.vjp(x, mixed, weights=connection.weights)
    found |= dict(zip(("self_connection", "self_connection.bias"), own, strict=False))
    total: Array = gradient + more
    return total
