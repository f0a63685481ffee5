"""Convolutions over the edges of a graph: the same as gather, product and sum, in every respect."""

from __future__ import annotations

import pickle
import tracemalloc

import numpy as np
import pytest
from convolutions import CHANNELWISE, GRAPHS, PRODUCTS, assert_close, drawn, expected, graph, of_arrays, operands
from hypothesis import given
from hypothesis import strategies as st

import tpnumba as tp
from tpnumba.backends.cpu.channelwise.program import ChannelwiseProgram
from tpnumba.backends.cpu.lowering import program_of


@pytest.mark.parametrize("kind", GRAPHS)
@pytest.mark.parametrize("name", PRODUCTS)
def test_is_gather_product_and_sum(xp, name, kind):
    if xp.is_dask:
        pytest.skip("convolutions refuse dask arrays")
    p, rng = PRODUCTS[name], np.random.default_rng(0)
    conv, edges = tp.TensorProductConvolution(p), graph(kind, rng)
    for dtype in ("float32", "float64"):
        x, y, w, g = operands(p, edges, rng, dtype)
        out, gradients = expected(p, *(None if a is None else a.astype("float64") for a in (x, y, w, g)), edges)
        nodes, attributes, weights, cotangent = (None if a is None else xp.asarray(a) for a in (x, y, w, g))
        backend = {"backend": "generic" if xp.backend == "gpu" else xp.backend}
        assert_close(xp.to_numpy(conv(nodes, attributes, weights, edges, **backend)), out, dtype)
        found = conv.vjp(nodes, attributes, cotangent, edges, weights=weights, **backend)
        assert len(found) == len(gradients)
        for one, other in zip(found, gradients, strict=True):
            assert_close(xp.to_numpy(one), other, dtype)


@pytest.mark.parametrize("shared", [("attributes",), ("weights",), ("attributes", "weights")])
@pytest.mark.parametrize("backend", ["cpu", "generic"])
@pytest.mark.parametrize("name", PRODUCTS)
def test_one_row_may_serve_all_edges(name, backend, shared):
    p, rng = PRODUCTS[name], np.random.default_rng(1)
    conv, edges = tp.TensorProductConvolution(p), graph("random", rng)
    x, y, w, g = operands(p, edges, rng, shared=shared)
    out, gradients = expected(p, x, y, w, g, edges)
    assert_close(conv(x, y, w, edges, backend=backend), out, "float64")
    found = conv.vjp(x, y, g, edges, weights=w, backend=backend)
    for one, other in zip(found, gradients, strict=True):
        assert_close(one, other, "float64")
    for one, other in zip(found[1:], (y, w), strict=False):
        assert one.shape == other.shape


@pytest.mark.parametrize("name", PRODUCTS)
def test_channels_are_lanes_where_there_are_enough(name):
    conv = tp.TensorProductConvolution(PRODUCTS[name])
    assert isinstance(program_of(conv.plan, "float32"), ChannelwiseProgram) == (
        name in CHANNELWISE | {"first input without channels"}
    )


@pytest.mark.parametrize("backend", ["cpu", "generic"])
@pytest.mark.parametrize("name", PRODUCTS)
def test_adjoints_of_second_order(name, backend):
    """``<g, conv.adjoint(i).adjoint(j)(..)> `` is the same form again, with other arguments in other places.

    Where one of them is that of the weights, it is the part that has weights.
    """
    conv, edges, (*arguments, g), _ = drawn(name, seed=2)
    whole = float((of_arrays(conv, edges)(*arguments) * g).sum())
    without = arguments[:2] + [np.zeros_like(weights) for weights in arguments[2:]]
    weighted = whole - float((of_arrays(conv, edges)(*without) * g).sum()) if len(arguments) > 2 else whole
    for i in range(len(arguments)):
        once = conv.adjoint(i)
        inner = [*arguments[:i], g, *arguments[i + 1 :]]
        for j in range(len(arguments)):
            twice = once.adjoint(j)
            outer = [*inner[:j], arguments[i], *inner[j + 1 :]]
            given = outer if len(outer) == 3 else [*outer, None]
            found = float((twice(*given, edges, backend=backend) * inner[j]).sum())
            assert found == pytest.approx(weighted if 2 in (i, j) else whole, rel=1e-10, abs=1e-10)
    assert conv.adjoint(0).adjoint(0) == conv


