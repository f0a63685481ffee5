"""The compiled kernels: what they may assume, threads, forks, interrupts, caches, memory, and arrays of every kind."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import array_api_strict
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import leading_pairs, products, random_arguments, tolerance

import tpnumba as tp
from tpnumba.backends.cpu.contraction import kernel as contraction
from tpnumba.backends.cpu.contraction import program
from tpnumba.backends.cpu.runtime import compiler, threads
from tpnumba.backends.cpu.transform import kernel as transform

SPHERICAL = tp.Irreps.spherical_harmonics(3)
FULL = tp.FullTensorProduct(SPHERICAL, SPHERICAL)
FIELDS = tp.VectorSphericalTensorProduct(2, 2, method="grid")
WEIGHTED = tp.ChannelwiseTensorProduct("4x0e + 4x1o", SPHERICAL)


def in_process(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run code in a process of its own."""
    command = [sys.executable, "-P", "-c", textwrap.dedent(code)]
    return subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=False, timeout=120
    )


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


def wide_products():
    """Enough channels for each way that the kernel has of treating them, in either input and both layouts."""
    modes = [(0, 0, 0, "uvv", True), (1, 0, 1, "uvu", False), (2, 1, 2, "uuw", True), (2, 1, 3, "u<vw", True)]
    for layout in ("mul_ir", "ir_mul"):
        yield tp.ChannelwiseTensorProduct("5x0e + 9x1o + 4x2e", "0e + 1o + 2e", layout=layout)
        yield tp.FullTensorProduct("6x1o + 5x0e", "1o + 2e", layout=layout)
        yield tp.FullTensorProduct("1o + 2e", "6x1o + 5x0e", layout=layout)
        yield tp.FullyConnectedTensorProduct("5x0e + 6x1o", "0e + 2x1o", "7x0e + 4x1o + 3x2e", layout=layout)
        out = "9x1o + 6x2o + 5x2e + 7x0e"
        yield tp.TensorProduct("1e + 6x1e + 5x1o", "9x1o + 5x1o", out, modes, layout=layout)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shared", [(), (0,), (1,), (2,), (0, 1)], ids=str)
@pytest.mark.parametrize("p", list(wide_products()), ids=lambda p: f"{type(p).__name__}-{p.irreps_in1}")
def test_many_channels_agree_with_the_reference(p, shared, dtype):
    arguments = random_arguments(p, (70,), (70,), dtype=dtype)
    arguments = [x[0] if i in shared else x for i, x in enumerate(arguments)]
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
    monkeypatch.setattr(program, "contract", lambda *arguments: called.append(len(arguments)))
    FULL(np.ones((2, 16)), np.ones((2, 16)))
    assert called
    called.clear()
    FULL(np.ones((2, 16)), np.ones((2, 16)), backend="generic")
    FULL(array_api_strict.ones((2, 16)), array_api_strict.ones((2, 16)))
    assert not called


def test_other_arrays_are_refused():
    with pytest.raises(TypeError, match=r"takes arrays of numpy, torch and jax in .* got arrays of array_api_strict"):
        FULL(array_api_strict.ones((2, 16)), array_api_strict.ones((2, 16)), backend="cpu")


def test_only_safe_fast_math(tmp_path: Path):
    """In what the compiler was given; code from the cache does not show it, so a new one is made."""
    assert {"contract", "nsz", "arcp"} == compiler.FAST_MATH
    assert contraction.contract.targetoptions["fastmath"] == compiler.FAST_MATH
    assert transform.transform.targetoptions["fastmath"] == compiler.FAST_MATH
    code = """
        import re
        import numpy as np, tpnumba as tp
        from tpnumba.backends.cpu.contraction import kernel as contraction
        from tpnumba.backends.cpu.transform import kernel as transform

        tp.FullTensorProduct("1o", "1o")(np.ones((2, 3)), np.ones((2, 3)))
        tp.GauntTensorProduct(1, 1, method="grid")(np.ones((2, 4)), np.ones((2, 4)))
        for kernel in (contraction.contract, transform.transform):
            (text,) = kernel.inspect_llvm().values()
            found = re.findall(r"= f(?:mul|add|sub|div|neg)((?: \\w+)*?) (?:<|float|double)", text)
            print(len(found), *sorted({word for words in found for word in words.split()}))
        """
    lines = in_process(code, TPNUMBA_CACHE_DIR=str(tmp_path)).stdout.splitlines()
    assert len(lines) == 2
    for count, *flags in map(str.split, lines):
        assert int(count) > 10
        assert set(flags) == {"contract", "nsz", "arcp"}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("p", [FULL, WEIGHTED, FIELDS], ids=["full", "channelwise", "fields"])
