"""e3nn on torch, eager: its generated code, not scripted (which takes minutes to warm up and is no faster here)."""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any

from benchmarks.peers import Run
from benchmarks.works import Operands, Work

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what e3nn uses of torch is on its way out; its numbers are not
    import e3nn
    import torch
    from e3nn import o3

    from benchmarks.peers.on_torch import make_run

e3nn.set_optimization_defaults(jit_script_fx=False)


def prepare(work: Work, operands: Operands) -> Run:
    """See :mod:`benchmarks.peers`."""
    return make_run(build(work.kind, work.in1, work.in2, work.out, work.weights, work.dtype), work, operands)


@cache
def build(kind: str, in1: str, in2: str, out: str, weights: str, dtype: str) -> Any:
    """The module."""
    torch.set_default_dtype(getattr(torch, dtype))
    if kind == "full":
        return o3.FullTensorProduct(in1, in2, [ir for _, ir in o3.Irreps(out)])
    options = {"shared_weights": weights == "shared", "internal_weights": False}
    if kind == "connected":
        return o3.FullyConnectedTensorProduct(in1, in2, out, **options)
    kept = o3.Irreps(out)
    found = [
        (i1, i2, block1.mul, ir)
        for i1, block1 in enumerate(o3.Irreps(in1))
        for i2, block2 in enumerate(o3.Irreps(in2))
        for ir in block1.ir * block2.ir
        if ir in kept
    ]
    irreps, places, _ = o3.Irreps([(mul, ir) for _, _, mul, ir in found]).sort()
    instructions = [(i1, i2, places[k], "uvu", True) for k, (i1, i2, _, _) in enumerate(found)]
    instructions.sort(key=lambda instruction: instruction[2])
    return o3.TensorProduct(in1, in2, irreps, instructions, **options)
