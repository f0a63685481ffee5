"""The repulsion of nuclei that come close, which no training set has: a function of pairs, beside a network."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tpnumba import nn
from tpnumba.models.graphs import Graph, GraphResult
from tpnumba.nn.checks import check_count, check_number

#: The screening of a nucleus by electrons: a sum of exponentials of the distance over a length of the two elements.
_FACTORS = np.array([0.02817, 0.28022, 0.50986, 0.18175])
_RATES = np.array([0.20162, 0.40290, 0.94229, 3.19980])
#: That length is the first, in angstrom, over the sum of both atomic numbers to the power of the second.
_LENGTH, _POWER = 0.46850, 0.23


@dataclass(frozen=True)
class Repulsion:
    """The universal repulsion of Ziegler, Biersack and Littmark (*The Stopping and Range of Ions in Matter*, 1985).

    A pair at distance r has ``prefactor Z1 Z2 / r phi(r / a)``, with ``a = 0.4685 / (Z1^0.23 + Z2^0.23)`` angstrom and
    ``phi(x)`` a sum of four exponentials, times a polynomial envelope. Each atom has one half of it.

    Attributes:
        prefactor: the square of the elementary charge over 4 pi and the permittivity of the vacuum, in eV angstrom.
        power: of the envelope, which ends at the cutoff of the network.

    Raises:
        TypeError, ValueError: a prefactor that is not above zero, or a power that is not a positive integer.

    Example:
        >>> from tpnumba.models import Repulsion
        >>> from ase import Atoms
        >>> from tpnumba.models.graphs import graph_of
        >>> pair = graph_of(Atoms("HO", positions=[[0, 0, 0], [0, 0, 0.5]]), 5.0)
        >>> Repulsion(14.399645, 6)(pair, 5.0).energies.round(4)
        array([16.5873, 16.5873])
    """

    prefactor: float
    power: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "prefactor", check_number("prefactor", self.prefactor, positive=True))
        object.__setattr__(self, "power", check_count("power", self.power))

    def __call__(self, graph: Graph, cutoff: float) -> GraphResult:
        """Energies of the atoms of a graph, and gradients of their sum by the vectors, in float64.

        Args:
            graph: with all edges within the cutoff.
            cutoff: at which the envelope ends, in angstrom.
        """
        lengths = nn.edge_lengths(graph.vectors)
        charges = graph.numbers.astype(np.float64)
        first, second = charges[graph.edges.receivers], charges[graph.edges.senders]
        rates = np.multiply.outer((first**_POWER + second**_POWER) / _LENGTH, _RATES)
        terms = np.exp(-rates * lengths[:, None]) * _FACTORS
        screening, slope = terms.sum(axis=1), -np.sum(terms * rates, axis=1)
        envelope, fall = nn.PolynomialEnvelope(cutoff, self.power).value_and_derivative(lengths)
        bare = self.prefactor / 2 * first * second / lengths
        energies = bare * screening * envelope
        by_length = bare * (slope * envelope + screening * fall) - energies / lengths
        of_atoms = np.bincount(graph.edges.receivers, weights=energies, minlength=len(graph.numbers))
        return GraphResult(of_atoms, (by_length / lengths)[:, None] * graph.vectors)
