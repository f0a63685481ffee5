"""Operands and results as rows, as kernels read and write them: one for each sample."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any, NamedTuple

from tpnumba.backends.namespaces import Context
from tpnumba.backends.portions import Shape
from tpnumba.plans.access import Access

Array = Any


class Rows(NamedTuple):
    """An array and the numbers from one row to the next; a ``stride`` of 0: one row for all samples."""

    array: Array
    stride: int


class RowsCall(NamedTuple):
    """What a program is launched on; see :func:`tpnumba.backends.gpu.evaluation.evaluate_rows`."""

    rows: Mapping[int, Rows]
    n_samples: int
    results: tuple[Array, ...]
    summed: bool
    context: Context


def as_rows(array: Array, access: Access, samples: Shape) -> Rows | None:
    """The operand ``(..., size)`` as rows of ``samples``; None if it would have to be copied to have any."""
    size = array.shape[-1]
    leading = tuple(array.shape[:-1])
    if array.flags.c_contiguous:
        if access == Access.SHARED or prod(leading) == 1:
            return Rows(array, 0)
        return Rows(array, size) if prod(leading) == prod(samples) else None
    stride, rest = divmod(array.strides[0], array.itemsize)
    if leading == samples and len(samples) == 1 and array.strides[1] == array.itemsize and stride > 0 and not rest:
        return Rows(array, stride)
    return None


def as_target(result: Array, size: int) -> Array | None:
    """The result as rows ``(count, size)``; None if it would have to be copied to have any."""
    return result.reshape(-1, size) if result.flags.c_contiguous else None
