"""Threads of the CPU's backend: the same bits for any number, forks, interrupts, errors."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from backends.cpu_cases import FULL, VECTOR_FIELDS, WEIGHTED, assert_interrupt_is_answered, in_process
from strategies import random_arguments

from tpnumba.backends.cpu.runtime import threads


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("p", [FULL, WEIGHTED, VECTOR_FIELDS], ids=["full", "channelwise", "fields"])
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
    for p in (FULL, WEIGHTED, VECTOR_FIELDS):
        arguments = random_arguments(p, (300,), (300,), dtype=dtype)
        together = p(*arguments)
        for cut in (1, 7, 63, 64, 65, 299):
            parts = [p(*(x[part] for x in arguments)) for part in (slice(0, cut), slice(cut, None))]
            np.testing.assert_array_equal(np.concatenate(parts), together)
        np.testing.assert_array_equal(p(*(x[5] for x in arguments)), together[5])


def test_many_python_threads_at_once():
    cases = []
    for p in (FULL, WEIGHTED, VECTOR_FIELDS):
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
    assert_interrupt_is_answered(
        """
        import numpy as np, tpnumba as tp

        Y = tp.Irreps.spherical_harmonics(4)
        p = tp.FullTensorProduct(Y, Y)
        x = np.random.default_rng(0).standard_normal((100, 25)).astype("float32")
        many, out = np.broadcast_to(x[0], (400_000, 25)), np.empty((400_000, 625), dtype="float32")
        short = lambda n: p(x, x, num_threads=n)
        long = lambda n: p(many, many[:, :], out=out, num_threads=n)
        """
    )


def test_an_error_in_one_chunk_stops_the_others_and_is_raised():
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


def test_chunks_are_each_done_once():
    lock, seen = threading.Lock(), []

    def task(i: int) -> None:
        with lock:
            seen.append(i)

    for count in (1, 2, 5):
        seen.clear()
        threads.share(task, 100, count)
        assert sorted(seen) == list(range(100))
