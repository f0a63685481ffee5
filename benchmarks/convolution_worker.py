"""One peer of the convolution in a process of its own: its times beside tpnumba's, or the memory that it takes."""

from __future__ import annotations

import ctypes
import gc
import json
import re
import statistics
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from benchmarks.edge_works import ConvolutionWork, convolution
from benchmarks.options import ProcessOptions, run_process
from benchmarks.peers import CONVOLUTION_PEERS, Run
from benchmarks.product_works import Operands
from benchmarks.worker import versions_of
from benchmarks.works import Array, Task
from tpnumba.studies.checks import ROUNDINGS

OURS = "tpnumba"
#: Memory is measured so often, and the median taken.
_MEASURED = 3


@dataclass(frozen=True, kw_only=True)
class ConvolutionOptions(ProcessOptions):
    """What the driver asks of a worker.

    Attributes:
        peer: a peer; of memory also ``tpnumba``.
        measure: ``times`` or ``memory``.
        nodes, neighbours, channels: of the work.
    """

    peer: str
    measure: str
    nodes: int
    neighbours: int
    channels: int

    def work(self, task: Task) -> ConvolutionWork:
        """The work, at this size."""
        return convolution(task, channels=self.channels, nodes=self.nodes, neighbours=self.neighbours)


def main() -> None:
    """Measure what is asked, and write a line of JSON for each task."""
    run_process(ConvolutionOptions.read, _run)


def _run(options: ConvolutionOptions, lines: TextIO) -> None:
    def write(**values: Any) -> None:
        print(json.dumps({"peer": options.peer, "measure": options.measure, **values}), file=lines, flush=True)

    packages = ("numpy", "numba") if options.peer == OURS else CONVOLUTION_PEERS[options.peer].packages
    for task in (Task.FORWARD, Task.BOTH):
        work, entry = options.work(task), {"task": str(task), "edges": options.nodes * options.neighbours}
        try:
            measured = _times(work, options) if options.measure == "times" else _memory(work, options)
        except ImportError as error:
            write(**entry, status="missing", reason=str(error), versions={})
        except Exception as error:  # a peer that cannot do a work is a line of the table
            first = str(error).splitlines()[0] if str(error) else ""
            write(**entry, status="failed", reason=f"{type(error).__name__}: {first}", versions=versions_of(packages))
        else:
            write(**entry, status="measured", reason="", versions=versions_of(packages), **measured)
        gc.collect()


def _prepare(peer: str, work: ConvolutionWork, operands: Operands, threads: int) -> Run:
    if peer == OURS:
        return work.ours(operands, threads)
    run: Run = import_module(f"benchmarks.peers.{CONVOLUTION_PEERS[peer].module}").prepare(work, operands)
    return run


def _times(work: ConvolutionWork, options: ConvolutionOptions) -> dict[str, Any]:
    """Times and errors of tpnumba and the peer, in turns."""
    operands = work.operands()
    wanted = work.reference(operands)
    runs = {name: _prepare(name, work, operands, options.threads) for name in (OURS, options.peer)}
    errors = {name: _error(name, run, wanted, work) for name, run in runs.items()}
    result_bytes = sum(array.nbytes for array in wanted) // 2  # of the references, which are float64
    timings = options.timings(
        {name: run.call for name, run in runs.items()}, result_bytes, repeat_seconds=0.02, limit_seconds=options.seconds
    )
    return {"times": {name: {**timing._asdict(), "error": errors[name]} for name, timing in timings.items()}}


def _error(name: str, run: Run, wanted: tuple[Array, ...], work: ConvolutionWork) -> float:
    """The greatest deviation of any number, relative to the greatest number of its array.

    Raises:
        ValueError: another dtype or shape, or a deviation beyond rounding.
    """
    greatest = 0.0
    for theirs, order, expected in zip(run.call(), run.orders, wanted, strict=False):
        array = np.asarray(theirs)
        if array.dtype != work.dtype or array.shape != expected.shape:
            raise ValueError(f"{name} gave {array.dtype} of shape {array.shape}, expected {expected.shape}")
        found = array if order is None else array[:, order]
        greatest = max(greatest, float(np.max(np.abs(found - expected)) / np.max(np.abs(expected))))
    if not greatest <= ROUNDINGS * np.finfo(work.dtype).eps:
        raise ValueError(f"{name} deviates by {greatest:.1e} of the greatest number")
    return greatest


def _memory(work: ConvolutionWork, options: ConvolutionOptions) -> dict[str, Any]:
    """Bytes at the peak of a call, beyond those that were there before it, and its results.

    There before are operands, edges, what was built and compiled, and the tiles of our threads, which are added.
    """
    operands = work.operands()
    run = _prepare(options.peer, work, operands, options.threads)
    run.call()
    beyond = [_peak(run) for _ in range(_MEASURED)]
    kept = work.tile_bytes(options.threads) if options.peer == OURS else 0
    return {"bytes": statistics.median(beyond) + kept, "operand_bytes": sum(array.nbytes for array in operands.inputs)}


def _peak(run: Run) -> int:
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the peak is what there is now
    before = _status("VmRSS")
    found = run.call()
    peak = _status("VmHWM") - before
    return peak - sum(int(array.nbytes) for array in found)


def _status(field: str) -> int:
    """Bytes, as Linux has them of this process."""
    match = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="utf-8"))
    assert match is not None
    return 1024 * int(match[1])


def describe(options: ConvolutionOptions) -> dict[str, Any]:
    """What the files say of the work."""
    given = asdict(options)
    return {key: given[key] for key in ("nodes", "neighbours", "channels", "threads", "repeats")}


if __name__ == "__main__":
    main()
