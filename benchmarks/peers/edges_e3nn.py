"""e3nn on torch, eager: gather, ``o3.TensorProduct``, and a sum by ``index_add``."""

from __future__ import annotations

from collections.abc import Callable

import torch

from benchmarks.edge_works import ConvolutionWork
from benchmarks.peers import Run
from benchmarks.peers.e3nn import build
from benchmarks.peers.on_torch import make_run
from benchmarks.product_works import Operands


def prepare(work: ConvolutionWork, operands: Operands) -> Run:
    """See :mod:`benchmarks.peers`."""
    return make_run(make_function(work), work, operands)


def make_function(work: ConvolutionWork) -> Callable[..., torch.Tensor]:
    """The convolution of tensors."""
    module = build(work.kind, work.in1, work.in2, work.out, work.weights, work.dtype)
    senders, receivers = (torch.tensor(end, dtype=torch.int64) for end in (work.edges.senders, work.edges.receivers))

    def convolve(x1: torch.Tensor, x2: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        messages = module(x1[senders], x2, weights)
        return messages.new_zeros(work.nodes, messages.shape[1]).index_add(0, receivers, messages)

    return convolve
