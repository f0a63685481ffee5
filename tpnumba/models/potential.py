"""A potential: a network with its weights, that gives energies and their gradients for a graph of atoms."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import Any

import numpy as np
import numpy.typing as npt

from tpnumba import nn
from tpnumba.irreps import Irreps
from tpnumba.models.file import read_arrays, write_arrays
from tpnumba.models.graphs import Graph, GraphResult, Results, graph_of, results_of
from tpnumba.models.interaction import WEIGHTS_AT_ONCE, EdgeData, InteractionLayers, Kept
from tpnumba.models.network import Network
from tpnumba.models.parts import cut
from tpnumba.models.tables import Lengths, TabulatedNetwork
from tpnumba.models.weights import check_weights
from tpnumba.plans.base import ITEMSIZE
from tpnumba.products.instructions import check_choice
from tpnumba.sphere.harmonics import SphericalHarmonics

Array = npt.NDArray[np.floating]

#: What gives the weights of products.
RADIALS = ("network", "spline")

#: The key of the description in the metadata of a file.
_NETWORK = "tpnumba.network"


class Potential:
    """A network with its weights.

    Args:
        network: what is computed.
        weights: arrays by name, as converters give them and files hold them.
        dtype: ``float32`` or ``float64``: of the arithmetic.
        radial: ``network``, or ``spline`` for tables of splines in place of the radial networks
            (:class:`tpnumba.nn.SplineTable`): quicker, with an error that ``radial_error`` states. Forces are the
            gradients of the energy in either case.

    Raises:
        TypeError: weights that are no arrays of float32 or float64.
        ValueError: weights that are missing, left over or of another shape, or another dtype or ``radial``.
        ArithmeticError: a radial network is not smooth enough for a table.

    Attributes:
        network, dtype, radial: the arguments.
        radial_error: the largest error of a weight of a product, over the largest one of its interaction at any length;
            0 without tables.
        cutoff: of the edges, in angstrom.
        elements: the atomic numbers that it knows.
    """

    def __init__(
        self, network: Network, weights: Mapping[str, Array], *, dtype: str = "float32", radial: str = "network"
    ) -> None:
        check_choice("radial", radial, RADIALS)
        if dtype not in ITEMSIZE:
            raise ValueError(f"dtype must be float32 or float64, got {dtype!r}")
        check_weights(network, weights)
        self.network, self.dtype = network, dtype
        self.cutoff, self.elements = network.cutoff, network.elements
        self.weights = dict(weights)
        typed = {name: array.astype(dtype, copy=False) for name, array in weights.items()}
        self._species = np.zeros(max(network.elements) + 1, dtype=np.intp)
        self._species[list(network.elements)] = np.arange(len(network.elements))
        first = Irreps(network.irreps_embedding)
        embedding = nn.Linear(f"{len(network.elements)}x0e", first, biases="embedding.bias" in typed)
        one_hot = np.eye(len(network.elements), dtype=dtype)
        self._embedding = embedding(one_hot, typed["embedding"], typed.get("embedding.bias"))
        self.layers = [InteractionLayers(network, i, typed) for i in range(len(network.interactions))]
        widest = max(layers.convolution.weight_numel for layers in self.layers)
        self._pairs_at_once = max(256, WEIGHTS_AT_ONCE // max(1, widest) // 256 * 256)
        self._readout = _readout(network, self.layers[-1].gate.irreps_out, typed)
        self._shift, self._scale = (np.asarray(weights[name], np.float64) for name in ("shift", "scale"))
        self._radial: Any = network.radial.embedding(network.cutoff)
        self._frequencies = np.asarray(weights["radial.frequencies"], np.float64)
        self._harmonics = SphericalHarmonics(network.lmax, normalization="component", normalize=network.unit_vectors)
        self.radial, self.radial_error = radial, 0.0
        if radial == "spline":
            self._tabulate()

    def _tabulate(self) -> None:
        """Put tables in the place of the radial networks."""
        self._radial = Lengths()
        for number, layers in enumerate(self.layers):
            layers.radial_network = tabulated = TabulatedNetwork(self.network, self.weights, number)
            self.radial_error = max(self.radial_error, tabulated.table.error)

    def __repr__(self) -> str:
        tables = f", radial tables with an error of {self.radial_error:.1e}" if self.radial == "spline" else ""
        return (
            f"Potential({self.network.name}: {len(self.elements)} elements, {len(self.layers)} interactions, "
            f"cutoff {self.cutoff:g} A, {self.dtype}{tables})"
        )

    def evaluate(self, atoms: Any, *, num_threads: int | None = None) -> Results:
        """Energy, energies of atoms, forces and stress of a structure.

        Args:
            atoms: an ``ase.Atoms``, or whatever has its ``positions``, ``numbers``, ``cell`` and ``pbc``.
            num_threads: by default ``TPNUMBA_NUM_THREADS``, or all cores.

        Raises:
            TypeError: ``atoms`` are no atoms.
            ValueError: a structure that cannot be evaluated, see :func:`tpnumba.models.graph_of`.
        """
        graph = graph_of(atoms, self.cutoff, elements=self.elements)
        return results_of(graph, self.evaluate_graph(graph, num_threads=num_threads))

    def evaluate_graph(self, graph: Graph, *, num_threads: int | None = None) -> GraphResult:
        """Energies, and the gradients of their sum by the edge vectors.

        Args:
            graph: of the atoms, with all edges within the cutoff.
            num_threads: by default ``TPNUMBA_NUM_THREADS``, or all cores.

        Atomic numbers are those of ``elements``: :func:`tpnumba.models.graph_of` checks them.
        """
        species = self._species[graph.numbers]
        order, first, parts = cut(graph, self._pairs_at_once)
        lengths = nn.edge_lengths(graph.vectors[first])
        radial, slopes = self._radial.value_and_derivative(lengths, self._frequencies)
        vectors = graph.vectors[order].astype(self.dtype)
        data = EdgeData(radial.astype(self.dtype), self._harmonics(vectors, num_threads=num_threads))
        x = self._embedding[species]
        kept: list[Kept] = []
        for layers in self.layers:
            x, needed = layers.forward(x, species, data, parts, num_threads)
            kept.append(needed)
        energies = (x @ self._readout[0] + self._readout[1]).astype(np.float64) * self._scale[species]
        energies += self._shift[species]
        cotangent = self._scale[species].astype(self.dtype)[:, None] * self._readout[0]
        totals = EdgeData(np.zeros_like(data.radial), np.zeros_like(data.harmonics))
        for number in reversed(range(len(self.layers))):
            found = self.layers[number].backward(
                kept.pop(), cotangent, species, data, totals, parts, num_threads, of_features=number > 0
            )
            if found is not None:
                cotangent = found
        gradients = np.empty_like(graph.vectors)
        gradients[order] = self._harmonics.vjp(vectors, totals.harmonics, num_threads=num_threads)
        by_length = np.sum(totals.radial * slopes, axis=-1)
        gradients[first] += (by_length / lengths)[:, None] * graph.vectors[first]
        return GraphResult(energies, gradients)

    def gradients(self, atoms: Any, *, num_threads: int | None = None) -> dict[str, Array]:
        """The gradients of the energy of a structure by the weights, as training on energies needs them.

        Args:
            atoms: as of :meth:`evaluate`; or a :class:`tpnumba.models.Graph` of them.
            num_threads: by default ``TPNUMBA_NUM_THREADS``, or all cores.

        Returns:
            Under the name of each of ``weights`` an array of its shape, float64, in eV by its unit.

        Raises:
            TypeError, ValueError: as :meth:`evaluate`; also if tables stand for the radial networks.
        """
        from tpnumba.models.parameters import energy_gradients

        if self.radial != "network":
            raise ValueError("tables of splines have no gradients by the weights: use radial='network'")
        graph = atoms if isinstance(atoms, Graph) else graph_of(atoms, self.cutoff, elements=self.elements)
        return energy_gradients(self, graph, num_threads=num_threads)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the network and its weights to a file in the format safetensors."""
        write_arrays(path, self.weights, {_NETWORK: self.network.to_json()})


