"""The kernel of spherical harmonics: agreement with the reference, threads, memory, and arrays of every kind."""

from __future__ import annotations

import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import array_api_strict
import numpy as np
import pytest
from backends.cpu_cases import assert_interrupt_is_answered, in_process, views
from hypothesis import given
from hypothesis import strategies as st
from strategies import dtypes, memory_beyond_results, tolerance

import tpnumba as tp
from tpnumba.backends.cpu.harmonics import program
from tpnumba.backends.cpu.harmonics.entry import harmonics_entry
from tpnumba.backends.cpu.runtime import compiler
from tpnumba.plans.harmonics import HIGHEST_SINGLE
from tpnumba.tables.couplings import NORMALIZATIONS

DTYPES = ["float32", "float64"]
BOTH = [True, False]


def all_of(harmonics, xyz, cotangent, tangent, **options):
    """Everything the kernel can make, in a list."""
    return [
        harmonics(xyz, **options),
        *harmonics.value_and_jacobian(xyz, **options),
        harmonics.vjp(xyz, cotangent, **options),
        harmonics.jvp(xyz, tangent, **options),
    ]


def arguments_of(harmonics, leading, dtype="float64", seed=0):
    rng = np.random.default_rng(seed)
    sizes = (3, harmonics.irreps.dim, 3)
    return [rng.uniform(-1, 1, (*leading, size)).astype(dtype) for size in sizes]


def assert_close(found, expected, dtype, lmax, size=None):
    """To the rounding of gradients, relative to the largest number in play."""
    assert found.dtype == expected.dtype == dtype
    assert found.shape == expected.shape
    size = 1 + float(np.max(np.abs(expected), initial=0.0)) if size is None else size
    np.testing.assert_allclose(found, expected, rtol=0, atol=size * tolerance(dtype, lmax**2, (lmax + 1) ** 2))


SPECIAL = np.concatenate([np.zeros((1, 3)), np.eye(3), -np.eye(3), [[0, 1, 1e-160], [1e-20, -1.0, 0], [0, 1e-4, 1]]])


@given(
    lmax=st.integers(0, 13),
    normalization=st.sampled_from(NORMALIZATIONS),
    normalize=st.booleans(),
    dtype=dtypes,
    leading=st.sampled_from([(), (1,), (7,), (3, 5), (2, 1, 33), (200,)]),
    seed=st.integers(0, 1000),
)
def test_agrees_with_the_reference(lmax, normalization, normalize, dtype, leading, seed):
    harmonics = tp.SphericalHarmonics(lmax, normalization=normalization, normalize=normalize)
    xyz, cotangent, tangent = arguments_of(harmonics, leading, dtype, seed)
    if leading == (200,):
        xyz[: len(SPECIAL)] = SPECIAL
    scale = np.max(np.abs(xyz), axis=-1, initial=1e-30)
    if normalize:  # gradients grow as 1 / |r|
        xyz = (xyz / scale[..., None]).astype(dtype)
    expected, found = (all_of(harmonics, xyz, cotangent, tangent, backend=name) for name in ("generic", "cpu"))
    for one, other in zip(expected, found, strict=True):
        assert_close(other, one, dtype, lmax)


@pytest.mark.parametrize("vectors", [1, 2, 4])
@pytest.mark.parametrize("normalize", BOTH)
@pytest.mark.parametrize("dtype", DTYPES)
def test_runs_of_any_width(monkeypatch, dtype, normalize, vectors):
    from tpnumba.backends.cpu import evaluation, lowering

    harmonics = tp.SphericalHarmonics(5, normalize=normalize)
    arguments = arguments_of(harmonics, (150,), dtype)
    expected = all_of(harmonics, *arguments, backend="generic")
    monkeypatch.setattr(evaluation, "program_of", lambda plan, name: lowering.lower_with(plan, name, vectors))
    for one, other in zip(expected, all_of(harmonics, *arguments, backend="cpu"), strict=True):
        assert_close(other, one, dtype, 5)


