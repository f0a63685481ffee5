"""Large results on memory that is used again: bounded, off, never stale, and arrays as any other."""

from __future__ import annotations

import copy
import gc
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from backends.cpu_cases import FULL, VECTOR_FIELDS, WEIGHTED, in_process
from strategies import random_arguments

import tpnumba as tp
from tpnumba.backends.cpu.harmonics.program import HarmonicsProgram
from tpnumba.backends.cpu.runtime import results
from tpnumba.backends.cpu.runtime.results import VARIABLE, empty_result, is_used_again, pool_bytes

#: What counts as large here, in bytes.
LARGE = 2**12
ROWS, SIZE = 64, 8


@pytest.fixture
def pool(monkeypatch):
    """A pool of its own, for results of 4 KiB or more."""
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(results, "LARGE_BYTES", LARGE)
    pool = results._Pool()
    monkeypatch.setattr(results, "_pool", pool)
    return pool


def large(rows: int = ROWS) -> np.ndarray:
    return empty_result((rows, SIZE), np.float64)


def kept(pool) -> int:
    return sum(memory.size for memory in pool._kept.values())


def test_memory_is_used_again_when_no_array_reads_it(pool):
    array = large()
    place = array.ctypes.data
    view = array[3:].T
    del array
    assert large().ctypes.data != place
    del view
    again = large()
    assert again.ctypes.data == place
    assert is_used_again(again)
    assert is_used_again(again.reshape(-1, 2, SIZE))


