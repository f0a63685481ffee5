"""The layers of tpnumba.nn against e3nn 0.6 and torch, forward and backward. Runs in the session ``peers``."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from peers.references import MARKS, SEEDS, assert_agree, e3nn, gradients, leaf, o3, torch
from strategies import irreps

from tpnumba import nn
from tpnumba.nn.activations import ACTIVATIONS, SAMPLED_SCALES

pytestmark = MARKS

FUNCTIONS = {
    "silu": torch.nn.functional.silu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "abs": torch.abs,
    "ssp": lambda x: torch.nn.functional.softplus(x) - math.log(2),
    "relu": torch.nn.functional.relu,
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name):
    f = nn.Activation(name)
    x = leaf(np.linspace(-15, 15, 301) + 0.01)
    values = FUNCTIONS[name](x)
    (first,) = gradients(values, [x], np.ones(301))
    (second,) = gradients(first, [x], np.ones(301)) if name not in ("abs", "relu") else (torch.zeros(301),)
    points = x.detach().numpy()
    assert_agree(f(points), values)
    assert_agree(f.derivative(points), first)
    assert_agree(f.second_derivative(points), second)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_sampled_scales_are_those_of_e3nn(name):
    assert SAMPLED_SCALES[name] == pytest.approx(e3nn.math.normalize2mom(FUNCTIONS[name]).cst, rel=1e-14)


@given(first=irreps(), last=irreps(), seed=SEEDS, biased=st.booleans(), path=st.sampled_from(["element", "path"]))
def test_linear(first, last, seed, biased, path):
    assume(first.dim > 0 or not biased)  # e3nn cannot be made with biases and nothing that comes in
    ours = nn.Linear(first, last, biases=biased, path_normalization=path)
    theirs = o3.Linear(
        str(first),
        str(last),
        biases=biased,
        path_normalization=path,
        internal_weights=False,
        shared_weights=True,
    )
    assert (theirs.weight_numel, theirs.bias_numel) == (ours.weight_numel, ours.bias_numel)
    rng = np.random.default_rng(seed)
    x, w, b = (rng.standard_normal(shape) for shape in ((4, first.dim), ours.weight_numel, ours.bias_numel))
    g = rng.standard_normal((4, last.dim))
    leaves = [leaf(x), leaf(w), leaf(b)]
    expected = theirs(*leaves)
    assert_agree(ours(x, w, b), expected)
    if expected.requires_grad:
        found = ours.vjp(x, g, weights=w)
        for one, other in zip(found, gradients(expected, leaves, g), strict=False):
            assert_agree(one, other)


@given(first=irreps(), last=irreps(), seed=SEEDS, count=st.integers(1, 4))
def test_self_connection(first, last, seed, count):
    ours = nn.SelfConnection(first, last, count)
    theirs = o3.FullyConnectedTensorProduct(
        str(first), f"{count}x0e", str(last), internal_weights=False, shared_weights=True
    )
    assert theirs.weight_numel == ours.weight_numel
    rng = np.random.default_rng(seed)
    x, w, g = (rng.standard_normal(shape) for shape in ((7, first.dim), ours.weight_numel, (7, last.dim)))
    elements = rng.integers(0, count, 7)
    leaves = [leaf(x), leaf(w)]
    expected = theirs(leaves[0], torch.eye(count)[elements], leaves[1])
    assert_agree(ours(x, elements, w), expected)
    if expected.requires_grad:
        found = ours.vjp(x, elements, g, weights=w)
        for one, other in zip(found, gradients(expected, leaves, g), strict=True):
            assert_agree(one, other)


GATES = [
    ("16x0e + 4x0o", ["silu", "tanh"], "8x0e", ["sigmoid"], "4x1o + 4x2e"),
    ("3x0o + 2x0e + 1x0o", ["abs", "ssp", "tanh"], "2x0o + 3x0e", ["tanh", "silu"], "1x1o + 2x1e + 2x1o"),
    ("5x0e", ["silu"], "", [], ""),
    ("2x0e + 2x0e", ["silu", None], "3x0e + 2x0e", ["sigmoid", "silu"], "4x1o + 1x0e"),
    ("", [], "4x0o", ["abs"], "2x0o + 1x1o + 1x1o"),
]


@pytest.mark.parametrize("case", GATES)
def test_gate(case):
    scalars, act_scalars, gates, act_gates, gated = case

    def of(names):
        return [None if name is None else nn.Activation.normalized(name, moment="sampled") for name in names]

    def torchs(names):
        return [None if name is None else FUNCTIONS[name] for name in names]

    ours = nn.Gate(scalars, of(act_scalars), gates, of(act_gates), gated)
    theirs = e3nn.nn.Gate(scalars, torchs(act_scalars), gates, torchs(act_gates), gated)
    assert str(theirs.irreps_in) == str(ours.irreps_in)
    assert str(theirs.irreps_out) == str(ours.irreps_out)
    rng = np.random.default_rng(0)
    x, g = rng.standard_normal((6, ours.irreps_in.dim)), rng.standard_normal((6, ours.irreps_out.dim))
    a = leaf(x)
    expected = theirs(a)
    assert_agree(ours(x), expected)
    assert_agree(ours.vjp(x, g), *gradients(expected, [a], g))


@pytest.mark.parametrize(("widths", "name"), [([8, 64, 64, 100], "silu"), ([3, 5], "silu"), ([4, 7, 2], "tanh")])
def test_fully_connected_net(widths, name):
    ours = nn.MLP(widths, nn.Activation.normalized(name, moment="sampled"))
    theirs = e3nn.nn.FullyConnectedNet(widths, FUNCTIONS[name])
    w = np.concatenate([p.detach().numpy().ravel() for p in theirs.parameters()])
    assert w.size == ours.weight_numel
    rng = np.random.default_rng(0)
    x, g = rng.standard_normal((300, widths[0])), rng.standard_normal((300, widths[-1]))
    a = leaf(x)
    expected = theirs(a)
    assert_agree(ours(x, w), expected)
    gx, *of_weights = gradients(expected, [a, *theirs.parameters()], g)
    found = ours.vjp(x, g, weights=w)
    assert_agree(found[0], gx)
    assert_agree(found[1], torch.cat([part.ravel() for part in of_weights]), terms=10_000)


def test_network_with_biases_and_layer_norms():
    widths = [5, 16, 12, 3]
    ours = nn.MLP(widths, nn.Activation("silu"), normalization="none", biases=True, layer_norm=True)
    modules, parameters = [], []
    for i, (a, b) in enumerate(itertools.pairwise(widths)):
        linear = torch.nn.Linear(a, b)
        modules.append(linear)
        parameters += [linear.weight, linear.bias]
        if i < 2:
            norm = torch.nn.LayerNorm(b)
            torch.nn.init.normal_(norm.weight)
            torch.nn.init.normal_(norm.bias)
            modules += [norm, torch.nn.SiLU()]
            parameters += [norm.weight, norm.bias]
    theirs = torch.nn.Sequential(*modules)

    def flat(tensors):
        return torch.cat([(t.T if t.ndim == 2 else t).reshape(-1) for t in tensors])

    w = flat(parameters).detach().numpy()
    rng = np.random.default_rng(0)
    x, g = rng.standard_normal((270, 5)), rng.standard_normal((270, 3))
    a = leaf(x)
    expected = theirs(a)
    assert_agree(ours(x, w), expected)
    gx, *of_weights = gradients(expected, [a, *parameters], g)
    found = ours.vjp(x, g, weights=w)
    assert_agree(found[0], gx)
    assert_agree(found[1], flat(of_weights), terms=10_000)


def test_layer_norm():
    ours, theirs = nn.LayerNorm("9x0e"), torch.nn.LayerNorm(9)
    rng = np.random.default_rng(0)
    x, w, b, g = (
        rng.standard_normal((4, 9)),
        rng.standard_normal(9),
        rng.standard_normal(9),
        rng.standard_normal((4, 9)),
    )
    leaves = [leaf(x), leaf(w), leaf(b)]
    expected = torch.nn.functional.layer_norm(leaves[0], (9,), leaves[1], leaves[2], theirs.eps)
    assert_agree(ours(x, w, b), expected)
    for one, other in zip(ours.vjp(x, g, weights=w), gradients(expected, leaves, g), strict=True):
        assert_agree(one, other)


@pytest.mark.parametrize("ends", [True, False])
def test_gaussian_basis(ends):
    r = leaf(np.linspace(0, 6, 50))
    expected = e3nn.math.soft_one_hot_linspace(r, 0.5, 5.0, 7, basis="gaussian", cutoff=not ends)
    basis = nn.GaussianBasis(7, 0.5, 5.0, ends=ends)
    assert_agree(basis(r.detach().numpy()), expected)
    g = np.random.default_rng(0).standard_normal((50, 7))
    assert_agree(basis.vjp(r.detach().numpy(), g), *gradients(expected, [r], g))


def test_bessel_basis():
    r = leaf(np.linspace(0.01, 4.9, 50))
    expected = e3nn.math.soft_one_hot_linspace(r, 0.0, 5.0, 8, basis="bessel", cutoff=False)
    basis = nn.BesselBasis(8, 5.0)
    assert_agree(basis(r.detach().numpy()), expected)
    g = np.random.default_rng(0).standard_normal((50, 8))
    assert_agree(basis.vjp(r.detach().numpy(), g), *gradients(expected, [r], g), terms=10_000)
