"""OpenEquivariance on torch: its CUDA kernels, which need a GPU. Written from its documentation, and not yet run."""

from __future__ import annotations

import warnings

from benchmarks.peers import NotOfferedError, Run
from benchmarks.peers.e3nn import build
from benchmarks.product_works import Operands
from benchmarks.product_works import ProductWork as Work

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import openequivariance as oeq

    from benchmarks.peers.on_torch import make_run


def prepare(work: Work, operands: Operands) -> Run:
    """See :mod:`benchmarks.peers`; the instructions are those of e3nn, and so is the order of columns."""
    if work.kind != "channelwise":
        raise NotOfferedError("it has no such product without weights")
    theirs = build(work.kind, work.in1, work.in2, work.out, work.weights, work.dtype)
    instructions = [
        (one.i_in1, one.i_in2, one.i_out, one.connection_mode, one.has_weight, 1.0) for one in theirs.instructions
    ]
    irreps = [oeq.Irreps(str(own)) for own in (theirs.irreps_in1, theirs.irreps_in2, theirs.irreps_out)]
    problem = oeq.TPProblem(*irreps, instructions, shared_weights=False, internal_weights=False)
    return make_run(oeq.TensorProduct(problem, torch_op=True), work, operands)
