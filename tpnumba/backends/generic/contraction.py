"""Contraction on any namespace: group by group, factors multiplied two at a time in the plan's order."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from tpnumba.backends.generic.tensordot import Letters, arrange, multiply
from tpnumba.backends.namespaces import Context, constant
from tpnumba.plans.access import Access
from tpnumba.plans.base import Operand
from tpnumba.plans.contraction import PAIR, Contraction, Group
from tpnumba.plans.ordering import BATCH

Array = Any


def evaluate(plan: Contraction, context: Context, inputs: dict[int, Array]) -> Iterator[tuple[slice, Array]]:
    """Yield ``(where, value)``, where on the last axis of the result a value stands; those of one place are added.

    ``inputs`` maps operands to arrays of shape ``(n, size)``, or ``(size,)`` where the plan says ``shared``. A value
    has shape ``(n, width)``, or ``(width,)`` if the output is shared: then the samples have been summed.
    """
    xp = context.xp
    output = plan.operands[plan.output]
    for number, group in enumerate(plan.groups):
        factors = [_factor(context, plan.operands[i], group, i, inputs[i]) for i in group.inputs]
        table = constant(context, _table(plan, number, context.dtype_name))
        factors.append((table, group.coupling_letters))
        wanted = group.letters[plan.output]
        for step in group.order.steps:
            (left, ll), (right, rl) = factors[step.left], factors[step.right]
            factors.append((multiply(xp, left, ll, right, rl, step.letters), step.letters))
        samples = max((inputs[i].shape[0] for i in inputs if plan.operands[i].access == Access.BATCH), default=1)
        value, letters = _spread(xp, *factors[-1], wanted, {**group.extents, BATCH: samples})
        if PAIR in wanted:
            value, letters = _compress_pairs(context, value, letters, wanted, group)
        value = arrange(xp, value, letters, wanted)
        axis = group.axes[plan.output]
        for segment, columns in group.targets:
            part = value
            if axis is not None:
                place = wanted.index(axis)
                part = value[(*(slice(None),) * place, columns, ...)]
            width = output.segments[segment].mul * output.segments[segment].dim
            head = part.shape[:1] if output.access == Access.BATCH else ()
            yield output.segments[segment].slice, xp.reshape(part, (*head, width))


@lru_cache(maxsize=8192)
def _table(plan: Contraction, number: int, dtype: str) -> npt.NDArray[Any]:
    """The dense coupling of one group; NumPy only, so nothing made inside a trace is kept."""
    table = plan.groups[number].dense().astype(dtype)
    table.flags.writeable = False
    return table


def _factor(context: Context, operand: Operand, group: Group, i: int, array: Array) -> tuple[Array, Letters]:
    """The segment of one operand that a group reads, with its letters."""
    place = group.segments[i]
    assert place is not None
    segment = operand.segments[place]
    letters = group.letters[i]
    block = array if len(operand.segments) == 1 else array[..., segment.slice]
    head = block.shape[:1] if operand.access == Access.BATCH else ()
    channels = group.letters[i][len(head) :]
    block = context.xp.reshape(block, (*head, *(group.extents[letter] for letter in channels)))
    if PAIR in letters:
        return _expand_pairs(context, block, letters, group.extents["u"])
    return block, letters


@lru_cache(maxsize=256)
def _pair_places(n: int) -> npt.NDArray[np.int64]:
    """For each (u, v), row by row, the place of the pair u < v in their list; the place after the last where u >= v."""
    places = np.full((n, n), n * (n - 1) // 2, dtype=np.int64)
    places[np.triu_indices(n, 1)] = np.arange(n * (n - 1) // 2)
    return places.ravel()


def _expand_pairs(context: Context, block: Array, letters: Letters, n: int) -> tuple[Array, Letters]:
    """From an axis over pairs u < v to two axes u, v, with zero where u >= v."""
    xp, device, _ = context
    axis = letters.index(PAIR)
    shape = list(block.shape)
    shape[axis] = 1
    padded = xp.concat([block, xp.zeros(tuple(shape), dtype=block.dtype, device=device)], axis=axis)
    spread = xp.take(padded, constant(context, _pair_places(n)), axis=axis)
    square = xp.reshape(spread, (*shape[:axis], n, n, *shape[axis + 1 :]))
    return square, (*letters[:axis], "u", "v", *letters[axis + 1 :])


def _spread(xp: Any, value: Array, letters: Letters, wanted: Letters, extents: dict[str, int]) -> tuple[Array, Letters]:
    """Repeat a value along the letters of the output that no factor has.

    The gradient of a sum over a channel, or a path all of whose operands are one row for all samples.
    """
    missing = tuple(letter for letter in wanted if letter != PAIR and letter not in letters)
    if not missing:
        return value, letters
    shape = (*value.shape, *(extents[letter] for letter in missing))
    value = xp.broadcast_to(xp.reshape(value, (*value.shape, *(1 for _ in missing))), shape)
    return value, (*letters, *missing)


def _compress_pairs(
    context: Context, value: Array, letters: Letters, wanted: Letters, group: Group
) -> tuple[Array, Letters]:
    """From two axes u, v to the list of pairs u < v."""
    xp = context.xp
    rest = tuple(letter for letter in wanted if letter != PAIR)
    value = arrange(xp, value, letters, ("u", "v", *rest))
    n = group.extents["u"]
    flat = xp.reshape(value, (n * n, *value.shape[2:]))
    places = np.flatnonzero(_pair_places(n) < n * (n - 1) // 2)
    return xp.take(flat, constant(context, places), axis=0), (PAIR, *rest)
