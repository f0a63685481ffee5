"""Derivatives of convolutions to third order: torch's, of gather, sparse product and ``index_add``, against ours."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from convolutions import PRODUCTS, drawn, of_arrays
from namespaces.kinds import close

import tpnumba as tp

torch = pytest.importorskip("torch", reason="needs torch==2.13.0 (session namespaces)")

# What torch's own modules do when forward derivatives first need them.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning")

NAMES = ("whole vectors, ir_mul", "few channels", "weights mix channels", "no weights, few channels", "gaunt")


def reference(p, edges):
    """The convolution in torch's own operations, from the sparse coefficients of the product."""
    _, coords, values = p.coefficients()
    columns, value = torch.from_numpy(coords.astype(np.int64)), torch.from_numpy(values)
    senders, receivers = (torch.tensor(end, dtype=torch.int64) for end in (edges.senders, edges.receivers))

    def convolve(x, *others):
        terms = value * x[senders][:, columns[0]]
        for array, column in zip(others, columns[1:-1], strict=True):
            terms = terms * array[..., column]
        messages = torch.zeros(len(edges), p.irreps_out.dim, dtype=x.dtype).index_add(1, columns[-1], terms)
        return torch.zeros(edges.num_nodes, p.irreps_out.dim, dtype=x.dtype).index_add(0, receivers, messages)

    return convolve


def leaves(arrays):
    return [torch.tensor(array, requires_grad=True) for array in arrays]


def derivatives(function, arguments, directions):
    """A function, its gradients, and those of their scalar product with a direction, twice over."""
    value = torch.sum(torch.sin(function(*arguments)))
    found = [value]
    for along in directions:
        gradients = torch.autograd.grad(value, arguments, create_graph=True)
        found.extend(gradients)
        value = sum(torch.sum(one * other) for one, other in zip(gradients, along, strict=True))
    return [*found, value]


@pytest.mark.parametrize("shared", [(), ("attributes", "weights")])
@pytest.mark.parametrize("kind", ["random", "isolated", "bipartite", "no edges"])
@pytest.mark.parametrize("name", NAMES)
def test_derivatives_to_third_order(name, kind, shared):
    conv, edges, (*arrays, _), rng = drawn(name, kind, shared=shared)
    directions = [[torch.tensor(rng.standard_normal(a.shape)) for a in arrays] for _ in range(3)]
    wanted = derivatives(reference(PRODUCTS[name], edges), leaves(arrays), directions)
    found = derivatives(of_arrays(conv, edges), leaves(arrays), directions)
    for one, other in zip(found, wanted, strict=True):
        close(one, other)


@pytest.mark.parametrize("name", ["few channels", "no weights, few channels"])
def test_gradients_of_gradients_are_those_of_differences(name):
    conv, edges, (*arrays, _), _ = drawn(name, "repeated")
    function = of_arrays(conv, edges)
    assert torch.autograd.gradcheck(function, leaves(arrays), fast_mode=True)
    assert torch.autograd.gradgradcheck(function, leaves(arrays), fast_mode=True)


@pytest.mark.parametrize("backend", ["cpu", "generic"])
@pytest.mark.parametrize("name", ["whole vectors, ir_mul", "few channels", "weights mix channels"])
def test_adjoints_are_mixed_derivatives(name, backend):
    """``d^3 <g, conv(x, y, w)> / dx dy dw`` in any order, each time with another direction in the place of one."""
    conv, edges, (*arrays, g), rng = drawn(name)
    directions = [rng.standard_normal(array.shape) for array in arrays]
    function = reference(PRODUCTS[name], edges)
    for order in permutations(range(3)):
        arguments = leaves(arrays)
        value = torch.sum(torch.tensor(g) * function(*arguments))
        operator, given, moved = conv, list(arrays), g
        for i in order:
            (wanted,) = torch.autograd.grad(value, arguments[i], create_graph=True)
            operator, given[i] = operator.adjoint(i), moved
            found = operator(*given, edges, backend=backend)
            close(found, wanted)
            moved = directions[i]
            value = torch.sum(wanted * torch.tensor(moved))


def test_vjp_and_jvp_of_tensors_are_differentiated():
    conv, edges, (*arrays, g), rng = drawn("few channels")
    plain = reference(PRODUCTS["few channels"], edges)
    directions = [torch.tensor(rng.standard_normal(array.shape)) for array in arrays]

    def ours(x, y, w):
        gradients = conv.vjp(x, y, torch.tensor(g), edges, weights=w)
        return torch.cat([array.ravel() for array in (*gradients, conv.jvp(x, y, *directions[:2], edges, weights=w))])

    def theirs(x, y, w):
        gradients = torch.autograd.grad(torch.sum(torch.tensor(g) * plain(x, y, w)), (x, y, w), create_graph=True)
        along = torch.func.jvp(lambda x, y: plain(x, y, w), (x, y), tuple(directions[:2]))[1]
        return torch.cat([array.ravel() for array in (*gradients, along)])

    for one, other in zip(
        derivatives(ours, leaves(arrays), [directions]), derivatives(theirs, leaves(arrays), [directions]), strict=True
    ):
        close(one, other)


def test_results_may_be_added_to_but_not_under_autograd():
    conv, edges, (*arrays, _), _ = drawn("few channels")
    tensors = [torch.tensor(array) for array in arrays]
    out = torch.ones(9, PRODUCTS["few channels"].irreps_out.dim, dtype=torch.float64)
    assert conv(*tensors, edges, out=out, add=True) is out
    close(out, 1 + conv(*arrays, edges))
    with pytest.raises(TypeError, match="out cannot be used with tensors that need a gradient"):
        conv(*leaves(arrays), edges, out=out)
    with pytest.raises(TypeError, match="backend 'cpu' has no convolution of arrays of torch"):
        conv(*tensors, edges, backend="cpu")


def test_edges_of_tensors():
    edges = tp.Edges(torch.tensor([0, 1]), torch.tensor([1, 0], dtype=torch.int32), 2)
    assert edges == tp.Edges([0, 1], [1, 0], 2)
    with pytest.raises(TypeError, match="senders must be integers in the processor's memory"):
        tp.Edges(torch.empty(2, dtype=torch.int64, device="meta"), [0, 1], 2)
