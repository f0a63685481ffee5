"""cuEquivariance on torch: its CUDA kernels on a GPU, else the method that runs without them."""

from __future__ import annotations

import warnings

from benchmarks.peers import Run
from benchmarks.product_works import Operands, ProductWork

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import cuequivariance_torch
    import torch

    from benchmarks.peers.cue_polynomials import make_polynomial
    from benchmarks.peers.on_torch import make_run


def prepare(work: ProductWork, operands: Operands) -> Run:
    """See :mod:`benchmarks.peers`."""
    polynomial, inputs, result = make_polynomial(work)
    method = "uniform_1d" if torch.get_default_device().type == "cuda" else "naive"
    module = cuequivariance_torch.SegmentedPolynomial(polynomial, method=method, math_dtype=getattr(torch, work.dtype))

    def function(x1: torch.Tensor, x2: torch.Tensor, *weights: torch.Tensor) -> torch.Tensor:
        given = [w if w.ndim == 2 else w[None] for w in weights]
        return module([*given, x1, x2])[0]

    return make_run(function, work, operands, inputs=inputs, result=result)