def test_numpy_goes_to_the_kernel_by_default(monkeypatch):
    called = []
    monkeypatch.setattr(program.HarmonicsProgram, "call", lambda *arguments: called.append(len(arguments)))
    harmonics = tp.SphericalHarmonics(2)
    for xyz in (np.ones((4, 3)), np.broadcast_to(np.ones(3), (4, 3)), np.ones((3, 4)).T):
        harmonics(xyz)
        assert called
        called.clear()
    harmonics(np.ones((4, 3)), backend="generic")
    harmonics(array_api_strict.ones((4, 3)))
    assert not called


def test_other_arrays_are_refused():
    with pytest.raises(TypeError, match="got arrays of array_api_strict"):
        tp.SphericalHarmonics(1)(array_api_strict.ones((2, 3)), backend="cpu")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("normalize", BOTH)
def test_any_number_of_threads_gives_the_same_bits(dtype, normalize):
    harmonics = tp.SphericalHarmonics(6, normalize=normalize)
    arguments = arguments_of(harmonics, (5000,), dtype)
    runs = [all_of(harmonics, *arguments, num_threads=n) for n in (1, 2, 3, 8, 2)]
    for other in runs[1:]:
        for one, two in zip(runs[0], other, strict=True):
            np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("normalize", BOTH)
def test_any_split_of_the_batch_gives_the_same_bits(dtype, normalize):
    harmonics = tp.SphericalHarmonics(6, normalize=normalize)
    arguments = arguments_of(harmonics, (300,), dtype)
    together = all_of(harmonics, *arguments)
    for cut in (1, 7, 63, 64, 65, 299):
        parts = [all_of(harmonics, *(x[part] for x in arguments)) for part in (slice(0, cut), slice(cut, None))]
        for first, second, whole in zip(*parts, together, strict=True):
            np.testing.assert_array_equal(np.concatenate([first, second]), whole)
    for one, whole in zip(all_of(harmonics, *(x[5] for x in arguments)), together, strict=True):
        np.testing.assert_array_equal(one, whole[5])


def test_many_python_threads_at_once():
    cases = []
    for normalize in BOTH:
        harmonics = tp.SphericalHarmonics(5, normalize=normalize)
        arguments = arguments_of(harmonics, (2000,))
        cases.append((harmonics, arguments, all_of(harmonics, *arguments, num_threads=1)))

    def work(i: int) -> bool:
        harmonics, arguments, expected = cases[i % 2]
        found = all_of(harmonics, *arguments, num_threads=1 + i % 3)
        return all(np.array_equal(one, other) for one, other in zip(found, expected, strict=True))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(24)))


def test_after_a_fork_and_in_nested_pools():
    done = in_process(
        """
        import multiprocessing, warnings
        from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
        import numpy as np, tpnumba as tp

        warnings.simplefilter("ignore")  # forking a process with threads is what is tried here
        Y = tp.SphericalHarmonics(8)
        r = np.random.default_rng(0).standard_normal((4000, 3))
        expected = Y.value_and_jacobian(r, num_threads=2)[1]

        def child(n):
            with ThreadPoolExecutor(2) as pool:
                same = lambda _: np.array_equal(Y.value_and_jacobian(r, num_threads=n)[1], expected)
                return all(pool.map(same, range(3)))

        with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork")) as pool:
            assert all(pool.map(child, [1, 2, 3, 2]))
        assert np.array_equal(Y.value_and_jacobian(r, num_threads=2)[1], expected)
        print("same")
        """
    )
    assert done.stdout == "same\n", done.stderr


def test_interrupt_is_answered_and_the_next_call_is_right():
    assert_interrupt_is_answered(
        """
        import numpy as np, tpnumba as tp

        Y = tp.SphericalHarmonics(10)
        r = np.random.default_rng(0).standard_normal((100, 3)).astype("float32")
        many, out = np.broadcast_to(r[0], (400_000, 3)), np.empty((400_000, 121), dtype="float32")
        short = lambda n: Y(r, num_threads=n)
        long = lambda n: Y(many, out=out, num_threads=n)
        """
    )


