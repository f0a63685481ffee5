"""What the peers on torch have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from benchmarks.peers import Order, Run, gradient_orders, to_theirs
from benchmarks.product_works import Operands, ProductWork
from benchmarks.works import Task


def make_run(
    function: Callable[..., torch.Tensor],
    work: ProductWork,
    operands: Operands,
    *,
    inputs: Sequence[Order | None] = (None, None, None),
    result: Order | None = None,
) -> Run:
    """A run of ``function(x1, x2[, weights])``, with its columns in the orders given.

    Backward is backward alone: the graph was recorded before and is kept.
    """
    device = torch.get_default_device()
    arrays = [
        torch.from_numpy(to_theirs(a, order)).to(device) for a, order in zip(operands.inputs, inputs, strict=False)
    ]
    orders = gradient_orders(work.task, result, inputs[: len(arrays)])
    if work.task is Task.FORWARD:

        def forward() -> tuple[Any, ...]:
            with torch.no_grad():
                return (function(*arrays),)

        return Run(forward, orders)
    assert operands.cotangent is not None
    cotangent = torch.from_numpy(to_theirs(operands.cotangent, result)).to(device)
    leaves = [array.requires_grad_() for array in arrays]
    if work.task is Task.BACKWARD:
        recorded = function(*leaves)
        return Run(lambda: torch.autograd.grad(recorded, leaves, cotangent, retain_graph=True), orders)

    def both() -> tuple[Any, ...]:
        value = function(*leaves)
        return (value.detach(), *torch.autograd.grad(value, leaves, cotangent))

    return Run(both, orders)
