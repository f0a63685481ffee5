"""JAX arrays: grad, jit and vmap through the reference backend, and what a trace must not leave behind."""

from __future__ import annotations

import numpy as np
import pytest
from namespaces.kinds import KINDS
from strategies import random_arguments, tolerance

import tpnumba as tp

jax = pytest.importorskip("jax", reason="needs jax (session namespaces)")
jnp = jax.numpy


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def arrays(p, leading=(3,), dtype="float64", seed=0):
    return [jnp.asarray(x) for x in random_arguments(p, leading, leading, dtype, seed)]


def close(found, expected, dtype="float64"):
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.dtype == expected.dtype == dtype
    size = 1 + float(np.max(np.abs(expected), initial=0.0))
    np.testing.assert_allclose(found, expected, rtol=0, atol=size * tolerance(dtype, 4, 1000))


@pytest.mark.parametrize("name", KINDS)
def test_vjp_and_jit_give_our_gradients(name):
    p = KINDS[name]
    arguments = arrays(p)
    plain = [np.asarray(x) for x in arguments]

    # Traced first, before anything of this product was made outside a trace; then eagerly.
    @jax.jit
    def traced(cotangent, *x):
        result, pull = jax.vjp(p, *x)
        return result, pull(cotangent)

    expected = p(*plain)
    cotangent = np.random.default_rng(1).standard_normal(expected.shape)
    named = {"weights": plain[2]} if len(plain) == 3 else {}
    gradients = p.vjp(*plain[:2], cotangent, **named)
    result, pulled = traced(cotangent, *arguments)
    close(result, expected)
    close(p(*arguments), expected)
    for one, other in zip(pulled, gradients, strict=True):
        close(one, other)
    named = {"weights": arguments[2]} if len(arguments) == 3 else {}
    for one, other in zip(p.vjp(*arguments[:2], jnp.asarray(cotangent), **named), gradients, strict=True):
        close(one, other)


@pytest.mark.parametrize("name", ["full", "weighted", "gaunt-fourier", "matrix-split"])
def test_second_derivatives_and_vmap(name):
    p = KINDS[name]
    arguments = arrays(p, ())

    def value(x1):
        return jnp.sum(jnp.sin(p(x1, *arguments[1:])))

    gradient = jax.jit(jax.grad(value))
    step = 1e-5
    direction = jnp.asarray(np.random.default_rng(2).standard_normal(arguments[0].shape))
    product = jax.jvp(gradient, (arguments[0],), (direction,))[1]
    difference = (gradient(arguments[0] + step * direction) - gradient(arguments[0] - step * direction)) / (2 * step)
    np.testing.assert_allclose(product, difference, rtol=0, atol=1e-6 * (1 + float(jnp.max(jnp.abs(product)))))
    batch = arrays(p, (4,), seed=1)
    close(jax.vmap(p)(*batch), p(*batch))


def test_harmonics_and_rotations():
    points = np.random.default_rng(0).standard_normal((4, 3))
    points[0] = 0.0
    harmonics = tp.SphericalHarmonics(3)
    cotangent = np.random.default_rng(1).standard_normal((4, 16))
    values, pull = jax.vjp(jax.jit(harmonics), jnp.asarray(points))
    close(values, harmonics(points))
    close(pull(jnp.asarray(cotangent))[0], harmonics.vjp(points, cotangent))
    rotation = np.linalg.qr(np.random.default_rng(2).standard_normal((3, 3)))[0]
    turned = jax.jit(lambda R, x: tp.rotate(harmonics.irreps, R, x))(jnp.asarray(rotation), values)
    close(turned, tp.rotate(harmonics.irreps, rotation, np.asarray(values)))


def test_out_is_refused_and_float32_stays():
    p = KINDS["full"]
    x, y = arrays(p, dtype="float32")
    result = p(x, y)
    assert result.dtype == jnp.float32
    with pytest.raises(TypeError, match="out cannot be used with jax"):
        p(x, y, out=result)
