"""Files of ``torch.save`` read without torch: tensors as NumPy arrays, plain containers, and nothing else."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from os import PathLike
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from tpnumba.models.pickles import Building, read_pickle

Array = npt.NDArray[Any]

_STORAGES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "ComplexDoubleStorage": "<c16",
    "ComplexFloatStorage": "<c8",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}

_DTYPES = (
    *("float64", "float32", "float16", "bfloat16", "complex128", "complex64"),
    *("int64", "int32", "int16", "int8", "uint8", "bool"),
)


def read_torch_file(path: str | PathLike[str] | BinaryIO) -> Any:
    """What ``torch.save`` wrote to a file: dicts, lists, tuples, strings, numbers and arrays.

    Tensors and arrays of NumPy become read-only NumPy arrays, tensors with the strides and the offset that they were
    saved with; ``torch.device`` and dtypes become strings, ``torch.Size`` a tuple, an ``OrderedDict`` a dict. The file
    is not trusted: nothing in it is executed, and the sizes that it claims are checked against what is there.

    Args:
        path: a file of torch 1.6 or later, of a machine with little-endian numbers; or a stream of its bytes.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not such a file, it is cut off or damaged, or it holds anything but the above: the message
            names what.

    Example:
        >>> read_torch_file(__file__)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        ValueError: ... is not a file of torch 1.6 or later, or it is cut off: File is not a zip file
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return _Archive(archive).read()
    except zipfile.BadZipFile as error:
        raise ValueError(f"{path} is not a file of torch 1.6 or later, or it is cut off: {error}") from error
    except (EOFError, NotImplementedError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


class _Archive:
    """The records of a file: ``NAME/data.pkl``, and ``NAME/data/KEY`` for each storage."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self._records = {record.filename: record for record in archive.infolist()}
        names = [name for name in self._records if name.count("/") == 1 and name.endswith("/data.pkl")]
        if len(names) != 1:
            raise ValueError(f"it has {len(names)} records data.pkl where a file of torch has one")
        self._prefix = names[0].removesuffix("data.pkl")
        self._storages: dict[str, Array] = {}

    def read(self) -> Any:
        order = self._record("byteorder") if f"{self._prefix}byteorder" in self._records else b"little"
        if order != b"little":
            raise ValueError(f"its numbers are {order.decode(errors='replace')}-endian, and little-endian is expected")
        return read_pickle(
            self._record("data.pkl"),
            constructors=_CONSTRUCTORS,
            constants=_CONSTANTS,
            persistent=self._storage,
        )

    def _record(self, name: str) -> bytes:
        record = self._records.get(self._prefix + name)
        if record is None:
            raise ValueError(f"it has no record {name}")
        if record.compress_type != zipfile.ZIP_STORED:
            raise ValueError(f"its record {name} is compressed, which torch never does")
        return self._archive.read(record)

    def _storage(self, identifier: Any) -> Array:
        if not (isinstance(identifier, tuple) and len(identifier) == 5 and identifier[0] == "storage"):
            raise ValueError(f"an identifier that is not that of a storage: {identifier!r}")
        _, dtype, key, _, count = identifier
        if not isinstance(key, str) or not isinstance(dtype, np.dtype) or not isinstance(count, int):
            raise ValueError(f"an identifier that is not that of a storage: {identifier!r}")
        if key not in self._storages:
            data = self._record(f"data/{key}")
            if len(data) != count * dtype.itemsize:
                raise ValueError(f"storage {key} has {len(data)} bytes where {count} numbers of {dtype} are expected")
            self._storages[key] = np.frombuffer(data, dtype=dtype)
        storage = self._storages[key]
        if storage.dtype != dtype or storage.size != count:
            raise ValueError(f"storage {key} is said to be two different ones")
        return storage


def _tensor(
    storage: Array, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_requires_grad_and_hooks: Any
) -> Array:
    if not isinstance(storage, np.ndarray):
        raise TypeError("a tensor without a storage")
    numbers = (offset, *shape, *strides)
    if len(shape) != len(strides) or not all(type(n) is int and n >= 0 for n in numbers):
        raise ValueError(f"a tensor of shape {shape}, strides {strides} and offset {offset}")
    last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    if 0 in shape:
        return np.zeros(shape, storage.dtype)
    if last >= storage.size:
        raise ValueError(f"a tensor that ends at number {last} of a storage of {storage.size}")
    steps = [stride * storage.itemsize for stride in strides]
    return np.lib.stride_tricks.as_strided(storage[offset:], shape, steps, writeable=False)


def _parameter(tensor: Array, *_requires_grad_and_hooks: Any) -> Array:
    if not isinstance(tensor, np.ndarray):
        raise TypeError("a parameter without a tensor")
    return tensor


def _ordered_dict(items: list[Any] | tuple[()] = ()) -> dict[Any, Any]:
    return dict(items)


def _encode(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise ValueError(f"bytes in the encoding {encoding}, and latin1 is expected")
    return text.encode("latin1")


def _device(name: str, index: int | None = None) -> str:
    return name if index is None else f"{name}:{index}"


class _Dtype(Building):
    """A dtype of NumPy: its code, then its byte order."""

    def __init__(self, code: str, *_align_and_copy: Any) -> None:
        if np.dtype(code).kind not in "fiubc":
            raise ValueError(f"an array of {code}")
        self._code = code
        self._order = "|"

    def build(self, state: Any) -> None:
        self._order = state[1]
        if self._order not in ("<", "|", "="):
            raise ValueError(f"an array in the byte order {self._order}")

    def value(self) -> np.dtype[Any]:
        return np.dtype(self._code).newbyteorder("<")


class _NumpyArray(Building):
    """An array of NumPy, which a pickle makes empty and then fills."""

    def __init__(self, *_: Any) -> None:
        self._array: Array = np.zeros(0)

    def build(self, state: Any) -> None:
        _, shape, dtype, fortran, data = state
        if not isinstance(dtype, _Dtype) or not isinstance(data, bytes):
            raise ValueError("an array of NumPy that is not numbers")
        flat = np.frombuffer(data, dtype.value())
        self._array = flat.reshape(shape, order="F" if fortran else "C")

    def value(self) -> Array:
        return self._array


def _numpy_scalar(dtype: _Dtype, data: bytes) -> Any:
    return np.frombuffer(data, dtype.value(), count=1)[0].item()


_MULTIARRAY = ("numpy.core.multiarray", "numpy._core.multiarray")

_CONSTRUCTORS: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": _ordered_dict,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch.Size": tuple,
    "torch.device": _device,
    "numpy.dtype": _Dtype,
    "_codecs.encode": _encode,
    **{f"{module}._reconstruct": _NumpyArray for module in _MULTIARRAY},
    **{f"{module}.scalar": _numpy_scalar for module in _MULTIARRAY},
}

_CONSTANTS: dict[str, Any] = {
    "numpy.ndarray": "numpy.ndarray",
    **{f"torch.{name}": np.dtype(dtype) for name, dtype in _STORAGES.items()},
    **{f"torch.{name}": name for name in _DTYPES},
}
