"""The command for a GPU, ``python -m benchmarks.gpu``: the tests there, times, shares of its limits, and peers.

One after the other within eight minutes: the property tests on CuPy arrays; copy bandwidth and multiply-add rate; the
works with an aim and the registry of products; and each peer that is installed, in a process of its own, on the same
work. What there was no time for is said. It has not been run yet: no GPU was at hand when it was written.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import tpnumba as tp
from benchmarks.bars import CHANNELWISE, FULL
from benchmarks.gpu_report import figure, markdown
from benchmarks.gpu_timing import Gpu
from benchmarks.product_works import ProductWork
from benchmarks.works import Task
from tpnumba.backends import gpu
from tpnumba.backends.gpu.sources import assemble
from tpnumba.backends.namespaces import common_context
from tpnumba.measures.expressivity import expressivity
from tpnumba.outputs import write_whole
from tpnumba.studies.machine import describe_machine
from tpnumba.studies.registry import CONFIGURATIONS, CONTENDERS, Case

_RESULTS = Path(__file__).parent / "results"
_ROOT = Path(__file__).parents[1]
#: The sources of the kernels.
KERNELS = ("tile.cu", "multipass.cu", "harmonics.cu")
PEERS = ("e3nn", "e3nn-jax", "cue-torch", "openequivariance")
#: Seconds of the whole, of the tests, of our own times, and of a peer.
WHOLE, TESTS, OURS, PEER = 480.0, 150.0, 130.0, 40.0
#: Samples that are compared with the reference in float64, relative to the greatest number.
_COMPARED = 64


@dataclass(frozen=True)
class GpuWork:
    """A product on a batch; ``aim`` in microseconds, or as a share of the copy bandwidth below 1."""

    name: str
    build: Callable[[], Any]
    batch: int
    task: Task = Task.FORWARD
    aim: float | None = None
    dtype: str = "float32"


#: What peers are timed on, too.
CONVOLUTION = ProductWork(
    group="channelwise",
    size="128x(0e+1o+2e)",
    kind="channelwise",
    in1="128x0e + 128x1o + 128x2e",
    in2="0e + 1o + 2e + 3o",
    out=" + ".join(f"{degree}{parity}" for degree in range(4) for parity in "eo"),
    weights="each",
    batch=20_000,
    task=Task.FORWARD,
    dtype="float32",
    bars=(CHANNELWISE,),
)


def natural_full(lmax: int, batch: int) -> ProductWork:
    """FullTensorProduct of all degrees up to ``lmax``, with the outputs of natural parity."""
    irreps = str(tp.Irreps.spherical_harmonics(lmax))
    natural = str(tp.Irreps.spherical_harmonics(2 * lmax))
    return ProductWork(
        group="mimo-natural",
        size=str(lmax),
        kind="full",
        in1=irreps,
        in2=irreps,
        out=natural,
        batch=batch,
        task=Task.FORWARD,
        dtype="float32",
        bars=(FULL,),
        lmax=lmax,
    )


FULL_AIMS = {2: 10.0, 4: 15.0, 6: 40.0, 8: 100.0, 10: 250.0}
GAUNT_AIMS = {2: 8.0, 4: 12.0, 6: 20.0, 8: 35.0, 10: 60.0}
PEER_WORKS = {
    "channelwise": CONVOLUTION,
    **{f"full L={L}": natural_full(L, 10_000) for L in FULL_AIMS if L <= 6},
}


def works() -> Iterator[GpuWork]:
    """What is timed, that with an aim first."""
    for L, aim in FULL_AIMS.items():
        yield GpuWork(f"full L={L}", lambda L=L: natural_full(L, 1).product, 10_000, aim=aim)
    for L, aim in GAUNT_AIMS.items():
        yield GpuWork(f"gaunt L={L}", lambda L=L: tp.GauntTensorProduct(L, L, method="grid"), 10_000, aim=aim)
    yield GpuWork("channelwise", lambda: CONVOLUTION.product, CONVOLUTION.batch)
    yield GpuWork("channelwise gradients", lambda: CONVOLUTION.product, CONVOLUTION.batch, Task.BACKWARD)
    for L in (2, 4):
        yield GpuWork(f"full L={L}, a million", lambda L=L: natural_full(L, 1).product, 1_000_000, aim=0.8)
    # In one kernel, and in several passes.
    for L in (12, 24):
        yield GpuWork(f"gaunt L={L}", lambda L=L: tp.GauntTensorProduct(L, L, method="grid"), 1_000)
    (mimo,) = (own for own in CONFIGURATIONS if own.name == "MIMO")
    for L in (2, 4, 6):
        for contender in CONTENDERS:
            name = f"{contender.product}, {contender.method} L={L}"
            yield GpuWork(name, Case(mimo, contender, L).build, 10_000)
            yield GpuWork(f"{name} gradients", Case(mimo, contender, L).build, 10_000, Task.BACKWARD)


def main() -> int:
    """Run everything; the exit status is 1 without a usable GPU, if a test failed or a result was wrong."""
    options = _read_options()
    missing = gpu.missing()
    if missing is not None:
        print(f"nothing was run: {missing}", file=sys.stderr)
        return 1
    end = time.monotonic() + 60 * options.minutes
    card = Gpu()
    document: dict[str, Any] = {
        "device": card.name,
        "machine": describe_machine(),
        "commit": commit(),
        "kernels": hashlib.sha256("".join(assemble(file) for file in KERNELS).encode()).hexdigest(),
        "tests": run_tests(min(TESTS, end - time.monotonic())),
        "limits": card.limits(),
        "works": [],
        "peers": [],
    }
    ours_end = min(end, time.monotonic() + OURS)
    for work in works():
        entry = measure(work, card, document["limits"]) if time.monotonic() < ours_end else not_run(work)
        document["works"].append(entry)
        print(f"{work.name}: {entry['status']} {entry.get('microseconds', '')}", file=sys.stderr, flush=True)
    for peer in PEERS:
        for name in PEER_WORKS:
            document["peers"].append(run_peer(peer, name, min(PEER, end - time.monotonic())))
    write(document, options.output)
    wrong = [entry["name"] for entry in document["works"] if entry["status"] == "wrong"]
    return 1 if wrong or document["tests"]["status"] == "failed" else 0


def _read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description="tpnumba on a GPU.")
    parser.add_argument("--minutes", type=float, default=WHOLE / 60, help="of the whole (default: 8)")
    parser.add_argument("--output", type=Path, default=_RESULTS, metavar="FOLDER")
    options = parser.parse_args()
    if not options.minutes > 0:
        parser.error(f"--minutes must be positive, got {options.minutes:g}")
    options.output.mkdir(parents=True, exist_ok=True)
    return options


def commit() -> str:
    """The commit of the kernels, with a mark if files differ from it."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def run_tests(seconds: float) -> dict[str, str]:
    """The property tests on CuPy arrays."""
    chosen = ("tests/namespaces", "tests/products/test_properties.py", "tests/sphere/test_grids.py")
    command = [sys.executable, "-m", "pytest", "-q", *chosen, "--namespaces=cupy"]
    try:
        done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        return {"status": "not finished", "said": f"stopped after {seconds:.0f} s"}
    lines = done.stdout.strip().splitlines()
    if done.returncode:
        print(done.stdout + done.stderr, file=sys.stderr)
    return {"status": "failed" if done.returncode else "passed", "said": lines[-1] if lines else done.stderr[-200:]}


