"""One layer of the network: linear maps, radial functions, a product over the edges, and a gate; with its gradient.

Features go through a linear map to the channels of the product. Each channel is multiplied by the harmonics of the edge
times radial functions of its own, and the mean is taken over the neighbours. Features and means, one beside the other,
go through a second linear map to a gate.

The products take functions, whose parity is ``(-1)^l``. Half of the channels hold such features, the other half those
of the opposite parity, for which the same product has outputs of the opposite parity. So features of both parities are
there for every product, and each is used as far as it goes.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tpnumba import nn
from tpnumba.edges import Edges
from tpnumba.irreps import Irrep, Irreps
from tpnumba.products.base import Operator
from tpnumba.products.convolution import TensorProductConvolution

Array = npt.NDArray[np.floating]
Places = npt.NDArray[np.intp]

#: Of features: channels follow each other.
LAYOUT = "ir_mul"
#: Channels of each parity in the product, and copies of each irrep of degree 1 and above.
CHANNELS = 8
#: Copies of each of the two scalars.
SCALARS = 40
#: Radial functions, and the hidden width of the network from them to the weights of an edge.
RADIAL, RADIAL_HIDDEN = 8, 16


class EdgeInputs(NamedTuple):
    """What layers read of a graph.

    Attributes:
        radial: functions of the lengths, shape ``(num_edges, RADIAL)``.
        harmonics: of the directions, shape ``(num_edges, (lmax + 1)^2)``.
        edges: who sends to whom.
        neighbours: how many each node has, shape ``(nodes, 1)``.
    """

    radial: Array
    harmonics: Array
    edges: Edges
    neighbours: Array


class Tape(NamedTuple):
    """What the gradient of a layer reads of its evaluation."""

    x: Array
    rows: Array
    attributes: Array
    joined: Array
    before_gate: Array


def hidden_irreps(lmax: int) -> Irreps:
    """The features between layers: both parities of every degree."""
    higher = [(CHANNELS, Irrep(degree, p)) for degree in range(1, lmax + 1) for p in (-1, 1)]
    return Irreps([(SCALARS, Irrep(0, 1)), (SCALARS, Irrep(0, -1)), *higher])


class Layer:
    """One layer around a product of features with harmonics; its weights are arguments, in three flat arrays."""

    def __init__(self, product: Operator, irreps_in: Irreps, lmax: int) -> None:
        self.irreps_in = irreps_in
        self.convolution = TensorProductConvolution(product)
        sent, places = _gathered(_channels(product.irreps_in1))
        self._from_rows, self._to_rows = places, np.argsort(places)
        self.linear_in = nn.Linear(irreps_in, sent, layout=LAYOUT)

        joined, self._to_joined = _gathered(Irreps([*irreps_in, *_channels(product.irreps_out)]))
        self._from_joined = np.argsort(self._to_joined)
        self._scales = np.tile(_unit_scales(product), 2 * CHANNELS)
        self.gate = _gate(lmax)
        self.linear_out = nn.Linear(joined, self.gate.irreps_in, layout=LAYOUT)

        blocks = [
            (place, block.ir.l)
            for place, block in zip(product.irreps_in2.slices(), product.irreps_in2, strict=True)
            if block.ir.p == (-1) ** block.ir.l
        ]
        self._filled = np.concatenate([np.arange(place.start, place.stop) for place, _ in blocks])
        self._harmonics = np.concatenate([np.arange(degree**2, (degree + 1) ** 2) for _, degree in blocks])
        sizes = [2 * degree + 1 for _, degree in blocks]
        self._block, self._starts = np.repeat(np.arange(len(sizes)), sizes), np.cumsum([0, *sizes[:-1]])
        widths = [RADIAL, RADIAL_HIDDEN, 2 * CHANNELS * len(blocks)]
        self.radial_network = nn.MLP(widths, nn.Activation.normalized("silu"))
        self.sizes = (self.linear_in.weight_numel, self.radial_network.weight_numel, self.linear_out.weight_numel)

    @property
    def irreps_out(self) -> Irreps:
        """Of the features that come out."""
        return self.gate.irreps_out

    def forward(self, x: Array, inputs: EdgeInputs, weights: Sequence[Array]) -> tuple[Array, Tape]:
        """The features after the layer, and what :meth:`backward` needs."""
        nodes, dim = x.shape[0], self.convolution.irreps_in1.dim
        rows = self.linear_in(x, weights[0])[:, self._to_rows].reshape(nodes * 2 * CHANNELS, dim)
        mixed = self.radial_network(inputs.radial, weights[1], num_threads=1).reshape(
            -1, 2 * CHANNELS, self._starts.size
        )
        filled = mixed[..., self._block] * inputs.harmonics[:, None, self._harmonics]
        attributes = np.zeros((*filled.shape[:-1], self.convolution.irreps_in2.dim), x.dtype)
        attributes[..., self._filled] = filled
        attributes = attributes.reshape(-1, attributes.shape[-1])
        sums = self.convolution(rows, attributes, None, _edges_of_channels(inputs.edges), num_threads=1)
        means = sums.reshape(nodes, -1) * (self._scales.astype(x.dtype) / inputs.neighbours)
        joined = np.concatenate([x, means], axis=1)[:, self._to_joined]
        before_gate = self.linear_out(joined, weights[2])
        return self.gate(before_gate), Tape(x, rows, attributes, joined, before_gate)

    def backward(
        self, tape: Tape, cotangent: Array, inputs: EdgeInputs, weights: Sequence[Array]
    ) -> tuple[Array, list[Array]]:
        """The gradients by the features and by the three arrays of weights."""
        nodes, dtype = tape.x.shape[0], tape.x.dtype
        g = self.gate.vjp(tape.before_gate, cotangent)
        g, g_out = self.linear_out.vjp(tape.joined, g, weights=weights[2])
        g = g[:, self._from_joined]
        g_x, g_means = np.split(g, [self.irreps_in.dim], axis=1)
        g_sums = (g_means * (self._scales.astype(dtype) / inputs.neighbours)).reshape(nodes * 2 * CHANNELS, -1)
        edges = _edges_of_channels(inputs.edges)
        g_rows, g_attributes = self.convolution.vjp(tape.rows, tape.attributes, g_sums, edges, num_threads=1)
        g_filled = g_attributes.reshape(-1, 2 * CHANNELS, g_attributes.shape[-1])[..., self._filled]
        g_filled = g_filled * inputs.harmonics[:, None, self._harmonics]
        g_mixed = np.add.reduceat(g_filled, self._starts, axis=-1).reshape(len(inputs.edges), -1)
        _, g_radial = self.radial_network.vjp(inputs.radial, g_mixed, weights=weights[1], num_threads=1)
        g_sent = g_rows.reshape(nodes, -1)[:, self._from_rows]
        g_in, g_linear = self.linear_in.vjp(tape.x, g_sent, weights=weights[0])
        return g_x + g_in, [g_linear, g_radial, g_out]


def _gate(lmax: int) -> nn.Gate:
    """Scalars through silu (even) and tanh (odd); all else times the sigmoid of an even scalar."""
    hidden = hidden_irreps(lmax)
    gated = Irreps([block for block in hidden if block.ir.l])
    silu, tanh, sigmoid = (nn.Activation.normalized(name) for name in ("silu", "tanh", "sigmoid"))
    scalars = Irreps([block for block in hidden if not block.ir.l])
    return nn.Gate(scalars, [silu, tanh], Irreps([(gated.num_irreps, Irrep(0, 1))]), [sigmoid], gated, layout=LAYOUT)


def _channels(irreps: Irreps) -> Irreps:
    """One channel after the other: those of functions, then those of the opposite parity."""
    opposite = [(mul, Irrep(ir.l, -ir.p)) for mul, ir in irreps]
    return Irreps([*(list(irreps) * CHANNELS), *(opposite * CHANNELS)])


def _gathered(irreps: Irreps) -> tuple[Irreps, Places]:
    """The irreps sorted, with all copies of one in one block, and the place that each component is taken from.

    Blocks of several copies are in the layout :data:`LAYOUT` before as after.
    """
    numbers: dict[Irrep, list[Places]] = {}
    for (mul, ir), place in zip(irreps, irreps.slices(), strict=True):
        numbers.setdefault(ir, []).append(np.arange(place.start, place.stop).reshape(ir.dim, mul))
    found = {ir: np.concatenate(numbers[ir], axis=1) for ir in sorted(numbers)}
    merged = Irreps([(block.shape[1], ir) for ir, block in found.items()])
    return merged, np.concatenate([block.reshape(-1) for block in found.values()])


def _unit_scales(product: Operator) -> Array:
    """For each component of the result, what gives it variance 1 if those of the inputs have it and are independent.

    ``C`` has norm 1, so that a path of scale s adds ``s^2 / (2 l + 1)``.
    """
    out = product.form.output
    variances = np.zeros(len(product.irreps_out))
    for path in product.form.paths:
        place = path.segments[out]
        assert place is not None
        variances[place] += path.scale**2 / product.irreps_out[place].ir.dim
    scales = 1 / np.sqrt(np.where(variances > 0, variances, 1.0))
    return np.repeat(scales, [block.dim for block in product.irreps_out])


@lru_cache(maxsize=8)
def _edges_of_channels(edges: Edges) -> Edges:
    """The edges between the channels of the nodes, each channel with its own."""
    channels = 2 * CHANNELS
    senders, receivers = (
        (channels * ends[:, None].astype(np.int64) + np.arange(channels)).reshape(-1)
        for ends in (edges.senders, edges.receivers)
    )
    return Edges(senders, receivers, channels * edges.num_nodes)
