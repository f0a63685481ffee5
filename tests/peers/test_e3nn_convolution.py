"""A convolution is e3nn's lines for it: gather, ``o3.TensorProduct`` and a sum. Runs in the session ``peers``."""

from __future__ import annotations

import numpy as np
import pytest
from convolutions import GRAPHS, assert_close, graph, operands
from peers.references import MARKS, gradients, leaf, o3, torch

import tpnumba as tp

pytestmark = MARKS

PRODUCTS = {
    "uvu": (
        "16x0e + 16x1o",
        "0e + 1o",
        "16x0e + 16x1o + 16x1e",
        [(0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 0), (1, 1, 2)],
    ),
    "uvw": ("4x0e + 3x1o", "0e + 1o", "2x0e + 5x1o", [(0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 0)]),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", GRAPHS)
@pytest.mark.parametrize("mode", PRODUCTS)
def test_is_gather_product_and_sum_of_e3nn(mode, kind, dtype):
    *irreps, paths = PRODUCTS[mode]
    instructions = [(*path, mode, True) for path in paths]
    p, rng = tp.TensorProduct(*irreps, instructions), np.random.default_rng(0)
    edges = graph(kind, rng)
    x, y, w, g = operands(p, edges, rng, dtype)
    theirs = o3.TensorProduct(*irreps, instructions, shared_weights=False, internal_weights=False)
    leaves = [leaf(array) for array in (x, y, w)]
    senders, receivers = (torch.tensor(end, dtype=torch.int64) for end in (edges.senders, edges.receivers))
    weights = leaves[2] if edges.pairs is None else leaves[2][torch.tensor(edges.pairs, dtype=torch.int64)]
    messages = theirs(leaves[0][senders], leaves[1], weights)
    expected = torch.zeros(edges.num_nodes, p.irreps_out.dim).index_add(0, receivers, messages)
    pulled = gradients(expected, leaves, g.astype("float64"))
    conv = tp.TensorProductConvolution(p)
    found = conv(x, y, w, edges), *conv.vjp(x, y, g, edges, weights=w)
    for one, other in zip(found, (expected, *pulled), strict=True):
        assert_close(one, other.detach().numpy(), dtype)