def test_only_safe_fast_math(tmp_path: Path):
    """As for contractions; and a quotient is no product with a reciprocal, which may be infinite."""
    code = """
        import re
        import numpy as np, tpnumba as tp
        from tpnumba.backends.cpu.harmonics import kernel

        tp.SphericalHarmonics(2).value_and_jacobian(np.ones((2, 3)))
        (text,) = kernel.harmonics.inspect_llvm().values()
        found = re.findall(r"= f(?:mul|add|sub|div|neg)((?: \\w+)*?) (?:<|float|double)", text)
        print(len(found), *sorted({word for words in found for word in words.split()}))
        print(text.count("= fdiv"))
        """
    lines = in_process(code, TPNUMBA_CACHE_DIR=str(tmp_path)).stdout.splitlines()
    count, *flags = lines[0].split()
    assert int(count) > 10
    assert set(flags) == compiler.FAST_MATH
    assert lines[1] == "0"  # those that there are go by another name, which Numba gives no flags


def test_a_new_degree_compiles_nothing():
    tp.SphericalHarmonics(1)(np.ones((2, 3)))
    before = harmonics_entry.cache_info().misses
    assert before > 0
    for lmax in (0, 2, 3):
        harmonics = tp.SphericalHarmonics(lmax, normalization="norm", normalize=lmax == 2)
        all_of(harmonics, *arguments_of(harmonics, (5,)))
        all_of(harmonics, *arguments_of(harmonics, (40,)))
    assert harmonics_entry.cache_info().misses == before


def test_memory_beyond_the_result_at_a_million_samples():
    harmonics = tp.SphericalHarmonics(2)
    r = np.random.default_rng(0).standard_normal((10**6, 3), dtype=np.float32)
    g = np.broadcast_to(np.float32(1), (10**6, 9))
    harmonics(r[:100])
    harmonics.vjp(r[:100], g[:100])
    columns = np.asfortranarray(r).reshape(1000, 1000, 3).swapaxes(0, 1)
    for run in (
        lambda: (harmonics(r),),
        lambda: (harmonics(columns),),
        lambda: harmonics.value_and_jacobian(columns),
        lambda: (harmonics.vjp(r, g),),
        lambda: (harmonics.jvp(r, r[::-1]),),
        lambda: (harmonics(np.broadcast_to(r[0], r.shape)),),
    ):
        assert memory_beyond_results(run) < 64 * 2**20


def test_degrees_that_no_tile_holds_are_left_to_the_reference():
    point = np.array([[0.3, -0.5, 0.8]])
    for lmax, dtype in ((HIGHEST_SINGLE + 1, "float32"), (400, "float64")):
        harmonics = tp.SphericalHarmonics(lmax)
        r = point.astype(dtype)
        expected = harmonics.value_and_jacobian(r, backend="generic")
        for one, other in zip(expected, harmonics.value_and_jacobian(r), strict=True):
            np.testing.assert_array_equal(other, one)
        with pytest.raises(RuntimeError, match=r"backend 'cpu' has no kernel for Harmonics\(lmax=\d+, .*jacobian"):
            harmonics.value_and_jacobian(r, backend="cpu")


