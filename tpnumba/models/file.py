"""Files in the format safetensors: named arrays behind a JSON header, mapped into memory when they are read.

A file is the length of its header (8 bytes, little-endian), the header, and the numbers. The header says for each name
the dtype, the shape and where its numbers are; under ``__metadata__`` it holds strings. The numbers leave no gaps.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from os import PathLike
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from tpnumba.outputs import write_whole

Array = npt.NDArray[Any]

_DTYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "i1",
    "U64": "<u8",
    "U32": "<u4",
    "U16": "<u2",
    "U8": "u1",
    "BOOL": "?",
}
_NAMES = {np.dtype(dtype): name for name, dtype in _DTYPES.items()}

_METADATA = "__metadata__"
_LENGTH = 8
#: What readers of the format allow for a header.
_LARGEST_HEADER = 100_000_000
#: Of the numbers in a file: that of the vectors which read them.
_ALIGNMENT = 64


class ArrayFile(NamedTuple):
    """What a file holds: arrays by name, in the order of the file, and its metadata."""

    arrays: dict[str, Array]
    metadata: dict[str, str]


def write_arrays(
    target: str | PathLike[str] | BinaryIO, arrays: Mapping[str, Array], metadata: Mapping[str, str]
) -> None:
    """Write named arrays to a file in the format safetensors, whole or not at all.

    Args:
        target: a path, or a binary stream to write to.
        arrays: of the dtypes that NumPy and the format share; any strides.
        metadata: strings by name.

    Arrays whose size in bytes is a multiple of 64 come first, so that they begin at multiples of 64.

    Raises:
        TypeError: an array of another dtype, or metadata that are not strings.
        OSError: the file cannot be written.

    Example:
        >>> import io
        >>> stream = io.BytesIO()
        >>> write_arrays(stream, {"weight": np.zeros(2, np.float32)}, {"made by": "hand"})
        >>> stream.getvalue()[8:90]
        b'{"__metadata__":{"made by":"hand"},"weight":{"dtype":"F32","shape":[2],"data_offse'
    """
    for key, text in metadata.items():
        if not isinstance(key, str) or not isinstance(text, str):
            raise TypeError(f"metadata must be strings by name, got {key!r}: {text!r}")
    header: dict[str, Any] = {_METADATA: dict(metadata)}
    ordered = sorted(arrays.items(), key=lambda item: -_alignment(_nbytes(*item)))
    end = 0
    for name, array in ordered:
        start, end = end, end + array.nbytes
        header[name] = {
            "dtype": _NAMES[array.dtype.newbyteorder("<")],
            "shape": list(array.shape),
            "data_offsets": [start, end],
        }
    encoded = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    head = encoded + b" " * (-(_LENGTH + len(encoded)) % _ALIGNMENT)

    def write(stream: BinaryIO) -> None:
        stream.write(len(head).to_bytes(_LENGTH, "little"))
        stream.write(head)
        for _, array in ordered:
            stream.write(array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes())

    if isinstance(target, str | PathLike):
        write_whole(os.fspath(target), write)
    else:
        write(target)


def _nbytes(name: str, array: Array) -> int:
    if name == _METADATA:
        raise ValueError(f"an array cannot be called {_METADATA}")
    if not isinstance(array, np.ndarray) or array.dtype.newbyteorder("<") not in _NAMES:
        kind = getattr(array, "dtype", type(array).__name__)
        raise TypeError(f"array {name!r} must be a NumPy array of {', '.join(_DTYPES)}, got {kind}")
    return int(array.nbytes)


def _alignment(nbytes: int) -> int:
    """The largest power of two, up to 64, that divides a size."""
    return min(_ALIGNMENT, nbytes & -nbytes) if nbytes else 1


def read_arrays(path: str | PathLike[str]) -> ArrayFile:
    """The arrays and the metadata of a file in the format safetensors, without reading the numbers.

    The arrays are read-only views of the file, mapped into memory: processes that read the same file share it. (One
    whose numbers do not begin at a multiple of their size, which other writers may do, is copied.)

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not in this format, it is cut off or damaged, or it has a dtype that NumPy does not know: the
            message says which.

    Example:
        >>> read_arrays(__file__)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        ValueError: ... is not a safetensors file: ...
    """
    name = os.fspath(path)
    size = os.stat(name).st_size
    with open(name, "rb") as stream:
        length = int.from_bytes(stream.read(_LENGTH), "little")
        if size < _LENGTH or length > _LARGEST_HEADER or (size > _LENGTH and stream.read(1) != b"{"):
            raise ValueError(f"{name} is not a safetensors file: it does not begin with a header")
        if _LENGTH + length > size:
            raise ValueError(f"{name} is cut off: its header has {length} bytes, and {size - _LENGTH} are there")
        stream.seek(_LENGTH)
        text = stream.read(length)
    try:
        header = json.loads(text, object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{name} is not a safetensors file: its header is not JSON ({error})") from error
    metadata = header.pop(_METADATA, {}) if isinstance(header, dict) else None
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise ValueError(f"{name} is not a safetensors file: its metadata are not strings by name")
    places = {key: _Place.read(f"{name}: array {key!r}", entry) for key, entry in header.items()}
    start = _LENGTH + length
    _check_places(name, places, size - start)
    numbers: Array = np.memmap(name, np.uint8, mode="r") if size > start else np.zeros(start, np.uint8)
    return ArrayFile({key: place.array(numbers[start:]) for key, place in places.items()}, metadata)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a name occurs twice")
    return table


class _Place(NamedTuple):
    """Where the numbers of an array are, and what they are."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    start: int
    end: int

    @classmethod
    def read(cls, what: str, entry: Any) -> _Place:
        if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
            raise ValueError(f"{what} must have a dtype, a shape and data_offsets, got {entry!r}")
        shape, offsets = entry["shape"], entry["data_offsets"]
        for numbers in (shape, offsets):
            if not isinstance(numbers, list) or not all(type(n) is int and n >= 0 for n in numbers):
                raise ValueError(f"{what} must have natural numbers for shape and data_offsets, got {entry!r}")
        if len(offsets) != 2:
            raise ValueError(f"{what} must have two data_offsets, got {offsets}")
        if entry["dtype"] not in _DTYPES:
            raise ValueError(f"{what} has the dtype {entry['dtype']!r}, and {', '.join(_DTYPES)} can be read")
        place = cls(np.dtype(_DTYPES[entry["dtype"]]), tuple(shape), *offsets)
        expected = place.dtype.itemsize
        for n in shape:
            expected *= n
        if place.end - place.start != expected:
            raise ValueError(f"{what} has {place.end - place.start} bytes, and its shape {shape} needs {expected}")
        return place

    def array(self, numbers: Array) -> Array:
        view = numbers[self.start : self.end].view(np.ndarray).view(self.dtype).reshape(self.shape)
        result = view if view.flags.aligned else view.copy()
        result.flags.writeable = False
        return result


def _check_places(name: str, places: Mapping[str, _Place], size: int) -> None:
    """Whether the arrays fill the rest of the file, one behind the other."""
    end = 0
    for key, place in sorted(places.items(), key=lambda item: (item[1].start, item[1].end)):
        if place.start != end:
            raise ValueError(f"{name} is damaged: array {key!r} begins at byte {place.start} instead of {end}")
        end = place.end
    if end > size:
        raise ValueError(f"{name} is cut off: its arrays have {end} bytes, and {size} are there")
    if end < size:
        raise ValueError(f"{name} is damaged: {size - end} bytes behind the last array belong to none")