def test_any_number_of_threads_gives_the_same_bits(p, dtype):
    arguments = random_arguments(p, (5000,), (5000,), dtype=dtype)
    shared = [*arguments[:2], *(w[0] for w in arguments[2:])]
    cotangent = np.random.default_rng(0).standard_normal((5000, p.irreps_out.dim)).astype(dtype)
    named = {"weights": shared[2]} if len(shared) == 3 else {}
    runs = [
        (p(*arguments, num_threads=n), *p.vjp(shared[0], shared[1][0], cotangent, num_threads=n, **named))
        for n in (1, 2, 3, 8, 2)
    ]
    for other in runs[1:]:
        for one, two in zip(runs[0], other, strict=True):
            np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_any_split_of_the_batch_gives_the_same_bits(dtype):
    for p in (FULL, WEIGHTED, FIELDS):
        arguments = random_arguments(p, (300,), (300,), dtype=dtype)
        together = p(*arguments)
        for cut in (1, 7, 63, 64, 65, 299):
            parts = [p(*(x[part] for x in arguments)) for part in (slice(0, cut), slice(cut, None))]
            np.testing.assert_array_equal(np.concatenate(parts), together)
        np.testing.assert_array_equal(p(*(x[5] for x in arguments)), together[5])


def test_many_python_threads_at_once():
    cases = []
    for p in (FULL, WEIGHTED, FIELDS):
        arguments = random_arguments(p, (2000,), (2000,))
        cases.append((p, arguments, p(*arguments, num_threads=1)))

    def work(i: int) -> bool:
        p, arguments, expected = cases[i % 3]
        return bool(np.array_equal(p(*arguments, num_threads=1 + i % 3), expected))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(40)))


def test_after_a_fork_and_in_nested_pools():
    done = in_process(
        """
        import multiprocessing, os, warnings
        from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
        import numpy as np, tpnumba as tp

        warnings.simplefilter("ignore")  # forking a process with threads is what is tried here
        p = tp.FullTensorProduct("0e + 1o + 2e", "0e + 1o + 2e")
        x = np.random.default_rng(0).standard_normal((4000, 9))
        expected = p(x, x, num_threads=2)

        def child(n):
            with ThreadPoolExecutor(2) as pool:
                return all(pool.map(lambda _: np.array_equal(p(x, x, num_threads=n), expected), range(3)))

        with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork")) as pool:
            assert all(pool.map(child, [1, 2, 3, 2]))
        assert np.array_equal(p(x, x, num_threads=2), expected)
        print("same")
        """
    )
    assert done.stdout == "same\n", done.stderr


def test_interrupt_is_answered_and_the_next_call_is_right():
    """A long call on several threads: Ctrl-C ends it at the next piece of work, about a millisecond later."""
    code = """
        import os, signal, threading, time
        import numpy as np, tpnumba as tp

        Y = tp.Irreps.spherical_harmonics(4)
        p = tp.FullTensorProduct(Y, Y)
        x = np.random.default_rng(0).standard_normal((100, 25)).astype("float32")
        expected = p(x, x)
        many = np.broadcast_to(x[0], (400_000, 25))
        out = np.empty((400_000, 625), dtype="float32")
        signal.signal(signal.SIGINT, signal.default_int_handler)  # jobs in the background start without it
        for threads in (1, 2):
            threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
            try:
                while True:
                    p(many, many[:, :], out=out, num_threads=threads)
            except KeyboardInterrupt:
                pass
            assert np.array_equal(p(x, x, num_threads=threads), expected)
        print("answered")
        """
    done = in_process(code)
    assert done.stdout == "answered\n", done.stderr


def test_an_error_in_one_piece_stops_the_others_and_is_raised():
    done = []

    def task(i: int) -> None:
        done.append(i)
        if i == 3:
            raise ZeroDivisionError

    for count in (1, 2, 4):
        done.clear()
        with pytest.raises(ZeroDivisionError):
            threads.share(task, 10_000, count)
        assert len(done) < 10_000


def test_pieces_are_each_done_once():
    lock, seen = threading.Lock(), []

    def task(i: int) -> None:
        with lock:
            seen.append(i)

    for count in (1, 2, 5):
        seen.clear()
        threads.share(task, 100, count)
        assert sorted(seen) == list(range(100))


