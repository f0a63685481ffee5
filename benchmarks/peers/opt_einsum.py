"""The Gaunt product as a contraction with its dense table, in the order that opt_einsum finds, by NumPy."""

from __future__ import annotations

from math import prod

import numpy as np
import opt_einsum

from benchmarks.peers import NotOfferedError, Run
from benchmarks.product_works import Operands, ProductWork
from benchmarks.works import Task

#: It makes the outer product of the inputs, or more; above this many bytes a work would swap, not compute.
_LIMIT = 2**31


def prepare(work: ProductWork, operands: Operands) -> Run:
    """See :mod:`benchmarks.peers`."""
    if work.task is not Task.FORWARD:
        raise NotOfferedError("it has no gradients")
    shape, places, values = work.product.coefficients()
    table = np.zeros(shape, work.dtype)
    table[tuple(places)] = values
    contract = opt_einsum.contract_expression("ni,nj,ijk->nk", operands.x1.shape, operands.x2.shape, shape)
    size = work.batch * prod(shape[:2]) * np.dtype(work.dtype).itemsize
    if size > _LIMIT:
        raise NotOfferedError(f"it makes arrays of {size / 2**30:.1f} GiB here")
    return Run(lambda: (contract(operands.x1, operands.x2, table),))
