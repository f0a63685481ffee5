"""A convolution over the edges of a graph as a work: what it is given, and how tpnumba does it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

import tpnumba as tp
from benchmarks.peers import Run
from benchmarks.product_works import Operands
from benchmarks.works import Array, Task, Work
from tpnumba.backends.cpu.lowering import program_of

#: Edges whose messages the reference makes at a time.
_AT_A_TIME = 2_000


@dataclass(frozen=True, kw_only=True)
class ConvolutionWork(Work):
    """Messages along the edges of a graph, as interatomic potentials have them, summed at their receivers.

    The edges are sorted by receiver, as lists of neighbours are; the senders are drawn.

    Attributes:
        batch: edges.
        nodes: of the graph; all receive as many messages.
        in1, in2: irreps of the features of nodes, and of the attributes of edges.
        out: the irreps that the filter lets through.
        weights: ``each``, a row an edge.
    """

    nodes: int
    in1: str
    in2: str = "0e + 1o + 2e + 3o"
    out: str = "0e + 1o + 2e"
    weights: str = "each"

    @cached_property
    def product(self) -> tp.ChannelwiseTensorProduct:
        """The product of an edge, ours."""
        return tp.ChannelwiseTensorProduct(self.in1, self.in2, self.out)

    @cached_property
    def edges(self) -> tp.Edges:
        """The graph."""
        senders = np.random.default_rng(1).integers(0, self.nodes, self.batch)
        return tp.Edges(senders, np.arange(self.batch) * self.nodes // self.batch, self.nodes)

    def operands(self) -> Operands:
        """Normally distributed numbers, the same in every process."""
        p, rng = self.product, np.random.default_rng(0)

        def normal(*shape: int) -> Array:
            return rng.standard_normal(shape, dtype=np.float32).astype(self.dtype, copy=False)

        return Operands(
            normal(self.nodes, p.irreps_in1.dim),
            normal(self.batch, p.irreps_in2.dim),
            normal(self.batch, p.weight_numel),
            None if self.task is Task.FORWARD else normal(self.nodes, p.irreps_out.dim),
        )

    def ours(self, given: Operands, threads: int, backend: str = "cpu") -> Run:
        """By tpnumba."""
        conv, edges = tp.TensorProductConvolution(self.product), self.edges
        options: dict[str, Any] = {"num_threads": threads, "backend": backend}

        def forward() -> tuple[Array, ...]:
            return (conv(*given.inputs, edges, **options),)

        def both() -> tuple[Array, ...]:
            return forward() + conv.vjp(given.x1, given.x2, given.cotangent, edges, **given.named, **options)

        return Run(forward if self.task is Task.FORWARD else both)

    def tile_bytes(self, threads: int) -> int:
        """What the threads of our kernels keep to work in."""
        conv = tp.TensorProductConvolution(self.product)
        operators = [conv] if self.task is Task.FORWARD else [conv, *(conv.adjoint(i) for i in range(3))]
        programs = [program_of(operator.plan, self.dtype) for operator in operators]
        largest = max(program.tile_size for program in programs if program is not None)
        return threads * largest * np.dtype(self.dtype).itemsize

    def reference(self, given: Operands) -> tuple[Array, ...]:
        """Gather, product by the reference backend and ``np.add.at``, in float64."""
        p, edges = self.product, self.edges
        x1, x2, weights, g = (
            None if array is None else array.astype(np.float64)
            for array in (given.x1, given.x2, given.weights, given.cotangent)
        )
        out = np.zeros((self.nodes, p.irreps_out.dim))
        gradients = [np.zeros_like(x1), np.zeros_like(x2), np.zeros_like(weights)]
        for first in range(0, self.batch, _AT_A_TIME):
            part = slice(first, first + _AT_A_TIME)
            sent, to = x1[edges.senders[part]], edges.receivers[part]
            np.add.at(out, to, p(sent, x2[part], weights[part], backend="generic"))
            if g is not None:
                pulled = p.vjp(sent, x2[part], g[to], weights=weights[part], backend="generic")
                np.add.at(gradients[0], edges.senders[part], pulled[0])
                gradients[1][part], gradients[2][part] = pulled[1:]
        return (out,) if g is None else (out, *gradients)


def convolution(task: Task, *, channels: int = 64, nodes: int = 2_000, neighbours: int = 20) -> ConvolutionWork:
    """The work of the bars."""
    return ConvolutionWork(
        group="convolution",
        size=f"{channels}x(0e+1o+2e), {nodes:,} nodes, {nodes * neighbours:,} edges",
        kind="channelwise",
        batch=nodes * neighbours,
        task=task,
        dtype="float32",
        bars=(),
        nodes=nodes,
        in1=" + ".join(f"{channels}x{ir}" for ir in ("0e", "1o", "2e")),
    )
