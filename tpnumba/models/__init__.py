"""Trained potentials as data: networks, weights and files; graphs of atoms, and what a potential gives for them."""

from tpnumba.models.graphs import Graph, GraphResult, Results, graph_of, results_of
from tpnumba.models.network import Interaction, Network, Radial
from tpnumba.models.potential import Potential, load
from tpnumba.models.repulsion import Repulsion

__all__ = [
    "Graph",
    "GraphResult",
    "Interaction",
    "Network",
    "Potential",
    "Radial",
    "Repulsion",
    "Results",
    "graph_of",
    "load",
    "results_of",
]
