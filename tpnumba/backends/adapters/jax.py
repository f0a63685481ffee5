"""jax arrays in the processor's memory: evaluated by the kernels of NumPy arrays, on the same memory.

A call is a primitive of jax with rules for derivatives, transposition and batching, which are calls again, so of any
order. Outside of a trace it is evaluated at once, on arrays looked at as NumPy's; a compiled function calls the kernels
as a foreign function (``foreign.py``), which reads and writes XLA's own memory. Nothing is copied.

Second derivatives of spherical harmonics by the points are those of the generic backend. So are all calls on other
devices, where compiled functions get the operations of the generic backend, ``backend="generic"``, and plans without a
kernel.
"""

from __future__ import annotations

import atexit
from collections.abc import Sequence
from functools import cache
from typing import Any

import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
from jax.interpreters import ad, batching, mlir

from tpnumba.backends.adapters import foreign, rules
from tpnumba.backends.adapters.kept import Kept, on_numpy
from tpnumba.backends.call import Array, Call, result_shapes
from tpnumba.backends.fusion import evaluate_fused
from tpnumba.backends.namespaces import Context, has_float64
from tpnumba.backends.registry import choose, evaluate_on

#: XLA takes the memory of a NumPy array as it is if its address is a multiple of this number of bytes.
_ALIGNMENT = 64


def evaluate(call: Call, arrays: Sequence[Array], out: Array | None) -> tuple[Array, ...]:  # noqa: ARG001
    """Evaluate a call on arrays of jax; see :func:`tpnumba.backends.evaluate`."""
    backend, _ = choose(call)
    # What a compiled function holds must not depend on where its arrays were.
    dtype = call.context.dtype if has_float64(jnp) else jnp.float32
    call = call._replace(context=call.context._replace(device=None, dtype=dtype), names=())
    if backend != "cpu" or not _register():
        return evaluate_fused(_evaluate_generic, call.context, (call,), *arrays)
    return tuple(_bind(call, [array.astype(dtype) for array in arrays]))


def _bind(call: Call, arrays: Sequence[Array]) -> Sequence[Array]:
    """The primitive; in ``shard_map`` on arrays that all vary over the same axes of the mesh, as it asks for."""
    axes = [_varying(array) for array in arrays]
    together = frozenset[Any]().union(*axes)
    ready = [
        array if own == together else _vary(array, tuple(together - own))
        for array, own in zip(arrays, axes, strict=True)
    ]
    results: Sequence[Array] = _evaluation.bind(*ready, call=call)
    return results


def _varying(array: Any) -> frozenset[Any]:
    aval = array if isinstance(array, jax.core.ShapedArray) else jax.typeof(array)
    manual = getattr(aval, "manual_axis_type", None)
    return frozenset(getattr(aval, "vma", ()) if manual is None else manual.varying)


def _vary(array: Array, axes: tuple[Any, ...]) -> Array:
    if hasattr(jax.lax, "pcast"):
        return jax.lax.pcast(array, axes, to="varying")
    return jax.lax.pvary(array, axes)


def _evaluate_generic(_: Context, call: Call, *arrays: Array) -> tuple[Array, ...]:
    generic = call._replace(backend="generic")
    return evaluate_on(*choose(generic), generic, arrays)


def _evaluate_into(kept: Kept, operands: Sequence[Any], results: Sequence[Any]) -> None:
    """Evaluate on NumPy arrays, into ``results``."""
    if len(results) == 1:
        kept.evaluate(operands, results[0])
        return
    for result, value in zip(results, kept.evaluate(operands), strict=True):
        result[...] = value


_evaluation = jax.extend.core.Primitive("tpnumba_evaluate")
_evaluation.multiple_results = True


@_evaluation.def_impl
def _evaluate_now(*arrays: Array, call: Call) -> Any:
    """Outside of a trace: at once, if the arrays are in one place. (Constants of jax are in none.)"""
    devices = {device for array in arrays if isinstance(array, jax.Array) for device in array.devices()}
    device = devices.pop() if devices else _default()
    if devices or device.platform != "cpu":  # XLA shards operations, but not a foreign function
        return evaluate_fused(_evaluate_generic, call.context, (call,), *arrays)
    operands = [np.asarray(array) for array in arrays]
    shapes = result_shapes(call)
    out = _aligned(shapes[0], call.context.dtype_name) if len(shapes) == 1 else None
    found = on_numpy(call, tuple(array.shape for array in operands), call.num_threads).evaluate(operands, out)
    committed = any(getattr(array, "committed", False) for array in arrays)
    return [jax.device_put(value, device if committed or device != _default() else None) for value in found]


