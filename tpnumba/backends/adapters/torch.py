"""Torch tensors in the processor's memory: evaluated by the kernels of NumPy arrays, on the same memory.

Plain tensors are looked at as NumPy arrays, and results are NumPy arrays looked at as tensors; nothing is copied. Where
torch has to know a derivative or a batching rule (tensors that need a gradient, ``torch.func``), a call is an
``autograd.Function`` whose derivatives are calls again, so of any order. Where torch traces with tensors that hold no
numbers (``torch.compile``), the call is the operator ``tpnumba::evaluate`` of its graph, which runs on plain tensors.

Second derivatives of spherical harmonics by the points are those of the generic backend. So are all calls on other
devices, ``backend="generic"``, and plans without a kernel.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any, cast

import torch
from torch.autograd import forward_ad

from tpnumba.backends.adapters import rules
from tpnumba.backends.call import Array, Call, result_shapes
from tpnumba.backends.namespaces import holds_numbers, numpy_context
from tpnumba.backends.registry import choose, evaluate_on


def evaluate(call: Call, arrays: Sequence[Array], out: Array | None) -> tuple[Array, ...]:
    """Evaluate a call on tensors; see :func:`tpnumba.backends.evaluate`."""
    backend, plan = choose(call)
    if backend != "cpu":
        return evaluate_on(backend, plan, call, *arrays, out=out)
    if _is_recorded(arrays):
        return tuple(_Evaluation.apply(call, *(array.to(call.context.dtype) for array in arrays)))
    if all(map(holds_numbers, arrays)):
        return _evaluate_numbers(call, arrays, out)
    return tuple(_evaluate_node(call, arrays))


def _is_recorded(arrays: Sequence[Array]) -> bool:
    """Whether torch is to know how the result depends on the arrays."""
    if torch.is_grad_enabled() and any(array.requires_grad for array in arrays):
        return True
    return forward_ad._current_level >= 0 or any(map(torch._C._functorch.is_functorch_wrapped_tensor, arrays))


def _evaluate_numbers(call: Call, arrays: Sequence[Array], out: Array | None = None) -> tuple[Array, ...]:
    """Evaluate on tensors that hold numbers, by the kernels."""
    threads = torch.get_num_threads() if call.num_threads is None else call.num_threads
    plain = call._replace(context=numpy_context(call.context.dtype_name), backend="cpu", num_threads=threads)
    operands = [array.numpy(force=True) for array in arrays]
    if out is None:
        return tuple(torch.from_numpy(result) for result in evaluate_on(*choose(plain), plain, *operands))
    evaluate_on(*choose(plain), plain, *operands, out=out.numpy())
    torch.autograd.graph.increment_version(out)
    return (out,)


class _Evaluation(torch.autograd.Function):
    """A call as a node of autograd, with its derivatives."""

    @staticmethod
    def forward(call: Call, *arrays: Array) -> tuple[Array, ...]:
        """Evaluate; the arrays are those inside of all transformations."""
        if all(map(holds_numbers, arrays)):
            return _evaluate_numbers(call, arrays)
        return tuple(_evaluate_node(call, arrays))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:  # noqa: ARG004
        """Keep what derivatives need."""
        ctx.call = inputs[0]
        ctx.save_for_backward(*inputs[1:])
        ctx.save_for_forward(*inputs[1:])

    @staticmethod
    def backward(ctx: Any, *cotangents: Array) -> tuple[Array | None, ...]:
        """The gradients of the arrays that need one."""
        call, arrays = ctx.call, ctx.saved_tensors
        found: list[Array | None] = [None]
        for number in range(len(arrays)):
            wanted = ctx.needs_input_grad[number + 1]
            found.append(_gradient(call, arrays, number, cotangents) if wanted else None)
        return tuple(found)

    @staticmethod
    def jvp(ctx: Any, _: Any, *tangents: Array | None) -> tuple[Array, ...]:
        """The derivative of the results along the tangents."""
        call, arrays = ctx.call, ctx.saved_tensors
        parts = [
            _along_tangent(call, arrays, number, tangent)
            for number, tangent in enumerate(tangents)
            if tangent is not None
        ]
        return tuple(sum(values[1:], start=values[0]) for values in zip(*parts, strict=True))

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], call: Call, *arrays: Array) -> tuple[Any, Any]:
        """A call for all samples along the axis that is mapped."""
        dims = in_dims[1:]
        moved = [array if axis is None else array.movedim(axis, 0) for array, axis in zip(arrays, dims, strict=True)]
        mapped = [axis is not None for axis in dims]
        wide, ready, leading = rules.batched(call, moved, info.batch_size, mapped)
        results = _Evaluation.apply(wide, *ready)
        shaped = tuple(result.reshape((*leading, *result.shape[len(wide.batch) :])) for result in results)
        return shaped, (0,) * len(shaped)


def _gradient(call: Call, arrays: Sequence[Array], number: int, cotangents: Sequence[Array]) -> Array:
    rule = rules.gradient(call, arrays, number, cotangents[0]) if len(cotangents) == 1 else None
    if rule is not None:
        adjoint, others = rule
        return _Evaluation.apply(adjoint, *others)[0]
    _, pull = torch.func.vjp(lambda array: _evaluate_generic(call, arrays, number, array), arrays[number])
    return pull(tuple(cotangents))[0]


def _along_tangent(call: Call, arrays: Sequence[Array], number: int, tangent: Array) -> tuple[Array, ...]:
    rule = rules.along_tangent(call, arrays, number, tangent)
    if rule is not None:
        derivative, others = rule
        return tuple(_Evaluation.apply(derivative, *others))
    found = torch.func.jvp(lambda array: _evaluate_generic(call, arrays, number, array), (arrays[number],), (tangent,))
    return tuple(found[1])


def _evaluate_generic(call: Call, arrays: Sequence[Array], number: int, array: Array) -> tuple[Array, ...]:
    """The results as operations of torch, with one of the arrays replaced."""
    generic = call._replace(backend="generic")
    return evaluate_on(*choose(generic), generic, *arrays[:number], array, *arrays[number + 1 :])


# Graphs hold tensors and numbers, so that what is computed gets a number there: of a call all but its shapes.
_known: dict[Call, int] = {}


def _evaluate_node(call: Call, arrays: Sequence[Array]) -> list[Array]:
    """A call as one node of a graph that torch traces."""
    number = _known.setdefault(call._replace(samples=(), batch=()), len(_known))
    return cast(list[Array], torch.ops.tpnumba.evaluate(list(arrays), number, call.samples, call.batch))


def _call_of(number: int, samples: Sequence[int], batch: Sequence[int]) -> Call:
    return next(islice(_known, number, None))._replace(samples=tuple(samples), batch=tuple(batch))


@torch.library.custom_op("tpnumba::evaluate", mutates_args=())
def _node(
    arrays: Sequence[torch.Tensor], number: int, samples: Sequence[int], batch: Sequence[int]
) -> list[torch.Tensor]:
    return list(_evaluate_numbers(_call_of(number, samples, batch), arrays))


@_node.register_fake
def _(arrays: Any, number: int, samples: Any, batch: Any) -> list[Any]:
    call = _call_of(number, samples, batch)
    return [arrays[0].new_empty(shape, dtype=call.context.dtype) for shape in result_shapes(call)]
