"""The reference backend of tpnumba: gather, product and sums by halves of segments, in array operations of NumPy."""

from __future__ import annotations

from benchmarks.edge_works import ConvolutionWork
from benchmarks.peers import Run
from benchmarks.product_works import Operands


def prepare(work: ConvolutionWork, operands: Operands) -> Run:
    """See :mod:`benchmarks.peers`."""
    return work.ours(operands, 1, backend="generic")
