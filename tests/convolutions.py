"""Products and graphs to convolve with, and what is expected: gather, product and ``np.add.at``."""

from __future__ import annotations

import numpy as np
from strategies import tolerance

import tpnumba as tp

PRODUCTS = {
    "whole vectors": tp.ChannelwiseTensorProduct("16x0e + 32x1o + 16x2e", "0e + 1o + 2e + 3o", "0e + 1o + 2e"),
    "whole vectors, ir_mul": tp.ChannelwiseTensorProduct("16x0e + 16x1o", "0e + 1o + 2e", layout="ir_mul"),
    "filled vectors": tp.ChannelwiseTensorProduct("20x0e + 14x2e + 12x4e", "0e + 2e + 4e", "0e + 2e + 4e"),
    "filled vectors, ir_mul": tp.ChannelwiseTensorProduct("20x0e + 14x1o", "0e + 1o", "0e + 1o", layout="ir_mul"),
    "few channels": tp.ChannelwiseTensorProduct("3x0e + 2x1o", "0e + 1o"),
    "weights mix channels": tp.FullyConnectedTensorProduct("4x0e + 5x1o", "0e + 1o", "3x0e + 2x1o"),
    "no weights": tp.FullTensorProduct("16x0e + 16x1o", "0e + 1o"),
    "no weights, few channels": tp.FullTensorProduct("2x0e + 3x1o", "2x0e + 1o"),
    "channels of both": tp.ElementwiseTensorProduct("4x0e + 5x1o", "4x0e + 5x1o"),
    "first input without channels": tp.TensorProduct("1o", "16x1o", "16x0e", [(0, 0, 0, "uvv", True)]),
    "an unused block": tp.TensorProduct("16x0e + 16x1o", "0e", "16x0e + 16x1o + 16x2e", [(1, 0, 1, "uvu", True)]),
    "some paths without weights": tp.TensorProduct(
        "16x0e + 32x1o",
        "0e + 1o",
        "16x0e + 16x1o + 32x0e",
        [(0, 0, 0, "uvu", False), (0, 1, 1, "uvu", True), (1, 1, 2, "uvu", True)],
    ),
    "gaunt": tp.GauntTensorProduct(2, 2),
}
CHANNELWISE = {
    "whole vectors",
    "some paths without weights",
    "whole vectors, ir_mul",
    "filled vectors",
    "filled vectors, ir_mul",
    "no weights",
    "an unused block",
}
GRAPHS = (
    "random",
    "sorted",
    "no edges",
    "one edge",
    "repeated",
    "isolated",
    "hub",
    "bipartite",
    "pairs",
    "sorted pairs",
)


def graph(kind: str, rng: np.random.Generator) -> tp.Edges:
    """Edges of 9 nodes."""
    senders, receivers = rng.integers(0, 9, (2, 70))
    if kind == "sorted":
        receivers = np.sort(receivers)
    elif kind == "no edges":
        senders = receivers = np.zeros(0, dtype=np.int32)
    elif kind == "one edge":
        senders, receivers = np.array([3]), np.array([5])
    elif kind == "repeated":
        senders, receivers = np.full(40, 2, dtype=np.int32), np.full(40, 7, dtype=np.int32)
    elif kind == "isolated":
        senders, receivers = senders % 3 + 4, receivers % 2 + 1
    elif kind == "hub":
        receivers[:60] = 4
    elif kind == "bipartite":
        return tp.Edges(senders % 4, receivers, 9, num_senders=4)
    elif kind == "pairs":
        return tp.Edges(senders, receivers, 9, pairs=rng.integers(0, 30, 70), num_pairs=33)
    elif kind == "sorted pairs":
        return tp.Edges(senders, receivers, 9, pairs=np.arange(70) // 2)
    return tp.Edges(senders, receivers, 9)


def operands(p, edges, rng, dtype="float64", shared=()):
    """Features of nodes, attributes, weights (None if there are none) and a cotangent."""
    weights = len(edges) if edges.pairs is None else edges.num_pairs
    rows = {"attributes": (len(edges),), "weights": (weights,), **dict.fromkeys(shared, ())}
    x = rng.standard_normal((edges.num_senders, p.irreps_in1.dim)).astype(dtype)
    y = rng.standard_normal((*rows["attributes"], p.irreps_in2.dim)).astype(dtype)
    w = rng.standard_normal((*rows["weights"], p.weight_numel)).astype(dtype) if p.weight_numel else None
    g = rng.standard_normal((edges.num_nodes, p.irreps_out.dim)).astype(dtype)
    return x, y, w, g


def drawn(name, kind="random", seed=0, shared=()):
    """A convolution, edges, its operands that are there, the cotangent as the last, and what they were drawn with."""
    p, rng = PRODUCTS[name], np.random.default_rng(seed)
    edges = graph(kind, rng)
    arrays = [array for array in operands(p, edges, rng, shared=shared) if array is not None]
    return tp.TensorProductConvolution(p), edges, arrays, rng


def of_arrays(conv, edges):
    """The convolution as a function of arrays alone."""
    return lambda x, y, *w: conv(x, y, w[0] if w else None, edges)


def added(rows, index, count):
    total = np.zeros((count, rows.shape[-1]))
    np.add.at(total, index, rows)
    return total


def expected(p, x, y, w, g, edges):
    """The convolution and its gradients by gather, product and ``np.add.at``."""
    n, sent = len(edges), x[edges.senders]
    paired = edges.pairs is not None and w is not None
    of_edges = w[edges.pairs] if paired else w
    wide = [np.broadcast_to(a, (n, a.shape[-1])) for a in (y, *(() if w is None else (of_edges,)))]
    weights = {} if w is None else {"weights": wide[1]}
    out = added(p(sent, *wide), edges.receivers, edges.num_nodes)
    pulled = p.vjp(sent, wide[0], g[edges.receivers], **weights)
    gradients = [added(pulled[0], edges.senders, edges.num_senders)]
    gradients += [rows if a.ndim == 2 else rows.sum(axis=0) for rows, a in zip(pulled[1:], (y, w), strict=False)]
    if paired:
        gradients[2] = added(pulled[2], edges.pairs, edges.num_pairs)
    return out, gradients


def assert_close(found, wanted, dtype):
    assert found.shape == wanted.shape
    scale = max(1.0, np.abs(wanted).max(initial=0.0))
    np.testing.assert_allclose(found, wanted, rtol=0, atol=scale * tolerance(dtype, 4, 500))
