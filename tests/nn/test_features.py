"""Layers of features: equivariance, gradients as adjoints, layouts, agreement with tensor products."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from strategies import irreps, layouts, tolerance

import tpnumba as tp
from tpnumba import nn
from tpnumba.nn import blocks

SEEDS = st.integers(0, 2**32 - 1)
SILU, TANH, ABS, SIGMOID = (nn.Activation(name, 1.25) for name in ("silu", "tanh", "abs", "sigmoid"))
GATES = [
    nn.Gate("4x0e + 2x0o", [SILU, TANH], "5x0e", [SIGMOID], "2x1o + 3x2e"),
    nn.Gate("2x0o + 1x0e + 1x0o", [ABS, None, TANH], "2x0o + 3x0e", [TANH, SILU], "1x1o + 2x1e + 2x1o"),
    nn.Gate("", [], "3x0e + 3x0e", [SILU, TANH], "4x1o + 2x0o"),
    nn.Gate("3x0e", [SILU], "", [], ""),
]
GATES += [
    nn.Gate(g.irreps_scalars, g.act_scalars, g.irreps_gates, g.act_gates, g.irreps_gated, layout="ir_mul")
    for g in GATES
]


def rotation(seed):
    R = np.linalg.qr(np.random.default_rng(seed).standard_normal((3, 3)))[0]
    return R if seed % 2 else -R


def close(found, wanted, terms=100):
    scale = 1 + float(np.max(np.abs(wanted), initial=0.0))
    np.testing.assert_allclose(found, wanted, rtol=0, atol=scale * tolerance("float64", 4, terms))


def moved(x, names, source, target):
    """Features in another layout."""
    context = nn.checks.context_of({"x": x})
    return blocks.join(context, blocks.split(context, x, names, source), x.shape[:-1], target)


def has_no_empty_block(*several):
    """What dask asks for, which cannot reshape arrays without numbers."""
    return all(names and all(block.mul for block in names) for names in several)


@given(first=irreps(), last=irreps(), seed=SEEDS, layout=layouts, biased=st.booleans())
def test_linear_is_equivariant_and_its_gradients_are_adjoint(xp, first, last, seed, layout, biased):
    assume(not xp.is_dask or has_no_empty_block(first, last))
    linear = nn.Linear(first, last, layout=layout, biases=biased)
    rng = np.random.default_rng(seed)
    x, t, g = (rng.standard_normal((2, 3, n)) for n in (first.dim, first.dim, last.dim))
    w, tw = rng.standard_normal((2, linear.weight_numel))
    b, tb = rng.standard_normal((2, linear.bias_numel))
    on = xp.asarray
    R = rotation(seed)
    turned = tp.rotate(last, R, xp.to_numpy(linear(on(x), on(w), on(b))), layout=layout)
    close(xp.to_numpy(linear(on(tp.rotate(first, R, x, layout=layout)), on(w), on(b))), turned)
    gradients = [xp.to_numpy(part) for part in linear.vjp(on(x), on(g), weights=on(w))]
    tangents = [t, tw, tb][: len(gradients)]
    forward = linear.jvp(on(x), on(t), weights=on(w), tweights=on(tw), tbiases=on(tb))
    close(sum(np.sum(a * b) for a, b in zip(gradients, tangents, strict=True)), np.sum(g * xp.to_numpy(forward)), 1000)
    close(xp.to_numpy(linear.vjp_input(on(g), weights=on(w))), gradients[0])


@given(first=irreps(), last=irreps(), seed=SEEDS)
def test_linear_is_a_product_with_one(first, last, seed):
    linear, product = nn.Linear(first, last), tp.FullyConnectedTensorProduct(first, "0e", last)
    rng = np.random.default_rng(seed)
    x, w = rng.standard_normal((4, first.dim)), rng.standard_normal(linear.weight_numel)
    weights = [w] if product.instructions else []
    close(linear(x, w), product(x, np.ones((4, 1)), *weights))
    other = nn.Linear(first, last, layout="ir_mul")
    close(moved(other(moved(x, first, "mul_ir", "ir_mul"), w), last, "ir_mul", "mul_ir"), linear(x, w))


def test_linear_with_chosen_paths():
    linear = nn.Linear("2x0e + 3x0e", "2x0e + 1x0e", instructions=[(1, 0), (0, 1)], path_normalization="none")
    x, w = np.arange(5.0), np.arange(8.0)
    np.testing.assert_allclose(linear(x, w), [*(x[2:] @ w[:6].reshape(3, 2)), x[:2] @ w[6:]])


@given(first=irreps(), last=irreps(), seed=SEEDS, layout=layouts, count=st.integers(1, 4))
def test_self_connection_is_a_product_with_one_hot_vectors(first, last, seed, layout, count):
    connection = nn.SelfConnection(first, last, count, layout=layout)
    product = tp.FullyConnectedTensorProduct(first, f"{count}x0e", last, layout=layout)
    rng = np.random.default_rng(seed)
    x, g = rng.standard_normal((6, first.dim)), rng.standard_normal((6, last.dim))
    w, elements = rng.standard_normal(connection.weight_numel), rng.integers(0, count, 6)
    hot = np.eye(count)[elements]
    weights = [w] if product.instructions else []
    close(connection(x, elements, w), product(x, hot, *weights))
    found = connection.vjp(x, elements, g, weights=w)
    close(connection.vjp_input(elements, g, weights=w), found[0])
    if weights:
        wanted = product.vjp(x, hot, g, weights=w)
        close(found[0], wanted[0])
        close(found[1], wanted[2])


@pytest.mark.parametrize("gate", GATES)
@pytest.mark.parametrize("seed", [0, 1])
def test_gate_is_equivariant_and_its_gradient_is_adjoint(xp, gate, seed):
    rng = np.random.default_rng(seed)
    x, t, g = (rng.standard_normal((5, 2, n)) for n in (gate.irreps_in.dim, gate.irreps_in.dim, gate.irreps_out.dim))
    R, h, layout = rotation(seed), 1e-5, gate.layout

    def at(x):
        return xp.to_numpy(gate(xp.asarray(x)))

    close(at(tp.rotate(gate.irreps_in, R, x, layout=layout)), tp.rotate(gate.irreps_out, R, at(x), layout=layout))
    forward = xp.to_numpy(gate.jvp(xp.asarray(x), xp.asarray(t)))
    np.testing.assert_allclose(forward, (at(x + h * t) - at(x - h * t)) / (2 * h), rtol=0, atol=1e-8)
    backward = xp.to_numpy(gate.vjp(xp.asarray(x), xp.asarray(g)))
    close(np.sum(backward * t), np.sum(forward * g))


@pytest.mark.parametrize("number", range(len(GATES) // 2))
def test_gate_in_both_layouts(number):
    one, other = GATES[number], GATES[number + len(GATES) // 2]
    x = np.random.default_rng(0).standard_normal((3, one.irreps_in.dim))
    found = other(moved(x, one.irreps_in, "mul_ir", "ir_mul"))
    close(moved(found, other.irreps_out, "ir_mul", "mul_ir"), one(x))


def test_gate_by_hand():
    gate = nn.Gate("1x0e", [nn.Activation("abs")], "1x0o", [nn.Activation("tanh")], "1x1e")
    assert (str(gate.irreps_in), str(gate.irreps_out)) == ("1x0o+1x0e+1x1e", "1x0e+1x1o")
    np.testing.assert_allclose(gate(np.array([0.5, -3.0, 1.0, 2.0, 3.0])), [3.0, *(np.tanh(0.5) * np.arange(1.0, 4.0))])


@given(names=irreps(), seed=SEEDS, layout=layouts, affine=st.booleans())
def test_layer_norm_is_equivariant_and_its_gradients_are_adjoint(xp, names, seed, layout, affine):
    assume(not xp.is_dask or has_no_empty_block(names))
    norm = nn.LayerNorm(names, layout=layout, affine=affine, eps=1e-2)
    rng = np.random.default_rng(seed)
    x, t, g = rng.standard_normal((3, 4, names.dim))
    w, tw = rng.standard_normal((2, norm.weight_numel))
    b, tb = rng.standard_normal((2, norm.bias_numel))
    on = xp.asarray

    def at(x, w, b):
        return xp.to_numpy(norm(on(x), *((on(w), on(b)) if affine else ())))

    R, h = rotation(seed), 1e-5
    turned = tp.rotate(names, R, at(x, w, b), layout=layout)
    close(at(tp.rotate(names, R, x, layout=layout), w, b), turned)
    forward = (at(x + h * t, w + h * tw, b + h * tb) - at(x - h * t, w - h * tw, b - h * tb)) / (2 * h)
    found = [xp.to_numpy(part) for part in norm.vjp(on(x), on(g), weights=on(w) if affine else None)]
    backward = sum(np.sum(one * other) for one, other in zip(found, (t, tw, tb), strict=False))
    assert len(found) == (3 if affine else 1)
    np.testing.assert_allclose(backward, np.sum(forward * g), rtol=1e-6, atol=1e-6)


def test_layer_norm_gives_unit_mean_square():
    norm = nn.LayerNorm("8x0e + 4x1o", affine=False, eps=1e-12)
    y = norm(np.random.default_rng(0).standard_normal((5, 20)) * 7 + 3)
    np.testing.assert_allclose(np.mean(y[:, :8], axis=1), 0, atol=1e-12)
    np.testing.assert_allclose(np.mean(y[:, :8] ** 2, axis=1), 1)
    np.testing.assert_allclose(np.mean(y[:, 8:] ** 2, axis=1), 1)


LAYERS = [
    nn.Linear("2x0e + 1o", "0e + 2x1o", biases=True),
    nn.SelfConnection("2x0e + 1o", "0e + 2x1o", 3),
    nn.LayerNorm("2x0e + 1o"),
    nn.MLP([3, 4, 2], SILU),
    nn.BesselBasis(8, 5.0),
    nn.GaussianBasis(8, 0.0, 5.0),
    nn.PolynomialEnvelope(5.0),
    nn.XPLOREnvelope(5.0, 4.5),
    nn.CosineEnvelope(5.0),
    nn.RadialEmbedding(nn.BesselBasis(8, 5.0), nn.CosineEnvelope(5.0)),
    *GATES,
]


@pytest.mark.parametrize("layer", LAYERS)
def test_layers_are_frozen_comparable_and_picklable(layer):
    copy = pickle.loads(pickle.dumps(layer))
    assert copy == layer
    assert hash(copy) == hash(layer)
    assert sum(layer == other for other in LAYERS) == 1
    assert type(layer).__name__ in repr(layer)
    with pytest.raises(AttributeError):
        layer.number = 1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_results_have_the_wider_dtype_and_a_given_place(dtype):
    linear = nn.Linear("2x0e + 1o", "0e + 2x1o", biases=True)
    x, w, b = np.ones((3, 5), dtype), np.ones(4, "float32"), np.ones(1, "float32")
    assert linear(x, w, b).dtype == dtype
    assert [part.dtype for part in linear.vjp(x, np.ones((3, 7), "float32"), weights=w)] == [dtype] * 3
    out = np.empty((3, 7), dtype)
    assert linear(x, w, b, out=out) is out
    np.testing.assert_array_equal(out, linear(x, w, b))


def test_folded_weights_have_the_wider_dtype_and_do_not_change_with_the_weights():
    linear = nn.Linear("2x0e + 1o", "0e + 2x1o", biases=True)
    x, w, b = (np.random.default_rng(0).standard_normal(n).astype("float32") for n in (5, 4, 1))
    wide = b.astype("float64") + 1e-12
    for found in (
        linear(x, linear.fold(w, wide)),
        linear.vjp_input(np.ones(7, "float32"), weights=linear.fold(w, wide)),
    ):
        assert found.dtype == "float64"
    np.testing.assert_allclose(linear(x, linear.fold(w, wide)), linear(x, w, wide), rtol=1e-15)
    for factor in (np.float64(0.5), np.array(0.5)):
        assert linear(x, linear.fold(w, b, factor=factor)).dtype == "float32"
    folded = linear.fold(w, b)
    before = linear(x, folded)
    w[:], b[:] = 7, 7
    np.testing.assert_array_equal(linear(x, folded), before)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tpnumba.nn.folded_linear.kernels_of", lambda _: None)
        np.testing.assert_allclose(linear(x, folded), before, rtol=1e-6)


def test_nan_stays_in_its_sample():
    linear, gate = nn.Linear("4x0e + 4x1o", "3x0e + 3x1o"), GATES[0]
    x, w = np.ones((5, 16)), np.ones(linear.weight_numel)
    x[2, 0] = np.nan
    assert np.isnan(linear(x, w)).any(axis=1).tolist() == [False, False, True, False, False]
    y = np.ones((3, gate.irreps_in.dim))
    y[1] = np.nan
    assert np.isnan(gate(y)).any(axis=1).tolist() == [False, True, False]
