"""NumPy with the same plan as tpnumba: the reference backend, which writes each step as operations on whole arrays."""

from __future__ import annotations

from benchmarks.peers import Run
from benchmarks.product_works import Operands, ProductWork
from benchmarks.works import Task


def prepare(work: ProductWork, operands: Operands) -> Run:
    """See :mod:`benchmarks.peers`."""
    p = work.product
    if work.task is Task.BACKWARD:
        return Run(lambda: p.vjp(operands.x1, operands.x2, operands.cotangent, backend="generic"))
    return Run(lambda: (p(*operands.inputs, backend="generic"),))