@pytest.mark.parametrize("name", ["whole vectors", "few channels", "weights mix channels"])
def test_jvp_is_the_derivative(name):
    p, rng = PRODUCTS[name], np.random.default_rng(3)
    conv, edges = tp.TensorProductConvolution(p), graph("random", rng)
    x, y, w, _ = operands(p, edges, rng)
    tx, ty, tw, _ = operands(p, edges, rng)
    found = conv.jvp(x, y, tx, ty, edges, weights=w, t_weights=tw)
    step = 1e-3  # a cubic form: central differences leave an error of step^2 times a product of tangents
    ahead, behind = (conv(x + s * tx, y + s * ty, w + s * tw, edges) for s in (step, -step))
    cubic = step**2 * conv(tx, ty, tw, edges)
    assert_close(found, (ahead - behind) / (2 * step) - cubic, "float32")


@given(seed=st.integers(0, 2**31), improper=st.booleans())
def test_is_equivariant(seed, improper):
    p, rng = PRODUCTS["filled vectors"], np.random.default_rng(seed)
    conv, edges = tp.TensorProductConvolution(p), graph("random", rng)
    x, y, w, _ = operands(p, edges, rng)
    turn = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    turn *= np.linalg.det(turn) * (-1 if improper else 1)
    turned = conv(tp.rotate(p.irreps_in1, turn, x), tp.rotate(p.irreps_in2, turn, y), w, edges)
    assert_close(turned, tp.rotate(p.irreps_out, turn, conv(x, y, w, edges)), "float64")


