"""The CPU's backend agrees with the reference, on arrays of any strides and size."""

from __future__ import annotations

import array_api_strict
import numpy as np
import pytest
from backends.cpu_cases import FULL, views
from hypothesis import given
from hypothesis import strategies as st
from strategies import leading_pairs, memory_beyond_results, products, random_arguments, tolerance, with_wide_arguments

import tpnumba as tp
from tpnumba.backends.cpu.contraction import program


@given(p=products(), leading=leading_pairs, seed=st.integers(0, 1000))
def test_agrees_with_the_reference(p, leading, seed):
    arguments = random_arguments(p, *leading, seed=seed)
    expected, found = (p(*arguments, backend=backend) for backend in ("generic", "cpu"))
    size = 1 + float(np.max(np.abs(expected), initial=0.0))
    np.testing.assert_allclose(found, expected, rtol=0, atol=size * tolerance("float64", 4, 100))
    cotangent = np.random.default_rng(seed).standard_normal(expected.shape)
    named = {"weights": arguments[2]} if len(arguments) == 3 else {}
    gradients = [p.vjp(*arguments[:2], cotangent, **named, backend=backend) for backend in ("generic", "cpu")]
    for one, other in zip(*gradients, strict=True):
        size = 1 + float(np.max(np.abs(one), initial=0.0))
        assert other.shape == one.shape
        np.testing.assert_allclose(other, one, rtol=0, atol=size * tolerance("float64", 4, 1000))


@with_wide_arguments(70)
def test_many_channels_agree_with_the_reference(p, arguments, dtype):
    expected, found = (p(*arguments, backend=backend) for backend in ("generic", "cpu"))
    cotangent = np.random.default_rng(0).standard_normal(expected.shape).astype(dtype)
    named = {"weights": arguments[2]} if len(arguments) == 3 else {}
    gradients = [p.vjp(*arguments[:2], cotangent, **named, backend=backend) for backend in ("generic", "cpu")]
    for one, other in ((expected, found), *zip(*gradients, strict=True)):
        assert other.dtype == one.dtype
        size = float(np.max(np.abs(one)))
        np.testing.assert_allclose(other, one, rtol=0, atol=size * tolerance(dtype, 4, 1000))


def test_numpy_goes_to_the_kernels_by_default(monkeypatch):
    called = []
    monkeypatch.setattr(program.ContractionProgram, "call", lambda *arguments: called.append(len(arguments)))
    p = tp.FullTensorProduct(FULL.irreps_in1, FULL.irreps_in2)  # has no prepared calls
    p(np.ones((2, 16)), np.ones((2, 16)))
    assert called
    called.clear()
    p(np.ones((2, 16)), np.ones((2, 16)), backend="generic")
    p(array_api_strict.ones((2, 16)), array_api_strict.ones((2, 16)))
    assert not called


def test_other_arrays_are_refused():
    with pytest.raises(TypeError, match=r"takes arrays of numpy, torch and jax in .* got arrays of array_api_strict"):
        FULL(array_api_strict.ones((2, 16)), array_api_strict.ones((2, 16)), backend="cpu")


def test_memory_beyond_the_result_at_a_million_samples():
    p = tp.FullTensorProduct("0e + 1o", "0e + 1o")
    x, y = (np.random.default_rng(i).standard_normal((10**6, 4), dtype=np.float32) for i in range(2))
    g = np.broadcast_to(np.float32(1), (10**6, 16))
    p(x[:100], y[:100])
    columns = np.asfortranarray(x)
    for run in (lambda: (p(x, y),), lambda: p.vjp(x, y, g), lambda: p.vjp(x, y[0], g), lambda: (p(columns, y),)):
        assert memory_beyond_results(run) < 64 * 2**20


def test_places_beyond_two_to_the_31():
    """Rows a billion numbers apart, in memory that is reserved but for a few pages never touched."""
    step = 2**30 + 1
    p = tp.FullTensorProduct("0e + 1o", "0e + 1o")
    try:
        memory = np.empty(3 * step, dtype=np.float32)
    except MemoryError:
        pytest.skip("needs 12 GiB of address space")
    rows = memory.reshape(3, step)
    x = rows[:, 100:104]
    x[...] = np.random.default_rng(0).standard_normal((3, 4))
    out = rows[:, 1000:1016]
    y = x.copy()
    assert p(x, y, out=out) is out
    np.testing.assert_array_equal(out, p(x.copy(), y))
    assert out[2:].__array_interface__["data"][0] - memory.__array_interface__["data"][0] > 4 * 2**31


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_denormals_and_infinities_are_those_of_ieee_arithmetic(dtype):
    """Term by term as the coefficients say: no flush to zero, and no zero of a table that meets an infinity."""
    tiny = np.finfo(dtype).smallest_subnormal
    for values in ([tiny, 3 * tiny, 1.0, -tiny], [np.inf, 1.0, -np.inf, 0.0], [np.nan, 0.0, 1.0, tiny]):
        x = np.array(values, dtype=dtype)
        y = np.array([1.0, 2.0, -1.0, 0.5], dtype=dtype)
        p = tp.FullTensorProduct("0e + 1o", "0e + 1o")
        (i, j, k), factors = p.coefficients().coords, p.coefficients().values.astype(dtype)
        expected = np.zeros(16, dtype=dtype)
        with np.errstate(invalid="ignore"):
            np.add.at(expected, k, factors * (x[i] * y[j]))
        eps = np.finfo(dtype).eps
        np.testing.assert_allclose(p(x, y, backend="cpu"), expected, rtol=4 * eps, atol=4 * float(tiny))


@pytest.mark.parametrize("name", ["columns apart", "Fortran", "backwards", "axes exchanged", "unaligned"])
def test_arrays_of_any_strides(name):
    x, y = random_arguments(FULL, (6, 11), (6, 11))
    expected = FULL(x, y)
    np.testing.assert_array_equal(FULL(views(x)[name], views(y)[name]), expected)
    out = views(np.zeros_like(expected))[name]
    FULL(x, y, out=out)
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("size", [1, 2, 5, 15, 16, 17, 255, 256, 257, 300, 2047, 2048, 2049, 5000])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rows_of_any_length(size, dtype):
    """Around every boundary of blocks, stretches and whole rows, in a result long enough to go past the caches, too."""
    p = tp.FullTensorProduct("0e", f"{size}x0e")
    for count in (1, 70, 1 + 9 * 2**20 // (size * np.dtype(dtype).itemsize)):
        x, y = (np.random.default_rng(i).standard_normal((count, n)).astype(dtype) for i, n in enumerate((1, size)))
        memory = np.full(count * size + 3, 7, dtype=dtype)
        out = memory[1:-2].reshape(count, size)  # not aligned to anything but its numbers
        p(x, y, out=out)
        np.testing.assert_array_equal(out, x * y)
        assert memory[0] == memory[-2] == memory[-1] == 7
