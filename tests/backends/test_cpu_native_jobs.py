"""Kernels by their address, shared over threads: each chunk once, by whoever is there; workers look and give up."""

from __future__ import annotations

import threading
import time
import weakref
from collections import deque
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from backends.native_kernel import STARTED, Counted
from numba import cfunc
from numba.core.errors import NumbaError

from tpnumba.backends.cpu.runtime import kernel, threads
from tpnumba.backends.cpu.runtime.atomics import add, load
from tpnumba.backends.cpu.runtime.threads import share, share_native
from tpnumba.backends.cpu.runtime.workspace import address_of, workspace

#: The time, in nanoseconds, by a clock that stands.
STANDING = 10**9


@cfunc("int32(int32, CPointer(int64))")
def standing_clock(which, time_of):
    time_of[0], time_of[1] = 1, 0
    return 0


def stop_the_clock(board, since_last):
    """So many nanoseconds after there was something to do, for ever."""
    board._words[kernel.CLOCK] = standing_clock.address
    board._words[kernel.LAST] = STANDING - since_last


def wait_until(happened):
    until = time.monotonic() + 20
    while not happened() and time.monotonic() < until:
        time.sleep(1e-3)
    assert happened()


@pytest.fixture
def board(monkeypatch):
    """The board of a pool of its own, without workers."""
    pool = threads._Pool()
    monkeypatch.setattr(threads, "_pool", pool)
    board = pool.open_board()
    yield board
    pool.close()


def assert_done(counted):
    assert (counted.result == 1).all(), counted.result


def sleeping_pool(monkeypatch):
    """Nobody is woken."""
    monkeypatch.setattr(threads._Pool, "wake", lambda *_: None)


@pytest.mark.parametrize(("count", "chunk"), [(0, 5), (1, 5), (5, 5), (1000, 7), (1000, 1), (64, 63)])
@pytest.mark.parametrize("num_threads", [1, 2, 5])
def test_each_sample_is_done_once(count, chunk, num_threads):
    for _ in range(20):
        counted = Counted(count, chunk)
        share_native(counted.job(), num_threads)
        assert_done(counted)


@pytest.mark.parametrize("num_threads", [1, 2, 5])
def test_chunks_of_other_sizes(num_threads):
    counted = Counted(100, 0, cuts=[0, 1, 1, 30, 99, 100])
    share_native(counted.job(), num_threads)
    assert_done(counted)
    assert counted.table[STARTED] == 5


@pytest.mark.parametrize("num_threads", [2, 4])
def test_as_many_threads_as_asked_for_take_part(num_threads):
    """The first chunk goes on when so many were started; no thread but others can start them."""
    counted = Counted(1000, 10, first_waits=2)
    share_native(counted.job(), num_threads)
    assert_done(counted)


