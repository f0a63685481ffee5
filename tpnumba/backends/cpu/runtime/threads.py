"""The one place for threads: a pool, how work is split over it, and how it is interrupted.

Work is a Python function of the number of a chunk (:func:`share`), or a kernel by its address (:func:`share_native`).
Kernels release the interpreter lock, so plain threads serve. The caller works too and waits for nobody who has not
begun, so calls from many threads at once, from within other pools, and after a fork (which leaves no worker alive)
cannot lock each other out.

A worker that sleeps is woken through a queue, its bell, which takes 20 to 40 microseconds. After a native job it looks
for the next one for a tenth of a millisecond, without the interpreter (:mod:`.kernel`), and takes that over in less
than one microsecond.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import cache, lru_cache
from queue import SimpleQueue
from types import ModuleType
from typing import NamedTuple

import numpy as np

from tpnumba.backends.cpu.runtime.workspace import address_of, empty_lines, workspace

#: Work that takes less than this many seconds stays with the caller: waking a worker takes about a third of it.
WORTH_SHARING = 2e-4

#: Seconds for which a caller sleeps while others are at their last chunks, which they should have done long ago.
_NAP = 2e-5
#: Seconds that workers are given to leave native code when the interpreter ends.
_LEAVE = 1.0
_NUMBERS = np.dtype(np.float64)


@lru_cache(maxsize=1)
def default_threads() -> int:
    """The cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


def share(task: Callable[[int], None], chunks: int, num_threads: int) -> None:
    """Call ``task(i)`` for ``i`` in ``range(chunks)``, on up to ``num_threads`` threads, the caller's among them.

    Which thread does which chunk is chance; a task must not depend on it. An exception, Ctrl-C among them, stops the
    others at their next chunk and is raised here.
    """
    others = min(num_threads, chunks) - 1
    if others <= 0:
        for i in range(chunks):
            task(i)
        return
    work = _Work(task, chunks)
    _pool.ask(work, others)
    try:
        work.do_chunks()
    except BaseException as error:
        work.fail(error)
    work.finish()


class NativeJob(NamedTuple):
    """A kernel on the samples of a batch, for one call of :func:`share_native`.

    Attributes:
        function: the address of ``void kernel(void *tile, const int64_t *arrays, int64_t start, int64_t stop)``.
        table: the address of ``arrays``.
        chunk: the samples of a chunk, which should take a millisecond at most.
        samples: of the batch.
        chunks: how many that makes.
        tile_bytes: of the memory, aligned to 64 bytes, that each thread brings.
        cuts: the address of ``chunks + 1`` integers of 64 bits, where chunks of another size begin and the last one
            ends; 0 if all are of ``chunk`` samples.
        wakes: whether it is long enough to wake workers for it, which is from ``WORTH_SHARING`` on. For a shorter one
            they are woken if another was there just now, as then there may be more.
        keep: whatever holds the memory behind the addresses.
    """

    function: int
    table: int
    chunk: int
    samples: int
    chunks: int
    tile_bytes: int
    cuts: int = 0
    wakes: bool = True
    keep: object = None


def share_native(job: NativeJob, num_threads: int) -> None:
    """Run a job on up to ``num_threads`` threads, the caller's among them: :func:`share` for kernels by their address.

    Ctrl-C is answered when a chunk is done, about once in a millisecond.
    """
    others = min(num_threads, job.chunks) - 1
    board = _pool.open_board() if others > 0 else None
    if board is not None:
        board.share(job, others)
    elif others > 0 and not _pool.closed:
        share(lambda i: _do_alone(job._replace(chunks=i + 1), i), job.chunks, num_threads)
    else:
        _do_alone(job, 0)


def compile_sharing() -> None:
    """Compile what shares native jobs, or take it from the cache."""
    nothing = NativeJob(function=0, table=0, chunk=1, samples=0, chunks=0, tile_bytes=0)
    _kernel().do_alone(_clock(), *nothing[:-1], 0, 0)
    board = _pool.open_board()
    if board is not None:
        board.share(nothing, 0)


