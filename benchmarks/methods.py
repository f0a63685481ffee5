"""The methods of each product against each other: how they grow with L, and whether ``auto`` takes the fastest.

A process of its own, as a peer has; all methods of a case are timed in turns.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any, TextIO

import numpy as np

from benchmarks.kinds import ON_SPHERE
from benchmarks.listing import Extent
from benchmarks.options import ProcessOptions, run_process
from benchmarks.product_works import build, registered
from benchmarks.works import Array
from tpnumba.measures.expressivity import expressivity
from tpnumba.products.base import Operator
from tpnumba.studies.checks import ROUNDINGS
from tpnumba.studies.registry import CONFIGURATIONS

#: Operations of one call, at most; so the batch gets smaller as L grows.
_FLOPS = 1e9
#: The fewest and the most samples; the fewest are work for two threads with tiles of 128 and more.
_FEWEST, _MOST = 512, 10_000
#: Samples whose error is measured.
_COMPARED = 8
#: Above these degrees the coefficients of a product of fields have no kernel, and take seconds to list.
_HIGHEST = {"vector-cross": 10, "vector-dot": 10}
#: Degrees at which the sparse coefficients would be too many for a reference.
_HIGHEST_DIRECT = 16


@dataclass(frozen=True)
class MethodCase:
    """One product in one setting: its methods at one L, or one method at several.

    Attributes:
        kind: a key of :data:`benchmarks.kinds.ON_SPHERE`.
        lmaxes: with each of which each method is timed.
    """

    study: str
    kind: str
    setting: str
    methods: tuple[str, ...]
    lmaxes: tuple[int, ...]
    dtype: str

    @property
    def name(self) -> str:
        """What ``--cases`` is matched with."""
        what = "-".join(str(L) for L in self.lmaxes)
        return f"{self.study}-{self.kind}-{self.setting.lower()}-{what}-{self.dtype}"


@dataclass(frozen=True, kw_only=True)
class MethodOptions(ProcessOptions):
    """What the driver asks for."""

    @property
    def cases(self) -> list[MethodCase]:
        """Those that match, in their order."""
        return [case for case in _all(self.extent) if any(fnmatchcase(case.name, pattern) for pattern in self.patterns)]


def _all(extent: Extent) -> Iterator[MethodCase]:
    yield MethodCase("growth", "gaunt", "MIMO", ("grid",), extent.growth, "float32")
    methods = {kind: registered(name).methods for kind, name in ON_SPHERE.items()}
    for setting in reversed(CONFIGURATIONS):  # MIMO first: that is what grows
        for kind, listed in methods.items():
            for L in range(1, extent.methods + 1):
                for dtype in ("float32", "float64"):
                    yield MethodCase("methods", kind, setting.name, listed, (L,), dtype)
            for degree in extent.beyond if setting.name == "MIMO" else ():
                if degree <= _HIGHEST.get(kind, degree):
                    yield MethodCase("methods", kind, setting.name, listed, (degree,), "float32")


@lru_cache(maxsize=64)
def _product(kind: str, setting: str, method: str, lmax: int) -> Operator:
    return build(ON_SPHERE[kind], setting, method, lmax)


def main() -> None:
    """Run the cases, and write a line of JSON for each."""
    run_process(MethodOptions.read, _run)


def _run(options: MethodOptions, stream: TextIO) -> None:
    started = time.perf_counter()
    listed = options.cases
    for number, case in enumerate(listed, start=1):
        status, reason, found = "timed", "", {}
        if time.perf_counter() - started > options.seconds:
            status, reason = "not run", f"the {options.seconds / 60:g} minutes of the methods were over"
        elif not _product(case.kind, case.setting, "auto", case.lmaxes[0]).paths:
            status, reason = "empty", "nothing is coupled"
        else:
            found = _measure(case, options)
            greatest = max(run["error"] for run in found["runs"])
            if not greatest <= ROUNDINGS * np.finfo(case.dtype).eps:
                status, reason = "wrong", f"a deviation of {greatest:.1e} of the greatest number"
        line = {**asdict(case), "name": case.name, "status": status, "reason": reason, **found}
        stream.write(json.dumps(line) + "\n")
        stream.flush()
        shown = ", ".join(f"{r['method']} {r['seconds'] * 1e6:.3g} us" for r in found.get("runs", ())) or reason
        print(f"[methods {number}/{len(listed)}] {case.name}: {status}, {shown}", file=sys.stderr, flush=True)


def _measure(case: MethodCase, options: MethodOptions) -> dict[str, Any]:
    """The method that ``auto`` takes, and for each method and L its seconds a sample, its error, and its extent."""
    calls, products, batches = {}, {}, {}
    samples: dict[int, tuple[Array, Array]] = {}
    for L in case.lmaxes:
        made = {(method, L): _product(case.kind, case.setting, method, L) for method in case.methods}
        batch = _batch(max(p.cost().flops for p in made.values()), options)
        samples[L] = _samples(next(iter(made.values())), batch, case.dtype)
        products |= made
        batches |= dict.fromkeys(made, batch)
    for key, p in products.items():
        x1, x2 = samples[key[1]]
        calls[key] = lambda p=p, x1=x1, x2=x2: p(x1, x2, num_threads=options.threads)
    errors = {key: _error(case, products[key], key[1], samples[key[1]], calls[key]()) for key in calls}
    size = max(batches[key] * p.irreps_out.dim for key, p in products.items()) * np.dtype(case.dtype).itemsize
    timings = options.timings(calls, size, repeat_seconds=0.01, limit_seconds=1.5)
    auto = _product(case.kind, case.setting, "auto", case.lmaxes[0])
    runs = [
        {
            "method": method,
            "lmax": L,
            "batch": batches[method, L],
            "seconds": timing.seconds / batches[method, L],
            "spread": timing.spread / batches[method, L],
            "error": errors[method, L],
            "flops": products[method, L].cost().flops,
            "paths": len(products[method, L].paths),
            "expressivity": _expressivity(case, L),
        }
        for (method, L), timing in timings.items()
    ]
    return {"auto": auto.methods.choose("cpu", case.dtype)[0], "runs": runs}


def _batch(flops: int, options: MethodOptions) -> int:
    if options.quick:
        return _FEWEST
    fitting = 2 ** int(math.log2(max(_FLOPS / flops, 1)))
    return _MOST if fitting >= _MOST else max(fitting, _FEWEST)


def _samples(p: Operator, batch: int, dtype: str) -> tuple[Array, Array]:
    rng = np.random.default_rng(0)
    first, second = (rng.standard_normal((batch, irreps.dim)) for irreps in (p.irreps_in1, p.irreps_in2))
    return first.astype(dtype), second.astype(dtype)


def _error(case: MethodCase, p: Operator, lmax: int, samples: tuple[Array, Array], result: Array) -> float:
    """The greatest deviation from float64 and another method, relative to the greatest number."""
    other = "direct"
    if lmax > _HIGHEST_DIRECT:
        other = "fourier" if p.method == "grid" else "grid"
    rows = [x[:_COMPARED].astype(np.float64) for x in samples]
    wanted = _product(case.kind, case.setting, other, lmax)(*rows, backend="generic")
    return float(np.max(np.abs(result[:_COMPARED] - wanted)) / np.max(np.abs(wanted)))


def _expressivity(case: MethodCase, lmax: int) -> int:
    if lmax > _HIGHEST_DIRECT and (case.kind, case.setting) == ("gaunt", "MIMO"):
        return 4 * lmax + 1  # the law; the rank itself, which is the same at L = 16 and 32, takes minutes at 64
    return _rank(case.kind, case.setting, lmax)


@lru_cache(maxsize=1024)
def _rank(kind: str, setting: str, lmax: int) -> int:
    return expressivity(_product(kind, setting, "auto", lmax), single_copies=True)


if __name__ == "__main__":
    main()