def load(path: str | PathLike[str], *, dtype: str = "float32", radial: str = "network") -> Potential:
    """The potential of a file that :meth:`Potential.save` has written; weights stay in the file if dtypes agree.

    Args:
        path: the file.
        dtype: of the arithmetic.
        radial: ``network`` or ``spline``, see :class:`Potential`.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is cut off, damaged, of another kind or of a newer version; the message says which.
    """
    arrays, metadata = read_arrays(path)
    if _NETWORK not in metadata:
        raise ValueError(f"{path} holds arrays, but no network of tpnumba: its metadata lack {_NETWORK!r}")
    try:
        return Potential(Network.from_json(metadata[_NETWORK]), arrays, dtype=dtype, radial=radial)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: {error}") from error


def _readout(network: Network, irreps: Irreps, weights: Mapping[str, Array]) -> tuple[Array, Any]:
    """The two linear maps of the readout as one: a vector, and a number."""
    first = nn.Linear(irreps, network.hidden, biases="readout.1.bias" in weights)
    last = nn.Linear(network.hidden, "0e")
    numbers = weights["readout.2"].astype(np.float64)
    hidden = last.vjp_input(np.ones((1, 1)), weights=numbers)
    vector = first.vjp_input(hidden, weights=weights["readout.1"].astype(np.float64))[0]
    bias = weights.get("readout.1.bias")
    constant = 0.0 if bias is None else float(hidden[0] @ bias.astype(np.float64))
    dtype = weights["readout.2"].dtype
    return vector.astype(dtype), dtype.type(constant)
