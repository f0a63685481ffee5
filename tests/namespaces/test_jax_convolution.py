"""Derivatives of convolutions to third order: those of jax, of gather, sparse product and ``at[].add``, and ours."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from convolutions import PRODUCTS, drawn, graph, of_arrays
from namespaces.kinds import close

import tpnumba as tp

jax = pytest.importorskip("jax", reason="needs jax (session namespaces)")
jnp = jax.numpy
pytestmark = pytest.mark.usefixtures("double_precision_of_jax")


def reference(p, edges):
    """The convolution in jax's own operations, from the sparse coefficients of the product."""
    _, columns, values = p.coefficients()

    def convolve(x, *others):
        terms = values * x[edges.senders][:, columns[0]]
        for array, column in zip(others, columns[1:-1], strict=True):
            terms = terms * array[..., column]
        messages = jnp.zeros((len(edges), p.irreps_out.dim)).at[:, columns[-1]].add(terms)
        return jnp.zeros((edges.num_nodes, p.irreps_out.dim)).at[edges.receivers].add(messages)

    return convolve


def derivatives(function, directions):
    """Gradients of a function, and those of their scalar product with a direction, twice over."""

    def gradients(value, along, found):
        every = jax.grad(value, argnums=tuple(range(len(directions[0]))))

        def next_value(*arguments):
            return sum(jnp.sum(a * b) for a, b in zip(every(*arguments), along[0], strict=True))

        return [*found, every] if len(along) == 1 else gradients(next_value, along[1:], [*found, every])

    return gradients(lambda *x: jnp.sum(jnp.sin(function(*x))), directions, [function])


@pytest.mark.parametrize(
    ("name", "kind", "shared", "orders"),
    [
        ("gaunt", "random", (), 3),
        ("no weights, few channels", "bipartite", (), 3),
        ("few channels", "isolated", ("attributes", "weights"), 2),
        ("whole vectors, ir_mul", "random", (), 2),
        ("weights mix channels", "random", (), 1),
        ("few channels", "no edges", (), 1),
    ],
)
def test_derivatives_to_third_order(name, kind, shared, orders):
    """Jitted first, before anything of this convolution was made outside a trace; then, its value, eagerly."""
    conv, edges, (*arrays, _), rng = drawn(name, kind, shared=shared)
    given = [jnp.asarray(array) for array in arrays]
    directions = [[jnp.asarray(rng.standard_normal(array.shape)) for array in arrays] for _ in range(orders)]
    wanted = derivatives(reference(PRODUCTS[name], edges), directions)
    found = derivatives(of_arrays(conv, edges), directions)
    assert len(found) == orders + 1
    for order, (one, other) in enumerate(zip(found, wanted, strict=True)):
        expected = jax.jit(other)(*given)
        for function in (jax.jit(one), *((one,) if order == 0 else ())):
            for a, b in zip(*(x if isinstance(x, tuple) else (x,) for x in (function(*given), expected)), strict=True):
                close(a, b)


@pytest.mark.parametrize("name", ["whole vectors, ir_mul"])
def test_adjoints_are_mixed_derivatives(name):
    """``d^3 <g, conv(x, y, w)> / dx dy dw`` in any order, each time with another direction in the place of one."""
    conv, edges, (*arrays, g), rng = drawn(name)
    directions = [rng.standard_normal(array.shape) for array in arrays]
    function = reference(PRODUCTS[name], edges)
    for order in permutations(range(3)):

        def value(*x):
            return jnp.sum(g * function(*x))

        operator, given, moved = conv, list(arrays), g
        for i in order:
            gradient = jax.grad(value, argnums=i)
            operator, given[i] = operator.adjoint(i), moved
            close(operator(*given, edges), jax.jit(gradient)(*arrays))
            moved = directions[i]

            def value(*x, gradient=gradient, moved=moved):
                return jnp.sum(gradient(*x) * moved)


def test_edges_are_constants_of_a_trace():
    conv, edges, (*arrays, g), _ = drawn("few channels")
    given = [jnp.asarray(array) for array in arrays]
    jitted = jax.jit(conv.__call__, static_argnums=3)
    for some in (edges, graph("sorted", np.random.default_rng(1))):  # another graph is another trace
        close(jitted(*given, some), conv(*arrays, some))
    pulled = jax.jit(lambda *x: conv.vjp(*x[:2], jnp.asarray(g), edges, weights=x[2]))(*given)
    for one, other in zip(pulled, conv.vjp(*arrays[:2], g, edges, weights=arrays[2]), strict=True):
        close(one, other)
    tangents = [array + 1 for array in given]
    along = jax.jvp(lambda *x: conv(*x, edges), given, tangents)[1]
    plain = [np.asarray(array) for array in tangents]
    close(along, conv.jvp(*arrays[:2], *plain[:2], edges, weights=arrays[2], t_weights=plain[2]))
    with pytest.raises(TypeError, match="senders must be integers in the processor's memory"):
        jax.jit(lambda ends: tp.Edges(ends, ends, 3) and ends)(jnp.arange(3))
    with pytest.raises(TypeError, match="out cannot be used with jax"):
        conv(*given, edges, out=jnp.zeros((9, PRODUCTS["few channels"].irreps_out.dim)))
    with pytest.raises(TypeError, match="backend 'cpu' has no convolution of arrays of jax"):
        conv(*given, edges, backend="cpu")
