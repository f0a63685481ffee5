"""What one evaluation is, without its arrays: hashable, so that the graphs of torch and jax can hold it."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, NamedTuple

from tpnumba.backends.namespaces import Context
from tpnumba.edges import Edges
from tpnumba.plans.access import Access
from tpnumba.plans.base import Plan
from tpnumba.plans.harmonics import Harmonics
from tpnumba.plans.methods import Methods

Array = Any
Shape = tuple[int, ...]


class Call(NamedTuple):
    """One evaluation: what is computed, and how samples and arrays belong together.

    Attributes:
        methods: the plans to choose from, or spherical harmonics.
        operands: the operand of the plan that each array stands for; of spherical harmonics the numbers of its inputs.
        samples: the broadcast leading axes of all arrays.
        batch: the leading axes of the result, which broadcast to ``samples``; results of samples that fall on the same
            place are summed.
        context: namespace, device and dtype of the result.
        backend: ``auto``, or the name of the one asked for.
        num_threads: for backends with threads of their own; None leaves it to them.
        names: what messages call the array of each operand.
        edges: the edges of a graph, if these are the samples.
    """

    methods: Methods | Harmonics
    operands: tuple[int, ...]
    samples: Shape
    batch: Shape
    context: Context
    backend: str = "auto"
    num_threads: int | None = None
    names: tuple[str, ...] = ()
    edges: Edges | None = None


def result_shapes(call: Call) -> tuple[Shape, ...]:
    """The shape of each result."""
    if isinstance(call.methods, Harmonics):
        return tuple((*call.batch, *core) for core in call.methods.result_shapes)
    plan = call.methods.plans[0][1]
    return ((*call.batch, plan.sizes[plan.output]),)


def with_shared_rows(plan: Plan, call: Call, arrays: Sequence[Array]) -> tuple[Plan, Sequence[Array], Shape]:
    """Tell operands with one row for all samples from batches.

    Returns:
        The plan with the access of each operand; the arrays, those of one row with one axis; and the leading axes of
        the result, none if it is one row for all samples.
    """
    samples, batch = call.samples, call.batch
    leading = [tuple(array.shape[:-1]) for array in arrays]
    if batch == samples and leading.count(samples) == len(leading):
        return plan, arrays, batch
    many = any(n != 1 for n in samples)

    def is_row(shape: Shape) -> bool:
        return not shape or (many and prod(shape) == 1)

    shared_out = is_row(batch) and (batch != samples or not samples)
    access = [Access.BATCH] * len(plan.operands)
    rows: list[Array] = []
    for i, array, shape in zip(call.operands, arrays, leading, strict=True):
        if is_row(shape):
            access[i] = Access.SHARED
        flat = array.ndim > 1 and is_row(shape)
        rows.append(call.context.xp.reshape(array, (array.shape[-1],)) if flat else array)
    access[plan.output] = Access.SHARED if shared_out else Access.BATCH
    return plan.with_access(tuple(access)), rows, () if shared_out else batch
