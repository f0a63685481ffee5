"""Multipass transforms, on the processor: the same numbers as the reference, and so for large plans."""

from __future__ import annotations

import array_api_compat.numpy
import numpy as np
import pytest
from cuda_host.compiler import COMPILER, is_there
from cuda_host.standin import MULTIPASS, numpy_on_gpu
from cuda_host.test_agrees import SHAPES, agree, check
from hypothesis import given
from hypothesis import strategies as st
from namespaces.kinds import KINDS
from strategies import dtypes, evaluate_plan, random_arguments, sphere_products, tolerance

import tpnumba as tp
from tpnumba.backends import gpu
from tpnumba.backends.gpu.transform import multipass_launch, passes
from tpnumba.backends.gpu.transform.multipass import Gather, MultipassProgram, Multiply
from tpnumba.backends.lowering.linear_maps import Axis
from tpnumba.plans.synthesis import Synthesis
from tpnumba.plans.transform import Transform

compiled = pytest.mark.skipif(not is_there(), reason=f"needs a C++ compiler ({COMPILER}; set CXX for another)")

TRANSFORMS = {name: p for name, p in KINDS.items() if isinstance(p.plan, Transform)}
# The first input has degrees that no product reads.
TRANSFORMS["cut"] = tp.VectorSphericalTensorProduct(3, 1, 1, method="grid")
orders = st.integers(0, 4)
ways = st.sampled_from(MULTIPASS)


def transforms():
    return sphere_products().filter(lambda p: isinstance(p.plan, Transform))


@st.composite
def axes(draw):
    count = draw(st.integers(1, 40))
    waves = draw(st.lists(st.integers(0, 30), min_size=1, max_size=12))
    phases = draw(st.lists(st.sampled_from([1.0, -1j, 1j, 0.0]), min_size=len(waves), max_size=len(waves)))
    return Axis(np.array(waves), np.array(phases, dtype=complex), count, draw(st.integers(1, 3)))


def applied(matrices, size, x):
    y = np.full(size, np.nan)
    for own in matrices:
        for c in range(own.columns):
            y[own.to + c * own.step_to] = x[own.source + c * own.step_source] @ own.values
    return y


@given(axis=axes(), data=st.data())
def test_fourier_sums_in_two_passes_are_those_in_one(axis, data):
    """And both are the sum that they stand for; the transposes are transposed matrices."""
    n, k, columns = axis.count, axis.waves.size, axis.columns
    x = np.random.default_rng(0).standard_normal((k, columns))
    angles = 2 * np.pi * np.outer(axis.waves, np.arange(n)) / n
    expected = np.einsum("kc,kj->jc", x, (axis.phases[:, None] * np.exp(1j * angles)).real)
    for factor in {1, data.draw(st.sampled_from([factor for factor in range(1, n + 1) if n % factor == 0]))}:
        sums = axis.sums((0, columns, 1), (0, columns, 1), (0, 1, n), factor)
        assert len(sums) == (1 if factor == 1 else 2)
        sizes = [k * columns, *[2 * n * columns] * (len(sums) - 1), n * columns]
        found = x.ravel()
        for matrices, size in zip(sums, sizes[1:], strict=True):
            found = applied(matrices, size, found)
        scale = tolerance("float64", 1, k) * (1 + np.abs(x).sum())
        np.testing.assert_allclose(found.reshape(columns, n).T, expected, rtol=0, atol=scale)
        g = np.random.default_rng(1).standard_normal(found.size)
        back = g
        for matrices, size in zip(sums[::-1], sizes[-2::-1], strict=True):
            back = applied([matrix.transposed() for matrix in matrices], size, back)
        np.testing.assert_allclose(back @ x.ravel(), g @ found, rtol=0, atol=scale * np.abs(g).sum())


@pytest.mark.parametrize(("waves", "count"), [(43, 64), (85, 128), (171, 256), (343, 512)])
def test_long_fourier_sums_are_in_two_passes(waves, count):
    """Where each pass only moves numbers, and one pass would multiply for longer."""
    axis = Axis(np.arange(waves), np.ones(waves, dtype=complex), count, 1)
    factor = passes.first_factor(axis)
    assert (factor > 1) == (count >= 256)
    if factor > 1:
        assert 2 * count / factor <= 4 * passes.BALANCE
        assert 2 * factor <= 4 * passes.BALANCE


