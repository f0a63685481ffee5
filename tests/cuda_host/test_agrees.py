"""The CUDA source, unchanged, on the processor: the same numbers as the reference, for every plan and gradient.

Shared memory and everything that is allocated starts as NaN; threads run in several orders.
"""

from __future__ import annotations

import numpy as np
import pytest
from cuda_host.compiler import COMPILER, is_there
from cuda_host.standin import SMALL, numpy_on_gpu
from hypothesis import given
from hypothesis import strategies as st
from namespaces.kinds import KINDS
from strategies import (
    dtypes,
    evaluate_plan,
    products,
    random_arguments,
    sphere_products,
    tensor_products,
    tolerance,
    with_wide_arguments,
)

import tpnumba as tp
from tpnumba.backends import gpu
from tpnumba.backends.gpu.contraction import lower as contraction
from tpnumba.backends.gpu.tile.split_reduction import split_sums
from tpnumba.backends.gpu.transform import multipass
from tpnumba.plans.synthesis import Synthesis

pytestmark = pytest.mark.skipif(not is_there(), reason=f"needs a C++ compiler ({COMPILER}; set CXX for another)")

SHAPES = [
    *(((), ()), ((3,), (3,)), ((70,), (70,)), ((70,), ()), ((), (40,)), ((2, 1), (3,)), ((1,), (3,)), ((0,), (0,))),
    *(((33, 1), (1, 2)), ((1, 2), (35, 2)), ((), (1,))),
]
leading = st.sampled_from(SHAPES)
orders = st.integers(0, 4)


def agree(found, expected, dtype, terms=1000):
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    size = 1 + float(np.max(np.abs(expected), initial=0.0))
    np.testing.assert_allclose(found, expected, rtol=0, atol=size * tolerance(dtype, 4, terms))


def check(p, arguments, dtype, where):
    """The product, its gradients, and gradients of these."""
    named = {"weights": arguments[2]} if len(arguments) == 3 else {}
    expected = p(*arguments, backend="generic")
    cotangent = np.random.default_rng(1).standard_normal(expected.shape).astype(dtype)
    gradients = p.vjp(*arguments[:2], cotangent, **named, backend="generic")
    with numpy_on_gpu(**where):
        agree(p(*arguments, backend="gpu"), expected, dtype)
        for one, other in zip(p.vjp(*arguments[:2], cotangent, **named, backend="gpu"), gradients, strict=True):
            agree(one, other, dtype)


@with_wide_arguments(40)
def test_many_channels(p, arguments, dtype):
    check(p, arguments, dtype, {"order": 2})


def has_kernels(p):
    """Low-rank products have none on a GPU: they are evaluated by the operations of CuPy."""
    return not isinstance(p, tp.LowRankTensorProduct)


@pytest.mark.parametrize("name", [name for name, p in KINDS.items() if has_kernels(p)])
def test_every_kind_in_every_order(name):
    for order, dtype in enumerate(("float64", "float32", "float64")):
        check(KINDS[name], random_arguments(KINDS[name], (40,), (40,), dtype=dtype), dtype, {"order": order})


LONG_SUMS = {
    "channels": (tp.ChannelwiseTensorProduct("64x0e + 64x1o", "0e + 1o"), 1),
    "paths": (tp.FullTensorProduct(*[tp.Irreps.spherical_harmonics(4)] * 2), 0),
    "mixed channels": (tp.FullyConnectedTensorProduct("16x0e + 16x1o", "1o", "8x0e + 8x1o + 8x1e"), 1),
}


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("name", LONG_SUMS)
def test_long_sums_are_split(name, shared, monkeypatch):
    p, i = LONG_SUMS[name]
    operations = []

    def spy(*arguments):
        found = split_sums(*arguments)
        operations.append(len(found[0]))
        return found

    monkeypatch.setattr(contraction, "split_sums", spy)
    assert contraction.lower(p.plan.adjoint(i), "float64") is not None
    assert 2 in operations
    arguments = random_arguments(p, (20,), (20,), dtype="float64")
    if shared:
        arguments[i] = arguments[i][0]
    check(p, arguments, "float64", {"order": 4})


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["full", "weighted", "channelwise", "both-grid", "matrix-split"])
def test_terms_as_code(name, dtype):
    p = KINDS[name]
    with numpy_on_gpu(unrolled=True):
        assert all("add_terms" in gpu.program_of(p.plan.adjoint(i), dtype).terms for i in range(len(p.plan.operands)))
    check(p, random_arguments(p, (40,), (40,), dtype=dtype), dtype, {"unrolled": True, "order": 2})


@given(p=products().filter(has_kernels), shapes=leading, dtype=dtypes, order=orders, seed=st.integers(0, 1000))
def test_products_and_gradients(p, shapes, dtype, order, seed):
    check(p, random_arguments(p, *shapes, dtype=dtype, seed=seed), dtype, {"order": order})


