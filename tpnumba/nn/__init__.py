"""Layers of equivariant networks, as functions on arrays: their weights are arguments.

Each is a frozen object: called, it evaluates; ``vjp`` has its gradients. Weights, where there are any, are flat arrays.
"""

from tpnumba.nn.activations import Activation
from tpnumba.nn.edges import edge_lengths, edge_lengths_jvp, edge_lengths_vjp
from tpnumba.nn.envelopes import CosineEnvelope, PolynomialEnvelope, XPLOREnvelope
from tpnumba.nn.gate import Gate
from tpnumba.nn.linear import Linear
from tpnumba.nn.mlp import MLP
from tpnumba.nn.norm import LayerNorm
from tpnumba.nn.radial import BesselBasis, GaussianBasis, RadialEmbedding
from tpnumba.nn.self_connection import SelfConnection
from tpnumba.nn.spline import SplineTable

__all__ = [
    "MLP",
    "Activation",
    "BesselBasis",
    "CosineEnvelope",
    "Gate",
    "GaussianBasis",
    "LayerNorm",
    "Linear",
    "PolynomialEnvelope",
    "RadialEmbedding",
    "SelfConnection",
    "SplineTable",
    "XPLOREnvelope",
    "edge_lengths",
    "edge_lengths_jvp",
    "edge_lengths_vjp",
]
