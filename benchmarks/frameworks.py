"""Times of tpnumba on torch tensors and jax arrays beside those on NumPy arrays, in one interleaved run.

``python -m benchmarks.frameworks`` writes ``benchmarks/results/frameworks-NAME.json`` and ``.md``. The work is every
case of the registry (every product, method and configuration up to L), products with channels and weights, spherical
harmonics and grids; forward, and forward with the gradients of all arguments. What takes NumPy a millisecond or more
is compared as a ratio, what takes less by the difference.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import tpnumba as tp
from benchmarks.tables import table
from tpnumba.outputs import write_whole
from tpnumba.studies.machine import describe_machine
from tpnumba.studies.registry import cases
from tpnumba.studies.timing import interleaved

#: Bars: the largest ratio of works of ``LONG`` seconds and more, and the most seconds that shorter ones may lose.
BARS = {"torch": 1.25, "jax": 1.5}
LONG, MORE = 1e-3, 50e-6
#: A work has as many samples as NumPy does forward in about so many seconds.
_SECONDS = (2e-5, 2e-3)
_MOST_SAMPLES = 200_000

Function = Callable[..., Any]


@dataclass(frozen=True)
class Subject:
    """A function of arrays with its gradients: ``vjp(*arguments, cotangent)`` on NumPy arrays."""

    name: str
    function: Function
    vjp: Function
    sizes: tuple[tuple[int, ...], ...]


def subjects(lmax: int) -> Iterator[Subject]:
    """Everything that is timed."""
    for case in cases(lmax):
        p = case.build()
        if p.paths:
            name = f"{case.contender.product}, {case.contender.method}, {case.configuration.name}, L = {case.lmax}"
            yield _product(name, p)
    spherical = tp.Irreps.spherical_harmonics(2)
    channels = "32x0e + 32x1o + 32x2e"
    yield _product(f"channelwise, {channels}", tp.ChannelwiseTensorProduct(channels, spherical))
    yield _product("fully connected, 16 channels", tp.FullyConnectedTensorProduct("16x0e+16x1o", spherical, "16x1o"))
    for degree in range(1, lmax + 1):
        Y, grid = tp.SphericalHarmonics(degree), tp.Grid.exact(2 * degree)
        yield Subject(f"spherical harmonics, L = {degree}", Y, lambda r, g, Y=Y: (Y.vjp(r, g),), ((3,),))
        weights = grid.weights

        def synthesis(x: Any, degree: int = degree, grid: tp.Grid = grid) -> Any:
            return tp.to_grid(x, degree, grid)

        def pulled(_: Any, g: Any, degree: int = degree, grid: tp.Grid = grid, weights: Any = weights) -> Any:
            return (tp.from_grid(g / weights.astype(g.dtype), degree, grid),)

        yield Subject(f"synthesis on a grid, L = {degree}", synthesis, pulled, (((degree + 1) ** 2,),))


def _product(name: str, p: Any) -> Subject:
    sizes = [(p.irreps_in1.dim,), (p.irreps_in2.dim,)]
    if p.weight_numel == 0:
        return Subject(name, p, p.vjp, tuple(sizes))
    return Subject(name, p, lambda x, y, w, g: p.vjp(x, y, g, weights=w), (*sizes, (p.weight_numel,)))


def measure(subject: Subject, seconds: float, libraries: Sequence[str], repeats: int) -> dict[str, Any]:
    """Times of a subject, forward and with gradients, on batches that take NumPy about ``seconds``."""
    samples = _samples(subject, seconds)
    rng = np.random.default_rng(0)
    arguments = [rng.standard_normal((samples, *size)).astype(np.float32) for size in subject.sizes]
    values = subject.function(*arguments)
    cotangent = rng.standard_normal(values.shape).astype(np.float32)
    row: dict[str, Any] = {"work": subject.name, "samples": samples}
    expected = subject.vjp(*arguments, cotangent)
    for task in ("forward", "gradients"):
        functions = {"numpy": _numpy(subject, task, arguments, cotangent)}
        for library in libraries:
            functions[library] = {"torch": _torch, "jax": _jax}[library](subject, task, arguments, cotangent)
            found = functions[library]()
            wanted = (values,) if task == "forward" else (values, *expected)
            row[f"{task} error {library}"] = max(
                float(np.max(np.abs(np.asarray(one) - other)) / (1 + np.max(np.abs(other))))
                for one, other in zip(found, wanted, strict=True)
            )
        timed = interleaved(functions, repeats=repeats, repeat_seconds=0.01)
        row[task] = {library: timing.seconds for library, timing in timed.items()}
    return row


def _samples(subject: Subject, seconds: float) -> int:
    """How many samples take NumPy about ``seconds``."""
    count = 16
    while True:
        arguments = [np.ones((count, *size), dtype=np.float32) for size in subject.sizes]
        took = interleaved({"": lambda given=arguments: subject.function(*given)}, repeats=3, repeat_seconds=0.002)[""]
        if took.seconds >= seconds or count >= _MOST_SAMPLES:
            return count
        count = min(_MOST_SAMPLES, int(count * min(8.0, 1.2 * seconds / took.seconds)) + 1)


def _numpy(subject: Subject, task: str, arguments: list[Any], cotangent: Any) -> Callable[[], tuple[Any, ...]]:
    if task == "forward":
        return lambda: (subject.function(*arguments),)
    return lambda: (subject.function(*arguments), *subject.vjp(*arguments, cotangent))


def _torch(subject: Subject, task: str, arguments: list[Any], cotangent: Any) -> Callable[[], tuple[Any, ...]]:
    import torch

    given, pull = [torch.from_numpy(array) for array in arguments], torch.from_numpy(cotangent)
    if task == "forward":
        return lambda: (subject.function(*given),)
    for array in given:
        array.requires_grad_()

    def run() -> tuple[Any, ...]:
        value = subject.function(*given)
        return value.detach(), *torch.autograd.grad(value, given, pull)

    return run


def _jax(subject: Subject, task: str, arguments: list[Any], cotangent: Any) -> Callable[[], tuple[Any, ...]]:
    import jax

    given, pull = [jax.numpy.asarray(array) for array in arguments], jax.numpy.asarray(cotangent)
    if task == "forward":
        compiled = jax.jit(lambda *x: (subject.function(*x),))
        return lambda: jax.block_until_ready(compiled(*given))

    def both(cotangent: Any, *x: Any) -> tuple[Any, ...]:
        value, pullback = jax.vjp(subject.function, *x)
        return value, *pullback(cotangent)

    gradients = jax.jit(both)
    return lambda: jax.block_until_ready(gradients(pull, *given))


def verdict(row: dict[str, Any], task: str, library: str) -> tuple[str, bool]:
    """The comparison with NumPy as tables show it, and whether it meets the bar."""
    ours, theirs = row[task]["numpy"], row[task][library]
    if ours >= LONG:
        return f"{theirs / ours:.2f}x", theirs <= BARS[library] * ours
    return f"{(theirs - ours) * 1e6:+.0f} us", theirs - ours <= MORE


def report(rows: list[dict[str, Any]], libraries: Sequence[str], machine: str) -> str:
    """The results as Markdown."""
    lines = ["# torch and jax beside NumPy", "", f"Float32, one interleaved run. {machine}", ""]
    for library in libraries:
        for task in ("forward", "gradients"):
            judged = [verdict(row, task, library) for row in rows]
            ratios = [row[task][library] / row[task]["numpy"] for row in rows if row[task]["numpy"] >= LONG]
            more = [row[task][library] - row[task]["numpy"] for row in rows if row[task]["numpy"] < LONG]
            lines.append(
                f"- {library}, {task}: {sum(met for _, met in judged)} of {len(judged)} within {BARS[library]}x, or"
                f" {MORE * 1e6:.0f} us where NumPy takes less than 1 ms; ratio median {np.median(ratios or [0]):.2f},"
                f" worst {max(ratios, default=0):.2f}; most added {max(more, default=0) * 1e6:.0f} us"
            )
    head = ["work", "samples", "NumPy forward (us)", "with gradients (us)"]
    head += [f"{library} {task}" for library in libraries for task in ("forward", "gradients")]
    head.append("largest error")
    body = []
    for row in rows:
        cells = [
            row["work"],
            f"{row['samples']:,}",
            *(f"{row[t]['numpy'] * 1e6:.0f}" for t in ("forward", "gradients")),
        ]
        for library in libraries:
            for task in ("forward", "gradients"):
                shown, met = verdict(row, task, library)
                cells.append(shown if met else f"**{shown}**")
        cells.append(f"{max(value for key, value in row.items() if ' error ' in key):.1e}")
        body.append(cells)
    return "\n".join([*lines, "", table(head, body), ""])


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lmax", type=int, default=4)
    parser.add_argument("--libraries", nargs="+", default=["torch", "jax"], choices=["torch", "jax"])
    parser.add_argument("--match", default="", help="only works whose name has this in it")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--name", default="cpu", help="of the files in benchmarks/results")
    options = parser.parse_args()
    listed = [subject for subject in subjects(options.lmax) if options.match in subject.name]
    rows = []
    for number, subject in enumerate(listed):
        for seconds in _SECONDS:
            rows.append(measure(subject, seconds, options.libraries, options.repeats))
            shown = [verdict(rows[-1], t, lib)[0] for lib in options.libraries for t in ("forward", "gradients")]
            print(f"[{number + 1}/{len(listed)}] {subject.name}: {', '.join(shown)}", file=sys.stderr, flush=True)
    machine = describe_machine()
    path = Path(__file__).parent / "results" / f"frameworks-{options.name}"
    text = json.dumps({"machine": machine, "rows": rows}, indent=1)
    described = ", ".join(f"{key} {value}" for key, value in machine.items())
    shown = report(rows, options.libraries, described)
    write_whole(f"{path}.json", lambda stream: stream.write(text.encode()))
    write_whole(f"{path}.md", lambda stream: stream.write(shown.encode()))


if __name__ == "__main__":
    main()