@pytest.mark.parametrize("count", [500, 20000])
@pytest.mark.parametrize(
    "name", ["whole vectors", "few channels", "weights mix channels", "as many as potentials have"]
)
def test_same_bits_for_any_number_of_threads(name, count):
    """Also where threads cut few edges into shorter chunks, so that rows are begun elsewhere."""
    several = tp.ChannelwiseTensorProduct("128x0e + 64x1e + 32x2e", "0e + 1e + 2e", "128x0e + 64x1e + 32x2e")
    p, rng = PRODUCTS.get(name, several), np.random.default_rng(4)
    senders, receivers = rng.integers(0, count // 60, (2, count))
    conv, edges = tp.TensorProductConvolution(p), tp.Edges(senders, receivers, count // 60)
    x, y, w, g = operands(p, edges, rng, "float32")
    one, *others = (
        [conv(x, y, w, edges, num_threads=n), *conv.vjp(x, y, g, edges, weights=w, num_threads=n)] for n in (1, 2, 5)
    )
    for other in others:
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("backend", ["cpu", "generic"])
@pytest.mark.parametrize("name", PRODUCTS)
def test_nan_stays_with_its_edges(name, backend):
    p, rng = PRODUCTS[name], np.random.default_rng(5)
    conv, edges = tp.TensorProductConvolution(p), graph("random", rng)
    x, y, w, g = operands(p, edges, rng)
    clean = conv(x, y, w, edges, backend=backend)
    y[11] = np.nan
    found = conv(x, y, w, edges, backend=backend)
    hit = np.isnan(found).any(axis=1)
    assert hit.nonzero()[0].tolist() == [edges.receivers[11]]
    np.testing.assert_array_equal(found[~hit], clean[~hit])
    gradients = conv.vjp(x, y, g, edges, weights=w, backend=backend)
    assert set(np.isnan(gradients[0]).any(axis=1).nonzero()[0]) == {edges.senders[11]}
    for gradient in gradients[1:]:
        assert set(np.isnan(gradient).any(axis=1).nonzero()[0]) <= {11}


def test_memory_beyond_operands_and_results_does_not_grow_with_the_edges():
    p = PRODUCTS["whole vectors"]
    conv, rng = tp.TensorProductConvolution(p), np.random.default_rng(6)
    for count in (5000, 20000):
        senders, receivers = rng.integers(0, 500, (2, count))
        edges = tp.Edges(senders, np.sort(receivers), 500)
        x, y, w, g = operands(p, edges, rng, "float32")
        edges.by_sender, edges.by_receiver  # noqa: B018  # belong to the edges
        conv(x, y, w, edges, num_threads=1)
        conv.vjp(x, y, g, edges, weights=w, num_threads=1)
        results = 4 * (g.size + x.size + y.size + w.size)
        tracemalloc.start()
        kept = [conv(x, y, w, edges, num_threads=1), conv.vjp(x, y, g, edges, weights=w, num_threads=1)]
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert kept
        assert peak < results + 2**20 + 16 * count


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8"])
def test_indices_of_any_integer(dtype):
    p, rng = PRODUCTS["few channels"], np.random.default_rng(7)
    conv, edges = tp.TensorProductConvolution(p), graph("random", rng)
    x, y, w, _ = operands(p, edges, rng)
    same = tp.Edges(edges.senders.astype(dtype), edges.receivers.astype(dtype), 9)
    assert same == edges
    assert hash(same) == hash(edges)
    np.testing.assert_array_equal(conv(x, y, w, same), conv(x, y, w, edges))


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"senders": [0, 3]}, ValueError, r"senders\[1\] must be at least 0 and below 3, the number of nodes, got 3"),
        ({"receivers": [-1, 0]}, ValueError, r"receivers\[0\] must be at least 0 and below 3"),
        ({"senders": [0.0, 1.0]}, TypeError, "senders must be integers, got float64"),
        ({"senders": np.ma.masked_array([0, 1], [False, True])}, TypeError, "senders must have no mask"),
        ({"senders": np.array([True, False])}, TypeError, "senders must be integers, got bool"),
        ({"senders": np.array([0, 2**32 + 1])}, ValueError, r"senders\[1\] must be .* below 3, .* got 4294967297"),
        ({"num_nodes": 2**31}, ValueError, "at most 2,147,483,647 edges and nodes, got 2 edges, 2,147,483,648 nodes"),
        ({"senders": [[0, 1]]}, ValueError, r"senders must have shape \(num_edges,\), got \(1, 2\)"),
        ({"receivers": [0]}, ValueError, r"must have one shape, got \(2,\) and \(1,\)"),
        ({"num_nodes": -1}, ValueError, "num_nodes must be a non-negative integer"),
        ({"pairs": [0]}, ValueError, r"pairs must have shape \(2,\), as senders and receivers, got \(1,\)"),
        ({"pairs": [0, 2], "num_pairs": 2}, ValueError, r"pairs\[1\] must be at least 0 and below 2, num_pairs, got 2"),
        ({"num_pairs": 2}, ValueError, "num_pairs was given without pairs"),
        ({"num_senders": 1}, ValueError, r"senders\[1\] must be at least 0 and below 1"),
    ],
)
def test_wrong_edges_are_refused(change, error, text):
    arguments = {"senders": [0, 1], "receivers": [1, 2], "num_nodes": 3, "num_senders": None, **change}
    nodes = arguments.pop("num_nodes")
    with pytest.raises(error, match=text):
        tp.Edges(arguments.pop("senders"), arguments.pop("receivers"), nodes, **arguments)


