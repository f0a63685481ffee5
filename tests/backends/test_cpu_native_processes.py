"""Kernels by their address, shared over threads, in processes: interrupts, forks, the end of the interpreter."""

from __future__ import annotations

import os
from pathlib import Path

from backends.cpu_cases import assert_interrupt_is_answered, in_process

#: For processes of their own, that they find the modules of the tests.
TESTS = os.pathsep.join([str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])])


def test_interrupt_is_answered_and_the_next_call_is_right():
    assert_interrupt_is_answered(
        f"""
        import sys; sys.path.insert(0, {TESTS.split(os.pathsep)[0]!r})
        import numpy as np
        from backends.native_kernel import Counted
        from tpnumba.backends.cpu.runtime.threads import share_native

        def short(n):
            counted = Counted(100, 1)
            share_native(counted.job(), n or 1)
            return counted.result

        def long(n):
            counted = Counted(20_000, 1, tile=10_000, rounds=100)
            try:
                share_native(counted.job(), n)
            except KeyboardInterrupt:
                before = counted.result.copy()
                assert not before.all()
                time.sleep(0.05)
                assert np.array_equal(before, counted.result)  # nobody is at it any more
                raise

        import time
        """
    )


def test_one_interrupt_after_the_other():
    """At any place of a call, also where the last one is dealt with: nobody writes to memory that is given up."""
    done = in_process(
        """
        import signal, time
        from backends.native_kernel import Counted
        from tpnumba.backends.cpu.runtime import threads

        def interrupt(number, frame):
            while frame is not None:
                if frame.f_code is threads._Board.share.__code__:
                    raise KeyboardInterrupt
                frame = frame.f_back

        threads.share_native(Counted(10, 1).job(), 3)
        signal.signal(signal.SIGALRM, interrupt)
        interrupted = 0
        for i in range(40):
            counted = Counted(1000, 1, tile=1000, rounds=100)
            job = counted.job()
            signal.setitimer(signal.ITIMER_REAL, 1e-4 * (1 + i), 3e-4)
            try:
                threads.share_native(job, 3)
            except KeyboardInterrupt:
                interrupted += 1
            signal.setitimer(signal.ITIMER_REAL, 0)
            before = counted.result.copy()
            time.sleep(1e-3)
            assert id(job) in threads._pool.open_board()._held or (before == counted.result).all()
        assert interrupted > 20, interrupted
        counted = Counted(1000, 1)
        threads.share_native(counted.job(), 2)
        assert (counted.result == 1).all()
        print("well")
        """,
        PYTHONPATH=TESTS,
    )
    assert done.stdout == "well\n", done.stderr


def test_after_a_fork_and_in_nested_pools():
    done = in_process(
        """
        import multiprocessing, warnings
        from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
        from backends.native_kernel import Counted
        from tpnumba.backends.cpu.runtime.threads import share_native

        warnings.simplefilter("ignore")  # forking a process with threads is what is tried here

        def works(n):
            counted = Counted(500, 1, first_waits=min(n, 2))
            share_native(counted.job(), n)
            return bool((counted.result == 1).all())

        def child(n):
            with ThreadPoolExecutor(3) as pool:
                return all(pool.map(works, [n] * 10))

        for _ in range(3):
            assert works(2)  # so that a worker looks for jobs at the fork
            with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork")) as pool:
                assert all(pool.map(child, [1, 2, 3, 2]))
            assert works(2)
        print("same")
        """,
        PYTHONPATH=TESTS,
    )
    assert done.stdout == "same\n", done.stderr


def test_the_interpreter_ends_while_workers_look_for_jobs():
    """In children whose interpreters end as any other."""
    done = in_process(
        """
        import os, sys, warnings
        from backends.native_kernel import Counted
        from tpnumba.backends.cpu.runtime.threads import share_native

        warnings.simplefilter("ignore")
        ended = []
        for i in (0, 2, 5):
            child = os.fork()
            if child == 0:
                for _ in range(i):
                    share_native(Counted(2, 1, first_waits=2).job(), 2)
                sys.exit(7)
            ended.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        print(set(ended))
        """,
        PYTHONPATH=TESTS,
    )
    assert (done.stdout, done.stderr) == ("{7}\n", "")
