"""Which plan a peer evaluates that has tpnumba's: the very same one, or another that suits it better."""

from __future__ import annotations

import time
from collections.abc import Callable

from benchmarks.peers import Run
from benchmarks.product_works import ProductWork, on_sphere
from benchmarks.works import Task
from tpnumba.products.base import Operator


def quickest(work: ProductWork, make: Callable[[Operator], Run]) -> Run:
    """The run of the method that tpnumba takes, or of those that ``auto`` takes for the peer: whatever takes less time.

    Gradients too: for ``auto`` each may have a method of its own.
    """
    assert work.lmax is not None
    ours, theirs = (work.product.methods.choose(backend, work.dtype)[0] for backend in ("cpu", "generic"))
    runs = [make(work.product)]
    if ours != theirs or work.task is not Task.FORWARD:
        runs.append(make(on_sphere(work.kind, work.lmax, ours)))
    return min(runs, key=_seconds) if len(runs) > 1 else runs[0]


def _seconds(run: Run) -> float:
    run.call()  # traces, compiles, fills caches
    start = time.perf_counter()
    run.call()
    return time.perf_counter() - start