@pytest.mark.parametrize(("dtype", "lmax"), [("float32", HIGHEST_SINGLE), ("float64", 256), ("float64", 128)])
@pytest.mark.parametrize("normalize", BOTH)
def test_high_degrees_agree_with_the_reference(dtype, lmax, normalize):
    harmonics = tp.SphericalHarmonics(lmax, normalization="norm", normalize=normalize)
    xyz, cotangent, tangent = arguments_of(harmonics, (9,), dtype)
    xyz = (xyz / np.linalg.norm(xyz, axis=-1, keepdims=True)).astype(dtype)
    # By their size a degree: gradients of length l of which the least digits are lost near the poles.
    limit = tolerance(dtype, lmax * (lmax + 1) // 2, 1)
    calls = [
        (lambda **how: harmonics(xyz, **how), 1),
        (lambda **how: harmonics.vjp(xyz, cotangent, **how), lmax**2),
        (lambda **how: harmonics.jvp(xyz, tangent, **how), lmax),
    ]
    for call, size in calls:
        expected, found = call(backend="generic"), call(backend="cpu")
        np.testing.assert_allclose(found, expected, rtol=0, atol=size * limit)


def test_tiles_of_all_threads_together_stay_small():
    """However many threads are asked for: a large tile is had by few of them."""
    harmonics = tp.SphericalHarmonics(250)
    points = np.random.default_rng(0).standard_normal((100, 3))
    harmonics(points[:1])
    tracemalloc.start()
    result = harmonics(points, backend="cpu", num_threads=40)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak - result.nbytes < 64 * 2**20


@pytest.mark.parametrize("dtype", DTYPES)
def test_denormals_and_infinities_are_those_of_ieee_arithmetic(dtype):
    tiny = np.finfo(dtype).smallest_subnormal
    solid = tp.SphericalHarmonics(3, normalization="component", normalize=False)
    r = np.array([[tiny, 3 * tiny, -tiny], [np.inf, 1.0, -np.inf], [0.0, np.nan, 2.0]], dtype=dtype)
    values = solid(r, backend="cpu")
    np.testing.assert_array_equal(values[:, 0], 1)
    np.testing.assert_allclose(values[:, 1:4], np.sqrt(3) * r.astype(float), rtol=1e-6, atol=float(tiny))
    np.testing.assert_array_equal(values[0, 4:], 0)
    surface = tp.SphericalHarmonics(3, normalization="component")(r, backend="cpu")
    np.testing.assert_array_equal(surface[:, 0], 1)
    assert np.all(np.isnan(surface[1:, 1:]))
    np.testing.assert_allclose(np.sum(surface[0].astype(float) ** 2), 16, rtol=100 * np.finfo(dtype).eps)


@pytest.mark.parametrize("name", ["columns apart", "Fortran", "backwards", "axes exchanged", "unaligned"])
@pytest.mark.parametrize("lmax", [2, 5])
def test_arrays_of_any_strides(name, lmax):
    harmonics = tp.SphericalHarmonics(lmax)
    arguments = arguments_of(harmonics, (6, 11))
    expected = all_of(harmonics, *arguments)
    found = all_of(harmonics, *(views(x)[name] for x in arguments))
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_array_equal(other, one)
    out = views(np.zeros_like(expected[0]))[name]
    assert harmonics(arguments[0], out=out) is out
    np.testing.assert_array_equal(out, expected[0])


@pytest.mark.parametrize("dtype", DTYPES)
def test_one_point_for_all_and_axes_that_broadcast(dtype):
    harmonics = tp.SphericalHarmonics(4)
    xyz, cotangent, tangent = arguments_of(harmonics, (5,), dtype)
    wide = [np.broadcast_to(x[:, None], (5, 70, x.shape[-1])) for x in (xyz, cotangent, tangent)]
    narrow = all_of(harmonics, xyz, cotangent, tangent)
    for one, other in zip(narrow, all_of(harmonics, *wide), strict=True):
        np.testing.assert_array_equal(other, np.broadcast_to(one[:, None], other.shape))


@pytest.mark.parametrize("lmax", [0, 1, 2, 3, 4, 7, 15, 16])
@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_of_any_length(lmax, dtype):
    """Around every boundary of blocks and whole rows, in a result long enough to go past the caches, too."""
    harmonics = tp.SphericalHarmonics(lmax)
    size = harmonics.irreps.dim
    for count in (1, 70, 1 + 9 * 2**20 // (size * np.dtype(dtype).itemsize)):
        xyz = np.random.default_rng(0).standard_normal((count, 3)).astype(dtype)
        memory = np.full(count * size + 3, 7, dtype=dtype)
        out = memory[1:-2].reshape(count, size)  # not aligned to anything but its numbers
        harmonics(xyz, out=out)
        assert_close(out[-20:], harmonics(xyz[-20:], backend="generic"), dtype, lmax)
        assert_close(out[:20], harmonics(xyz[:20], backend="generic"), dtype, lmax)
        assert memory[0] == memory[-2] == memory[-1] == 7