def test_a_new_irreps_string_compiles_nothing():
    FULL(np.ones((2, 16)), np.ones((2, 16)))
    FIELDS(np.ones((2, 27)), np.ones((2, 27)))
    before = len(contraction.contract.signatures), len(transform.transform.signatures)
    for text in ("5x0e + 2x3o", "1e", "0e + 6e"):
        p = tp.FullTensorProduct(text, "1o + 2x2e")
        p(np.ones((3, p.irreps_in1.dim)), np.ones((3, p.irreps_in2.dim)))
    for q in (tp.GauntTensorProduct(3, 5, method="fourier"), tp.BracketTensorProduct(4, 1, method="grid")):
        q(np.ones((3, q.irreps_in1.dim)), np.ones((3, q.irreps_in2.dim)))
    assert (len(contraction.contract.signatures), len(transform.transform.signatures)) == before


QUICK = """
    import numpy as np, tpnumba as tp
    print(tp.FullTensorProduct("1o", "1o", "1e")(np.array([1.0, 0, 0]), np.array([0, 1.0, 0])).tolist())
    """


#: A folder that cannot be written, also by root, whom permissions do not stop; before Numba is imported.
READ_ONLY = """
    import builtins, errno, os

    def refusing(function, writes):
        def call(path, *arguments, **named):
            if writes(*arguments, **named):
                raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
            return function(path, *arguments, **named)
        return call

    builtins.open = refusing(builtins.open, lambda mode="r", *_, **__: bool(set(mode) & set("wax+")))
    os.open = refusing(os.open, lambda flags, *_, **__: bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)))
    for name in ("mkdir", "unlink", "rename", "replace"):
        setattr(os, name, refusing(getattr(os, name), lambda *_, **__: True))
    """


def test_what_a_read_only_cache_lacks_is_compiled_with_one_warning(tmp_path: Path):
    first = in_process(QUICK, TPNUMBA_CACHE_DIR=str(tmp_path))
    more = """
        from tpnumba.backends.cpu.contraction import kernel as contraction
        from tpnumba.backends.cpu.transform import kernel as transform
        found = contraction.contract.stats
        print(found.cache_hits.total(), found.cache_misses.total(), flush=True)
        x = np.arange(4, dtype="float32")
        print(tp.FullTensorProduct("0e + 1o", "0e + 1o")(x, x).tolist())
        print(tp.GauntTensorProduct(1, 1, method="grid")(x, x).tolist())
        print(contraction.contract.stats.cache_misses.total(), transform.transform.stats.cache_misses.total())
        """
    code = "".join(map(textwrap.dedent, (READ_ONLY, QUICK, more)))
    done = in_process(code, TPNUMBA_CACHE_DIR=str(tmp_path))
    x = np.arange(4, dtype="float32")
    products = tp.FullTensorProduct("0e + 1o", "0e + 1o"), tp.GauntTensorProduct(1, 1, method="grid")
    expected = [first.stdout.strip(), "1 0", *(str(p(x, x).tolist()) for p in products), "1 1"]
    assert done.stdout.splitlines() == expected, done.stderr
    assert done.stderr.count("RuntimeWarning") == done.stderr.count("Read-only file system") == 1
    assert "TPNUMBA_CACHE_DIR" in done.stderr


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="permissions do not stop root")
def test_a_folder_without_permission_to_write_is_read(tmp_path: Path):
    first = in_process(QUICK, TPNUMBA_CACHE_DIR=str(tmp_path))
    (folder,) = tmp_path.iterdir()
    for path in (folder, tmp_path):
        path.chmod(0o555)
    again = in_process(QUICK, TPNUMBA_CACHE_DIR=str(tmp_path))
    for path in (tmp_path, folder):
        path.chmod(0o755)
    assert (again.stdout, again.stderr) == (first.stdout, "")


def test_without_a_writable_cache_there_is_one_warning_and_the_right_result(tmp_path: Path):
    nowhere = tmp_path / "file"
    nowhere.write_text("not a folder")
    done = in_process(QUICK, TPNUMBA_CACHE_DIR=str(nowhere / "cache"))
    assert done.stdout.startswith("[0.0, 0.0, 0.7")
    assert done.stderr.count("found no writable folder") == 1
    assert "TPNUMBA_CACHE_DIR" in done.stderr


