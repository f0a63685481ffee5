"""The only door to array-api-compat: which namespace, device and dtype the arguments share."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, NamedTuple

import array_api_compat
import numpy as np

from tpnumba.limits import SMALL, require_memory

Array = Any  # an array of any namespace

_COMPAT_NUMPY = array_api_compat.array_namespace(np.empty(0))

FLOATS = ("float32", "float64")
COMPLEXES = ("complex64", "complex128")


class Context(NamedTuple):
    """What the arrays of one call have in common."""

    xp: Any
    device: Any
    dtype: Any

    @property
    def dtype_name(self) -> str:
        """``float32`` or ``float64``."""
        return FLOATS[self.dtype == self.xp.float64]

    @property
    def itemsize(self) -> int:
        """Bytes a number."""
        return 8 if self.dtype == self.xp.float64 else 4


def is_array(value: object) -> bool:
    """Whether ``value`` is an array of a namespace that array-api-compat knows, and nothing that means more.

    Of NumPy's arrays these are plain ones, and those that mean the same: memory maps, and fields of record arrays.
    Masked arrays, matrices and arrays with units would lose what they mean.
    """
    if isinstance(value, np.ndarray):
        return type(value) in (np.ndarray, np.memmap, np.recarray)
    return array_api_compat.is_array_api_obj(value) and not isinstance(value, np.generic) and not _wraps(value)


def _wraps(value: Any) -> bool:
    """Whether an object only says that it is an array of a known library, as quantities do for what they hold."""
    xp = array_api_compat.array_namespace(value)
    kinds = (
        (is_numpy, array_api_compat.is_numpy_array),
        (is_cupy, array_api_compat.is_cupy_array),
        (is_jax, array_api_compat.is_jax_array),
        (is_torch, array_api_compat.is_torch_array),
        (is_lazy, array_api_compat.is_dask_array),
    )
    return any(is_namespace(xp) and not is_own(value) for is_namespace, is_own in kinds)


def _require_array(name: str, value: object) -> None:
    if not is_array(value):
        kind = f"{type(value).__module__}.{type(value).__qualname__}"
        what = "an array (numpy, torch, jax, dask, cupy, ...)"
        if not isinstance(value, np.generic) and hasattr(value, "__array__"):
            raise TypeError(
                f"{name} must be {what} without units, masks or labels, which would be lost, got {kind}; strip them"
                f" first: numpy.asarray({name}), or what {kind} has for it (.value, .magnitude, .filled(), .values)"
            )
        raise TypeError(f"{name} must be {what}, got {kind}")
    layout = str(getattr(value, "layout", ""))
    if layout.startswith("torch.") and layout != "torch.strided":
        raise TypeError(f"{name} must be a dense tensor, got one of layout {layout}; use {name}.to_dense()")


def dtype_name(array: Array) -> str:
    """``float32``, ``float64``, ``complex64``, ``complex128``, or whatever else the dtype is called."""
    return _dtype_name(array_api_compat.array_namespace(array), array)


def _dtype_name(xp: Any, array: Array) -> str:
    for name in (*FLOATS, *COMPLEXES):
        if array.dtype == getattr(xp, name):
            return name
    return str(array.dtype).removeprefix("torch.")


def common_context(arrays: Mapping[str, Any], dtypes: tuple[str, ...] = FLOATS, core: int = 1) -> Context:
    """The namespace, device and result dtype of named arguments; the real dtype of that precision, if they are complex.

    Args:
        arrays: the arguments by name.
        dtypes: those allowed.
        core: how many of the last axes make up one sample: those of a dask array must be one chunk.

    Raises:
        TypeError: an argument is no array, the namespaces or devices differ, or a dtype is not one of ``dtypes``.
        ValueError: a dask array whose samples are cut into chunks, or whose shape is not known.
    """
    if dtypes is FLOATS and (quick := _numpy_context(arrays) or _torch_context(arrays)) is not None:
        return quick
    first: tuple[str, Any, Any] | None = None
    wide = False
    for name, array in arrays.items():
        _require_array(name, array)
        xp = array_api_compat.array_namespace(array)
        kind = _dtype_name(xp, array)
        if kind not in dtypes:
            if getattr(array.dtype, "byteorder", "=") in ("<", ">") and array.dtype.kind in "fc":
                raise TypeError(
                    f"{name} must have the machine's byte order, got dtype {array.dtype.str!r};"
                    f" use {name}.astype({name}.dtype.newbyteorder('='))"
                )
            raise TypeError(f"{name} must have dtype {' or '.join(dtypes)}, got {kind}")
        wide = wide or kind in ("float64", "complex128")
        device = _device(xp, array)
        if first is None:
            first = name, xp, device
        elif xp is not first[1]:
            raise TypeError(f"{name} is an array of {short_name(xp)}, but {first[0]} is one of {short_name(first[1])}")
        elif device != first[2]:
            if device is not None and first[2] is not None:
                raise TypeError(f"{name} is on device {device!s}, but {first[0]} is on {first[2]!s}")
            first = *first[:2], None
    if first is None:
        raise TypeError("at least one array is needed")
    _, xp, device = first
    if is_lazy(xp):
        _require_whole_samples(arrays, core)
    return Context(xp, device, xp.float64 if wide else xp.float32)


def _numpy_context(arrays: Mapping[str, Any]) -> Context | None:
    """What :func:`common_context` finds for plain NumPy arrays, without asking about every other kind."""
    found = None
    for array in arrays.values():
        if type(array) is not np.ndarray or (one := _NUMPY.get(array.dtype)) is None:
            return None
        if found is None or one is _NUMPY_WIDE:
            found = one
    return found


def _torch_context(arrays: Mapping[str, Any]) -> Context | None:
    """Likewise for plain dense tensors on one device."""
    torch = sys.modules.get("torch")
    if torch is None:
        return None
    narrow, double, device = torch.float32, torch.float64, None
    wide = False
    for array in arrays.values():
        if type(array) is not torch.Tensor or array.layout is not torch.strided:
            return None
        dtype = array.dtype
        if dtype is double:
            wide = True
        elif dtype is not narrow:
            return None
        if device is None:
            device = array.device
        elif array.device != device:
            return None
    return None if device is None else Context(_torch_namespace(), device, double if wide else narrow)


@cache
def _torch_namespace() -> Any:
    return array_api_compat.array_namespace(sys.modules["torch"].empty(0))


def _numpy_contexts() -> dict[Any, Context]:
    return {np.dtype(kind): Context(_COMPAT_NUMPY, "cpu", kind) for kind in (np.float32, np.float64)}


_NUMPY = _numpy_contexts()


def numpy_context(dtype: str) -> Context:
    """The context of NumPy arrays of a dtype."""
    return _NUMPY[np.dtype(dtype)]


_NUMPY_WIDE = _NUMPY[np.dtype(np.float64)]


def _device(xp: Any, array: Array) -> Any:
    """The device of an array; None for jax where there is none (in a trace) or more than one (sharded arrays)."""
    if is_numpy(xp):
        return "cpu"
    device = array_api_compat.device(array)
    if is_jax(xp) and not isinstance(device, sys.modules["jax"].Device):
        return None
    return device


def _require_whole_samples(arrays: Mapping[str, Any], core: int) -> None:
    for name, array in arrays.items():
        if any(math.isnan(n) for n in array.shape):
            raise ValueError(f"{name} must have a known shape, got {array.shape}; call compute_chunk_sizes() first")
        cut = [axis for axis in range(-min(core, array.ndim), 0) if len(array.chunks[axis]) > 1]
        if cut:
            raise ValueError(
                f"{name} must be one chunk along the axis {cut[0]}, got chunks {array.chunks[cut[0]]}; rechunk it with"
                f" {name}.rechunk({{{', '.join(f'{axis}: -1' for axis in cut)}}})"
            )


def short_name(xp: Any) -> str:
    """The name of a namespace as messages give it."""
    return str(xp.__name__).removeprefix("array_api_compat.")


def is_numpy(xp: Any) -> bool:
    """Whether ``xp`` is NumPy's namespace."""
    return xp is _COMPAT_NUMPY or array_api_compat.is_numpy_namespace(xp)


