"""Where the time of one evaluation of a potential goes: ``python -m benchmarks.potential_profile MODEL``.

Each kind of layer is timed by itself in repeated evaluations of 216 atoms of NaCl; what is left is the rest. Beside the
times stand the least operations of each (what is computed again backward is not counted), and the share of the rate at
which the machine multiplies matrices, measured in the same run.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any
from unittest import mock

import numpy as np
from ase.build import bulk

from benchmarks.tables import table
from tpnumba import nn
from tpnumba.models import Potential, graph_of, load
from tpnumba.models import inputs as inputs_module
from tpnumba.products.convolution import ConvolutionAdjoint, TensorProductConvolution
from tpnumba.sphere.harmonics import SphericalHarmonics
from tpnumba.studies.machine import describe_machine

#: What is timed: the name of a stage, the class, and its method.
STAGES: tuple[tuple[str, Any, str], ...] = (
    ("radial network, forward and again backward", nn.MLP, "__call__"),
    ("radial network, gradient", nn.MLP, "vjp_input"),
    ("convolution, forward", TensorProductConvolution, "__call__"),
    ("convolution, gradients", ConvolutionAdjoint, "__call__"),
    ("linear maps of atoms", nn.Linear, "__call__"),
    ("linear maps of atoms, gradient", nn.Linear, "vjp_input"),
    ("gates", nn.Gate, "__call__"),
    ("gates, gradient", nn.Gate, "vjp"),
    ("harmonics", SphericalHarmonics, "__call__"),
    ("harmonics, gradient", SphericalHarmonics, "vjp"),
    ("pairs and parts of the edges", inputs_module, "cut"),
)


@contextmanager
def timed(seconds: dict[str, float]) -> Iterator[None]:
    """Add the time that each stage takes to ``seconds``."""

    def wrapped(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            start = time.perf_counter()
            try:
                return function(*arguments, **named)
            finally:
                seconds[name] += time.perf_counter() - start

        return call

    patches = [
        mock.patch.object(owner, method, wrapped(name, getattr(owner, method))) for name, owner, method in STAGES
    ]
    for patch in patches:
        patch.start()
    try:
        yield
    finally:
        for patch in patches:
            patch.stop()


def least_flops(model: Potential, edges: int, atoms: int) -> dict[str, float]:
    """Operations of the stages that multiply, each done once: forward, gradients by features and by edges."""
    found: dict[str, float] = defaultdict(float)
    for number, layers in enumerate(model.layers):
        widths = layers.radial_network.widths
        network = 2.0 * sum(a * b for a, b in pairwise(widths)) * edges / 2
        found["radial network, forward and again backward"] += network
        found["radial network, gradient"] += network
        flops = layers.convolution.cost(1).flops * edges
        found["convolution, forward"] += flops
        gradients = [layers.by_harmonics, layers.by_weights, *([layers.by_features] if number else [])]
        found["convolution, gradients"] += sum(operator.cost(1).flops for operator in gradients) * edges
        for linear in (layers.linear_1.layer, layers.linear_2.layer):
            size = 2.0 * sum(
                path.shape[0] * path.shape[1] * linear.irreps_in[path.i_in].ir.dim for path in linear.paths
            )
            found["linear maps of atoms"] += size * atoms
            found["linear maps of atoms, gradient"] += size * atoms
    return found


def matrix_rate() -> float:
    """Operations a second of a large matrix product in float32."""
    a = np.ones((2048, 2048), np.float32)
    best = np.inf
    for _ in range(5):
        start = time.perf_counter()
        a @ a
        best = min(best, time.perf_counter() - start)
    return 2 * 2048.0**3 / best


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.potential_profile", description=__doc__)
    parser.add_argument("model", help="a file of a potential")
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--threads", type=int, default=None)
    options = parser.parse_args()
    model = load(options.model)
    atoms = bulk("NaCl", "rocksalt", a=5.64, cubic=True) * (3, 3, 3)
    atoms.rattle(0.05, seed=0)
    graph = graph_of(atoms, model.cutoff)
    model.evaluate_graph(graph, num_threads=options.threads)
    totals, stages = [], []
    for _ in range(options.repeats):
        start = time.perf_counter()
        model.evaluate_graph(graph, num_threads=options.threads)
        totals.append(time.perf_counter() - start)
        seconds: dict[str, float] = defaultdict(float)
        with timed(seconds):
            model.evaluate_graph(graph, num_threads=options.threads)
        stages.append(seconds)
    whole = float(np.median(totals))
    flops, rate = least_flops(model, len(graph.edges), len(atoms)), matrix_rate()
    lines = []
    for name, _, _ in STAGES:
        spent = float(np.median([entry[name] for entry in stages]))
        work = f"{flops[name] / 1e9:.2f}" if name in flops else ""
        lines.append((name, f"{spent * 1e3:.1f}", f"{spent / whole:.0%}", work))
    rest = whole - sum(float(np.median([entry[name] for entry in stages])) for name, _, _ in STAGES)
    lines.append(("the rest", f"{rest * 1e3:.1f}", f"{rest / whole:.0%}", ""))
    lines.append(("all", f"{whole * 1e3:.1f}", "100%", f"{sum(flops.values()) / 1e9:.2f}"))
    described = ", ".join(f"{key} {value}" for key, value in describe_machine().items())
    print(f"{described}\n{len(atoms)} atoms, {len(graph.edges)} edges, float32\n")
    print(table(("stage", "ms", "share", "least Gflop"), lines))
    share = sum(flops.values()) / whole / rate
    print(f"\nMatrix products: {rate / 1e9:.0f} GFLOP/s; the whole evaluation reaches {share:.0%} of it.")


if __name__ == "__main__":
    main()
