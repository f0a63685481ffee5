"""Dask arrays: each chunk of samples is worked by the backend of the arrays inside, when it is computed.

The graph gets one layer a call, whatever the plan, and memory is that of a chunk; array-API operations on dask arrays
would add a layer for every operation and path.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from tpnumba.backends import registry
from tpnumba.backends.call import Array, Call, Shape, result_shapes
from tpnumba.backends.namespaces import common_context
from tpnumba.plans.harmonics import Harmonics
from tpnumba.plans.methods import Methods


def evaluate(call: Call, arrays: Sequence[Array], out: Array | None) -> tuple[Array, ...]:  # noqa: ARG001
    """Evaluate a call on dask arrays; see :func:`tpnumba.backends.evaluate`."""
    if call.backend != "auto":  # said now, and not when the chunks are computed
        registry.require(call.backend)
    axes = len(call.samples)
    padded = (1,) * (axes - len(call.batch)) + call.batch
    summed = tuple(axis for axis, n in enumerate(call.samples) if padded[axis] != n)
    listed = [(array, 1) for array in arrays]
    results = []
    for number, shape in enumerate(result_shapes(call)):
        core = shape[len(call.batch) :]
        chunk = partial(
            _evaluate_chunk,
            call.methods,
            (call.operands, tuple(call.names[i] if i < len(call.names) else f"array {i}" for i in call.operands)),
            (call.backend, call.num_threads),
            (axes, summed),
            number,
        )
        result = map_samples(chunk, listed, axes, core, summed=summed)
        results.append(result[(0,) * (axes - len(call.batch))])
    return tuple(results)


def _evaluate_chunk(
    methods: Methods | Harmonics,
    arguments: tuple[Shape, tuple[str, ...]],
    how: tuple[str, int | None],
    axes: tuple[int, Shape],
    number: int,
    *chunks: Array,
) -> Array:
    """One chunk of one of the results, of length 1 along the axes that are summed."""
    from tpnumba.backends import evaluate as evaluate_arrays

    (operands, names), (count, summed) = arguments, axes
    context = common_context(dict(zip(names, chunks, strict=True)))
    leading = np.broadcast_shapes(*(array.shape[:-1] for array in chunks))
    samples = (1,) * (count - len(leading)) + leading
    batch = tuple(1 if axis in summed else n for axis, n in enumerate(samples))
    return evaluate_arrays(Call(methods, operands, samples, batch, context, *how), chunks)[number]


def map_samples(
    function: Callable[..., Array],
    arrays: Sequence[tuple[Array, int]],
    axes: int,
    core: Shape,
    *,
    dtype: Any = None,
    summed: Shape = (),
) -> Array:
    """Apply ``function`` to chunks of samples.

    Args:
        function: from chunks of the arrays, whose leading axes broadcast, to a chunk ``(..., *core)``. It is pickled.
        arrays: each with the number of its last axes that make up a sample, which must be one chunk.
        axes: the number of leading axes that the arrays broadcast to.
        core: the shape of a sample of the result.
        dtype: of the result; by default the widest of the arrays.
        summed: the leading axes along which a chunk of the result has length 1, to be added over the chunks.
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