def test_machine_code_is_kept_and_taken_again_and_never_stale(tmp_path: Path):
    """A second process compiles nothing; a package whose kernels differ, even in a callee, does not use the first's."""
    cache = tmp_path / "cache"
    first = in_process(QUICK, TPNUMBA_CACHE_DIR=str(cache))
    assert first.stdout.startswith("[0.0, 0.0, 0.7"), first.stderr
    (folder,) = cache.iterdir()
    kept = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert kept
    again = in_process(QUICK, TPNUMBA_CACHE_DIR=str(cache))
    assert again.stdout == first.stdout
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == kept

    package = tmp_path / "site" / "tpnumba"
    shutil.copytree(Path(tp.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    callee = package / "backends" / "cpu" / "simd" / "rows.py"
    text = callee.read_text()
    changed = text.replace("tile[to + sample] = read(tile, source", "tile[to + sample] = 3.0 * read(tile, source")
    assert changed != text
    callee.write_text(changed)
    other = in_process(QUICK, TPNUMBA_CACHE_DIR=str(cache), PYTHONPATH=str(tmp_path / "site"))
    assert other.stdout.startswith("[0.0, 0.0, 6.3"), other.stderr
    assert len(list(cache.iterdir())) == 2


@pytest.mark.parametrize("damage", [("nbi", "empty"), ("nbc", "cut"), ("nbc", "mixed up")])
def test_a_damaged_cache_is_made_anew(tmp_path: Path, damage):
    kind, how = damage
    first = in_process(QUICK, TPNUMBA_CACHE_DIR=str(tmp_path))
    files = sorted(tmp_path.glob(f"*/*.{kind}"))
    whole = [path.read_bytes() for path in files]
    for i, path in enumerate(files):
        path.write_bytes({"empty": b"", "cut": whole[i][:200], "mixed up": whole[i - 1]}[how])
    again = in_process(QUICK, TPNUMBA_CACHE_DIR=str(tmp_path))
    assert (again.stdout, again.stderr) == (first.stdout, "")
    assert all(path.stat().st_size > 200 for path in files)


def test_a_full_disk_is_no_error(tmp_path: Path):
    code = """
        import numba.core.caching as caching

        def full(*_):
            raise OSError(28, "No space left on device")

        caching.IndexDataCacheFile.save = full
        """
    done = in_process(textwrap.dedent(code) + textwrap.dedent(QUICK), TPNUMBA_CACHE_DIR=str(tmp_path))
    assert done.stdout.startswith("[0.0, 0.0, 0.7"), done.stderr
    assert done.stderr.count("No space left on device") == 1


def test_warmup_leaves_nothing_to_compile_in_a_folder_that_is_then_read_only(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-m", "tpnumba", "warmup"],
        env={**os.environ, "TPNUMBA_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.count("contraction, float") == done.stdout.count("transform, float") == 6
    code = """
        import numpy as np, tpnumba as tp
        from tpnumba.backends.cpu.contraction import kernel as contraction
        from tpnumba.backends.cpu.transform import kernel as transform
        for dtype in ("float32", "float64"):
            for mul in (1, 30, 300):  # tiles of every width
                p = tp.ChannelwiseTensorProduct(f"{mul}x0e + {mul}x1o", "0e + 1o + 2e")
                p(np.ones(p.irreps_in1.dim, dtype), np.ones(9, dtype), np.ones(p.weight_numel, dtype))
            for L in (2, 40):
                x = np.ones((L + 1) ** 2, dtype)
                tp.GauntTensorProduct(L, L, method="grid")(x, x)
        print(*(sum(kernel.stats.cache_misses.values()) for kernel in (contraction.contract, transform.transform)))
        """
    again = in_process(textwrap.dedent(READ_ONLY) + textwrap.dedent(code), TPNUMBA_CACHE_DIR=str(tmp_path))
    assert (again.stdout, again.stderr) == ("0 0\n", "")


def test_memory_beyond_the_result_at_a_million_samples():
    p = tp.FullTensorProduct("0e + 1o", "0e + 1o")
    x, y = (np.random.default_rng(i).standard_normal((10**6, 4), dtype=np.float32) for i in range(2))
    g = np.broadcast_to(np.float32(1), (10**6, 16))
    p(x[:100], y[:100])
    columns = np.asfortranarray(x)
    for run in (lambda: (p(x, y),), lambda: p.vjp(x, y, g), lambda: p.vjp(x, y[0], g), lambda: (p(columns, y),)):
        tracemalloc.start()
        result = run()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak - sum(part.nbytes for part in result) < 64 * 2**20


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


def views(x: np.ndarray) -> dict[str, np.ndarray]:
    wide = np.zeros((*x.shape[:-1], 2 * x.shape[-1]), dtype=x.dtype)
    wide[..., ::2] = x
    raw = np.zeros(x.nbytes + 1, dtype=np.uint8)
    unaligned = raw[1:].view(x.dtype).reshape(x.shape)
    unaligned[...] = x
    return {
        "columns apart": wide[..., ::2],
        "Fortran": np.asfortranarray(x),
        "backwards": x[::-1, ::-1].copy()[::-1, ::-1],
        "axes exchanged": x.swapaxes(0, 1).copy().swapaxes(0, 1),
        "unaligned": unaligned,
    }


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
