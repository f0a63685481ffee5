"""Torch tensors in the processor's memory: evaluated by the kernels of NumPy arrays, on the same memory.

Plain tensors are looked at as NumPy arrays, and results are NumPy arrays looked at as tensors; nothing is copied. Where
torch has to know a derivative or a batching rule (tensors that need a gradient, ``torch.func``), a call is an
``autograd.Function`` whose derivatives are calls again, so of any order. Where torch traces with tensors that hold no
numbers (``torch.compile``), the call is the operator ``tpnumba::evaluate`` of its graph, which runs on plain tensors.

Operations of torch, by the generic backend, are what derivatives of harmonics are made of where they are to be
differentiated in turn; what tracers get that follow nothing else (``torch.jit.trace``, ``functionalize``, and
``make_fx`` of transformed functions); and calls on other devices, with ``backend="generic"``, and of plans without a
kernel.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, cast

import torch
from torch.autograd import forward_ad

from tpnumba.backends.adapters import rules
from tpnumba.backends.adapters.kept import Kept, on_numpy
from tpnumba.backends.adapters.keys import key_of
from tpnumba.backends.call import Array, Call, result_shapes
from tpnumba.backends.namespaces import all_hold_numbers
from tpnumba.backends.registry import choose, evaluate_on
from tpnumba.plans.harmonics import Harmonics


def evaluate(call: Call, arrays: Sequence[Array], out: Array | None) -> tuple[Array, ...]:
    """Evaluate a call on tensors; see :func:`tpnumba.backends.evaluate`."""
    backend, plan = choose(call)
    if backend != "cpu":
        return evaluate_on(backend, plan, call, arrays, out)
    return _evaluate(call, arrays, out)


def _evaluate(call: Call, arrays: Sequence[Array], out: Array | None = None) -> tuple[Array, ...]:
    """Evaluate in the way that torch can follow."""
    if not _is_ordinary(arrays):
        return _evaluate_followed(call, arrays, out)
    if not _needs_gradient(arrays):
        return _evaluate_numbers(call, arrays, out)
    if isinstance(call.methods, Harmonics) and call.methods.kind != "values":  # whose derivatives are no calls
        return _evaluate_generic(call, arrays, out)
    return tuple(_record(call, *_in_dtype(call, arrays)))


def _evaluate_followed(call: Call, arrays: Sequence[Array], out: Array | None) -> tuple[Array, ...]:
    """Evaluate on tensors that hold no numbers, or where a transformation, a tracer or forward mode is at work."""
    transformed = torch._C._are_functorch_transforms_active()
    traced = torch._C._len_torch_dispatch_stack() > 0  # by modes that are to see every operation
    if torch.jit.is_tracing() or (transformed and (traced or _is_functionalized())):
        return _evaluate_generic(call, arrays, out)  # torch can follow nothing but operations of its own there
    if any(map(torch._C._functorch.is_legacy_batchedtensor, arrays)):
        return _evaluate_legacy_batch(call, arrays)
    if _is_watched(arrays, transformed=transformed):
        # Derivatives of these, or of the derivatives that forward mode makes at once, are no calls.
        if isinstance(call.methods, Harmonics) and (call.methods.kind != "values" or forward_ad._current_level >= 0):
            return _evaluate_generic(call, arrays, out)
        watched = _Transformed if transformed else _Recorded
        return tuple(watched.apply(call, *_in_dtype(call, arrays)))
    if not traced and all_hold_numbers(arrays):
        return _evaluate_numbers(call, arrays, out)
    return tuple(_evaluate_node(call, arrays))


def _is_ordinary(arrays: Sequence[Array]) -> bool:
    """Whether the tensors hold numbers, and no transformation, tracer or forward mode is at work."""
    return (
        torch._C._len_torch_dispatch_stack() == 0
        and forward_ad._current_level < 0
        and not torch._C._are_functorch_transforms_active()
        and not torch._C._is_tracing()
        and all_hold_numbers(arrays)
    )


def _needs_gradient(arrays: Sequence[Array]) -> bool:
    """Whether autograd is to record what is made of the tensors."""
    if torch.is_grad_enabled():
        for array in arrays:  # no generator, which would take longer than what it looks at
            if array.requires_grad:
                return True
    return False


def _in_dtype(call: Call, arrays: Sequence[Array]) -> list[Array]:
    dtype = call.context.dtype
    return [array if array.dtype is dtype else array.to(dtype) for array in arrays]


def _is_functionalized() -> bool:
    functorch = torch._C._functorch
    stack = functorch.get_interpreter_stack() or ()
    return any(interpreter.key() == functorch.TransformType.Functionalize for interpreter in stack)


def _evaluate_legacy_batch(call: Call, arrays: Sequence[Array]) -> tuple[Array, ...]:
    """Evaluate on tensors with an axis that torch hides, as ``is_grads_batched`` and ``vectorize=True`` give them."""
    level = torch._C._vmapmode_increment_nesting() - 1
    torch._C._vmapmode_decrement_nesting()
    mapped = [torch._C._functorch.is_legacy_batchedtensor(array) for array in arrays]
    whole = [
        torch._remove_batch_dim(array, level, 0, 0) if is_mapped else array
        for array, is_mapped in zip(arrays, mapped, strict=True)
    ]
    together = rules.batched(call, whole, mapped)
    results = together.shaped(_evaluate(together.call, together.arrays))
    return tuple(torch._add_batch_dim(result, 0, level) for result in results)


def _is_watched(arrays: Sequence[Array], *, transformed: bool) -> bool:
    """Whether torch is to know how the results depend on the arrays."""
    if _needs_gradient(arrays):
        return True
    if transformed:
        return any(map(torch._C._functorch.is_functorch_wrapped_tensor, arrays))
    return bool(forward_ad._current_level >= 0)


def _evaluate_generic(call: Call, arrays: Sequence[Array], out: Array | None = None) -> tuple[Array, ...]:
    """The results by operations of torch."""
    generic = call._replace(backend="generic")
    return evaluate_on(*choose(generic), generic, arrays, out)


def _evaluate_numbers(call: Call, arrays: Sequence[Array], out: Array | None = None) -> tuple[Array, ...]:
    """Evaluate on tensors that hold numbers, by the kernels."""
    kept, operands = _on_numpy(call, arrays), [array.numpy(force=True) for array in arrays]
    if out is None:
        return tuple([torch.from_numpy(result) for result in kept.evaluate(operands)])
    if out.is_neg():  # its memory holds other signs
        return (out.copy_(torch.from_numpy(kept.evaluate(operands)[0])),)
    kept.evaluate(operands, out.numpy())
    torch.autograd.graph.increment_version(out)
    return (out,)


def _on_numpy(call: Call, arrays: Sequence[Array]) -> Kept:
    threads = torch.get_num_threads() if call.num_threads is None else call.num_threads
    return on_numpy(call, tuple([array.shape for array in arrays]), threads)


def _gradients_of_numbers(
    call: Call, arrays: Sequence[Array], wanted: Sequence[bool], cotangent: Array
) -> list[Array | None]:
    """The gradients that are wanted, by the kernels."""
    kept = _on_numpy(call, arrays)
    given = [array.numpy(force=True) for array in (*arrays, cotangent)]
    gradients: list[Array | None] = []
    for number, is_wanted in enumerate(wanted):
        found = kept.gradient(number) if is_wanted else None
        if found is None:
            gradients.append(None)
        else:
            adjoint, places = found
            gradients.append(torch.from_numpy(adjoint.evaluate([given[place] for place in places])[0]))
    return gradients


def _forward(call: Call, arrays: Sequence[Array]) -> tuple[Array, ...]:
    """The results alone; the arrays are those inside of all transformations."""
    if torch._C._len_torch_dispatch_stack() == 0 and all_hold_numbers(arrays):
        return _evaluate_numbers(call, arrays)
    return tuple(_evaluate_node(call, arrays))


class _Derivatives(torch.autograd.Function):
    """A call with its derivatives, which are calls again."""

    @staticmethod
    def backward(ctx: Any, *cotangents: Array) -> tuple[Array | None, ...]:
        """The gradients of the arrays that need one."""
        call, arrays, wanted = ctx.call, ctx.saved_tensors, ctx.needs_input_grad[1:]
        (cotangent,) = cotangents
        given = *arrays, cotangent
        if _is_ordinary(given) and not _needs_gradient(given):
            return None, *_gradients_of_numbers(call, arrays, wanted, cotangent)
        found: list[Array | None] = [None]
        for number, is_wanted in enumerate(wanted):
            rule = rules.gradient(call, arrays, number, cotangent) if is_wanted else None
            found.append(None if rule is None else _evaluate(*rule)[0])
        return tuple(found)

    @staticmethod
    def jvp(ctx: Any, _: Any, *tangents: Array | None) -> tuple[Array, ...]:
        """The derivative of the results along the tangents."""
        call, arrays = ctx.call, ctx.saved_tensors
        found = (
            rules.along_tangent(call, arrays, number, tangent)
            for number, tangent in enumerate(tangents)
            if tangent is not None
        )
        parts = [_evaluate(*rule) for rule in found if rule is not None]  # values have a rule for every array
        return tuple(sum(values[1:], start=values[0]) for values in zip(*parts, strict=True))


class _Recorded(_Derivatives):
    """On the tape of autograd. (Of two parts, as for transformations, a call would take twice as long.)"""

    @staticmethod
    def forward(ctx: Any, call: Call, *arrays: Array) -> tuple[Array, ...]:
        """Evaluate, and keep what derivatives need."""
        ctx.call = call
        ctx.save_for_backward(*arrays)
        if forward_ad._current_level >= 0:
            ctx.save_for_forward(*arrays)
        return _forward(call, arrays)


class _OnKernels(_Derivatives):
    """Likewise, for ordinary tensors."""

    @staticmethod
    def forward(ctx: Any, call: Call, *arrays: Array) -> tuple[Array, ...]:
        """Evaluate, and keep what derivatives need."""
        ctx.call = call
        ctx.save_for_backward(*arrays)
        return _evaluate_numbers(call, arrays)


#: ``_OnKernels.apply`` without what torch's own does first for tensors that are not ordinary, which takes 5 to 7 us.
_record = super(torch.autograd.Function, _OnKernels).apply


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
    def vmap(_: Any, in_dims: tuple[int | None, ...], call: Call, *arrays: Array) -> tuple[Any, Any]:
        """A call for all samples along the axis that is mapped."""
        dims = in_dims[1:]
        moved = [array if axis is None else array.movedim(axis, 0) for array, axis in zip(arrays, dims, strict=True)]
        together = rules.batched(call, moved, [axis is not None for axis in dims])
        results = tuple(together.shaped(_evaluate(together.call, together.arrays)))
        return results, (0,) * len(results)


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
