"""Batches worked in pieces, so that temporaries stay small however many samples come."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from math import prod
from typing import Any

from tpnumba.backends.blocks import Block, Shape, blocks, clip, fold, rows_of
from tpnumba.backends.generic import contraction, synthesis, transform
from tpnumba.backends.namespaces import Context, is_eager
from tpnumba.plans.access import Access
from tpnumba.plans.base import PIECE_BYTES, Plan
from tpnumba.plans.contraction import Contraction
from tpnumba.plans.synthesis import Synthesis
from tpnumba.plans.transform import Transform

Array = Any


def run(
    plan: Plan,
    operands: Mapping[int, Array],
    full: Shape,
    batch: Shape,
    context: Context,
    out: Array | None,
    num_threads: int | None = None,  # noqa: ARG001
) -> Array:
    """Evaluate ``plan``.

    Args:
        plan: its ``access`` says which operands are one row for all samples (arrays with one axis).
        operands: an array for every input; leading axes broadcast to ``full``.
        full: the samples.
        batch: the leading axes of the result, broadcasting to ``full``; samples that fall on the same place are summed.
        context: namespace, device and dtype of the result.
        out: an array of the result's shape and dtype to write into, or None.
        num_threads: not used here: threads are those of the array library.
    """
    xp, device, dtype = context
    operands = {i: xp.astype(array, dtype, copy=False) for i, array in operands.items()}
    size = plan.operands[plan.output].size
    shared = plan.operands[plan.output].access == Access.SHARED
    padded = () if shared else (1,) * (len(full) - len(batch)) + batch
    summed = shared or padded != full
    if not is_eager(xp, operands.values()):
        result = _at_once(plan, operands, full, padded, context)
        return xp.reshape(result, (*batch, size))

    result = xp.empty((*padded, size), dtype=dtype, device=device) if out is None else out
    if summed or not plan.fills_output:
        result[...] = 0.0
    for block in blocks(full, _samples_a_piece(plan, context)):
        where = () if shared else clip(block, padded)
        written = set()
        for columns, rows in _evaluate(plan, operands, block, full, context):
            value = fold(xp, rows, block, padded, shared)
            if summed or columns.start in written:
                result[(*where, columns)] += value
            else:
                result[(*where, columns)] = value
            written.add(columns.start)
    return result if padded == batch else xp.reshape(result, (*batch, size))


def _samples_a_piece(plan: Plan, context: Context) -> int:
    return max(1, PIECE_BYTES // (context.itemsize * max(1, plan.workspace)))


def map_rows(function: Callable[[Array], Array], array: Array, core: Shape, result: Shape, context: Context) -> Array:
    """Apply ``function`` to every sample of an array ``(..., *core)``; a sample of the outcome has shape ``result``.

    ``function`` gets ``(n, prod(core))`` and gives ``(n, prod(result))`` in the dtype of ``context``. In pieces, so
    that an array of any strides is not copied as a whole.
    """
    xp, device, dtype = context
    leading = tuple(array.shape[: array.ndim - len(core)])
    if not is_eager(xp, (array,)):
        rows = xp.reshape(array, (prod(leading), prod(core)))
        return xp.reshape(function(rows), (*leading, *result))
    filled = xp.empty((*leading, *result), dtype=dtype, device=device)
    for block in blocks(leading, max(1, PIECE_BYTES // (16 * max(prod(core), prod(result))))):
        where = (*block, ...)
        part = array[where]
        shape = tuple(part.shape[: len(leading)])
        value = function(xp.reshape(part, (prod(shape), prod(core))))
        filled[where] = xp.reshape(value, (*shape, *result))
    return filled


def _evaluate(
    plan: Plan, operands: Mapping[int, Array], block: Block, full: Shape, context: Context
) -> Iterator[tuple[slice, Array]]:
    inputs = {
        i: array if plan.operands[i].access == Access.SHARED else rows_of(context.xp, array, block, full)
        for i, array in operands.items()
    }
    match plan:
        case Contraction():
            return contraction.evaluate(plan, context, inputs)
        case Transform():
            return transform.evaluate(plan, context, inputs)
        case Synthesis():
            return synthesis.evaluate(plan, context, inputs)
    raise TypeError(f"the generic backend has no evaluation for {type(plan).__name__}")


def _at_once(plan: Plan, operands: Mapping[int, Array], full: Shape, padded: Shape, context: Context) -> Array:
    """All samples in one piece, without writing into an array: for lazy and traced namespaces."""
    xp, device, dtype = context
    block = tuple(slice(0, n) for n in full)
    output = plan.operands[plan.output]
    parts: dict[int, Array] = {}
    for columns, rows in _evaluate(plan, operands, block, full, context):
        value = fold(xp, rows, block, padded, output.access == Access.SHARED)
        parts[columns.start] = parts[columns.start] + value if columns.start in parts else value
    if len(parts) == 1 and plan.fills_output:
        return next(iter(parts.values()))
    pieces = [
        parts[segment.offset]
        if segment.offset in parts
        else xp.zeros((*padded, segment.mul * segment.dim), dtype=dtype, device=device)
        for segment in output.segments
        if segment.mul > 0
    ]
    return xp.concat(pieces, axis=-1) if pieces else xp.zeros((*padded, 0), dtype=dtype, device=device)
