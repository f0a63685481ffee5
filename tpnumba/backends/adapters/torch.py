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
from functools import lru_cache
from typing import Any, cast

import torch
from torch.autograd import forward_ad

from tpnumba.backends.adapters import rules
from tpnumba.backends.adapters.keys import key_of
from tpnumba.backends.call import Array, Call, result_shapes
from tpnumba.backends.namespaces import holds_numbers, numpy_context
from tpnumba.backends.registry import choose, evaluate_on


def evaluate(call: Call, arrays: Sequence[Array], out: Array | None) -> tuple[Array, ...]:
    """Evaluate a call on tensors; see :func:`tpnumba.backends.evaluate`."""
    backend, plan = choose(call)
    if backend != "cpu":
        return evaluate_on(backend, plan, call, *arrays, out=out)
    return _evaluate(call, arrays, out)


def _evaluate(call: Call, arrays: Sequence[Array], out: Array | None = None) -> tuple[Array, ...]:
    """Evaluate in the way that torch has to know of."""
    if _is_watched(arrays):
        watched = _Transformed if torch._C._are_functorch_transforms_active() else _Recorded
        return tuple(watched.apply(call, *(array.to(call.context.dtype) for array in arrays)))
    if all(map(holds_numbers, arrays)):
        return _evaluate_numbers(call, arrays, out)
    return tuple(_evaluate_node(call, arrays))


def _is_watched(arrays: Sequence[Array]) -> bool:
    """Whether torch is to know how the results depend on the arrays."""
    if torch.is_grad_enabled() and any(array.requires_grad for array in arrays):
        return True
    if torch._C._are_functorch_transforms_active():
        return any(map(torch._C._functorch.is_functorch_wrapped_tensor, arrays))
    return bool(forward_ad._current_level >= 0)


def _evaluate_numbers(call: Call, arrays: Sequence[Array], out: Array | None = None) -> tuple[Array, ...]:
    """Evaluate on tensors that hold numbers, by the kernels."""
    plain, operands = _on_numpy(call), [array.numpy(force=True) for array in arrays]
    _, plan = choose(plain)
    if out is None:
        return tuple(map(torch.from_numpy, evaluate_on("cpu", plan, plain, *operands)))
    evaluate_on("cpu", plan, plain, *operands, out=out.numpy())
    torch.autograd.graph.increment_version(out)
    return (out,)


def _on_numpy(call: Call) -> Call:
    threads = torch.get_num_threads() if call.num_threads is None else call.num_threads
    return call._replace(context=numpy_context(call.context.dtype_name), num_threads=threads)


def _gradients_of_numbers(
    call: Call, arrays: Sequence[Array], wanted: Sequence[bool], cotangents: Sequence[Array]
) -> list[Array | None] | None:
    """The gradients that are wanted, by the kernels; None where one of them is no call."""
    if len(cotangents) > 1:
        return None
    plain, operands = _on_numpy(call), [array.numpy(force=True) for array in arrays]
    cotangent = cotangents[0].numpy(force=True)
    found: list[Array | None] = []
    for number, is_wanted in enumerate(wanted):
        if not is_wanted:
            found.append(None)
            continue
        rule = rules.gradient(plain, operands, number, cotangent)
        if rule is None:
            return None
        adjoint, others = rule
        found.append(torch.from_numpy(evaluate_on(*choose(adjoint), adjoint, *others)[0]))
    return found


def _forward(call: Call, arrays: Sequence[Array]) -> tuple[Array, ...]:
    """The results alone; the arrays are those inside of all transformations."""
    if all(map(holds_numbers, arrays)):
        return _evaluate_numbers(call, arrays)
    return tuple(_evaluate_node(call, arrays))


class _Derivatives(torch.autograd.Function):
    """A call with its derivatives, which are calls again."""

    @staticmethod
    def backward(ctx: Any, *cotangents: Array) -> tuple[Array | None, ...]:
        """The gradients of the arrays that need one."""
        call, arrays, wanted = ctx.call, ctx.saved_tensors, ctx.needs_input_grad[1:]
        if not _is_watched((*arrays, *cotangents)) and all(map(holds_numbers, (*arrays, *cotangents))):
            found = _gradients_of_numbers(call, arrays, wanted, cotangents)
            if found is not None:
                return None, *found
        return None, *(
            _gradient(call, arrays, number, cotangents) if is_wanted else None
            for number, is_wanted in enumerate(wanted)
        )

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


