"""cuEquivariance on torch, with its own indices of operands and result, by the method that runs without CUDA."""

from __future__ import annotations

import warnings

from benchmarks.edge_works import ConvolutionWork
from benchmarks.peers import Run
from benchmarks.product_works import Operands

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import cuequivariance_torch
    import torch

    from benchmarks.peers.cue_polynomials import make_polynomial
    from benchmarks.peers.on_torch import make_run


def prepare(work: ConvolutionWork, operands: Operands) -> Run:
    """See :mod:`benchmarks.peers`."""
    polynomial, inputs, result = make_polynomial(work)
    module = cuequivariance_torch.SegmentedPolynomial(polynomial, method="naive", math_dtype=getattr(torch, work.dtype))
    senders, receivers = (torch.tensor(end, dtype=torch.int64) for end in (work.edges.senders, work.edges.receivers))
    shape = torch.empty(work.nodes, 1)  # only its number of rows is read

    def convolve(x1: torch.Tensor, x2: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        return module([weights, x1, x2], {1: senders}, {0: shape}, {0: receivers})[0]

    return make_run(convolve, work, operands, inputs=inputs, result=result)
