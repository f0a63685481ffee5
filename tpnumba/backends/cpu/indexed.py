"""Contractions over the edges of a graph: rows that samples find by number, and sums over the samples of a row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from tpnumba.backends.call import Call
from tpnumba.backends.cpu.evaluation import sum_samples
from tpnumba.backends.cpu.layout import ADD_TO_ROWS, ADDRESS, COLUMN_STRIDE, COMPACT, INDEX, OUTPUT, ROW_STRIDE, SHARED
from tpnumba.backends.cpu.lowering import program_of
from tpnumba.backends.cpu.program import Ints, Program
from tpnumba.backends.cpu.runtime.threads import WORTH_SHARING, default_threads, share
from tpnumba.backends.cpu.runtime.workspace import address_of, workspace
from tpnumba.edges import EdgeOrder
from tpnumba.plans.access import Access
from tpnumba.plans.base import Plan

Array = npt.NDArray[np.floating]


def evaluate_edges(plan: Plan, call: Call, arrays: Mapping[int, Array], result: Array, *, add: bool) -> None:
    """Evaluate a plan with indexed operands.

    Args:
        plan: with the access of each operand.
        call: with the edges, which are the samples.
        arrays: of each input: a row a node where it is indexed, one row where it is shared, else a row an edge.
        result: likewise; every number of it is written.
        add: add to an indexed result instead.
    """
    if not _has_whole_rows(result):
        rows = np.array(result, order="C")
        evaluate_edges(plan, call, arrays, rows, add=add)
        result[...] = rows
        return
    edges = call.edges
    assert edges is not None
    program = program_of(plan, call.context.dtype_name)
    assert program is not None  # asked for before the plan came here
    output = plan.operands[plan.output]
    indexed = output.access is Access.INDEXED
    order = (
        edges.order(str(output.end))
        if indexed
        else EdgeOrder(None, edges.senders, edges.receivers, edges.pairs, _NO_STARTS)
    )
    if not indexed and (not len(edges) or not plan.fills_output):
        result[...] = 0.0
    elif indexed and not add:
        result[... if program.adds_rows else order.isolated] = 0.0
    if not len(edges):
        return
    ready = {i: np.require(array, call.context.dtype, ("C", "A")) for i, array in arrays.items()}
    table = _find_rows(program, plan, order, ready)
    threads = 1
    if program.seconds * len(edges) > WORTH_SHARING:
        threads = default_threads() if call.num_threads is None else call.num_threads
        threads = min(threads, program.most_threads)
    if output.access is Access.SHARED:
        result[...] = sum_samples(program, table, ready, len(edges), threads)
        return
    _put_row(table, plan.output, result, order, output.access, output.end)
    table[plan.output, OUTPUT] = ADD_TO_ROWS if add else 1
    cuts = _cuts(program, len(edges), threads, order if indexed else None)

    def evaluate_chunk(i: int, _: object = (ready, result)) -> None:
        tile = workspace(program.tile_size, program.dtype)
        program.call(tile, table, int(cuts[i]), int(cuts[i + 1]))

    share(evaluate_chunk, cuts.size - 1, threads)


def _has_whole_rows(result: Array) -> bool:
    """Whether the numbers of a row follow each other, so that kernels can write them in vectors."""
    if result.size == 0 or result.flags.carray:
        return True
    return result.flags.aligned and (result.shape[-1] == 1 or result.strides[-1] == result.itemsize)


_NO_STARTS = np.zeros(0, dtype=np.int64)


def _find_rows(program: Program, plan: Plan, order: EdgeOrder, arrays: Mapping[int, Array]) -> Ints:
    """The program's table of arrays with the places of the inputs, and of the numbers of their rows."""
    table = program.new_table()
    for i, array in arrays.items():
        operand = plan.operands[i]
        _put_row(table, i, array, order, operand.access, operand.end)
    return table


def _put_row(table: Ints, i: int, array: Array, order: EdgeOrder, access: Access, end: str | None) -> None:
    item = array.itemsize
    table[i, ADDRESS], table[i, COLUMN_STRIDE] = address_of(array), array.strides[-1] // item
    if access is Access.SHARED:
        table[i, ROW_STRIDE] = 0
        table[i, SHARED] = max(1, table[i, SHARED])
        return
    assert table[i, SHARED] != COMPACT
    table[i, ROW_STRIDE] = array.strides[0] // item
    index: Any = order.edges if access is Access.BATCH else getattr(order, str(end))
    table[i, INDEX] = 0 if index is None else address_of(index)


def _cuts(program: Program, count: int, threads: int, order: EdgeOrder | None) -> npt.NDArray[np.int64]:
    """Where chunks of the edges begin and end; all edges of a row of the result are in one."""
    chunk = program.chunk(count, threads)
    cuts = np.arange(0, count, chunk, dtype=np.int64)
    if order is not None:
        cuts = np.unique(order.starts[np.searchsorted(order.starts, cuts, side="left")])
    return np.append(cuts[cuts < count], count)