def _do_alone(job: NativeJob, first: int) -> None:
    """Do the chunks from ``first`` on."""
    tile = address_of(workspace(-(-job.tile_bytes // _NUMBERS.itemsize), _NUMBERS))
    kernel = _kernel()
    while first < job.chunks:
        first = kernel.do_alone(_clock(), *job[:-1], tile, first)


class _Work:
    def __init__(self, task: Callable[[int], None], chunks: int) -> None:
        self._task, self._chunks = task, chunks
        self._next = 0
        self._active = 0
        self._error: BaseException | None = None
        self._changed = threading.Condition()

    def do_chunks(self) -> None:
        """Do chunks until none is left."""
        while True:
            with self._changed:
                if self._next >= self._chunks:
                    return
                i = self._next
                self._next += 1
            self._task(i)

    def take_part(self) -> None:
        """Do chunks as a worker, whom the caller waits for.

        The caller is not counted among them: Ctrl-C comes to it anywhere, also between the two halves of counting.
        """
        with self._changed:
            self._active += 1
        try:
            self.do_chunks()
        finally:
            with self._changed:
                self._active -= 1
                self._changed.notify_all()

    def fail(self, error: BaseException) -> None:
        """Hand out no more chunks."""
        with self._changed:
            self._next = self._chunks
            self._error = self._error or error

    def finish(self) -> None:
        """Wait for the chunks that others have begun; raise what went wrong."""
        while True:
            try:
                with self._changed:
                    while self._active:
                        self._changed.wait()
                break
            except KeyboardInterrupt as error:  # memory that workers still write to must not be given up
                self.fail(error)
        if self._error is not None:
            raise self._error


class _Board:
    """The board of native jobs, see :mod:`.kernel`, as Python sees it."""

    def __init__(self, wake: Callable[[int, int], None]) -> None:
        self._kernel = _kernel()
        self._wake = wake
        self._words = empty_lines(self._kernel.BOARD_WORDS, np.dtype(np.int64))
        self._words[:] = 0
        self._words[self._kernel.CLOCK] = _clock()
        self._words[self._kernel.WAY] = _address_in_c("sched_yield")
        self._address = address_of(self._words)
        #: Jobs at which somebody may be. If Ctrl-C comes within microseconds of another one, a call may end before it
        #: knows; then its memory and its slot are never given up.
        self._held: dict[int, NativeJob] = {}
        self._lookers: set[int] = set()
        # Compiled here, so that no worker has to wait for the compiler, nor holds its lock at a fork.
        self._words[self._kernel.CLOSED] = 1
        self._kernel.look_for_jobs(self._address, 0, 0, 0)
        self._kernel.stop(self._address, 1)
        self._words[self._kernel.CLOSED] = 0

    def share(self, job: NativeJob, others: int) -> None:
        """Run a job together with up to ``others`` workers."""
        kernel, address, owner = self._kernel, self._address, id(job)
        tile = address_of(workspace(-(-job.tile_bytes // _NUMBERS.itemsize), _NUMBERS))
        error: BaseException | None = None
        self._held[owner] = job
        while True:
            try:
                if error is not None and not kernel.stop(address, owner):
                    break
                state = kernel.do_shared(address, owner, *job[:-1], tile, others)
                if state == kernel.DONE:
                    break
                if state == kernel.FULL:
                    _do_alone(job, 0)
                    break
                if state == kernel.WAIT:
                    time.sleep(_NAP)
                elif state > 0:
                    self._wake(others, state)
            except BaseException as caught:  # memory that workers still write to must not be given up
                error = error or caught
        del self._held[owner]
        if error is not None:
            raise error

    def look_for_jobs(self, works: deque[_Work]) -> bool:
        """Join native jobs, as a worker, until there was none for a while: False; or there are works: True."""
        me, wanted = threading.get_ident(), 0
        self._lookers.add(me)
        try:
            while True:
                calls = int(self._words[self._kernel.CALLS])
                if works:
                    return True
                tile = workspace(-(-wanted // _NUMBERS.itemsize), _NUMBERS)
                wanted = self._kernel.look_for_jobs(self._address, calls, address_of(tile), tile.nbytes)
                if wanted == self._kernel.NOTHING:
                    return False
                wanted = max(0, wanted)  # of one who was called away
        except MemoryError:  # for a tile; the caller does what this one does not
            return False
        finally:
            self._lookers.discard(me)

    def call_away(self) -> None:
        """Let workers look into the queue."""
        self._words[self._kernel.CALLS] += 1

    def close(self) -> None:
        """Send workers to sleep for good."""
        self._words[self._kernel.CLOSED] = 1
        until = time.monotonic() + _LEAVE
        while self._lookers and time.monotonic() < until:
            time.sleep(1e-4)


class _Pool:
    """Workers that wait for work; made when they are first needed."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Start anew: in the child of a fork no worker lives, and a lock may be held by a thread that does not."""
        self._works: deque[_Work] = deque()
        #: Whoever takes something out of it looks for work.
        self._bell: SimpleQueue[None] = SimpleQueue()
        self._workers = 0
        self._lock = threading.Lock()
        self._board: _Board | None = None
        self.closed = False

    def ask(self, work: _Work, others: int) -> None:
        """Let up to ``others`` workers take part in ``work`` when they are free."""
        self._hire(others)
        self._works.extend([work] * others)
        if self._board is not None:
            self._board.call_away()
        for _ in range(others):
            self._bell.put(None)

    def wake(self, others: int, asleep: int) -> None:
        """Let ``asleep`` workers look at the board, of ``others``."""
        self._hire(others)
        for _ in range(asleep - self._bell.qsize()):
            self._bell.put(None)

    def _hire(self, others: int) -> None:
        with self._lock:
            while self._workers < others:
                own = self._works, self._bell
                threading.Thread(target=self._serve, args=own, name="tpnumba", daemon=True).start()
                self._workers += 1

    def _serve(self, works: deque[_Work], bell: SimpleQueue[None]) -> None:
        while True:
            bell.get()
            awake = True
            while awake:
                try:
                    work = works.popleft()
                except IndexError:
                    awake = self._board is not None and self._board.look_for_jobs(works)
                    continue
                try:
                    work.take_part()
                except BaseException as error:  # raised again where the work was asked for
                    work.fail(error)
                del work  # or its arrays would live on until the next one comes

    def open_board(self) -> _Board | None:
        """The board of native jobs; None if they are not handed over here, for want of a clock or at the very end."""
        if self._board is None and not self.closed and _clock():
            with self._lock:
                if self._board is None:
                    self._board = _Board(self.wake)
                    atexit.register(self.close)  # after Numba's import, so that this comes before what Numba does
        return None if self.closed else self._board

    def close(self) -> None:
        """Before the interpreter ends, and the machine code goes: no worker may be in it then."""
        self.closed = True
        if self._board is not None:
            self._board.close()


def _clock() -> int:
    """The address of ``clock_gettime``; 0 where the system has none, so that threads cannot tell when to give up."""
    return _address_in_c("clock_gettime")


@cache
def _address_in_c(name: str) -> int:
    """The address of a function of POSIX, which has it along with all others; 0 elsewhere."""
    try:
        return ctypes.cast(getattr(ctypes.CDLL(None), name), ctypes.c_void_p).value or 0
    except (AttributeError, OSError, TypeError):
        return 0


@lru_cache(maxsize=1)
def _kernel() -> ModuleType:
    """The compiled part; Numba is imported when it is needed."""
    from tpnumba.backends.cpu.runtime import kernel

    return kernel


_pool = _Pool()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.forget)
