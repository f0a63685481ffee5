"""The readout of a network: from the features of an atom to a number, by linear maps with an activation between."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from tpnumba import nn
from tpnumba.irreps import Irreps
from tpnumba.models.network import Network

Array = npt.NDArray[np.floating]


def readout_irreps(network: Network, features: Irreps) -> tuple[Irreps, ...]:
    """The irreps before, between and after the linear maps of the readout."""
    return features, *(Irreps(f"{width}x0e") for width in network.hidden), Irreps("0e")


class Readout:
    """The linear maps of the readout with their weights; maps ``number`` are called ``readout.number``, from 1 on.

    Args:
        network: whose readout it is.
        features: irreps of what it reads.
        weights: of the network, in one dtype.
        layout: of the features.
    """

    def __init__(self, network: Network, features: Irreps, weights: Mapping[str, Array], layout: str) -> None:
        self.names = [f"readout.{number + 1}" for number in range(len(network.hidden) + 1)]
        self.weights = [weights[name] for name in self.names]
        self.biases = [weights.get(f"{name}.bias") for name in self.names]
        self.maps = [
            nn.Linear(before, after, biases=bias is not None, layout=layout)
            for (before, after), bias in zip(pairwise(readout_irreps(network, features)), self.biases, strict=True)
        ]
        name = network.readout_activation
        self.activation = None if name is None else nn.Activation.normalized(name, moment="sampled")

    def forward(self, x: Array) -> tuple[Array, list[Array]]:
        """A number an atom, shape ``(n,)``, and what backward needs: the results of all maps but the last."""
        kept: list[Array] = []
        for linear, weights, biases in zip(self.maps, self.weights, self.biases, strict=True):
            if kept and self.activation is not None:
                x = self.activation(x)
            x = linear(x, weights, biases)
            kept.append(x)
        return kept.pop()[:, 0], kept

    def backward(self, kept: list[Array], cotangent: Array) -> Array:
        """The gradient by the features of ``<cotangent, numbers>``."""
        found = cotangent[:, None]
        for number in reversed(range(len(self.maps))):
            found = self.maps[number].vjp_input(found, weights=self.weights[number])
            if number and self.activation is not None:
                found = self.activation.vjp(kept[number - 1], found)
        return found

    def gradients(self, x: Array, kept: list[Array], cotangent: Array) -> tuple[Array, dict[str, Array]]:
        """The gradient by the features ``x``, and those by weights and biases under their names."""
        found = cotangent[:, None]
        by_name: dict[str, Array] = {}
        for number in reversed(range(len(self.maps))):
            before = kept[number - 1] if number else x
            read = self.activation(before) if number and self.activation is not None else before
            found, *own = self.maps[number].vjp(read, found, weights=self.weights[number])
            name = self.names[number]
            by_name |= dict(zip((name, f"{name}.bias"), own, strict=False))
            if number and self.activation is not None:
                found = self.activation.vjp(before, found)
        return found, by_name