@compiled
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", TRANSFORMS)
def test_every_kind(name, dtype):
    p = TRANSFORMS[name]
    for order, (limits, shapes) in enumerate(
        zip(MULTIPASS, (((67,), (67,)), ((2, 20), (20,)), ((3,), (3,))), strict=True)
    ):
        where = {"order": order, "limits": limits}
        with numpy_on_gpu(**where):
            assert all(isinstance(gpu.program_of(p.plan.adjoint(i), dtype), MultipassProgram) for i in range(3))
        check(p, random_arguments(p, *shapes, dtype=dtype), dtype, where)


@compiled
@given(p=transforms(), shapes=st.sampled_from(SHAPES), dtype=dtypes, order=orders, limits=ways, seed=st.integers(0, 99))
def test_products_and_gradients(p, shapes, dtype, order, limits, seed):
    check(p, random_arguments(p, *shapes, dtype=dtype, seed=seed), dtype, {"order": order, "limits": limits})


@compiled
@given(p=transforms(), dtype=dtypes, order=orders, limits=ways, i=st.integers(0, 1), k=st.integers(0, 1))
def test_second_gradients(p, dtype, order, limits, i, k):
    second = p.adjoint(i).adjoint(k)
    check(second, random_arguments(second, (5,), (5,), dtype=dtype), dtype, {"order": order, "limits": limits})


def check_synthesis(plan, count, dtype, **where):
    for i in (0, 1):
        own = plan.adjoint(i)
        x = np.random.default_rng(0).standard_normal((count, own.sizes[1 - i])).astype(dtype)
        with numpy_on_gpu(**where):
            assert isinstance(gpu.program_of(own, dtype), MultipassProgram)
            found = evaluate_plan(own, {1 - i: x}, "gpu")
        agree(found, evaluate_plan(own, {1 - i: x}, "generic"), dtype, terms=sum(own.sizes))


@compiled
@given(
    lmax=st.integers(0, 4),
    grid=st.builds(tp.Grid, st.integers(1, 5), st.integers(1, 9)),
    normalization=st.sampled_from(["integral", "component"]),
    analysis=st.booleans(),
    dtype=dtypes,
    limits=ways,
    count=st.sampled_from([1, 9, 40]),
)
def test_synthesis_and_its_transpose(lmax, grid, normalization, analysis, dtype, limits, count):
    plan = Synthesis.between(lmax, grid, normalization, analysis=analysis)
    check_synthesis(plan, count, dtype, order=3, limits=limits)


@compiled
def test_a_long_synthesis():
    """By the way that its size alone leads to, with Fourier sums in two passes."""
    plan = Synthesis.between(120, tp.Grid(3, 256), "integral", analysis=True)
    operations = gpu.program_of(plan.adjoint(1), "float32").components[0].back
    assert [type(own) for own in operations] == [Multiply] * 3
    check_synthesis(plan, 1, "float32")
    check_synthesis(plan, 2, "float64", order=2)


LARGE = {
    "gaunt-grid": tp.GauntTensorProduct(24, 24, method="grid"),
    "gaunt-fourier": tp.GauntTensorProduct(16, 16, 8, method="fourier"),
    "vector": tp.VectorSphericalTensorProduct(18, 18, 1, method="grid"),
    "matrix": tp.MatrixTensorProduct(30, 2, 30, degree=30, method="matrix"),
}


@compiled
@pytest.mark.parametrize("name", LARGE)
def test_large_plans(name):
    """Of which some gradient at least has no program of one kernel."""
    p = LARGE[name]
    assert any(isinstance(gpu.program_of(p.plan.adjoint(i), "float64"), MultipassProgram) for i in range(3))
    x, y = random_arguments(p, (2,), (), dtype="float64")
    expected = p(x, y, backend="generic")
    cotangent = np.random.default_rng(1).standard_normal(expected.shape)
    gradients = p.vjp(x, y, cotangent, backend="generic")
    with numpy_on_gpu():
        found = p(x, y, backend="gpu"), *p.vjp(x, y, cotangent, backend="gpu")
    for one, other in zip(found, (expected, *gradients), strict=True):
        agree(one, other, "float64", terms=10**4)


