"""What the peers on jax have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax

from benchmarks.peers import Order, Run, gradient_orders, to_theirs
from benchmarks.product_works import Operands, ProductWork
from benchmarks.works import Task


def make_run(
    function: Callable[..., jax.Array],
    work: ProductWork,
    operands: Operands,
    *,
    inputs: Sequence[Order | None] = (None, None, None),
    result: Order | None = None,
    shapes: Sequence[tuple[int, ...] | None] = (None, None, None),
) -> Run:
    """A run of ``function(x1, x2[, weights])``, jitted, with its columns in the orders given.

    Backward is one jitted call of the vjp; the products are bilinear, so all it needs of the forward pass are the
    operands, and the compiler drops the rest.

    Args:
        shapes: of a sample of each operand, where the function does not take rows.
    """
    pairs = list(zip(operands.inputs, inputs, shapes, strict=False))
    arrays = [
        jax.numpy.asarray(to_theirs(array, order).reshape(*array.shape[: array.ndim - 1], *(shape or (-1,))))
        for array, order, shape in pairs
    ]
    orders = gradient_orders(work.task, result, inputs[: len(arrays)])
    if work.task is Task.FORWARD:
        compiled = jax.jit(function)
        return Run(lambda: (jax.block_until_ready(compiled(*arrays)),), orders)
    assert operands.cotangent is not None
    of_result = jax.eval_shape(function, *arrays)
    cotangent = jax.numpy.asarray(to_theirs(operands.cotangent, result).reshape(of_result.shape))

    def backward(g: jax.Array, *x: jax.Array) -> tuple[Any, ...]:
        return tuple(jax.vjp(function, *x)[1](g))

    def both(g: jax.Array, *x: jax.Array) -> tuple[Any, ...]:
        value, pull = jax.vjp(function, *x)
        return (value, *pull(g))

    differentiated = jax.jit(backward if work.task is Task.BACKWARD else both)
    return Run(lambda: jax.block_until_ready(differentiated(cotangent, *arrays)), orders)
