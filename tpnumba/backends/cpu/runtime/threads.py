"""The one place for threads: a pool, how work is split over it, and how it is interrupted.

Kernels release the interpreter lock, so plain threads serve. The caller works too and waits for nobody who has not
begun, so calls from many threads at once, from within other pools, and after a fork (which leaves no worker alive)
cannot lock each other out.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from functools import lru_cache
from queue import SimpleQueue

#: Work that takes less than this many seconds stays with the caller: waking a worker takes about a third of it.
WORTH_SHARING = 2e-4


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


class _Pool:
    """Workers that wait for work; made when they are first needed."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Start anew: in the child of a fork no worker lives, and a lock may be held by a thread that does not."""
        self._queue: SimpleQueue[_Work] = SimpleQueue()
        self._workers = 0
        self._lock = threading.Lock()

    def ask(self, work: _Work, others: int) -> None:
        """Let up to ``others`` workers take part in ``work`` when they are free."""
        with self._lock:
            while self._workers < others:
                threading.Thread(target=_serve, args=(self._queue,), name="tpnumba", daemon=True).start()
                self._workers += 1
        for _ in range(others):
            self._queue.put(work)


def _serve(queue: SimpleQueue[_Work]) -> None:
    while True:
        work = queue.get()
        try:
            work.take_part()
        except BaseException as error:  # raised again where the work was asked for
            work.fail(error)
        del work  # or its arrays would live on until the next one comes


_pool = _Pool()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.forget)
