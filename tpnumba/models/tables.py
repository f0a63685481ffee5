"""Spline tables of a potential: the weights of products as functions of the length of an edge, without their network.

Layers that read radial functions and radial networks find here what takes the place of both: of a length, the "radial
function" is the length itself, and the network is the table.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from tpnumba import nn
from tpnumba.models.network import Network

Array = npt.NDArray[np.floating]

#: Error of a table that is allowed, over the largest weight of its interaction at any length. Tables of SevenNet-0 have
#: 288 to 1,056 intervals and 71 MB in float64, those of SevenNet-l3i5 512 to 4,096 and 350 MB. With ten times the error
#: and half the memory, forces on distorted molecules were off by 1e-4 and more.
TOLERANCE = 1e-7


class Lengths:
    """In place of :class:`tpnumba.nn.RadialEmbedding`: lengths as they are."""

    def value_and_derivative(self, r: Array, frequencies: Array) -> tuple[Array, Array]:  # noqa: ARG002
        """Shapes ``(m, 1)``."""
        return r[:, None], np.ones((r.size, 1))


class TabulatedNetwork:
    """In place of the radial network of an interaction: a table of what the network gives.

    Args:
        network, weights: the potential's.
        number: of the interaction.
    """

    def __init__(self, network: Network, weights: Mapping[str, Array], number: int) -> None:
        embedding = network.radial.embedding(network.cutoff)
        radial_network = network.interactions[number].radial_network(network.radial.number)
        frequencies = weights["radial.frequencies"].astype(np.float64)
        folded = radial_network.fold(weights[f"interactions.{number}.radial"].astype(np.float64))
        # Where XPLOR begins, second derivatives jump.
        breaks = (network.radial.parameter,) if network.radial.envelope == "xplor" and network.radial.parameter else ()
        self.table = nn.SplineTable(
            lambda r: radial_network(embedding(r, frequencies), folded),
            network.cutoff,
            tolerance=TOLERANCE,
            breaks=breaks,
        )

    def __call__(
        self,
        x: Array,
        weights: object,  # noqa: ARG002
        *,
        out: Array | None = None,
        num_threads: int | None = None,
    ) -> Any:
        """The weights of products at lengths ``x`` of shape ``(m, 1)``."""
        return self.table(x[:, 0], out=out, num_threads=num_threads)

    def vjp_input(
        self,
        x: Array,
        cotangent: Array,
        *,
        weights: object,  # noqa: ARG002
        num_threads: int | None = None,
    ) -> Array:
        """The gradient by the lengths, of their shape."""
        found: Array = self.table.vjp(x[:, 0], cotangent, num_threads=num_threads)[:, None]
        return found
