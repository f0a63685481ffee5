"""The convolution of e3nn as a whole, compiled by ``torch.compile`` (which needs a C++ compiler)."""

from __future__ import annotations

import torch

from benchmarks.edge_works import ConvolutionWork
from benchmarks.peers import Run
from benchmarks.peers.edges_e3nn import make_function
from benchmarks.peers.on_torch import make_run
from benchmarks.product_works import Operands


def prepare(work: ConvolutionWork, operands: Operands) -> Run:
    """See :mod:`benchmarks.peers`."""
    return make_run(torch.compile(make_function(work), dynamic=False), work, operands)
