"""e3nn on torch, compiled by ``torch.compile`` (which needs a C++ compiler)."""

from __future__ import annotations

import warnings

from benchmarks.peers import Run
from benchmarks.product_works import Operands, ProductWork

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import torch
    from torch._functorch import config

    from benchmarks.peers.e3nn import build
    from benchmarks.peers.on_torch import make_run

config.donated_buffer = False  # the recorded graph is walked again and again


def prepare(work: ProductWork, operands: Operands) -> Run:
    """See :mod:`benchmarks.peers`."""
    torch.compiler.reset()  # the limit on recompilations counts the works before this one
    module = build(work.kind, work.in1, work.in2, work.out, work.weights, work.dtype)
    return make_run(torch.compile(module, dynamic=False), work, operands)