@compiled
@pytest.mark.parametrize("name", ["gaunt-grid", "gaunt-fourier", "matrix-split", "cross-grid"])
def test_results_do_not_depend_on_order_or_split(name):
    p = TRANSFORMS[name]
    x, y = random_arguments(p, (67,), (67,), dtype="float32")
    cotangent = np.ones((67, p.irreps_out.dim), dtype="float32")
    found = []
    for order in (0, 1, 2):
        with numpy_on_gpu(order=order, limits=MULTIPASS[0]):
            whole = p(x, y, backend="gpu")
            few = p(x[41:43], y[41:43], backend="gpu")
            broadcast = p(x, y[0], backend="gpu")
            summed = p.vjp(x, y[0], cotangent, backend="gpu")[1]
        assert np.array_equal(whole[41:43], few)
        assert np.array_equal(broadcast[0], whole[0])
        found.append((whole, summed))
    with numpy_on_gpu(limits=MULTIPASS[0] | {(multipass_launch, "WORK_BYTES"): 2**14}):
        found.append((p(x, y, backend="gpu"), found[0][1]))
    for one in found[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(one, found[0], strict=True))


def allocated(call):
    """The bytes of each array that a call makes and does not return."""
    made = []

    def noted(make):
        def spy(*arguments, **named):
            made.append(make(*arguments, **named))
            return made[-1]

        return spy

    with pytest.MonkeyPatch.context() as patch:
        for name in ("empty", "zeros"):
            patch.setattr(array_api_compat.numpy, name, noted(getattr(array_api_compat.numpy, name)))
        results = call()
    return [array.nbytes for array in made if all(array is not result for result in results)]


@compiled
@pytest.mark.parametrize("name", ["gaunt-fourier", "matrix", "cross-grid"])
def test_memory_does_not_grow_with_the_batch(name):
    """Also where operands are one for all samples, and where samples are summed."""
    p, limit = TRANSFORMS[name], 2**17
    for count in (300, 600):
        x, y = random_arguments(p, (count,), (count,), dtype="float64")
        cotangent = np.ones((count, p.irreps_out.dim))
        with numpy_on_gpu(limits=MULTIPASS[0] | {(multipass_launch, "WORK_BYTES"): limit}):
            plain = allocated(lambda x=x, y=y: (p(x, y, backend="gpu"),))
            broadcast = allocated(lambda x=x, y=y: (p(x, y[0], backend="gpu"),))
            gradients = allocated(lambda x=x, y=y, g=cotangent: p.vjp(x, y[0], g, backend="gpu"))
        for found, evaluations in ((plain, 1), (broadcast, 1), (gradients, 2)):
            assert limit / 2 < max(found)
            assert sum(found) <= limit * evaluations


@compiled
def test_arrays_of_any_strides_and_out():
    p = TRANSFORMS["both-grid"]
    n, m = p.irreps_in1.dim, p.irreps_in2.dim
    x, y = (np.random.default_rng(i).standard_normal((30, 2 * size)) for i, size in enumerate((n, m)))
    for x1, x2 in ((x[::3, :n], y[::3, :m]), (x[:, ::2], y[:, 1::2]), (x[::-1, n:], y[::-1, :m])):
        expected = p(x1, x2, backend="generic")
        out = np.full((len(x1), 2 * p.irreps_out.dim), 5.0)
        whole = np.full(expected.shape, 5.0)
        with numpy_on_gpu(limits=MULTIPASS[1]):
            part = out[:, ::2]
            assert p(x1, x2, out=part, backend="gpu") is part
            assert p(x1, x2, out=whole, backend="gpu") is whole
        agree(part, expected, "float64")
        agree(whole, expected, "float64")
        assert (out[:, 1::2] == 5.0).all()


@compiled
@pytest.mark.parametrize("name", ["gaunt-grid", "matrix"])
def test_nan_stays_in_its_sample(name):
    p = TRANSFORMS[name]
    x, y = random_arguments(p, (5,), (5,))
    x[2] = np.nan
    with numpy_on_gpu(limits=MULTIPASS[0]):
        found = p(x, y, backend="gpu")
    assert np.isnan(found[2]).all()
    assert np.isfinite(np.delete(found, 2, axis=0)).all()


def test_equal_maps_share_their_tables():
    p = tp.GauntTensorProduct(24, 24, method="grid")
    program = gpu.program_of(p.plan, "float32")
    matrices = 0
    for legendre, fourier in {own[0].stages for own in p.plan.maps}:
        matrices += sum(matrix.size for _, matrix in legendre.orders) + fourier.matrix.size
    assert program.coefficients.size == matrices + p.plan.domain.n_beta + len(p.plan.terms)


def test_sparse_maps_stay_sparse():
    p = tp.MatrixTensorProduct(30, 2, 30, degree=30, method="matrix")
    program = gpu.program_of(p.plan, "float32")
    assert isinstance(program.to_domain[0][1], Gather)
