"""The network of the experiment: an embedding, three layers and a readout; its logits and the gradient of its loss."""

from __future__ import annotations

from itertools import accumulate, pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from tpnumba import nn
from tpnumba.irreps import Irrep, Irreps
from tpnumba.products.base import Operator
from tpnumba.sphere.harmonics import SphericalHarmonics
from tpnumba.studies.tetris.layer import LAYOUT, RADIAL, EdgeInputs, Layer, Tape
from tpnumba.studies.tetris.pieces import CUBES, PIECES, RADIUS, Stack

Array = npt.NDArray[np.floating]

LAYERS = 3
EMBEDDING = 16
HARMONICS_LMAX = 2
READOUT = Irreps("0o + 7x0e")


class Network:
    """From pieces to one logit for each of the eight, invariant under rotations.

    The readout is an odd scalar o and seven even ones e; the logits are ``o e_1, -o e_1, e_2, ..., e_7``. So the first
    two are exchanged by a reflection, as the two pieces that they stand for, and are equal where o vanishes.

    Args:
        product: of features, functions of degrees up to ``lmax``, with harmonics of degree up to 2.
        lmax: the largest degree of the features between layers.

    Attributes:
        weight_numel: weights are one flat axis: embedding, layers, readout.
    """

    def __init__(self, product: Operator, lmax: int) -> None:
        self.layers: list[Layer] = []
        irreps = Irreps([(EMBEDDING, Irrep(0, 1))])
        for _ in range(LAYERS):
            self.layers.append(Layer(product, irreps, lmax))
            irreps = self.layers[-1].irreps_out
        self.readout = nn.Linear(irreps, READOUT, layout=LAYOUT)
        self._of_directions = SphericalHarmonics(HARMONICS_LMAX, normalization="component")
        self._of_lengths = nn.BesselBasis(RADIAL, RADIUS)
        sizes = [EMBEDDING, *(size for layer in self.layers for size in layer.sizes), self.readout.weight_numel]
        self._places = [slice(start, stop) for start, stop in pairwise(accumulate(sizes, initial=0))]
        self.weight_numel = sum(sizes)

    def initial_weights(self, rng: np.random.Generator, dtype: str = "float32") -> Array:
        """Normally distributed numbers: the layers divide by the root of what they sum."""
        weights: Array = rng.standard_normal(self.weight_numel).astype(dtype)
        return weights

    def logits(self, stack: Stack, weights: Array) -> Array:
        """The logits of each piece of a stack, shape ``(stack.pieces, 8)``."""
        return _to_logits(self._forward(self._inputs(stack), weights)[0])

    def loss_and_gradient(self, stack: Stack, weights: Array) -> tuple[float, Array, Array]:
        """The mean cross entropy of the pieces of a stack, its gradient by the weights, and the logits."""
        inputs = self._inputs(stack)
        scalars, last, tapes = self._forward(inputs, weights)
        logits = _to_logits(scalars)
        pieces = np.arange(stack.pieces)
        rightful = pieces % len(PIECES)
        shifted = logits - logits.max(axis=1, keepdims=True)
        log_probabilities = shifted - np.log(np.sum(np.exp(shifted), axis=1, keepdims=True))
        loss = -float(np.mean(log_probabilities[pieces, rightful]))
        g = np.exp(log_probabilities)
        g[pieces, rightful] -= 1
        g /= stack.pieces
        odd, even = scalars[:, 0], scalars[:, 1]
        difference = g[:, 0] - g[:, 1]
        g_scalars = np.concatenate([(difference * even)[:, None], (difference * odd)[:, None], g[:, 2:]], axis=1)
        return loss, self._backward(inputs, weights, (last, tapes), g_scalars), logits

    def _inputs(self, stack: Stack) -> EdgeInputs:
        lengths = np.linalg.norm(stack.vectors, axis=1)
        return EdgeInputs(self._of_lengths(lengths), self._of_directions(stack.vectors), stack.edges, stack.neighbours)

    def _split(self, weights: Array) -> tuple[Array, list[list[Array]], Array]:
        """The weights of the embedding, of each layer, and of the readout."""
        embedding, *parts, readout = (weights[place] for place in self._places)
        return embedding, [parts[3 * i : 3 * i + 3] for i in range(LAYERS)], readout

    def _forward(self, inputs: EdgeInputs, weights: Array) -> tuple[Array, Array, list[Tape]]:
        """The scalars of each piece, the last features, and what the gradient needs."""
        embedding, of_layers, readout = self._split(weights)
        x = np.broadcast_to(embedding, (inputs.edges.num_nodes, EMBEDDING))
        tapes = []
        for layer, own in zip(self.layers, of_layers, strict=True):
            x, tape = layer.forward(x, inputs, own)
            tapes.append(tape)
        scalars: Array = self.readout(x, readout).reshape(-1, CUBES, READOUT.dim).mean(axis=1)
        return scalars, x, tapes

    def _backward(self, inputs: EdgeInputs, weights: Array, kept: tuple[Array, list[Tape]], g_scalars: Array) -> Array:
        _, of_layers, readout = self._split(weights)
        x, tapes = kept
        g: Any = np.repeat(g_scalars / CUBES, CUBES, axis=0)
        g, g_readout = self.readout.vjp(x, g, weights=readout)
        found = [g_readout]
        for layer, tape, own in zip(self.layers[::-1], tapes[::-1], of_layers[::-1], strict=True):
            g, of_weights = layer.backward(tape, g, inputs, own)
            found = [*of_weights, *found]
        return np.concatenate([g.sum(axis=0), *found])


def _to_logits(scalars: Array) -> Array:
    odd = scalars[:, :1] * scalars[:, 1:2]
    return np.concatenate([odd, -odd, scalars[:, 2:]], axis=1)
