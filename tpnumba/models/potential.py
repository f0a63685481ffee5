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
from tpnumba.models.inputs import InputLayers
from tpnumba.models.interaction import LAYOUT, WEIGHTS_AT_ONCE, EdgeData, InteractionLayers, Kept, Memory
from tpnumba.models.network import Network
from tpnumba.models.readout import Readout
from tpnumba.models.tables import Lengths, TabulatedNetwork
from tpnumba.models.weights import check_weights
from tpnumba.plans.base import ITEMSIZE
from tpnumba.products.instructions import check_choice

Array = npt.NDArray[np.floating]

#: What gives the weights of products.
RADIALS = ("network", "spline")

#: The key of the description in the metadata of a file.
_NETWORK = "tpnumba.network"


class Potential:
    """A network with its weights.

    Args:
        network: what is computed.
        weights: arrays by name, as converters give them and files hold them; copied, unless they are read-only.
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
        weights: by name, read-only: other weights make another potential.
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
        self.weights = {name: _fixed(array) for name, array in weights.items()}
        typed = {name: array.astype(dtype, copy=False) for name, array in self.weights.items()}
        first = Irreps(network.irreps_embedding)
        embedding = nn.Linear(f"{len(network.elements)}x0e", first, biases="embedding.bias" in typed)
        one_hot = np.eye(len(network.elements), dtype=dtype)
        self.embedding = embedding(one_hot, typed["embedding"], typed.get("embedding.bias"))
        self.layers = [InteractionLayers(network, i, typed) for i in range(len(network.interactions))]
        widest = max(layers.convolution.weight_numel for layers in self.layers)
        pairs_at_once = max(256, WEIGHTS_AT_ONCE // max(1, widest) // 256 * 256)
        self.inputs = InputLayers(network, self.weights, dtype, pairs_at_once)
        self.readout = Readout(network, self.layers[-1].gate.irreps_out, typed, LAYOUT)
        self.shift, self.scale = (np.asarray(self.weights[name], np.float64) for name in ("shift", "scale"))
        self.radial, self.radial_error = radial, 0.0
        if radial == "spline":
            self._tabulate()

    def _tabulate(self) -> None:
        """Put tables in the place of the radial networks."""
        self.inputs.radial = Lengths()
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

        Raises:
            ValueError: an atom of an unknown element, or a graph of a smaller cutoff.
        """
        inputs = self.inputs.prepare(graph, num_threads)
        species, data, parts = inputs.species, inputs.data, inputs.parts
        x = self.embedding[species]
        kept: list[Kept] = []
        memory = Memory(self.dtype)
        for layers in self.layers:
            x, needed = layers.forward(x, species, data, parts, memory, num_threads)
            kept.append(needed)
        numbers, between = self.readout.forward(x)
        scale = self.scale[species]
        energies = numbers.astype(np.float64) * scale + self.shift[species]
        cotangent = self.readout.backward(between, scale.astype(self.dtype))
        totals = EdgeData(np.zeros_like(data.radial), np.zeros_like(data.harmonics))
        for number in reversed(range(len(self.layers))):
            found = self.layers[number].backward(
                kept.pop(), cotangent, species, data, totals, parts, memory, num_threads, of_features=number > 0
            )
            if found is not None:
                cotangent = found
        gradients = self.inputs.by_vectors(graph, inputs, totals, num_threads)
        if self.network.repulsion is not None:
            more = self.network.repulsion(graph, self.cutoff)
            energies += more.energies
            gradients += more.gradients
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


def _fixed(array: Array) -> Array:
    """An array that does not change: layers hold some weights as they are, and products of others."""
    if not array.flags.writeable:
        return array
    found = np.array(array, order="C")
    found.flags.writeable = False
    return found


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
