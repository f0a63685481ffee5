"""One interaction of a network on a graph: its layers made once, its sums over edges in parts that stay in cache.

The weights of the products are many for each pair of atoms: for as many pairs as have them in the cache, the radial
network is evaluated, its result used and forgotten; backward it is evaluated again. So memory does not grow with the
edges. Features are in the layout ``ir_mul``, in which channels follow each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tpnumba import nn
from tpnumba.irreps import Irreps
from tpnumba.models.network import Interaction, Network
from tpnumba.models.parts import Part
from tpnumba.products.clebsch_gordan import TensorProduct
from tpnumba.products.convolution import TensorProductConvolution

Array = npt.NDArray[np.floating]

LAYOUT = "ir_mul"

#: Numbers of weights of products that are worked at a time: 16 MB in float32, which a third cache holds. With 4 MB the
#: sums over the edges of an atom are cut in four, and threads begin and end four times as often: 7net-0, 216 atoms, two
#: cores of an EPYC, 81 ms instead of 72.
WEIGHTS_AT_ONCE = 2**22


class EdgeData(NamedTuple):
    """What interactions read of the edges: radial functions, a row a pair; harmonics, a row an edge, part by part."""

    radial: Array
    harmonics: Array


class Kept(NamedTuple):
    """What backward needs of an interaction: the features that are sent, and what the gate reads."""

    sent: Array
    before_gate: Array


class Memory:
    """Arrays that interactions use one after the other: the system clears new memory, page by page, before it is used.

    Args:
        dtype: of all.
    """

    def __init__(self, dtype: npt.DTypeLike) -> None:
        self._dtype = dtype
        self._held: dict[str, Array] = {}

    def array(self, name: str, *shape: int) -> Array:
        """An array with any numbers in it; the one that was given before under the same name is gone."""
        size = prod(shape)
        held = self._held.get(name)
        if held is None or held.size < size:
            held = self._held[name] = np.empty(size, self._dtype)
        return held[:size].reshape(shape)


class InteractionLayers:
    """The layers of one interaction, with their weights."""

    def __init__(self, network: Network, number: int, weights: Mapping[str, Array]) -> None:
        described = network.interactions[number]
        name = f"interactions.{number}"
        irreps, messages = Irreps(described.irreps_in), Irreps(described.irreps_messages)
        self.gate = described.gate(LAYOUT)
        self.denominator = described.denominator
        factors = np.array(described.sender_factors, weights[f"{name}.linear_1"].dtype)
        self.sender_factors = factors[:, None] if factors.size else None
        self.linear_1 = _Linear(irreps, irreps, weights, f"{name}.linear_1")
        self.linear_2 = _Linear(messages, self.gate.irreps_in, weights, f"{name}.linear_2", 1 / self.denominator)
        self.self_connection = _self_connection(described, irreps, self.gate.irreps_in, weights, name)
        product = TensorProduct(
            irreps,
            network.irreps_harmonics,
            messages,
            [(i, j, k, "uvu", True) for i, j, k in described.instructions],
            layout=LAYOUT,
        )
        self.convolution = TensorProductConvolution(product)
        self.by_features, self.by_harmonics, self.by_weights = (self.convolution.adjoint(i) for i in range(3))
        self.radial_network: Any = described.radial_network(network.radial.number)
        self.radial_weights = self.radial_network.fold(weights[f"{name}.radial"])

    def product_weights(self, part: Part, data: EdgeData, memory: Memory, threads: int | None) -> Array:
        """The weights of the products of a part of the edges, a row a pair, in ``memory``."""
        radial = data.radial[part.pairs]
        weights = memory.array("weights", radial.shape[0], self.convolution.weight_numel)
        found: Array = self.radial_network(radial, self.radial_weights, out=weights, num_threads=threads)
        return found

    def forward(
        self,
        x: Array,
        species: npt.NDArray[np.intp],
        data: EdgeData,
        parts: Sequence[Part],
        memory: Memory,
        threads: int | None,
    ) -> tuple[Array, Kept]:
        """The features after the interaction, and what backward needs."""
        sent = self.sent(self.linear_1(x, threads), species)
        messages = memory.array("messages", x.shape[0], self.convolution.irreps_out.dim)
        messages[...] = 0
        for part in parts:
            weights = self.product_weights(part, data, memory, threads)
            self.convolution(
                sent,
                data.harmonics[part.edges],
                weights,
                part.graph,
                out=messages,
                add=True,
                num_threads=threads,
            )
        mixed = self.linear_2(messages, threads)
        if self.self_connection is not None:
            mixed += self.self_connection(x, threads, species)
        return self.gate(mixed), Kept(sent, mixed)

    def sent(self, mixed: Array, species: npt.NDArray[np.intp]) -> Array:
        """What atoms send, times the factors of their elements; a linear map that is its own adjoint."""
        return mixed if self.sender_factors is None else mixed * self.sender_factors[species]

    def backward(
        self,
        kept: Kept,
        cotangent: Array,
        species: npt.NDArray[np.intp],
        data: EdgeData,
        totals: EdgeData,
        parts: Sequence[Part],
        memory: Memory,
        threads: int | None,
        *,
        of_features: bool,
    ) -> Array | None:
        """The gradient by the features, if ``of_features``; the gradients by the edges are added to ``totals``."""
        mixed = self.gate.vjp(kept.before_gate, cotangent)
        messages = memory.array("messages", mixed.shape[0], self.convolution.irreps_out.dim)
        self.linear_2.vjp(mixed, threads, out=messages)
        sent = np.zeros_like(kept.sent) if of_features else None
        for part in parts:
            radial, harmonics = data.radial[part.pairs], data.harmonics[part.edges]
            weights = self.product_weights(part, data, memory, threads)
            totals.harmonics[part.edges] += self.by_harmonics(
                kept.sent, messages, weights, part.graph, num_threads=threads
            )
            if sent is not None:
                self.by_features(messages, harmonics, weights, part.graph, out=sent, add=True, num_threads=threads)
            self.by_weights(kept.sent, harmonics, messages, part.graph, out=weights, num_threads=threads)
            totals.radial[part.pairs] += self.radial_network.vjp_input(
                radial, weights, weights=self.radial_weights, num_threads=threads
            )
        if sent is None:
            return None
        found = self.linear_1.vjp(self.sent(sent, species), threads)
        if self.self_connection is not None:
            found += self.self_connection.vjp(mixed, threads, species)
        return found


class _Linear:
    """A linear map with its weights, times ``factor``, and biases if there are any."""

    def __init__(
        self, irreps_in: Irreps, irreps_out: Irreps, weights: Mapping[str, Array], name: str, factor: float = 1.0
    ) -> None:
        self.weights, self.biases = weights[name], weights.get(f"{name}.bias")
        self.layer = nn.Linear(irreps_in, irreps_out, biases=self.biases is not None, layout=LAYOUT)
        self._folded = self.layer.fold(self.weights, self.biases, factor=factor)

    def __call__(self, x: Array, threads: int | None, species: object = None) -> Array:  # noqa: ARG002
        return self.layer(x, self._folded, num_threads=threads)  # type: ignore[no-any-return]

    def vjp(
        self,
        cotangent: Array,
        threads: int | None,
        species: object = None,  # noqa: ARG002
        out: Array | None = None,
    ) -> Array:
        """The gradient by ``x``."""
        return self.layer.vjp_input(  # type: ignore[no-any-return]
            cotangent, weights=self._folded, out=out, num_threads=threads
        )


class _ElementwiseLinear:
    """A linear map for each element, with its weights."""

    def __init__(self, irreps_in: Irreps, irreps_out: Irreps, weights: Array) -> None:
        per_element = nn.Linear(irreps_in, irreps_out).weight_numel
        self.layer = nn.SelfConnection(irreps_in, irreps_out, weights.size // max(1, per_element), layout=LAYOUT)
        self.weights = weights

    def __call__(self, x: Array, threads: int | None, species: npt.NDArray[np.intp]) -> Array:  # noqa: ARG002
        return self.layer(x, species, self.weights)  # type: ignore[no-any-return]

    def vjp(self, cotangent: Array, threads: int | None, species: npt.NDArray[np.intp]) -> Array:  # noqa: ARG002
        """The gradient by ``x``."""
        return self.layer.vjp_input(species, cotangent, weights=self.weights)  # type: ignore[no-any-return]


def _self_connection(
    described: Interaction, irreps_in: Irreps, irreps_out: Irreps, weights: Mapping[str, Array], name: str
) -> Any:
    if described.self_connection == "none":
        return None
    if described.self_connection == "elements":
        return _ElementwiseLinear(irreps_in, irreps_out, weights[f"{name}.self_connection"])
    return _Linear(irreps_in, irreps_out, weights, f"{name}.self_connection")
