"""jax arrays on the kernels of the processor: which calls get there, and what jax does with them on the way."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import numpy as np
import pytest
from namespaces.kinds import KINDS, close
from namespaces.test_jax import arrays

import tpnumba as tp

jax = pytest.importorskip("jax", reason="needs jax (session namespaces)")
jnp = jax.numpy
pytestmark = pytest.mark.usefixtures("double_precision_of_jax")

GRID = tp.Grid.exact(4)


@pytest.mark.parametrize("name", KINDS)
def test_products_and_derivatives_of_any_order_run_on_kernels(name, only_kernels):
    p = KINDS[name]
    x = arrays(p, (4,), seed=3)
    expected = p(*(np.asarray(array) for array in x))
    close(p(*x), expected)
    close(jax.jit(p)(*x), expected)
    close(jax.vmap(p)(*x), expected)
    gradient = jax.grad(lambda *x: jnp.sum(jnp.sin(p(*x))), argnums=tuple(range(len(x))))
    for one, other in zip(jax.jit(gradient)(*x), gradient(*x), strict=True):
        close(one, other)
    jax.jit(jax.grad(lambda *x: sum(jnp.sum(g * g) for g in gradient(*x))))(*x)
    jax.jvp(jax.jit(gradient), tuple(x), tuple(x))


def test_harmonics_and_grids_run_on_kernels(only_kernels):
    points = jnp.asarray(np.random.default_rng(0).standard_normal((5, 3)))
    Y = tp.SphericalHarmonics(2)
    jax.jit(jax.grad(lambda r: jnp.sum(Y(r) ** 2)))(points)
    jax.jvp(jax.jit(Y), (points,), (points,))
    jax.jit(Y.value_and_jacobian)(points)
    jax.jit(Y.vjp)(points, Y(points))
    jax.jit(jax.grad(lambda r: jnp.sum(tp.from_grid(tp.to_grid(Y(r), 2, GRID) ** 2, 2, GRID))))(points)


def test_second_derivatives_of_harmonics():
    from jax.test_util import check_grads

    points = jnp.asarray(np.random.default_rng(0).standard_normal((2, 3)))
    cotangent = jnp.asarray(np.random.default_rng(1).standard_normal((2, 9)))
    Y = tp.SphericalHarmonics(2)
    check_grads(Y, (points,), order=2, eps=1e-5)
    check_grads(lambda r: Y.value_and_jacobian(r)[1], (points,), order=2, eps=1e-5)
    check_grads(Y.vjp, (points, cotangent), order=2, eps=1e-5)
    check_grads(Y.jvp, (points, points[::-1]), order=2, eps=1e-5)


def test_vmap_of_any_depth_and_axis():
    p = KINDS["weighted"]
    x, y, w = arrays(p, (2, 3, 4))
    expected = p(x, y, w)
    close(jax.vmap(jax.vmap(p))(x, y, w), expected)
    close(jax.jit(jax.vmap(jax.vmap(p, in_axes=(1, 1, 1), out_axes=1)))(x, y, w), expected)
    shared = jax.vmap(jax.vmap(p, in_axes=(0, 0, None)), in_axes=(0, None, None))(x, y[0], w[0, 0])
    close(shared, p(x, y[0], w[0, 0]))

    def loss(w, x, y):
        return jnp.sum(jnp.cos(p(x, y, w)))

    each = jax.vmap(jax.grad(loss), in_axes=(None, 0, 0))(w[0, 0, 0], x[0, 0], y[0, 0])
    for i in range(4):
        close(each[i], jax.grad(loss)(w[0, 0, 0], x[0, 0, i], y[0, 0, i]))


def test_one_product_on_arrays_of_many_shapes_and_dtypes():
    """A compiled function knows the shapes that it was compiled for."""
    p = KINDS["full"]
    compiled = jax.jit(p)
    for dtype in ("float32", "float64"):
        for leading in (((5,), (5,)), ((5,), ()), ((), (5,)), ((2, 5), (1, 5)), ((0,), (0,)), ((), ())):
            sizes = p.irreps_in1.dim, p.irreps_in2.dim
            x, y = (np.ones((*shape, size), dtype) for shape, size in zip(leading, sizes, strict=True))
            found = compiled(x, y)
            assert found.dtype == dtype
            np.testing.assert_allclose(found, p(x, y), rtol=1e-6)


def test_transposes():
    p = KINDS["full"]
    x, y = arrays(p)
    cotangent = p(x, y)
    (found,) = jax.linear_transpose(lambda x: p(x, y), x)(cotangent)
    close(found, p.vjp(x, y, cotangent)[0])
    close(jax.jacfwd(p)(x[0], y[0]), jax.jacrev(p)(x[0], y[0]))


def test_sharded_arrays():
    p = KINDS["full"]
    x, y = arrays(p, (4,))
    mesh = jax.sharding.Mesh(np.asarray(jax.devices()[:2]), ("samples",))
    spec = jax.sharding.PartitionSpec("samples")
    mapped = jax.jit(jax.shard_map(p, mesh=mesh, in_specs=spec, out_specs=spec))
    close(mapped(x, y), p(x, y))
    everywhere = jax.sharding.PartitionSpec()

    def gradients(x, y):
        return jax.grad(lambda x, y: jnp.sum(jnp.sin(p(x, y))), argnums=(0, 1))(x, y)

    for shared, specs in ((y, (spec, spec)), (y[0], (spec, everywhere))):
        mapped = jax.jit(jax.shard_map(gradients, mesh=mesh, in_specs=specs, out_specs=specs))
        for one, other in zip(mapped(x, shared), gradients(x, shared), strict=True):
            close(one, other)
    sharded = p(*(jax.device_put(array, jax.sharding.NamedSharding(mesh, spec)) for array in (x, y)))
    assert sharded.sharding.spec == spec
    close(sharded, p(x, y))


def test_threads_that_call_at_once():
    p = KINDS["gaunt-fourier"]
    x, y = arrays(p, (2000,))
    compiled = jax.jit(p)
    expected = np.asarray(compiled(x, y))
    found = [None] * 8

    def work(i):
        found[i] = np.asarray(compiled(x, y))

    workers = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for result in found:
        np.testing.assert_array_equal(result, expected)


def test_what_goes_wrong_in_a_compiled_function_is_raised(monkeypatch):
    from tpnumba.backends.adapters import foreign

    p = tp.FullTensorProduct("2x0e + 1o", "1o")
    x = jnp.ones((3, 5)), jnp.ones((3, 3))
    compiled = jax.jit(p)
    compiled(*x)
    known = dict(foreign._calls)
    foreign._calls.clear()
    try:
        with pytest.raises(Exception, match="LookupError: tpnumba does not know this compiled function"):
            jax.block_until_ready(compiled(*x))
    finally:
        foreign._calls.update(known)
    close(compiled(*x), p(*(np.asarray(array) for array in x)))


CACHED = """
import sys
import jax, jax.numpy as jnp, numpy as np, tpnumba as tp
jax.config.update("jax_compilation_cache_dir", sys.argv[1])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
products = [tp.FullTensorProduct("1o", "1o"), tp.GauntTensorProduct(1, 1), tp.MatrixTensorProduct(1, 1)]
for p in products[:: int(sys.argv[2])]:
    x, y = (np.random.default_rng(i).standard_normal((3, q.dim)).astype("float32")
            for i, q in enumerate((p.irreps_in1, p.irreps_in2)))
    found = np.asarray(jax.jit(p)(x, y) if sys.argv[2] else 0)
    assert np.allclose(found, p(x, y), atol=1e-5), p
