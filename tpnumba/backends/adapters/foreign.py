"""The kernels as a foreign function of XLA: compiled functions of jax call them on memory of their own.

XLA calls with a frame, a C structure (``xla/ffi/api/c_api.h``, which jaxlib ships), that has the addresses and shapes
of all operands and results.
"""

from __future__ import annotations

import ctypes
import warnings
from collections.abc import Callable, Sequence
from ctypes import POINTER, Structure, c_char_p, c_int, c_int64, c_size_t, c_uint32, c_void_p
from typing import Any, cast

import numpy as np

from tpnumba.backends.adapters.keys import key_of
from tpnumba.backends.call import Call

NAME = "tpnumba_evaluate"

#: The version of XLA's structures that this file was written for: what they hold is only ever added to.
_MAJOR, _MINOR = 0, 3
_METADATA = 1  # the extension that asks for the version
_INTERNAL = 13  # the code of an error
_DTYPES: dict[int, np.dtype[Any]] = {11: np.dtype(np.float32), 12: np.dtype(np.float64)}


#: What most structures begin with.
_HEAD = (("struct_size", c_size_t), ("extension", c_void_p))


def _list_of(item: Any, *names: str) -> tuple[tuple[str, Any], ...]:
    """The fields of a list: its size, the types and perhaps the ``names`` of its items, and pointers to these."""
    described = ((name, c_void_p) for name in ("types", *names))
    return (*_HEAD, ("size", c_int64), *described, ("items", POINTER(POINTER(item))))


class _Extension(Structure):
    _fields_ = (("struct_size", c_size_t), ("type", c_int), ("next", c_void_p))


class _Version(Structure):
    _fields_ = (*_HEAD, ("major", c_int), ("minor", c_int))


class _Metadata(Structure):
    _fields_ = (("struct_size", c_size_t), ("version", _Version), ("traits", c_uint32))


class _MetadataExtension(Structure):
    _fields_ = (("base", _Extension), ("metadata", POINTER(_Metadata)))


class _Buffer(Structure):
    _fields_ = (
        *_HEAD,
        ("dtype", c_int),
        ("data", c_void_p),
        ("rank", c_int64),
        ("dims", POINTER(c_int64)),
    )


class _Scalar(Structure):
    _fields_ = (("dtype", c_int), ("value", POINTER(c_int64)))


class _Buffers(Structure):
    _fields_ = _list_of(_Buffer)


class _Attributes(Structure):
    _fields_ = _list_of(_Scalar, "names")


class _ErrorArguments(Structure):
    _fields_ = (*_HEAD, ("message", c_char_p), ("code", c_int))


_CreateError = ctypes.CFUNCTYPE(c_void_p, POINTER(_ErrorArguments))


class _Api(Structure):
    _fields_ = (
        *_HEAD,
        ("version", _Version),
        ("internal", c_void_p),
        ("create_error", _CreateError),
    )


class _Frame(Structure):
    _fields_ = (
        ("struct_size", c_size_t),
        ("extension", POINTER(_MetadataExtension)),
        ("api", POINTER(_Api)),
        ("context", c_void_p),
        ("stage", c_int),
        ("operands", _Buffers),
        ("results", _Buffers),
        ("attributes", _Attributes),
    )


_Handler = ctypes.CFUNCTYPE(c_void_p, POINTER(_Frame))

#: The calls that compiled functions were made with, equal ones once; they stay, see ``keys.py``.
_calls: dict[int, Call] = {}
#: What C holds a pointer to must not be collected.
_handlers: list[Any] = []


def key_for(call: Call) -> np.int64:
    """The number by which a compiled function knows a call."""
    key = key_of((*call._replace(context=None, names=()), call.context.dtype_name))  # type: ignore[arg-type]
    _calls[key] = call
    return np.int64(key)


def register(evaluate: Callable[[Call, Sequence[Any], Sequence[Any]], object]) -> bool:
    """Make the foreign function known to XLA; False, with a warning, if this jaxlib will not have it."""
    import jax

    def handle(pointer: Any) -> int | None:
        frame = pointer[0]
        if frame.extension:
            _answer(frame)
            return None
        try:
            call = _calls.get(frame.attributes.items[0][0].value[0])
            if call is None:
                raise LookupError(
                    "tpnumba does not know this compiled function, which was made in another process: trace it here"
                    ' as well (jax.jit), or make it with backend="generic"'
                )
            evaluate(call, _arrays(frame.operands), _arrays(frame.results))
        except BaseException as error:  # nothing may leave through C
            return _error(frame, f"{type(error).__name__}: {error}")
        return None

    handler = _Handler(handle)
    _handlers.append(handler)
    try:
        jax.local_devices(backend="cpu")  # or a refusal would come when the first array is made
        address = cast(int, ctypes.cast(handler, c_void_p).value)
        jax.ffi.register_ffi_target(NAME, jax.ffi.pycapsule(address), platform="cpu")
    except Exception as error:
        warnings.warn(
            f"jax arrays are evaluated by backend 'generic', as this jaxlib takes no foreign function: {error}",
            RuntimeWarning,
            stacklevel=2,
        )
        return False
    return True


def _answer(frame: Any) -> None:
    """Tell XLA the version of its structures that are read here."""
    extension = frame.extension[0]
    if extension.base.type == _METADATA:
        version = extension.metadata[0].version
        version.major, version.minor = _MAJOR, _MINOR
        extension.metadata[0].traits = 0


def _arrays(buffers: Any) -> list[Any]:
    """NumPy arrays on the memory of buffers."""
    found = []
    for i in range(buffers.size):
        buffer = buffers.items[i][0]
        shape, dtype = tuple(buffer.dims[: buffer.rank]), _DTYPES[buffer.dtype]
        size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        if size == 0:
            found.append(np.empty(shape, dtype))
            continue
        memory: Any = (ctypes.c_char * size).from_address(buffer.data)
        found.append(np.frombuffer(memory, dtype).reshape(shape))
    return found


def _error(frame: Any, message: str) -> int | None:
    arguments = _ErrorArguments(ctypes.sizeof(_ErrorArguments), None, message.encode(), _INTERNAL)
    return cast("int | None", frame.api[0].create_error(ctypes.byref(arguments)))
