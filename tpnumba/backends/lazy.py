"""Dask arrays: each block of samples is worked by the backend of the arrays inside, when it is computed.

The graph gets one layer a call, whatever the plan, and memory is that of a block; array-API operations on dask arrays
would add a layer for every operation and path.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from tpnumba.backends.namespaces import common_context
from tpnumba.plans.access import Access
from tpnumba.plans.base import Plan
from tpnumba.plans.harmonics import Harmonics

Array = Any
Shape = tuple[int, ...]


def run(
    function: Callable[..., Array],
    plan: Plan,
    operands: Mapping[int, Array],
    full: Shape,
    batch: Shape,
) -> Array:
    """Evaluate ``plan``; ``function`` is the dispatch that runs it on one block."""
    shared = plan.operands[plan.output].access == Access.SHARED
    padded = (1,) * (len(full) - len(batch)) + batch
    summed = tuple(axis for axis, n in enumerate(full) if shared or padded[axis] != n)
    core = (plan.operands[plan.output].size,)
    block = partial(_run_block, function, plan, tuple(operands), len(full), summed)
    result = map_samples(block, [(array, 1) for array in operands.values()], len(full), core, summed=summed)
    return result[(0,) * (len(full) if shared else len(full) - len(batch))]


def _run_block(
    function: Callable[..., Array], plan: Plan, slots: Shape, axes: int, summed: Shape, *blocks: Array
) -> Array:
    """One block of the result, of length 1 along the axes that are summed."""
    context = common_context({plan.operands[i].name: array for i, array in zip(slots, blocks, strict=True)})
    leading = np.broadcast_shapes(*(array.shape[:-1] for array in blocks))
    full = (1,) * (axes - len(leading)) + leading
    kept = tuple(1 if axis in summed else n for axis, n in enumerate(full))
    shared = plan.operands[plan.output].access == Access.SHARED
    result = function(plan, dict(zip(slots, blocks, strict=True)), full, () if shared else kept, context)
    return context.xp.reshape(result, (*kept, result.shape[-1]))


def run_harmonics(function: Callable[..., Any], plan: Harmonics, arrays: tuple[Array, ...]) -> tuple[Array, ...]:
    """Evaluate ``plan``; ``function`` is the dispatch that runs it on one block, for each result by itself."""
    return tuple(
        map_samples(
            partial(_harmonics_block, function, plan, number),
            [(array, 1) for array in arrays],
            arrays[0].ndim - 1,
            core,
        )
        for number, core in enumerate(plan.outputs)
    )


def _harmonics_block(function: Callable[..., Any], plan: Harmonics, number: int, *blocks: Array) -> Array:
    return function(plan, blocks, common_context({f"array {i}": block for i, block in enumerate(blocks)}))[number]


def map_samples(
    function: Callable[..., Array],
    arrays: Sequence[tuple[Array, int]],
    axes: int,
    core: Shape,
    *,
    dtype: Any = None,
    summed: Shape = (),
) -> Array:
    """Apply ``function`` to blocks of samples.

    Args:
        function: from blocks of the arrays, whose leading axes broadcast, to a block ``(..., *core)``. It is pickled.
        arrays: each with the number of its last axes that make up a sample, which must be one chunk.
        axes: the number of leading axes that the arrays broadcast to.
        core: the shape of a sample of the result.
        dtype: of the result; by default the widest of the arrays.
        summed: the leading axes along which a block of the result has length 1, to be added over the blocks.
    """
    import dask.array as da
    from dask.base import tokenize

    arguments: list[Any] = []
    last = axes + len(core)
    for array, own in arrays:
        count = array.ndim - own
        arguments += [array, (*range(axes - count, axes), *range(last, last + own))]
        last += own
    bare = [array for array, _ in arrays]
    dtype = np.result_type(*bare) if dtype is None else dtype
    result = da.blockwise(  # type: ignore[no-untyped-call, unused-ignore]
        function,
        tuple(range(axes + len(core))),
        *arguments,
        new_axes={axes + i: n for i, n in enumerate(core)},
        adjust_chunks=dict.fromkeys(summed, 1),
        concatenate=True,
        # The pickled function names the result: dask's own way through a large plan is slow.
        token=f"tpnumba-{tokenize(pickle.dumps(function), *bare)}",
        meta=np.zeros_like(bare[0]._meta, dtype=dtype, shape=(0,) * (axes + len(core))),
    )
    return da.sum(result, axis=summed, keepdims=True) if summed else result