def test_edges_are_frozen_copies():
    senders = np.array([0, 1])
    edges = tp.Edges(senders, [1, 0], 2)
    senders[0] = 1
    assert edges.senders.tolist() == [0, 1]
    with pytest.raises(ValueError, match="read-only"):
        edges.senders[0] = 1
    with pytest.raises(AttributeError, match="frozen"):
        edges.num_nodes = 3
    with pytest.raises(AttributeError, match="frozen"):
        del edges.num_nodes
    assert pickle.loads(pickle.dumps(edges)) == edges
    assert len(edges) == 2


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"x": np.ones((8, 9))}, ValueError, r"node_features must have shape \(9, 9\), a row for each of the senders"),
        ({"x": np.ones((9, 8))}, ValueError, r"node_features must have shape \(9, 9\)"),
        ({"y": np.ones((3, 4))}, ValueError, r"edge_attributes must have shape \(70, 4\), a row an edge, or \(4,\)"),
        ({"w": None}, ValueError, "weights are missing"),
        ({"w": np.ones((70, 3))}, ValueError, "weights must have shape"),
        ({"w": [1.0]}, TypeError, "weights"),
        ({"edges": ([0], [0])}, TypeError, "edges must be tpnumba.Edges, got tuple"),
        ({"out": np.ones((9, 3))}, ValueError, "out must have shape"),
        ({"backend": "gpu"}, TypeError, "no convolution"),
        ({"backend": "fast"}, ValueError, "backend"),
    ],
)
def test_wrong_arguments_are_refused(change, error, text):
    rng = np.random.default_rng(8)
    p = tp.ChannelwiseTensorProduct("3x0e + 2x1o", "0e + 1o")
    conv, edges = tp.TensorProductConvolution(p), graph("random", rng)
    x, y, w, _ = operands(p, edges, rng)
    given = {"x": x, "y": y, "w": w, "edges": edges, **change}
    options = {name: value for name, value in change.items() if name in ("out", "backend")}
    with pytest.raises(error, match=text):
        conv(*(given[name] for name in ("x", "y", "w", "edges")), **options)


def test_only_products_are_convolved():
    with pytest.raises(TypeError, match="product must be a product of two features, got str"):
        tp.TensorProductConvolution("1o")
    conv = tp.TensorProductConvolution(PRODUCTS["gaunt"])
    with pytest.raises(TypeError, match="product must be"):
        tp.TensorProductConvolution(conv)
    with pytest.raises(ValueError, match="i must be below 2"):
        conv.adjoint(2)


def test_out_is_written_and_given_back():
    p, rng = PRODUCTS["few channels"], np.random.default_rng(9)
    conv, edges = tp.TensorProductConvolution(p), graph("isolated", rng)
    x, y, w, _ = operands(p, edges, rng)
    out = np.full((9, p.irreps_out.dim), np.nan)
    assert conv(x, y, w, edges, out=out) is out
    np.testing.assert_array_equal(out, conv(x, y, w, edges))


@pytest.mark.parametrize("backend", ["cpu", "generic"])
@pytest.mark.parametrize("name", ["whole vectors", "filled vectors", "weights mix channels"])
def test_parts_of_the_edges_add_up(name, backend):
    p, rng = PRODUCTS[name], np.random.default_rng(10)
    conv, edges = tp.TensorProductConvolution(p), graph("random", rng)
    x, y, w, g = operands(p, edges, rng)
    out, pulled = np.zeros((9, p.irreps_out.dim)), np.zeros_like(x)
    for part in (slice(0, 30), slice(30, 30), slice(30, 70)):
        some = tp.Edges(edges.senders[part], edges.receivers[part], 9)
        assert conv(x, y[part], w[part], some, out=out, add=True, backend=backend) is out
        conv.adjoint(0)(g, y[part], w[part], some, out=pulled, add=True, backend=backend)
    assert_close(out, conv(x, y, w, edges), "float64")
    assert_close(pulled, conv.vjp(x, y, g, edges, weights=w)[0], "float64")
    with pytest.raises(ValueError, match="add needs out"):
        conv(x, y, w, edges, add=True)
    with pytest.raises(ValueError, match="add needs out, and a result with a row a node"):
        conv.adjoint(1)(x, g, w, edges, out=np.empty_like(y), add=True)


def test_is_a_value():
    conv = tp.TensorProductConvolution(PRODUCTS["few channels"])
    again = pickle.loads(pickle.dumps(conv))
    assert again == conv
    assert hash(again) == hash(conv)
    assert conv != tp.TensorProductConvolution(PRODUCTS["gaunt"])
    assert "TensorProductConvolution" in repr(conv)
    assert conv.adjoint(1) == pickle.loads(pickle.dumps(conv.adjoint(1)))
