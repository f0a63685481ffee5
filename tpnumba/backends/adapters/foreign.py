"""The kernels as a foreign function of XLA: compiled functions of jax call them on memory of their own.

XLA calls with a frame, a C structure (``xla/ffi/api/c_api.h``, which jaxlib ships), that has the addresses of all
operands and results. Their shapes are known from when the function was compiled, by the number in the frame.
"""

from __future__ import annotations

import ctypes
import warnings
from collections.abc import Callable, Sequence
from ctypes import POINTER, Structure, c_char_p, c_int, c_int64, c_size_t, c_uint32, c_void_p
from math import prod
from typing import Any, NamedTuple, cast

import numpy as np

from tpnumba.backends.adapters.kept import Kept, on_numpy
from tpnumba.backends.adapters.keys import key_of
from tpnumba.backends.call import Call, Shape

NAME = "tpnumba_evaluate"

#: The version of XLA's structures that this file was written for: what they hold is only ever added to.
_MAJOR, _MINOR = 0, 3
_METADATA = 1  # the extension that asks for the version
_INTERNAL = 13  # the code of an error

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


#: The handler is given the frame as words of 64 bits, which are read in a fifth of the time of a structure's fields.
_Handler = ctypes.CFUNCTYPE(c_void_p, POINTER(c_int64))
_WORD = 8
_EXTENSION = _Frame.extension.offset // _WORD
_OPERANDS, _RESULTS, _ATTRIBUTES = (
    (field.offset + items.offset) // _WORD
    for field, items in (
        (_Frame.operands, _Buffers.items),
        (_Frame.results, _Buffers.items),
        (_Frame.attributes, _Attributes.items),
    )
)


class _View:
    """What a buffer holds: looked at as an array, wherever it lies."""

    def __init__(self, shape: Shape, dtype: np.dtype[Any]) -> None:
        self.shape, self.dtype = shape, dtype
        self.size = prod(shape) * dtype.itemsize
        self.memory: Any = ctypes.c_char * self.size

    def array(self, address: int) -> Any:
        """The NumPy array."""
        if self.size == 0:
            return np.empty(self.shape, self.dtype)
        data = _word(address + _Buffer.data.offset)
        return np.ndarray(self.shape, self.dtype, self.memory.from_address(data))


class _Target(NamedTuple):
    """What a compiled function calls: a call with the arrays that it is given and that it fills."""

    kept: Kept
    operands: tuple[_View, ...]
    results: tuple[_View, ...]


#: What compiled functions call, equal ones once; they stay, see ``keys.py``.
_calls: dict[int, _Target] = {}
#: What C holds a pointer to must not be collected.
_handlers: list[Any] = []


def key_for(call: Call, operands: Sequence[Any], results: Sequence[Any]) -> np.int64:
    """The number by which a compiled function knows a call on arrays of such abstract values."""
    shapes = tuple(tuple(aval.shape) for aval in operands)
    key = key_of((*call._replace(context=None, names=()), call.context.dtype_name, shapes))  # type: ignore[arg-type]
    views = (tuple(_View(aval.shape, np.dtype(aval.dtype)) for aval in avals) for avals in (operands, results))
    _calls[key] = _Target(on_numpy(call, shapes, call.num_threads), *views)
    return np.int64(key)


def register(evaluate: Callable[[Kept, Sequence[Any], Sequence[Any]], object]) -> bool:
    """Make the foreign function known to XLA; False, with a warning, if this jaxlib will not have it."""
    import jax

    def handle(frame: Any) -> int | None:
        if frame[_EXTENSION]:
            _answer(_structure(frame))
            return None
        try:
            target = _calls.get(_word(_word(_word(frame[_ATTRIBUTES]) + _Scalar.value.offset)))
            if target is None:
                raise LookupError(
                    "tpnumba does not know this compiled function, which was made in another process: trace it here"
                    ' as well (jax.jit), or make it with backend="generic"'
                )
            kept, given, filled = target
            evaluate(kept, _arrays(given, frame[_OPERANDS]), _arrays(filled, frame[_RESULTS]))
        except BaseException as error:  # nothing may leave through C
            return _error(_structure(frame), f"{type(error).__name__}: {error}")
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


def _structure(frame: Any) -> Any:
    return ctypes.cast(frame, POINTER(_Frame))[0]


def _answer(frame: Any) -> None:
    """Tell XLA the version of its structures that are read here."""
    extension = frame.extension[0]
    if extension.base.type == _METADATA:
        version = extension.metadata[0].version
        version.major, version.minor = _MAJOR, _MINOR
        extension.metadata[0].traits = 0


def _arrays(views: Sequence[_View], items: int) -> list[Any]:
    """NumPy arrays on the memory of buffers, whose addresses stand at ``items``."""
    return [view.array(_word(items + _WORD * i)) for i, view in enumerate(views)]


def _word(address: int) -> int:
    return c_int64.from_address(address).value


def _error(frame: Any, message: str) -> int | None:
    arguments = _ErrorArguments(ctypes.sizeof(_ErrorArguments), None, message.encode(), _INTERNAL)
    return cast("int | None", frame.api[0].create_error(ctypes.byref(arguments)))
