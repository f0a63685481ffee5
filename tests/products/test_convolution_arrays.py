"""Convolutions of whatever may come: any product, strides, sizes, graphs without edges, many threads at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from convolutions import GRAPHS, PRODUCTS, assert_close, expected, graph, operands
from hypothesis import given
from hypothesis import strategies as st
from strategies import dtypes, layouts, tensor_products

import tpnumba as tp

OUTS = {
    "columns first": lambda rows, size: np.zeros((size, rows)).T,
    "every other column": lambda rows, size: np.zeros((rows, 2 * size))[:, ::2],
    "every other row, from the last": lambda rows, size: np.zeros((2 * rows, size))[::-2],
    "not aligned": lambda rows, size: np.zeros(rows, [("byte", "i1"), ("row", "f8", (size,))])["row"],
}


@pytest.mark.parametrize("backend", ["cpu", "generic"])
@pytest.mark.parametrize("kind", OUTS)
@pytest.mark.parametrize("name", ["whole vectors", "filled vectors", "weights mix channels"])
def test_out_may_have_any_strides(name, kind, backend):
    p, rng = PRODUCTS[name], np.random.default_rng(11)
    conv, edges = tp.TensorProductConvolution(p), graph("isolated", rng)
    x, y, w, g = operands(p, edges, rng)
    arguments = [x, y, w]
    for i, wanted in ((None, conv(x, y, w, edges)), *enumerate(conv.vjp(x, y, g, edges, weights=w))):
        given = arguments if i is None else [*arguments[:i], g, *arguments[i + 1 :]]
        operator, out = conv if i is None else conv.adjoint(i), OUTS[kind](*wanted.shape)
        out[...] = 3.0
        assert operator(*given, edges, out=out, backend=backend) is out
        assert_close(out, wanted, "float64")
        if i in (None, 0):
            operator(*given, edges, out=out, add=True, backend=backend)
            assert_close(out, 2 * wanted, "float64")


INPUTS = {
    "columns first": np.asfortranarray,
    "backwards": lambda array: array[::-1, ::-1].copy()[::-1, ::-1],
    "every third column": lambda array: np.repeat(array, 3, axis=1)[:, ::3],
    "read-only": lambda array: np.broadcast_to(array, array.shape),
    "not aligned": lambda array: np.ndarray(array.shape, array.dtype, b"?" + array.tobytes(), offset=1),
}


@pytest.mark.parametrize("kind", INPUTS)
@pytest.mark.parametrize("name", ["filled vectors", "weights mix channels"])
def test_inputs_may_have_any_strides(name, kind):
    p, rng = PRODUCTS[name], np.random.default_rng(12)
    conv, edges = tp.TensorProductConvolution(p), graph("random", rng)
    x, y, w, g = operands(p, edges, rng)
    wanted = [conv(x, y, w, edges), *conv.vjp(x, y, g, edges, weights=w)]
    x, y, w, g = (INPUTS[kind](array) for array in (x, y, w, g))
    for found, other in zip([conv(x, y, w, edges), *conv.vjp(x, y, g, edges, weights=w)], wanted, strict=True):
        np.testing.assert_array_equal(found, other)


@given(p=tensor_products(), kind=st.sampled_from(GRAPHS), seed=st.integers(0, 2**31), dtype=dtypes)
def test_any_product_is_convolved(p, kind, seed, dtype):
    rng = np.random.default_rng(seed)
    conv, edges = tp.TensorProductConvolution(p), graph(kind, rng)
    x, y, w, g = operands(p, edges, rng, dtype)
    out, gradients = expected(p, *(None if a is None else a.astype("float64") for a in (x, y, w, g)), edges)
    for backend in ("cpu", "generic"):
        assert_close(conv(x, y, w, edges, backend=backend), out, dtype)
        found = conv.vjp(x, y, g, edges, weights=w, backend=backend)
        for one, other in zip(found, gradients, strict=True):
            assert_close(one, other, dtype)


@given(mul=st.integers(0, 40), lmax=st.integers(0, 6), layout=layouts, seed=st.integers(0, 2**31), dtype=dtypes)
def test_any_number_of_channels(mul, lmax, layout, seed, dtype):
    """High degrees, and channels that do and do not fill vectors, of which some paths may have none."""
    rng = np.random.default_rng(seed)
    some = f"{mul}x{lmax}{'eo'[lmax % 2]} + 16x1o"
    p = tp.ChannelwiseTensorProduct(some, tp.Irreps.spherical_harmonics(lmax), "0e + 1o + 4e", layout=layout)
    conv, edges = tp.TensorProductConvolution(p), graph("random", rng)
    x, y, w, g = operands(p, edges, rng, dtype)
    out, gradients = expected(p, *(a.astype("float64") for a in (x, y, w, g)), edges)
    assert_close(conv(x, y, w, edges), out, dtype)
    for one, other in zip(conv.vjp(x, y, g, edges, weights=w), gradients, strict=True):
        assert_close(one, other, dtype)


@pytest.mark.parametrize("nodes", [(0, 0), (4, 0), (4, 4)])
@pytest.mark.parametrize("backend", ["cpu", "generic"])
@pytest.mark.parametrize("name", PRODUCTS)
def test_graphs_without_edges(name, backend, nodes):
    p, rng = PRODUCTS[name], np.random.default_rng(13)
    conv, edges = tp.TensorProductConvolution(p), tp.Edges([], [], nodes[0], num_senders=nodes[1])
    x, y, w, g = operands(p, edges, rng)
    out = conv(x, y, w, edges, backend=backend)
    assert out.shape == (nodes[0], p.irreps_out.dim)
    assert not out.any()
    arguments = (x, y, *(() if w is None else (w,)))
    for gradient, argument in zip(conv.vjp(x, y, g, edges, weights=w, backend=backend), arguments, strict=True):
        assert gradient.shape == argument.shape
        assert not gradient.any()


@pytest.mark.parametrize("name", ["whole vectors", "weights mix channels"])
def test_many_threads_at_once(name):
    p, rng = PRODUCTS[name], np.random.default_rng(14)
    conv, edges = tp.TensorProductConvolution(p), tp.Edges(*rng.integers(0, 100, (2, 3000)), 100)
    x, y, w, g = operands(p, edges, rng)

    def all_of_it(shared):
        same = edges if shared else tp.Edges(edges.senders, edges.receivers, 100)  # its orders are made meanwhile
        return [conv(x, y, w, same, num_threads=2), *conv.vjp(x, y, g, same, weights=w, num_threads=2)]

    wanted = all_of_it(True)
    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(all_of_it, [True, False] * 10):
            for one, other in zip(found, wanted, strict=True):
                np.testing.assert_array_equal(one, other)
