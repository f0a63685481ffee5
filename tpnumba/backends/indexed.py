"""The driver of calls whose samples are the edges of a graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from tpnumba.backends.call import Array, Call
from tpnumba.backends.generic.edges import evaluate_edges
from tpnumba.backends.namespaces import is_lazy, is_numpy, short_name
from tpnumba.backends.registry import choose
from tpnumba.edges import PAIRS
from tpnumba.plans.access import Access
from tpnumba.plans.base import Plan


def evaluate(call: Call, arrays: Sequence[Array], out: Array | None, *, add: bool = False) -> Array:
    """Evaluate a call with edges: NumPy arrays by the processor's kernels, others by operations of their library.

    Args:
        call: with the edges.
        arrays: one for each of ``call.operands``: a row a node where the operand is indexed; otherwise a row an edge,
            or one for all, ``(size,)``.
        out: an array for the result, or None.
        add: add to ``out``, whose rows are those of nodes.

    Raises:
        TypeError: a backend was asked for that does not take the arrays.
    """
    context = call.context
    if is_lazy(context.xp):
        raise TypeError("convolutions take no dask arrays: an edge may need the features of any node")
    if call.backend == "gpu" or (call.backend == "cpu" and not is_numpy(context.xp)):
        raise TypeError(
            f"backend {call.backend!r} has no convolution of arrays of {short_name(context.xp)};"
            " use backend 'auto' or 'generic'"
        )
    backend, plan = choose(call if is_numpy(context.xp) else call._replace(backend="generic"))
    assert isinstance(plan, Plan)
    access = [operand.access for operand in plan.operands]
    has_pairs = call.edges is not None and call.edges.pairs is not None
    rows = dict(zip(call.operands, (array.ndim > 1 for array in arrays), strict=True))
    rows[plan.output] = len(call.batch) > 0
    for i, has_rows in rows.items():
        if access[i] is Access.BATCH and not has_rows:
            access[i] = Access.SHARED
        elif access[i] is Access.BATCH and has_pairs and plan.operands[i].end == PAIRS:
            access[i] = Access.INDEXED
    plan = plan.with_access(tuple(access))
    if backend == "generic":
        result = evaluate_edges(plan, call, arrays)
        if out is None:
            return result
        out[...] = out + result if add else result
        return out
    from tpnumba.backends.cpu import indexed

    result = context.xp.empty((*call.batch, plan.sizes[plan.output]), dtype=context.dtype) if out is None else out
    indexed.evaluate_edges(plan, call, dict(zip(call.operands, arrays, strict=True)), result, add=add)
    return cast(Array, result)