def _default() -> Any:
    return jax.local_devices(backend="cpu")[0]


def _aligned(shape: tuple[int, ...], dtype: str) -> np.ndarray[Any, Any]:
    """An array whose memory jax can take over."""
    size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    raw = np.empty(size + _ALIGNMENT, dtype=np.uint8)
    start = -raw.ctypes.data % _ALIGNMENT
    return raw[start : start + size].view(dtype).reshape(shape)


@_evaluation.def_abstract_eval
def _shapes(*arrays: Any, call: Call) -> list[Any]:
    shapes = result_shapes(call)
    if not _varying(arrays[0]):
        return [jax.core.ShapedArray(shape, call.context.dtype) for shape in shapes]
    mesh = arrays[0].sharding.mesh
    return [
        arrays[0].update(
            shape=shape,
            dtype=np.dtype(call.context.dtype_name),
            weak_type=False,
            sharding=jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(*(None,) * len(shape))),
        )
        for shape in shapes
    ]


def _derivative(primals: Sequence[Array], tangents: Sequence[Any], *, call: Call) -> tuple[Any, Any]:
    """The results, and their derivative along the tangents."""
    values = _bind(call, primals)
    parts = [
        _along_tangent(call, primals, number, tangent)
        for number, tangent in enumerate(tangents)
        if type(tangent) is not ad.Zero
    ]
    return values, [sum(along[1:], start=along[0]) for along in zip(*parts, strict=True)]


def _along_tangent(call: Call, primals: Sequence[Array], number: int, tangent: Array) -> Any:
    rule = rules.along_tangent(call, primals, number, tangent)
    if rule is not None:
        derivative, arrays = rule
        return _bind(derivative, arrays)

    def replaced(array: Array) -> tuple[Array, ...]:
        return _evaluate_generic(call.context, call, *primals[:number], array, *primals[number + 1 :])

    return jax.jvp(replaced, (primals[number],), (tangent,))[1]


def _transposed(cotangents: Sequence[Any], *arrays: Any, call: Call) -> list[Any]:
    """The cotangent of the one array that is not known, in which the call is linear."""
    (number,) = (i for i, array in enumerate(arrays) if ad.is_undefined_primal(array))
    found: list[Any] = [None] * len(arrays)
    if type(cotangents[0]) is ad.Zero:
        found[number] = ad.Zero(arrays[number].aval)
        return found
    known = [array.aval if i == number else array for i, array in enumerate(arrays)]
    rule = rules.gradient(call, known, number, cotangents[0])
    assert rule is not None  # linear calls have one
    adjoint, others = rule
    found[number] = _bind(adjoint, others)[0]
    return found


def _batched(arrays: Sequence[Array], axes: Sequence[int | None], *, call: Call) -> tuple[Any, Any]:
    """A call for all samples along the axes that are mapped."""
    moved = [array if axis is None else jnp.moveaxis(array, axis, 0) for array, axis in zip(arrays, axes, strict=True)]
    together = rules.batched(call, moved, [axis is not None for axis in axes])
    results = together.shaped(_bind(together.call, together.arrays))
    return results, [0] * len(results)


ad.primitive_jvps[_evaluation] = _derivative
ad.primitive_transposes[_evaluation] = _transposed
batching.primitive_batchers[_evaluation] = _batched
mlir.register_lowering(
    _evaluation, mlir.lower_fun(lambda *arrays, call: _evaluate_generic(call.context, call, *arrays))
)


@cache
def _register() -> bool:
    """Make the foreign function known to XLA; whether that worked."""
    if not foreign.register(_evaluate_into):
        return False

    def lower(context: Any, *arrays: Any, call: Call) -> Any:
        key = foreign.key_for(call, context.avals_in, context.avals_out)
        return jax.ffi.ffi_lowering(foreign.NAME)(context, *arrays, key=key)

    mlir.register_lowering(_evaluation, lower, platform="cpu")
    atexit.register(_wait)
    return True


def _wait() -> None:
    """Wait for the calls that this thread has begun: at the end of the process nobody lets a foreign function run."""
    jax.block_until_ready(jax.jit(lambda x: x + 1)(np.zeros(())))
