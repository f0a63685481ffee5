"""Compilation of the kernels of layers and convolutions ahead of their first use."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from tpnumba.edges import Edges
from tpnumba.nn.activations import Activation
from tpnumba.nn.linear import Linear
from tpnumba.nn.mlp import MLP
from tpnumba.nn.spline import SplineTable
from tpnumba.products.clebsch_gordan import ChannelwiseTensorProduct
from tpnumba.products.convolution import TensorProductConvolution


def compile_layers() -> Iterator[str]:
    """Compile the kernels by small evaluations, or take them from the cache; yields what was made ready."""
    for dtype in ("float32", "float64"):
        works: dict[str, Callable[[str], None]] = {
            "linear maps": _linear,
            "networks of scalars": _network,
            "splines": _spline,
            "convolutions, channels as lanes": lambda dtype: _convolution(dtype, 16),
            "convolutions, edges as lanes": lambda dtype: _convolution(dtype, 1),
        }
        for name, work in works.items():
            work(dtype)
            yield f"{name}, {dtype}"


def _linear(dtype: str) -> None:
    linear = Linear("2x0e + 1o", "0e + 1o", biases=True)
    weights, biases = (np.ones(n, dtype) for n in (linear.weight_numel, linear.bias_numel))
    linear.vjp_input(linear(np.ones((1, 5), dtype), weights, biases), weights=weights)


def _network(dtype: str) -> None:
    network = MLP([1, 2, 1], Activation("silu"), biases=True)
    x, weights = np.ones((1, 1), dtype), np.ones(network.weight_numel, dtype)
    network.vjp(x, network(x, weights), weights=weights)


def _spline(dtype: str) -> None:
    table = SplineTable(lambda r: r[:, None], 1.0, tolerance=0.1)
    r = np.zeros(1, dtype)
    table.vjp(r, table(r))


def _convolution(dtype: str, channels: int) -> None:
    product = ChannelwiseTensorProduct(f"{channels}x0e + {channels}x1o", "0e + 1o", layout="ir_mul")
    convolution = TensorProductConvolution(product)
    edges = Edges(np.zeros(2, np.int64), np.zeros(2, np.int64), 1)
    features, attributes = (np.ones((n, m), dtype) for n, m in ((1, 4 * channels), (2, 4)))
    weights = np.ones((2, product.weight_numel), dtype)
    result = convolution(features, attributes, weights, edges)
    convolution.vjp(features, attributes, result, edges, weights=weights)
