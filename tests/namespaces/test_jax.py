"""JAX arrays: grad, jit and vmap through the reference backend, and what a trace must not leave behind."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from namespaces.kinds import KINDS, close
from strategies import random_arguments

import tpnumba as tp

jax = pytest.importorskip("jax", reason="needs jax (session namespaces)")
jnp = jax.numpy
pytestmark = pytest.mark.usefixtures("double_precision_of_jax")


def arrays(p, leading=(3,), dtype="float64", seed=0):
    return [jnp.asarray(x) for x in random_arguments(p, leading, leading, dtype, seed)]


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


@pytest.mark.parametrize("transform", ["jit", "vmap", "grad"])
def test_traces_leave_nothing_behind(transform):
    """Traced first, on products that no cache has seen; then eagerly, then traced again."""
    odd = {"jit": 1, "vmap": 2, "grad": 3}[transform]  # products of their own for each case
    for p in (
        tp.GauntTensorProduct(3, odd, 3, method="fourier"),
        tp.FullTensorProduct("2x3o + 1e", f"{odd}x3e + 2o"),
        tp.MatrixTensorProduct(3, odd, split=True, method="matrix"),
    ):
        arguments = arrays(p)
        traced = {"jit": jax.jit, "vmap": jax.vmap, "grad": jax.jacrev}[transform](p)
        with jax.checking_leaks():
            traced(*arguments)
        close(p(*arguments), p(*(np.asarray(x) for x in arguments)))
        traced(*arguments)


def test_derivatives_of_harmonics():
    harmonics = tp.SphericalHarmonics(2)
    points = np.random.default_rng(0).standard_normal((3, 3))

    def value(r):
        return jnp.sum(harmonics(r)[..., 4:] ** 3)

    hessians = jax.vmap(jax.hessian(value))(jnp.asarray(np.concatenate([points, np.zeros((1, 3))])))
    np.testing.assert_array_equal(hessians[3], 0)
    step = 1e-5
    for axis in range(3):
        shifted = [jax.vmap(jax.grad(value))(jnp.asarray(points + sign * step * np.eye(3)[axis])) for sign in (1, -1)]
        difference = (shifted[0] - shifted[1]) / (2 * step)
        np.testing.assert_allclose(hessians[:3, axis], difference, rtol=0, atol=1e-6 * float(jnp.max(abs(hessians))))


def test_functions_of_the_sphere_can_be_traced():
    grid, rng = tp.Grid.exact(4), np.random.default_rng(3)
    x = jnp.asarray(rng.standard_normal((2, 9)))
    f = tp.to_grid(x, 2, grid)
    close(jax.jit(lambda x: tp.to_grid(x, 2, grid))(x), f)
    close(jax.jit(lambda f: tp.from_grid(f, 2, grid))(f), x)
    close(
        jax.grad(lambda x: jnp.sum(tp.to_grid(x, 2, grid) * f))(x), tp.from_grid(f / jnp.asarray(grid.weights), 2, grid)
    )
    turned = jax.jit(lambda x: tp.convert(x, 2, source="e3nn", target="scipy"))(x)
    close(jax.jit(lambda y: tp.convert(y, 2, source="scipy", target="e3nn"))(turned), x)


def test_values_are_checked_where_there_are_some():
    bad = jnp.ones((2, 3, 3))
    with pytest.raises(ValueError, match="R must be orthogonal"):
        tp.wigner_d(1, bad)
    assert jax.jit(lambda R: tp.wigner_d(1, R))(bad).shape == (2, 3, 3)
    spoilt = jnp.ones((2, 4), dtype=jnp.complex64)
    with pytest.raises(ValueError, match="x must belong to a real function"):
        tp.convert(spoilt, 1, source="scipy", target="e3nn")
    assert jnp.all(jnp.isnan(jax.jit(lambda x: tp.convert(x, 1, source="scipy", target="e3nn"))(spoilt)))


def test_devices():
    p = KINDS["full"]
    x, y = arrays(p, (4,))
    first, second = jax.devices()[:2]
    there = [jax.device_put(array, second) for array in (x, y)]
    assert p(*there).devices() == {second}
    with pytest.raises(TypeError, match=r"x2 is on device .*1, but x1 is on .*0"):
        p(jax.device_put(x, first), there[1])
    mesh = jax.sharding.Mesh(np.asarray([first, second]), ("samples",))
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("samples"))
    close(p(jax.device_put(x, sharding), jax.device_put(y, sharding)), p(x, y))


WITHOUT_FLOAT64 = """
import jax, jax.numpy as jnp, numpy as np, tpnumba as tp
from tpnumba.backends.generic import harmonics
x = jnp.asarray(np.random.default_rng(0).standard_normal((3, 9)))
for p in (tp.GauntTensorProduct(2, 2, method="fourier"), tp.MatrixTensorProduct(2, 2, split=True, method="matrix"),
          tp.FullTensorProduct("9x0e", "9x0e"), tp.TensorProduct("3x1o", "3x1o", "3x1e", [(0, 0, 0, "uvu<v", False)])):
    for f in (p, jax.jit(p), jax.grad(lambda x, y: p(x, y).sum())):
        assert f(x, x).dtype == jnp.float32
harmonics.HIGHEST_SINGLE = 1  # above this degree points are worked in float64, where there is float64
assert tp.SphericalHarmonics(2)(x[:, :3]).dtype == jnp.float32
assert tp.rotate("4x1o", jnp.eye(3), jnp.ones((2, 12))).dtype == jnp.float32
assert tp.wigner_d("2e + 1o", jnp.eye(3)).dtype == jnp.float32
assert tp.to_grid(x, 2, tp.Grid.exact(4)).dtype == jnp.float32
assert tp.convert(x, 2, source="e3nn", target="scipy").dtype == jnp.complex64
"""


def test_without_float64():
    """Arrays are float32 then, and no warning is given; in a process of its own, as jax settles this when it starts."""
    environment = {**os.environ, "JAX_ENABLE_X64": "false"}
    subprocess.run([sys.executable, "-W", "error", "-c", WITHOUT_FLOAT64], check=True, env=environment)


def test_dtypes():
    p = KINDS["full"]
    x, y = arrays(p)
    for dtype in ("int32", "bfloat16", "float16", "complex64"):
        with pytest.raises(TypeError, match=f"x2 must have dtype float32 or float64, got {dtype}"):
            p(x, y.astype(dtype))
    for other in (1.0, [1.0] * 4, None):
        with pytest.raises(TypeError, match="x2 must be an array"):
            p(x, other)
    assert p(x[:0], y[:0]).shape == (0, p.irreps_out.dim)


def test_harmonics_and_rotations():
    points = np.random.default_rng(0).standard_normal((4, 3))
    points[0] = 0.0
    harmonics = tp.SphericalHarmonics(3)
    cotangent = np.random.default_rng(1).standard_normal((4, 16))
    values, pull = jax.vjp(jax.jit(harmonics), jnp.asarray(points))
    close(values, harmonics(points))
    close(pull(jnp.asarray(cotangent))[0], harmonics.vjp(points, cotangent))
    tangent = np.random.default_rng(3).standard_normal((4, 3))
    pushed = jax.jit(harmonics.jvp)(jnp.asarray(points), jnp.asarray(tangent))
    close(pushed, harmonics.jvp(points, tangent))
    close(jax.jvp(harmonics, (jnp.asarray(points),), (jnp.asarray(tangent),))[1], harmonics.jvp(points, tangent))
    for one, other in zip(
        jax.jit(harmonics.value_and_jacobian)(jnp.asarray(points)), harmonics.value_and_jacobian(points), strict=True
    ):
        close(one, other)
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