class _Recorded(_Derivatives):
    """On the tape of autograd. (Of two parts, as for transformations, a call would take twice as long.)"""

    @staticmethod
    def forward(ctx: Any, call: Call, *arrays: Array) -> tuple[Array, ...]:
        """Evaluate, and keep what derivatives need."""
        ctx.call = call
        ctx.save_for_backward(*arrays)
        ctx.save_for_forward(*arrays)
        return _forward(call, arrays)


class _Transformed(_Derivatives):
    """Inside of ``torch.func`` transformations."""

    @staticmethod
    def forward(call: Call, *arrays: Array) -> tuple[Array, ...]:
        """Evaluate."""
        return _forward(call, arrays)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:  # noqa: ARG004
        """Keep what derivatives need."""
        ctx.call = inputs[0]
        ctx.save_for_backward(*inputs[1:])
        ctx.save_for_forward(*inputs[1:])

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], call: Call, *arrays: Array) -> tuple[Any, Any]:
        """A call for all samples along the axis that is mapped."""
        dims = in_dims[1:]
        moved = [array if axis is None else array.movedim(axis, 0) for array, axis in zip(arrays, dims, strict=True)]
        mapped = [axis is not None for axis in dims]
        wide, ready, leading = rules.batched(call, moved, info.batch_size, mapped)
        results = _evaluate(wide, ready)
        shaped = tuple(result.reshape((*leading, *result.shape[len(wide.batch) :])) for result in results)
        return shaped, (0,) * len(shaped)


def _gradient(call: Call, arrays: Sequence[Array], number: int, cotangents: Sequence[Array]) -> Array:
    rule = rules.gradient(call, arrays, number, cotangents[0]) if len(cotangents) == 1 else None
    if rule is not None:
        adjoint, others = rule
        return _evaluate(adjoint, others)[0]
    _, pull = torch.func.vjp(lambda array: _evaluate_generic(call, arrays, number, array), arrays[number])
    return pull(tuple(cotangents))[0]


def _along_tangent(call: Call, arrays: Sequence[Array], number: int, tangent: Array) -> tuple[Array, ...]:
    rule = rules.along_tangent(call, arrays, number, tangent)
    if rule is not None:
        derivative, others = rule
        return _evaluate(derivative, others)
    found = torch.func.jvp(lambda array: _evaluate_generic(call, arrays, number, array), (arrays[number],), (tangent,))
    return tuple(found[1])


def _evaluate_generic(call: Call, arrays: Sequence[Array], number: int, array: Array) -> tuple[Array, ...]:
    """The results as operations of torch, with one of the arrays replaced."""
    generic = call._replace(backend="generic")
    return evaluate_on(*choose(generic), generic, *arrays[:number], array, *arrays[number + 1 :])


#: What graphs compute, by the number that stands in them: calls without their shapes.
_calls: dict[int, Call] = {}


def _evaluate_node(call: Call, arrays: Sequence[Array]) -> list[Array]:
    """A call as one node of a graph that torch traces."""
    key = _register_call(call)
    # A graph that another process has written is not traced again, so its other half must be known as well.
    for number in range(len(arrays)):
        for rule in (rules.gradient, rules.along_tangent):
            found = rule(call, arrays, number, arrays[number])
            if found is not None:
                _register_call(found[0])
    return cast(list[Array], torch.ops.tpnumba.evaluate(list(arrays), key, call.samples, call.batch))


def _register_call(call: Call) -> int:
    key = _key_of(call.methods, call.operands, call.context.dtype_name, call.num_threads)
    _calls[key] = call._replace(samples=(), batch=())
    return key


@lru_cache(maxsize=1024)
def _key_of(*values: object) -> int:
    return key_of(values)


def _call_of(key: int, samples: Sequence[int], batch: Sequence[int]) -> Call:
    return _calls[key]._replace(samples=tuple(samples), batch=tuple(batch))


@torch.library.custom_op("tpnumba::evaluate", mutates_args=())
def _node(arrays: Sequence[torch.Tensor], key: int, samples: Sequence[int], batch: Sequence[int]) -> list[torch.Tensor]:
    return list(_evaluate_numbers(_call_of(key, samples, batch), arrays))


@_node.register_fake
def _(arrays: Any, key: int, samples: Any, batch: Any) -> list[Any]:
    call = _call_of(key, samples, batch)
    return [arrays[0].new_empty(shape, dtype=call.context.dtype) for shape in result_shapes(call)]