def is_cupy(xp: Any) -> bool:
    """Whether ``xp`` is CuPy's namespace."""
    return array_api_compat.is_cupy_namespace(xp)


def is_jax(xp: Any) -> bool:
    """Whether ``xp`` is jax's namespace."""
    return array_api_compat.is_jax_namespace(xp)


def is_torch(xp: Any) -> bool:
    """Whether ``xp`` is torch's namespace."""
    return array_api_compat.is_torch_namespace(xp)


def is_lazy(xp: Any) -> bool:
    """Whether arrays of ``xp`` are computed later (dask)."""
    return array_api_compat.is_dask_namespace(xp)


def has_values(xp: Any, arrays: Iterable[Array]) -> bool:
    """Whether the numbers in ``arrays`` can be looked at now: not in dask, nor in a trace of jax or torch."""
    if is_lazy(xp):
        return False
    if is_jax(xp):
        return not any(isinstance(array, sys.modules["jax"].core.Tracer) for array in arrays)
    return not is_torch(xp) or all_hold_numbers(arrays)


def is_eager(xp: Any, arrays: Iterable[Array]) -> bool:
    """Whether a result of ``arrays`` can be written piece by piece.

    Not in jax and dask; not in torch where a trace or the tape of automatic differentiation would see every write.
    """
    if is_torch(xp):
        torch = sys.modules["torch"]
        if (
            torch.jit.is_tracing()
            or torch._C._len_torch_dispatch_stack()
            or torch._C._are_functorch_transforms_active()
        ):
            return False
        taped = torch.is_grad_enabled()
        return all(holds_numbers(array) and not (taped and array.requires_grad) for array in arrays)
    return not (is_jax(xp) or is_lazy(xp))