@given(p=tensor_products(), shapes=leading, dtype=dtypes, order=orders, limits=st.sampled_from(SMALL))
def test_large_plans_and_batches(p, shapes, dtype, order, limits):
    """With so little memory that results are cut into sections and batches into portions, and tiles stand in slabs."""
    check(p, random_arguments(p, *shapes, dtype=dtype), dtype, {"order": order, "limits": limits})


@given(p=sphere_products(), dtype=dtypes, order=orders, i=st.integers(0, 1), k=st.integers(0, 1))
def test_second_gradients(p, dtype, order, i, k):
    second = p.adjoint(i).adjoint(k)
    arguments = random_arguments(second, (5,), (5,), dtype=dtype)
    check(second, arguments, dtype, {"order": order})


@pytest.mark.parametrize("normalization", ["integral", "component"])
@pytest.mark.parametrize("analysis", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_synthesis_and_its_transpose(analysis, normalization, dtype):
    plan = Synthesis.between(3, tp.Grid(5, 8), normalization, analysis=analysis)
    for i in (0, 1):
        own = plan.adjoint(i)
        x = np.random.default_rng(0).standard_normal((9, own.sizes[1 - i])).astype(dtype)
        with numpy_on_gpu(order=3):
            found = evaluate_plan(own, {1 - i: x}, "gpu")
        agree(found, evaluate_plan(own, {1 - i: x}, "generic"), dtype)


PLAIN = tp.FullTensorProduct("0e + 1o + 2e", "0e + 1o")


def test_results_do_not_depend_on_order_or_split():
    for p in (PLAIN, tp.GauntTensorProduct(2, 2, method="grid"), tp.FullyConnectedTensorProduct("3x1o", "1o", "2x0e")):
        arguments = random_arguments(p, (67,), (67,), dtype="float32")
        if len(arguments) == 3:
            arguments[2] = arguments[2][0]
        cotangent = np.ones((67, p.irreps_out.dim), dtype="float32")
        named = {"weights": arguments[2]} if len(arguments) == 3 else {}
        found = []
        for order in (0, 1, 2):
            with numpy_on_gpu(order=order):
                whole = p(*arguments, backend="gpu")
                few = p(arguments[0][41:43], arguments[1][41:43], *arguments[2:], backend="gpu")
                # Sums over samples.
                summed = p.vjp(arguments[0], arguments[1][0], cotangent, **named, backend="gpu")[1]
            assert np.array_equal(whole[41:43], few)
            found.append((whole, summed))
        for one in found[1:]:
            assert all(np.array_equal(a, b) for a, b in zip(one, found[0], strict=True))


def test_arrays_of_any_strides():
    x, y = (np.random.default_rng(i).standard_normal((30, 2 * n)) for i, n in enumerate((9, 4)))
    cut = [(x[::3, :9], y[::3, :4]), (x[:, ::2], y[:, 1::2]), (x[::-1, 9:], y[::-1, :4]), (x[:, :9], y[:, :4])]
    for x1, x2 in cut:
        expected = PLAIN(x1, x2, backend="generic")
        out = np.full((len(x1), 2 * PLAIN.irreps_out.dim), 5.0)
        with numpy_on_gpu():
            agree(PLAIN(x1, x2, backend="gpu"), expected, "float64")
            part = out[:, ::2]
            assert PLAIN(x1, x2, out=part, backend="gpu") is part
        agree(part, expected, "float64")
        assert (out[:, 1::2] == 5.0).all()


def test_mixed_precision_is_that_of_the_wider():
    x, y = random_arguments(PLAIN, (3,), (3,))
    with numpy_on_gpu():
        found = PLAIN(x.astype("float32"), y, backend="gpu")
    agree(found, PLAIN(x.astype("float32"), y, backend="generic"), "float64")


@pytest.mark.parametrize("p", [PLAIN, tp.GauntTensorProduct(2, 2, method="grid")], ids=["contraction", "transform"])
def test_nan_stays_in_its_sample(p):
    x, y = random_arguments(p, (5,), (5,))
    x[2] = np.nan
    with numpy_on_gpu():
        found = p(x, y, backend="gpu")
    assert np.isnan(found[2]).any()
    assert np.isfinite(np.delete(found, 2, axis=0)).all()


def test_a_plan_without_a_kernel_says_so():
    """No plan of a reasonable degree: only one whose tables would be too large."""
    p = tp.GauntTensorProduct(24, 24, method="grid")
    x, y = random_arguments(p, (1,), (1,))
    limits = {(multipass, "MOST_NUMBERS"): 1000}
    with numpy_on_gpu(limits=limits), pytest.raises(RuntimeError, match="backend 'gpu' has no kernel for Transform"):
        p(x, y, backend="gpu")
