"""Derivatives and batches of a call, as calls: what the adapters of torch and jax tell their libraries.

A call of a form is linear in every array, so its derivative along a tangent is the same call with the tangent in place
of the array, and its gradient is a call of the adjoint. Spherical harmonics are linear in their second array only.
Where a derivative is no call (the second ones of harmonics by the points), the rules say None, and the
adapters leave it to the operations of the generic backend.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from tpnumba.backends.call import Array, Call, Shape
from tpnumba.plans.harmonics import Harmonics

#: A call with the arrays that it is made on.
Bound = tuple[Call, list[Array]]


def along_tangent(call: Call, arrays: Sequence[Array], number: int, tangent: Array) -> Bound | None:
    """The derivative of the result by one of the arrays, along a tangent."""
    replaced = [*arrays[:number], tangent, *arrays[number + 1 :]]
    if not isinstance(call.methods, Harmonics):
        return call._replace(methods=call.methods.linear_in(call.operands[number])), replaced
    if number == 1:
        return call, replaced
    if call.methods.kind == "values":
        return _harmonics(call, "jvp"), [arrays[0], tangent]
    return None


class Gradient(NamedTuple):
    """A gradient as a call.

    Attributes:
        call: the call.
        places: which arrays it is made on: of those of the call that it is the gradient of, and, after the last of
            these, the cotangent.
    """

    call: Call
    places: tuple[int, ...]


def gradient_by(call: Call, number: int, batch: Shape) -> Gradient | None:
    """The gradient of ``<cotangent, result>`` by one of the arrays, whose leading axes are ``batch``."""
    count = len(call.operands)
    if isinstance(call.methods, Harmonics):
        if number == 1:
            return Gradient(_harmonics(call, "jvp" if call.methods.kind == "vjp" else "vjp"), (0, count))
        return Gradient(_harmonics(call, "vjp"), (0, count)) if call.methods.kind == "values" else None
    methods, operands = call.methods, call.operands
    adjoint = Call(
        methods.gradient(operands[number]),
        (*operands[:number], *operands[number + 1 :], methods.output),
        call.samples,
        batch,
        call.context,
        call.backend,
        call.num_threads,
    )
    return Gradient(adjoint, (*range(number), *range(number + 1, count + 1)))


def gradient(call: Call, arrays: Sequence[Array], number: int, cotangent: Array) -> Bound | None:
    """The gradient of ``<cotangent, result>`` by one of the arrays, which itself is not read but for its shape."""
    found = gradient_by(call, number, tuple(arrays[number].shape[:-1]))
    if found is None:
        return None
    given = *arrays, cotangent
    return found.call, [given[place] for place in found.places]


def _harmonics(call: Call, kind: str) -> Call:
    assert isinstance(call.methods, Harmonics)
    return call._replace(methods=replace(call.methods, kind=kind), operands=(0, 1))


class Batched(NamedTuple):
    """A call for all samples along the axes that a library maps.

    Attributes:
        call, arrays: for all of them.
        shape: the leading axes that the results are to get, the axis that is mapped first.
    """

    call: Call
    arrays: list[Array]
    shape: Shape

    def shaped(self, results: Sequence[Array]) -> list[Array]:
        """The results of the call with these leading axes."""
        xp, axes = self.call.context.xp, len(self.call.batch)
        return [xp.reshape(result, (*self.shape, *result.shape[axes:])) for result in results]


def batched(call: Call, arrays: Sequence[Array], mapped: Sequence[bool]) -> Batched:
    """A call for all samples along an axis of some arrays.

    Args:
        call: that of one sample of these.
        arrays: its arrays; those that are ``mapped`` with one axis more, the first.
        mapped: for each array, whether it has it.
    """
    xp, depth = call.context.xp, len(call.samples)
    size = next(array.shape[0] for array, has_axis in zip(arrays, mapped, strict=True) if has_axis)

    def padded(shape: Shape) -> Shape:
        return (1,) * (depth - len(shape)) + shape

    def prepared(array: Array, has_axis: bool) -> Array:
        if has_axis:
            shape = tuple(array.shape)
            array = xp.reshape(array, (size, *padded(shape[1:-1]), shape[-1]))
        if isinstance(call.methods, Harmonics):  # whose arrays have the same leading axes
            array = xp.broadcast_to(array, (size, *call.samples, array.shape[-1]))
        return array

    ready = [prepared(array, has_axis) for array, has_axis in zip(arrays, mapped, strict=True)]
    wide = call._replace(samples=(size, *call.samples), batch=(size, *padded(call.batch)))
    return Batched(wide, ready, (size, *call.batch))
