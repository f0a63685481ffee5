"""What a network reads of a graph: its atoms' elements, the functions of its edges; and the way back to its vectors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tpnumba import nn
from tpnumba.models.graphs import Graph, require_elements
from tpnumba.models.interaction import EdgeData
from tpnumba.models.network import Network
from tpnumba.models.parts import Integers, Part, cut
from tpnumba.sphere.harmonics import SphericalHarmonics

Array = npt.NDArray[np.floating]


class Inputs(NamedTuple):
    """A graph as interactions read it.

    Attributes:
        species: the number of each atom's element.
        data: what interactions read of the edges.
        parts: of the edges, worked one after the other.
        order: the number of each edge, part by part.
        first: the number of one edge of each pair.
        vectors: of the edges, part by part, in the dtype of the network.
        lengths: of the pairs.
        slopes: of the radial functions, a row a pair.
    """

    species: npt.NDArray[np.intp]
    data: EdgeData
    parts: tuple[Part, ...]
    order: Integers
    first: Integers
    vectors: Array
    lengths: Array
    slopes: Array


class InputLayers:
    """The functions of elements and edges that stand before the interactions.

    Args:
        network: what is computed.
        weights: of it.
        dtype: of the arithmetic; radial functions are evaluated in float64.
        pairs_at_once: as of :func:`tpnumba.models.parts.cut`.
    """

    def __init__(self, network: Network, weights: Mapping[str, Array], dtype: str, pairs_at_once: int) -> None:
        self.dtype, self.pairs_at_once = dtype, pairs_at_once
        self.cutoff, self.elements = network.cutoff, network.elements
        self.species = np.zeros(max(network.elements) + 1, dtype=np.intp)
        self.species[list(network.elements)] = np.arange(len(network.elements))
        self.radial: Any = network.radial.embedding(network.cutoff)
        self.frequencies = np.asarray(weights["radial.frequencies"], np.float64)
        self.harmonics = SphericalHarmonics(network.lmax, normalization="component", normalize=network.unit_vectors)

    def prepare(self, graph: Graph, threads: int | None) -> Inputs:
        """What interactions read of a graph.

        Raises:
            ValueError: it has an atom of an unknown element, or lacks edges as its cutoff is a smaller one.
        """
        require_elements(graph.numbers, self.elements)
        if graph.cutoff < self.cutoff:
            raise ValueError(f"graph must have a cutoff of at least {self.cutoff:g} angstrom, got {graph.cutoff:g}")
        order, first, parts = cut(graph, self.pairs_at_once)
        lengths = nn.edge_lengths(graph.vectors[first])
        radial, slopes = self.radial.value_and_derivative(lengths, self.frequencies)
        vectors = graph.vectors[order].astype(self.dtype)
        data = EdgeData(radial.astype(self.dtype), self.harmonics(vectors, num_threads=threads))
        return Inputs(self.species[graph.numbers], data, parts, order, first, vectors, lengths, slopes)

    def by_vectors(self, graph: Graph, inputs: Inputs, totals: EdgeData, threads: int | None) -> Array:
        """The gradient by the vectors, of one by what was read of the edges."""
        gradients = np.empty_like(graph.vectors)
        gradients[inputs.order] = self.harmonics.vjp(inputs.vectors, totals.harmonics, num_threads=threads)
        by_length = np.sum(totals.radial * inputs.slopes, axis=-1)
        gradients[inputs.first] += (by_length / inputs.lengths)[:, None] * graph.vectors[inputs.first]
        return gradients

    def by_frequencies(self, inputs: Inputs, of_radial: Array) -> Array:
        """The gradient by the frequencies of the radial functions, of one by the radial functions."""
        falling = of_radial * self.radial.envelope(inputs.lengths)[:, None]
        basis = self.radial.basis
        assert isinstance(basis, nn.BesselBasis)
        found: Array = basis.frequencies_vjp(inputs.lengths, falling, frequencies=self.frequencies)
        return found
