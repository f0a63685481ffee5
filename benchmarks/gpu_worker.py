"""One peer on one work, on the GPU: ``python -m benchmarks.gpu_worker PEER WORK`` prints a line of JSON.

Its result is checked, then calls are queued one after the other and waited for together; tpnumba is timed in the same
way by the peer ``tpnumba``.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np

from benchmarks.gpu import PEER_WORKS
from benchmarks.peers import Run

#: Modules of ``benchmarks.peers``.
MODULES = {
    "e3nn": "e3nn",
    "e3nn-jax": "e3nn_jax",
    "cue-torch": "cue_torch",
    "openequivariance": "openequivariance",
}
_REPEATS, _REPEAT_SECONDS = 5, 0.2


def main(peer: str, name: str) -> None:
    """Print status, error and seconds a call."""
    work = PEER_WORKS[name]
    operands = work.operands()
    try:
        module = import_module(f"benchmarks.peers.{MODULES[peer]}")
    except ImportError as error:
        print(json.dumps({"status": "not installed", "reason": str(error)}))
        return
    wait = _use_gpu(peer)
    run: Run = module.prepare(work, operands)
    (found,) = run.call()
    rows = np.linspace(0, work.batch - 1, 64).astype(int)
    given = operands.rows(rows)
    expected = work.product(*given.inputs, backend="generic")
    theirs = np.asarray(found[rows].cpu() if hasattr(found, "cpu") else found[rows]).reshape(len(rows), -1)
    order = run.orders[0]
    theirs = theirs if order is None else theirs[:, order]
    error = float(np.max(np.abs(theirs - expected)) / np.max(np.abs(expected)))
    right = error <= 1000 * np.finfo(work.dtype).eps
    seconds = queued(run.call, wait)
    print(json.dumps({"status": "timed" if right else "wrong", "error": error, "microseconds": seconds * 1e6}))


def _use_gpu(peer: str) -> Callable[[], object]:
    """Make the GPU the default of the peer's library; returns what waits for it."""
    if peer.endswith("jax"):
        jax = import_module("jax")
        assert jax.default_backend() == "gpu", "jax has no GPU"
        return lambda: None  # every call waits
    torch = import_module("torch")
    torch.set_default_device("cuda")
    synchronize: Callable[[], object] = torch.cuda.synchronize
    return synchronize


def queued(
    call: Callable[[], Any], wait: Callable[[], object], clock: Callable[[], float] = time.perf_counter
) -> float:
    """Seconds a call, of as many as fit in a fifth of a second; the median of five such times."""

    def seconds(count: int) -> float:
        start = clock()
        for _ in range(count):
            call()
        wait()
        return (clock() - start) / count

    seconds(3)
    count = max(1, int(_REPEAT_SECONDS / max(seconds(3), 1e-6)))
    return statistics.median(seconds(count) for _ in range(_REPEATS))


if __name__ == "__main__":
    main(*sys.argv[1:])
