"""One peer in a process of its own: its results are checked, then it, tpnumba and NumPy are timed in turns."""

from __future__ import annotations

import gc
import json
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any, TextIO

import numpy as np

from benchmarks.listing import works
from benchmarks.options import ProcessOptions, run_process
from benchmarks.peers import PEERS, NotOfferedError, Run, hand_written
from benchmarks.works import Array, Work
from tpnumba.studies.checks import ROUNDINGS, compared_samples
from tpnumba.studies.roofline import measure_roofline


@dataclass(frozen=True, kw_only=True)
class PeerOptions(ProcessOptions):
    """What the driver asks of a worker.

    Attributes:
        prepare_seconds: what a peer may take to build and compile a work; larger ones of the family are then left out.
    """

    peer: str
    prepare_seconds: float

    @property
    def works(self) -> list[Work]:
        """The works, in their order."""
        return works(self.extent, self.patterns, self.peer)


class _TooLong(BaseException):
    """Not an ``Exception``, which compilers like to catch."""


class _WrongError(Exception):
    """A result that is not that of the product."""


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """Raise ``_TooLong`` after ``seconds``, or as soon as the interpreter runs after that; where there are signals."""
    if not hasattr(signal, "SIGALRM"):
        yield
        return

    def ring(*_: object) -> None:
        raise _TooLong

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def main() -> None:
    """Run the works of one peer, and write a line of JSON for each."""
    run_process(PeerOptions.read, _run)


def _run(options: PeerOptions, lines: TextIO) -> None:
    started = time.perf_counter()
    peer = PEERS[options.peer]

    def write(line: str, **values: Any) -> None:
        print(json.dumps({"line": line, "peer": options.peer, **values}), file=lines, flush=True)

    roofline = measure_roofline(options.threads, scale=0.05 if options.quick else 1.0)
    try:
        module = import_module(f"benchmarks.peers.{peer.module}")
    except ImportError as error:
        write("peer", missing=str(error), versions={}, roofline=asdict(roofline))
        return
    write("peer", missing=None, versions=versions_of(peer.packages), roofline=asdict(roofline))
    too_long: dict[tuple[str, ...], str] = {}
    listed = options.works
    for number, work in enumerate(listed, start=1):
        status, reason, times = "timed", "", {}
        if time.perf_counter() - started > options.seconds:
            status, reason = "not run", f"the {options.seconds / 60:g} minutes of this peer were over"
        elif work.family in too_long:
            status, reason = "not run", too_long[work.family]
        else:
            try:
                times = _measure(work, module, options)
            except NotOfferedError as error:
                status, reason = "not offered", str(error)
            except _TooLong:
                status = "not run"
                reason = f"preparing {work.size} took more than {options.prepare_seconds:.0f} s"
                too_long[work.family] = reason
            except _WrongError as error:
                status, reason = "wrong", str(error)
            except Exception as error:  # a peer that cannot do a work is a line of the table
                status, reason = "failed", f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        write("work", **work.describe(), status=status, reason=reason, times=times)
        shown = ", ".join(f"{name} {entry['seconds'] * 1e3:.3g} ms" for name, entry in times.items()) or reason
        print(f"[{options.peer} {number}/{len(listed)}] {work.name}: {status}, {shown}", file=sys.stderr, flush=True)
        gc.collect()


def versions_of(packages: tuple[str, ...]) -> dict[str, str]:
    """The versions of packages that are installed."""
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "unknown"
    return found


def _measure(work: Work, module: Any, options: PeerOptions) -> dict[str, Any]:
    """Times and errors of the peer, tpnumba and NumPy, by name."""
    operands = work.operands()
    chosen = compared_samples(work.batch)
    wanted = work.reference(operands.rows(chosen))
    with _time_limit(options.prepare_seconds):
        theirs = module.prepare(work, operands)
        theirs.call()
    runs = {"tpnumba": work.ours(operands, options.threads)}
    if options.peer != "numpy" and work.kind in PEERS["numpy"].kinds:
        runs["numpy"] = hand_written.prepare(work, operands)
    runs[options.peer] = theirs
    functions, errors = {}, {}
    for name, run in runs.items():
        # NumPy stands beside the other peers as a yardstick only; all it can do is measured where it is the peer.
        into = run.into if name in {"tpnumba", options.peer} else None
        ways = {name: run.call} | ({f"{name} out=": into} if into else {})
        for way, function in ways.items():
            errors[way] = _check(way, function(), run, wanted, chosen, work)
            functions[way] = function
    result_bytes = work.batch * sum(array.shape[-1] for array in wanted) * np.dtype(work.dtype).itemsize
    timings = options.timings(functions, result_bytes, repeat_seconds=0.015, limit_seconds=3.0)
    return {way: {**timing._asdict(), "error": errors[way]} for way, timing in timings.items()}


def _check(name: str, found: tuple[Any, ...], run: Run, wanted: tuple[Array, ...], chosen: Array, work: Work) -> float:
    """The greatest deviation, relative to the greatest number of its array.

    Raises:
        _WrongError: another dtype or shape, or a deviation beyond rounding.
    """
    if len(found) != len(wanted):
        raise _WrongError(f"{name} gave {len(found)} arrays, {len(wanted)} were expected")
    greatest = 0.0
    for theirs, order, expected in zip(found, run.orders, wanted, strict=False):
        array = np.asarray(theirs)
        if array.dtype != work.dtype or len(array) != work.batch:
            raise _WrongError(f"{name} gave {array.dtype} of shape {array.shape}")
        rows = array[chosen].reshape(len(chosen), -1)
        rows = rows if order is None else rows[:, order]
        if rows.shape != expected.shape:
            raise _WrongError(f"{name} gave {rows.shape[1]} columns, {expected.shape[1]} were expected")
        greatest = max(greatest, float(np.max(np.abs(rows - expected)) / np.max(np.abs(expected))))
    if not greatest <= ROUNDINGS * np.finfo(work.dtype).eps:
        raise _WrongError(f"{name} deviates by {greatest:.1e} of the greatest number")
    return greatest


if __name__ == "__main__":
    main()