def test_small_results_stay_with_the_library(pool):
    array = empty_result((LARGE // 8 - 1,), np.float64)
    assert array.base is None
    del array
    assert not pool._kept


def test_what_comes_back_is_bounded(pool, monkeypatch):
    monkeypatch.setenv(VARIABLE, "1")
    arrays = [empty_result((2**18,), np.uint8) for _ in range(10)]
    gone = arrays[0].ctypes.data
    while arrays:
        arrays.pop(0)
    assert 2**19 < kept(pool) <= 2**20
    assert gone not in {memory.ctypes.data for memory in pool._kept.values()}
    too_large = empty_result((2**20 + 1,), np.uint8)
    assert too_large.base is None
    del too_large
    assert kept(pool) <= 2**20


def test_a_smaller_pool_lets_memory_go_at_the_next_large_result(pool, monkeypatch):
    arrays = [empty_result((2**18,), np.uint8) for _ in range(10)]
    del arrays
    assert kept(pool) > 2**21
    monkeypatch.setenv(VARIABLE, "1")
    large()
    assert kept(pool) <= 2**20


def test_off(pool, monkeypatch):
    array = large()
    monkeypatch.setenv(VARIABLE, "0")
    plain = large()
    assert plain.base is None
    assert plain.flags.owndata
    del plain, array
    assert not pool._kept


def test_much_larger_memory_is_not_taken(pool):
    large(6 * ROWS)
    smaller = large(2 * ROWS)
    assert not is_used_again(smaller)
    del smaller
    assert is_used_again(large(2 * ROWS - 1))


def test_batches_that_vary_a_little_find_their_memory_again(pool):
    large(1000)
    for rows in (1001, 990, 1010, 1001):
        assert is_used_again(large(rows))


@pytest.mark.parametrize("text", ["many", "-1", "1.5", ""])
def test_a_wrong_size_is_refused(pool, monkeypatch, text):
    monkeypatch.setenv(VARIABLE, text)
    with pytest.raises(ValueError, match=f"{VARIABLE} must be a number of MiB, 0 or more, got {text!r}"):
        pool_bytes()
    with pytest.raises(ValueError, match=VARIABLE):
        large()


def test_arrays_are_as_any_other(pool, tmp_path):
    large()
    array = large()
    assert type(array) is np.ndarray
    assert (array.shape, array.dtype) == ((ROWS, SIZE), np.dtype(np.float64))
    assert array.flags.c_contiguous
    assert array.flags.writeable
    assert array.flags.aligned
    assert array.ctypes.data % 64 == 0
    array[...] = np.arange(array.size).reshape(array.shape)
    array += 1
    expected = 1.0 + np.arange(array.size).reshape(array.shape)
    np.save(tmp_path / "array.npy", array)
    others = (
        np.load(tmp_path / "array.npy"),
        pickle.loads(pickle.dumps(array)),
        pickle.loads(pickle.dumps(array, protocol=5)),
        copy.copy(array),
        copy.deepcopy(array),
        np.from_dlpack(array),
        np.asarray(memoryview(array)),
    )
    array.resize(array.shape[::-1])  # of another size it says, as of any view, that it does not own its data
    with pytest.raises(ValueError, match="does not own its data"):
        array.resize((3, 3))
    for other in others:
        np.testing.assert_array_equal(other, expected)


def test_the_base_cannot_be_used_to_return_memory_twice(pool):
    base = large().base
    with pytest.raises(TypeError, match="copy the array"):
        copy.copy(base)
    with pytest.raises(TypeError, match="copy the array"):
        pickle.dumps(base)
    assert not pool._kept
    del base
    assert len(pool._kept) == 1


def test_tensors_hold_the_memory(pool):
    torch = pytest.importorskip("torch")
    array = large()
    array[...] = 1.0
    tensor = torch.from_numpy(array)
    del array
    other = large()
    other[...] = 2.0
    assert (tensor == 1).all()
    del tensor
    gc.collect()
    assert len(pool._kept) == 1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_was_there_is_never_seen(pool, monkeypatch, dtype):
    """Every result of a product with gaps and sums stands on memory full of NaN."""
    monkeypatch.setattr(results, "LARGE_BYTES", 1)
    take, taken = results._Pool.take, []

    def poisoned(pool, size):
        memory = take(pool, size)
        if memory is None:
            memory = results._new(size)
        memory[...] = 0xFF
        taken.append(size)
        return memory

    gaps = tp.TensorProduct(
        "2x0e + 1o", "1o", "3x0e + 2x1o + 2e", [(0, 0, 1, "uvw", True)], irrep_normalization="component"
    )
    filtered = tp.FullTensorProduct("0e + 1o", "0e + 1o", filter_ir_out="1e + 3o")
    products = (FULL, WEIGHTED, VECTOR_FIELDS, gaps, filtered, tp.GauntTensorProduct(3, 3, method="grid"))
    points = np.random.default_rng(1).standard_normal((300, 3)).astype(dtype)
    harmonics = tp.SphericalHarmonics(5)
    for batch in ((300,), (3, 1), (0,), ()):
        for p in products:
            arguments = random_arguments(p, batch, batch, dtype=dtype)
            cotangent = np.ones((*batch, p.irreps_out.dim), dtype)
            named = {"weights": arguments[2]} if len(arguments) == 3 else {}

            def everything(p=p, arguments=arguments, cotangent=cotangent, named=named):
                yield p(*arguments)
                yield from p.vjp(*arguments[:2], cotangent, **named)
                yield from p.vjp(arguments[0], np.ones(p.irreps_in2.dim, dtype), cotangent, **named)
                yield harmonics(points)
                yield from harmonics.value_and_jacobian(points)

            with monkeypatch.context() as other:
                other.setenv(VARIABLE, "0")
                expected = list(everything())
            taken.clear()
            with monkeypatch.context() as other:
                other.setattr(results._Pool, "take", poisoned)
                found = list(everything())
            assert len(taken) >= len(found) - 2 or 0 in batch
            for one, two in zip(found, expected, strict=True):
                np.testing.assert_array_equal(one, two)


def test_only_memory_that_is_new_is_written_through_the_caches(pool, monkeypatch):
    told = []
    monkeypatch.setattr(results, "LARGE_BYTES", 1)
    monkeypatch.setattr(HarmonicsProgram, "is_streamed", lambda program, written, *, fresh: told.append(fresh) or False)
    harmonics, points = tp.SphericalHarmonics(2), np.ones((10, 3))
    first = harmonics(points)
    second = harmonics(points)
    del first
    third = harmonics(points)
    harmonics(points, out=second)
    assert told == [True, True, False, False]
    np.testing.assert_array_equal(third, second)


def test_threads_never_get_the_same_memory(pool):
    start = threading.Barrier(8)

    def work(i):
        start.wait()
        for _ in range(300):
            arrays = [large(ROWS + 8 * (j % 3)) for j in range(3)]
            for j, array in enumerate(arrays):
                array[...] = 10 * i + j
            if not all((array == 10 * i + j).all() for j, array in enumerate(arrays)):
                return False
        return True

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(work, range(8)))
    assert kept(pool) == sum({memory.ctypes.data: memory.size for memory in pool._kept.values()}.values())


def test_results_in_cycles_come_back(pool):
    cycle = [large()]
    cycle.append(cycle)
    del cycle
    gc.collect()
    assert len(pool._kept) == 1


def test_results_that_are_kept_are_new_each(pool):
    arrays = [large() for _ in range(20)]
    assert len({array.ctypes.data for array in arrays}) == 20
    assert not any(map(is_used_again, arrays))


def test_fork_and_the_end_of_the_interpreter():
    done = in_process(
        """
        import os, warnings
        import numpy as np
        from tpnumba.backends.cpu.runtime import results

        warnings.simplefilter("ignore")
        make = lambda: results.empty_result((2**23,), np.float32)
        kept = make()
        kept[...] = 1
        del kept
        child = os.fork()
        array = make()
        assert results.is_used_again(array)
        array[...] = 3 if child else 2
        if not child:
            os._exit(int(not (array == 2).all()))
        assert os.waitpid(child, 0)[1] == 0
        assert (array == 3).all()
        cycle = [make()]
        cycle.append(cycle)  # and `array`: both are there to the end
        print("well")
        """
    )
    assert (done.stdout, done.stderr) == ("well\n", "")


def test_a_call_uses_the_memory_of_the_one_before():
    """With nothing changed: a result of 32 MiB."""
    p = tp.FullTensorProduct("0e + 1o", "0e + 1o")
    x = np.ones((2**19 + 1, 4), np.float32)
    first = p(x, x)
    assert first.nbytes > 2**25
    expected = first[-1].copy()
    place = first.ctypes.data
    first[...] = np.nan
    del first
    second = p(x, x)
    assert second.ctypes.data == place
    np.testing.assert_array_equal(second, np.broadcast_to(expected, second.shape))
