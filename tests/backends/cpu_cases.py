"""Products and helpers that several tests of the CPU's backend share."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import numpy as np

import tpnumba as tp

SPHERICAL = tp.Irreps.spherical_harmonics(3)
FULL = tp.FullTensorProduct(SPHERICAL, SPHERICAL)
VECTOR_FIELDS = tp.VectorSphericalTensorProduct(2, 2, method="grid")
WEIGHTED = tp.ChannelwiseTensorProduct("4x0e + 4x1o", SPHERICAL)


def in_process(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run code in a process of its own."""
    command = [sys.executable, "-P", "-c", textwrap.dedent(code)]
    return subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=False, timeout=120
    )


def assert_interrupt_is_answered(setup: str) -> None:
    """Ctrl-C in a long call, on one thread and on two, in a process of its own; the next call is right.

    ``setup``: code that makes ``short(num_threads)``, whose result is looked at, and ``long(num_threads)``.
    """
    code = """
        import os, signal, threading
        from tpnumba.backends.cpu.runtime.threads import compile_sharing

        compile_sharing()  # Numba drops an interrupt that comes while it compiles
        expected = short(None)
        signal.signal(signal.SIGINT, signal.default_int_handler)  # jobs in the background start without it
        for threads in (1, 2):
            threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
            try:
                while True:
                    long(threads)
            except KeyboardInterrupt:
                pass
            assert np.array_equal(short(threads), expected)
        print("answered")
        """
    done = in_process(textwrap.dedent(setup) + textwrap.dedent(code))
    assert done.stdout == "answered\n", done.stderr


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
