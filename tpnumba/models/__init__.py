"""Trained potentials as data: networks and weights, their files, and what they give for a structure."""

from tpnumba.models.network import Interaction, Network, Radial
from tpnumba.models.potential import GraphResult, Potential, load

__all__ = ["GraphResult", "Interaction", "Network", "Potential", "Radial", "load"]
