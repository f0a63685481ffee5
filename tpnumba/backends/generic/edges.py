"""Contractions over the edges of a graph, in the array API: rows are gathered, and summed by halves of segments."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tpnumba.backends.call import Array, Call
from tpnumba.backends.generic.evaluation import evaluate_all_rows
from tpnumba.backends.namespaces import Context, constant
from tpnumba.plans.access import Access
from tpnumba.plans.base import Plan

Ints = npt.NDArray[np.int64]


def evaluate_edges(plan: Plan, call: Call, arrays: Sequence[Array]) -> Array:
    """Evaluate a plan with indexed operands; see :func:`tpnumba.backends.cpu.indexed.evaluate_edges`.

    Takes memory for a row of each operand an edge.
    """
    edges, context = call.edges, call.context
    assert edges is not None
    xp, output = context.xp, plan.operands[plan.output]
    order = edges.order(str(output.end)) if output.access is Access.INDEXED else None
    ends = edges if order is None else order
    inputs = {}
    for i, array in zip(call.operands, arrays, strict=True):
        operand = plan.operands[i]
        numbers = getattr(ends, operand.end) if operand.access is Access.INDEXED and operand.end else None
        if operand.access is Access.BATCH and order is not None:
            numbers = order.edges
        inputs[i] = array if numbers is None else xp.take(array, constant(context, numbers), axis=0)
    values = evaluate_all_rows(plan.on_rows, inputs, len(edges), context)
    return values if order is None else _sum_segments(values, order.starts, context)


class _Halving(NamedTuple):
    """Rows that are added in pairs: the first of each pair, the second, and whether there is one."""

    first: Ints
    second: Ints
    is_pair: npt.NDArray[np.bool_]


def _halvings(starts: Ints) -> Iterator[_Halving]:
    """Steps that each halve the rows of every segment, until at most one is left; the last spreads them over nodes."""
    counts = np.diff(starts)
    while counts.size and counts.max() > 1:
        halves = (counts + 1) // 2
        ends = np.cumsum(halves)
        segment = np.repeat(np.arange(counts.size), halves)
        k = 2 * (np.arange(ends[-1]) - (ends - halves)[segment])
        first, is_pair = starts[segment] + k, k + 1 < counts[segment]
        yield _Halving(first, first + is_pair, is_pair)
        starts, counts = np.append(0, ends), halves


def _sum_segments(rows: Array, starts: Ints, context: Context) -> Array:
    """The sum of the rows of each segment, of which some may be empty: always in the same order."""
    xp = context.xp
    nodes = starts.size - 1
    zero = xp.zeros((), dtype=context.dtype, device=context.device)
    if not rows.shape[0]:  # a sum of nothing, so that libraries with gradients see where it comes from
        return xp.broadcast_to(xp.sum(rows, axis=0, dtype=context.dtype), (nodes, rows.shape[-1])) + zero

    def taken(numbers: Ints) -> Array:
        return xp.take(rows, constant(context, numbers.astype(np.int32)), axis=0)

    for halving in _halvings(starts):
        others = xp.where(constant(context, halving.is_pair, xp.bool)[:, None], taken(halving.second), zero)
        rows = taken(halving.first) + others
    has_rows = np.diff(starts) > 0
    place = np.maximum(np.cumsum(has_rows) - 1, 0)
    if has_rows.all():
        return rows
    return xp.where(constant(context, has_rows, xp.bool)[:, None], taken(place), zero)