"""


def test_compiled_functions_that_another_process_wrote(tmp_path):
    """They name what they compute in a way that is the same in every process, whatever comes first there."""
    environment = {**os.environ, "JAX_ENABLE_X64": "false"}
    for order in ("1", "-1"):
        subprocess.run([sys.executable, "-c", CACHED, str(tmp_path), order], check=True, env=environment)
    assert list(tmp_path.iterdir())


def test_backend_and_dtypes():
    p = KINDS["full"]
    x, y = arrays(p)
    close(p(x, y, backend="cpu"), p(x, y, backend="generic"))
    mixed = p(x.astype(jnp.float32), y)
    assert mixed.dtype == jnp.float64
    gradient = jax.grad(lambda x: jnp.sum(p(x, y)))(x.astype(jnp.float32))
    assert gradient.dtype == jnp.float32
    there = [jax.device_put(array, jax.devices()[1]) for array in (x, y)]
    assert p(*there).devices() == {jax.devices()[1]}


PENDING = """
import jax, jax.numpy as jnp, tpnumba as tp
p, x, y = tp.FullTensorProduct("1o + 2e", "1o"), jnp.ones((100_000, 8)), jnp.ones((100_000, 3))
compiled = jax.jit(lambda x, y: p(x, y).sum())
compiled(x, y).block_until_ready()
compiled(x, y)
"""


def test_a_process_ends_while_a_result_is_pending():
    environment = {**os.environ, "JAX_ENABLE_X64": "false"}
    subprocess.run([sys.executable, "-c", PENDING], check=True, env=environment, timeout=120)


def test_wide_numpy_arrays_without_float64():
    p = KINDS["full"]
    x, y = (np.asarray(array) for array in arrays(p))
    with jax.enable_x64(False):
        assert jax.jit(p)(x, y).dtype == jnp.float32