def holds_numbers(array: Array) -> bool:
    """Whether a torch tensor holds numbers: not fake or functional (compilation), wrapped (vmap), or on ``meta``."""
    return all_hold_numbers((array,))


def all_hold_numbers(arrays: Iterable[Array]) -> bool:
    """Whether every one of some torch tensors :func:`holds_numbers`."""
    torch = sys.modules["torch"]
    tensor, parameter = torch.Tensor, torch.nn.Parameter
    try:
        for array in arrays:
            kind = type(array)
            if (kind is not tensor and kind is not parameter) or array.is_meta:
                return False
            array.data_ptr()
    except RuntimeError:  # what torch.func transforms wrap has no memory of its own
        return False
    return True


def writes_through(xp: Any, view: Array, array: Array) -> bool:
    """Whether what is written into ``view``, which was made of ``array``, is in ``array``; False if nobody can tell."""
    if view is array:
        return True
    if is_numpy(xp) or is_cupy(xp):
        return bool(xp.may_share_memory(view, array))
    return is_torch(xp) and bool(view.untyped_storage().data_ptr() == array.untyped_storage().data_ptr())


def has_float64(xp: Any) -> bool:
    """Whether there are float64 arrays: not in jax, unless its option ``jax_enable_x64`` is on."""
    return not is_jax(xp) or bool(sys.modules["jax"].config.jax_enable_x64)


def constant(context: Context, table: Any, dtype: Any = None) -> Array:
    """A NumPy table as an array of the call's namespace and device.

    ``dtype`` is that of the context, unless given; tables of integers keep theirs. Tables are cached and read-only, so
    torch, which cannot make a tensor read-only, gets a copy.
    """
    xp, device, real = context
    if dtype is None and table.dtype.kind == "f":
        dtype = real
    copy = True if is_torch(xp) else None
    return xp.asarray(table, dtype=dtype, device=device, copy=copy)


