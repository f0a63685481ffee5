"""NumPy with the plan that tpnumba has: the reference backend, which writes each step as operations on whole arrays."""

from __future__ import annotations

from benchmarks.peers import Run
from benchmarks.peers.plans import quickest
from benchmarks.product_works import Operands, ProductWork
from benchmarks.works import Task
from tpnumba.products.base import Operator


def prepare(work: ProductWork, operands: Operands) -> Run:
    """See :mod:`benchmarks.peers`."""

    def make(p: Operator) -> Run:
        if work.task is Task.BACKWARD:
            return Run(lambda: p.vjp(operands.x1, operands.x2, operands.cotangent, backend="generic"))
        return Run(lambda: (p(*operands.inputs, backend="generic"),))

    return quickest(work, make)