def describe(work: GpuWork, p: Any) -> dict[str, Any]:
    """What tables say of a work."""
    plans = [p.plan] if work.task is Task.FORWARD else [p.plan.adjoint(i) for i in p.argument_operands]
    costs = [plan.cost(work.batch, work.dtype) for plan in plans]
    context = common_context({"x": np.empty(0, work.dtype)})
    return {
        "name": work.name,
        "task": str(work.task),
        "batch": work.batch,
        "dtype": work.dtype,
        "aim": work.aim,
        "backend": "gpu" if all(gpu.supports(plan, context) for plan in plans) else "generic",
        "flops": sum(cost.flops for cost in costs),
        "bytes": sum(cost.bytes for cost in costs),
    }


def not_run(work: GpuWork) -> dict[str, Any]:
    """The entry of a work that there was no time for."""
    return {"name": work.name, "task": str(work.task), "aim": work.aim, "status": "not run"}


def measure(work: GpuWork, card: Gpu, limits: dict[str, Any]) -> dict[str, Any]:
    """Check a work against the reference, then time it."""
    p = work.build()
    entry = describe(work, p)
    rng = np.random.default_rng(0)
    shapes = [(work.batch, p.irreps_in1.dim), (work.batch, p.irreps_in2.dim)]
    shapes += [(work.batch, p.weight_numel)] if p.weight_numel else []
    plain = [rng.standard_normal(shape, dtype=work.dtype) for shape in shapes]
    rows = np.linspace(0, work.batch - 1, _COMPARED).astype(int)
    there, few_there = None, None
    if work.task is not Task.FORWARD:
        cotangent = rng.standard_normal((work.batch, p.irreps_out.dim), dtype=work.dtype)
        there, few_there = card.array(cotangent), cotangent[rows].astype("float64")

    def call(arrays: list[Any], g: Any, out: Any = None, backend: str = "auto") -> tuple[Any, ...]:
        if work.task is Task.FORWARD:
            return (p(*arrays, out=out, backend=backend),)
        named = {"weights": arrays[2]} if len(arrays) == 3 else {}
        return p.vjp(*arrays[:2], g, **named, backend=backend)

    arrays = [card.array(x) for x in plain]
    found = call(arrays, there)
    few = [x[rows].astype("float64") for x in plain]
    expected = call(few, few_there, backend="generic")
    errors = [np.max(np.abs(card.host(a[rows]) - b)) / np.max(np.abs(b)) for a, b in zip(found, expected, strict=True)]
    entry["error"] = float(max(errors))
    entry["status"] = "timed" if entry["error"] <= 1000 * np.finfo(work.dtype).eps else "wrong"
    out = found[0] if work.task is Task.FORWARD else None
    seconds = card.seconds(lambda: call(arrays, there, out))
    entry |= {
        "microseconds": seconds * 1e6,
        "bandwidth_share": entry["bytes"] / seconds / limits["bytes_per_second"],
        "flops_share": entry["flops"] / seconds / limits["flops_per_second"],
        "expressivity": expressivity(p, single_copies=True) if p.form.paths and work.batch <= 10_000 else None,
    }
    if work.aim is not None:
        entry["met"] = entry["microseconds"] <= work.aim if work.aim >= 1 else entry["bandwidth_share"] >= work.aim
    return entry