def require_result(shape: tuple[int, ...], context: Context) -> None:
    """Raise ``MemoryError`` if a result does not fit; one of dask is made chunk by chunk, so its size is no limit."""
    n_bytes = context.itemsize * math.prod(shape)
    if n_bytes > SMALL and not is_lazy(context.xp):
        require_memory(n_bytes, f"a result of shape {shape}")


def check_out(out: Any, shape: tuple[int, ...], context: Context, operands: Mapping[str, Any]) -> None:
    """Check that ``out`` can take a result.

    Raises:
        TypeError: another namespace, device or dtype, or a namespace whose arrays cannot be written into.
        ValueError: another shape, read-only, or memory shared with an operand or between its own numbers.
    """
    xp = context.xp
    numpy = is_numpy(xp)
    if not numpy or type(out) is not np.ndarray:
        _check_kind(out, context, operands)
    if out.dtype != context.dtype:
        raise TypeError(f"out must have dtype {context.dtype_name}, got {dtype_name(out)}")
    if tuple(out.shape) != shape:
        raise ValueError(f"out must have shape {shape}, got {tuple(out.shape)}")
    if numpy and not out.flags.writeable:
        raise ValueError("out is read-only")
    if (numpy or is_torch(xp)) and _overlaps_itself(out, out.strides if numpy else out.stride()):
        strides = out.strides if numpy else out.stride()
        raise ValueError(f"out must not overlap itself, got strides {strides} for shape {shape}")
    for name, operand in operands.items():
        if _overlap(out, operand):
            raise ValueError(f"out must not overlap {name}: it is written while {name} is read")


def _check_kind(out: Any, context: Context, operands: Mapping[str, Any]) -> None:
    """What :func:`check_out` asks of arrays that are not plain ones of NumPy."""
    xp = context.xp
    if not is_array(out) or array_api_compat.array_namespace(out) is not xp:
        raise TypeError(f"out must be an array of {short_name(xp)} as the inputs are, got {type(out).__qualname__}")
    if getattr(out, "requires_grad", False) or any(getattr(x, "requires_grad", False) for x in operands.values()):
        raise TypeError("out cannot be used with tensors that need a gradient")
    if not is_eager(xp, (out, *operands.values())):
        where = " in a trace" if is_torch(xp) else ""
        raise TypeError(f"out cannot be used with {short_name(xp)}{where}: its arrays cannot be written into")
    if array_api_compat.device(out) != context.device:
        raise TypeError(f"out is on device {array_api_compat.device(out)!s}, but the inputs are on {context.device!s}")


def _overlaps_itself(out: Any, strides: tuple[int, ...]) -> bool:
    """Whether two numbers may share memory: no axis steps over what those with smaller steps span."""
    numpy = isinstance(out, np.ndarray)
    if 0 in out.shape or (numpy and out.flags.c_contiguous):
        return False
    span = out.itemsize if numpy else 1  # strides of torch count numbers
    for step, n in sorted((abs(step), n) for step, n in zip(strides, out.shape, strict=True) if n > 1):
        if step < span:
            return True
        span += step * (n - 1)
    return False


def _overlap(a: Any, b: Any) -> bool:
    if a is b:
        return True
    if array_api_compat.is_cupy_array(a):
        return bool(sys.modules["cupy"].shares_memory(a, b))
    try:
        one: Any = a if isinstance(a, np.ndarray) else np.from_dlpack(a)
        other: Any = b if isinstance(b, np.ndarray) else np.from_dlpack(b)
    except (AttributeError, BufferError, RuntimeError, TypeError, ValueError):
        return False  # not on this machine's memory as NumPy can see it; the identity above is all there is
    try:
        return bool(np.shares_memory(one, other, 10_000))  # type: ignore[arg-type]
    except np.exceptions.TooHardError:
        return True
