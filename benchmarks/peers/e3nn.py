"""e3nn on torch, eager: its generated code, not scripted (which takes minutes to warm up and is no faster here)."""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any

from benchmarks.peers import NotOfferedError, Run
from benchmarks.point_works import HarmonicsWork, Points, RotationsWork
from benchmarks.product_works import Operands, ProductWork
from benchmarks.works import Task, Work

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what e3nn uses of torch is on its way out; its numbers are not
    import e3nn
    import torch
    from e3nn import o3

    from benchmarks.peers.on_torch import make_run

e3nn.set_optimization_defaults(jit_script_fx=False)


#: Its harmonics are written out, and its tables of rotations stored, to this degree.
_HIGHEST = 11


def prepare(work: Work, operands: Any) -> Run:
    """See :mod:`benchmarks.peers`."""
    if isinstance(work, HarmonicsWork):
        return _harmonics(work, operands)
    if isinstance(work, RotationsWork):
        return _rotations(work, operands)
    assert isinstance(work, ProductWork)
    return _product(work, operands)


def _product(work: ProductWork, operands: Operands) -> Run:
    return make_run(build(work.kind, work.in1, work.in2, work.out, work.weights, work.dtype), work, operands)


def _harmonics(work: HarmonicsWork, operands: Points) -> Run:
    if work.lmax > _HIGHEST:
        raise NotOfferedError(f"its degrees end at {_HIGHEST}")
    if work.task is Task.JACOBIAN:
        raise NotOfferedError("it has no derivatives of all harmonics at once")
    points, degrees = torch.from_numpy(operands.array), list(range(work.lmax + 1))

    def call() -> tuple[Any, ...]:
        with torch.no_grad():
            return (o3.spherical_harmonics(degrees, points, normalize=True, normalization="integral"),)

    return Run(call)


def _rotations(work: RotationsWork, operands: Points) -> Run:
    torch.set_default_dtype(getattr(torch, work.dtype))  # of the tables it reads; those in float32 are off by 1e-6
    irreps, matrices = o3.Irreps(work.irreps), torch.from_numpy(operands.array)

    def call() -> tuple[Any, ...]:
        with torch.no_grad():
            return (irreps.D_from_matrix(matrices),)

    return Run(call)


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