def run_peer(peer: str, work: str, seconds: float) -> dict[str, Any]:
    """What a peer says of a work, in a process of its own."""
    entry: dict[str, Any] = {"peer": peer, "name": work}
    if seconds < 5:
        return {**entry, "status": "not run", "reason": "the time was over"}
    command = [sys.executable, "-m", "benchmarks.gpu_worker", peer, work]
    try:
        done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        return {**entry, "status": "not run", "reason": f"it took more than {seconds:.0f} s"}
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        said = done.stderr.strip().splitlines()
        return {**entry, "status": "failed", "reason": said[-1] if said else f"exit status {done.returncode}"}
    return {**entry, **json.loads(lines[-1])}


def write(document: dict[str, Any], folder: Path) -> None:
    """JSON, Markdown and a figure, named after the device."""
    name = re.sub(r"[^a-z0-9]+", "-", document["device"].lower()).strip("-") or "unknown"
    stem = str(folder / f"gpu-{name}")
    write_whole(f"{stem}.json", lambda stream: stream.write(json.dumps(document, indent=1).encode()))
    write_whole(f"{stem}.md", lambda stream: stream.write(markdown(document, f"{Path(stem).name}.png").encode()))
    write_whole(f"{stem}.png", lambda stream: figure(document).savefig(stream, format="png", dpi=110))
    print(f"{stem}.md", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