def test_tiles_grow_and_are_of_one_thread_each():
    for tile in (1, 10_000, 64, 100_000, 3):
        counted = Counted(40, 1, tile=tile, rounds=max(1, 2000 // tile), first_waits=2)
        share_native(counted.job(), 3)
        assert_done(counted)


def test_the_caller_does_what_a_thread_that_is_held_up_does_not():
    """One of two is in its first chunk until all others are done."""
    counted = Counted(50, 1, first_waits=2, second_waits=50)
    share_native(counted.job(), 2)
    assert_done(counted)


def test_the_caller_waits_for_nobody_who_sleeps(monkeypatch, board):
    sleeping_pool(monkeypatch)
    counted = Counted(1000, 10)
    share_native(counted.job(), 4)
    assert_done(counted)


def test_a_short_job_wakes_workers_if_another_came_just_before(monkeypatch, board):
    woken = []
    monkeypatch.setattr(board, "_wake", lambda others, asleep: woken.append(asleep))
    for wakes, since_last, expected in (
        (False, kernel.LOOK, []),
        (False, kernel.LOOK - 1, [3]),
        (True, kernel.LOOK, [3]),
    ):
        stop_the_clock(board, since_last)
        counted = Counted(100, 10)
        share_native(counted.job(wakes=wakes), 4)
        assert_done(counted)
        assert woken == expected
        woken.clear()


def test_a_worker_that_looks_for_jobs_is_not_woken(monkeypatch):
    """Of many jobs in a row, soon one is taken over without a word to Python."""
    woken = []
    wake = threads._Pool.wake
    monkeypatch.setattr(threads._Pool, "wake", lambda pool, *numbers: woken.append(1) or wake(pool, *numbers))
    for _ in range(1000):
        woken.clear()
        share_native(Counted(2, 1, first_waits=2).job(), 2)
        counted = Counted(2, 1, first_waits=2)
        share_native(counted.job(), 2)
        assert_done(counted)
        if len(woken) < 2:
            return
    pytest.fail("each job woke its worker")


def test_more_callers_than_slots_and_cores():
    def work(i):
        for _ in range(50):
            counted = Counted(64, 1 + i % 7, tile=1 + 100 * (i % 3))
            share_native(counted.job(), 1 + i % 4)
            assert_done(counted)
        return True

    with ThreadPoolExecutor(3 * kernel.SLOTS) as pool:
        assert all(pool.map(work, range(3 * kernel.SLOTS)))


def test_a_full_board_leaves_the_job_to_its_caller(board):
    owners = board._words[kernel.OWNERS : kernel.OWNERS + kernel.SLOTS]
    owners[:] = 1
    counted = Counted(100, 1)
    share_native(counted.job(), 2)
    assert_done(counted)
    assert (owners == 1).all()
    assert not board._held


def test_nothing_is_left_on_the_board(board):
    for num_threads in (2, 3):
        share_native(Counted(100, 1).job(), num_threads)
    assert not board._words[kernel.OWNERS : kernel.OWNERS + kernel.SLOTS].any()
    assert not board._held


def test_jobs_within_chunks_of_other_work():
    def task(i):
        counted = Counted(64, 5)
        share_native(counted.job(), 3)
        assert_done(counted)
        done.append(i)

    done = []
    share(task, 30, 3)
    assert sorted(done) == list(range(30))


def test_work_in_python_comes_to_workers_that_look_for_jobs(board):
    """As soon as it is there, and not when they have given up, which this clock never lets them."""
    stop_the_clock(board, 0)
    threads._pool.wake(2, 2)
    wait_until(lambda: board._words[kernel.LOOKING] == 2)
    both = threading.Barrier(3, timeout=10)
    share(lambda i: both.wait(), 3, 3)


def test_a_worker_gives_up_a_tenth_of_a_millisecond_after_the_last_job(board):
    """By a clock that says when it is so, however long the machine takes."""
    for since_last, looks in ((kernel.LOOK, True), (kernel.LOOK + 1, False)):
        stop_the_clock(board, since_last)
        board._words[kernel.CALLS] = 0
        gave_up = threading.Event()

        def look(gave_up=gave_up):
            kernel.look_for_jobs(board._address, 0, 0, 0)
            gave_up.set()

        worker = threading.Thread(target=look)
        worker.start()
        assert gave_up.wait(0.2 if looks else 10) is not looks
        board.call_away()
        worker.join()
    assert board._words[kernel.LOOKING] == 0


def test_a_job_that_comes_as_a_worker_gives_up_is_not_missed(board):
    """Its caller has counted on it. Here the clock puts the job up, when the worker has last looked for one."""
    counted = Counted(10, 1)
    job, slot = counted.job(), kernel._SLOTS
    for word in ("function", "table", "chunk", "chunks", "tile_bytes", "cuts"):
        board._words[slot + getattr(kernel, f"_{word.upper()}")] = getattr(job, word)
    board._words[slot + kernel._COUNT] = job.samples
    state, taken, ticks = (board._address + 8 * word for word in (slot, slot + kernel._NEXT, kernel.BOARD_WORDS - 1))
    place = kernel._PLACE

    @cfunc("int32(int32, CPointer(int64))")
    def clock(which, time_of):
        if load(taken) == 0 and load(state) == 0:
            add(state, place)
        time_of[0], time_of[1] = 1 + add(ticks, 1), 0
        return 0

    board._words[kernel.CLOCK] = clock.address
    tile = workspace(job.tile_bytes // 8, np.dtype(np.float64))
    assert kernel.look_for_jobs(board._address, 0, address_of(tile), job.tile_bytes) == kernel.NOTHING
    assert_done(counted)
    assert board._words[kernel.LOOKING] == board._words[slot] == 0


def test_workers_sleep_when_nothing_comes():
    share_native(Counted(2, 1, first_waits=2).job(), 2)
    board = threads._pool.open_board()
    wait_until(lambda: not board._lookers)
    assert board._words[kernel.LOOKING] == 0


def test_an_error_on_the_way_is_raised_when_nobody_is_at_the_job_any_more(monkeypatch, board):
    def fail(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(board, "_wake", fail)
    counted = Counted(10_000, 1)
    with pytest.raises(ZeroDivisionError):
        share_native(counted.job(), 2)
    assert counted.table[STARTED] < 10_000
    assert not board._held
    assert not board._words[kernel.OWNERS : kernel.OWNERS + kernel.SLOTS].any()


def test_a_job_that_cannot_be_put_up_raises(board):
    with pytest.raises(NumbaError):
        share_native(Counted(100, 1).job()._replace(function="contract"), 2)
    assert not board._held


def test_without_a_clock_chunks_are_shared_as_work_in_python(monkeypatch, board):
    monkeypatch.setattr(threads, "_clock", lambda: 0)
    threads._pool.forget()
    counted = Counted(1000, 10, first_waits=2)
    share_native(counted.job(), 2)
    assert_done(counted)
    assert threads._pool.open_board() is None


def test_at_the_very_end_the_caller_is_alone(board):
    threads._pool.close()
    counted = Counted(1000, 10)
    share_native(counted.job(), 3)
    assert_done(counted)
    assert not threads._pool._workers


def test_a_bell_that_nobody_hears_is_not_rung_for_ever(monkeypatch, board):
    """Workers that are busy elsewhere are called as often as there are workers, not as there are jobs."""
    monkeypatch.setattr(threads._Pool, "_hire", lambda *_: None)
    for _ in range(100):
        share_native(Counted(100, 10).job(), 4)
    assert threads._pool._bell.qsize() == 3


def test_workers_are_let_out_before_the_end(board):
    """Also one that would look for jobs for ever."""
    stop_the_clock(board, 0)
    worker = threading.Thread(target=board.look_for_jobs, args=(deque(),))
    worker.start()
    wait_until(lambda: board._words[kernel.LOOKING] == 1)
    threads._pool.close()
    assert not board._lookers
    worker.join()


def test_memory_is_let_go_with_the_job():
    class Memory:
        pass

    memory = Memory()
    gone = weakref.ref(memory)
    share_native(Counted(100, 1).job()._replace(keep=memory), 3)
    del memory
    assert gone() is None
