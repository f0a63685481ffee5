"""Files of arrays: what is written is read, bit by bit and without a copy; what is damaged is refused, and says why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tpnumba.models.file import read_arrays, write_arrays

DTYPES = ("f8", "f4", "f2", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "?")

some_arrays = st.dictionaries(
    st.text(max_size=5),
    st.sampled_from(DTYPES).flatmap(lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, min_side=0))),
    max_size=6,
)


@pytest.fixture(scope="session")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("arrays") / "file.safetensors"


def write(path: Path, header: Any, numbers: bytes = b"") -> None:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + numbers)


@given(some_arrays, st.dictionaries(st.text(), st.text()))
def test_what_is_written_is_read(file: Path, arrays: dict[str, Any], metadata: dict[str, str]) -> None:
    write_arrays(file, arrays, metadata)
    found = read_arrays(file)
    assert found.metadata == metadata
    assert found.arrays.keys() == arrays.keys()
    for name, array in arrays.items():
        assert found.arrays[name].dtype == array.dtype
        assert found.arrays[name].tobytes() == array.tobytes()
        assert found.arrays[name].shape == array.shape
        assert not found.arrays[name].flags.writeable


def test_strides_and_byte_orders_are_those_of_the_format(file: Path) -> None:
    grid = np.arange(12.0).reshape(3, 4)
    write_arrays(file, {"transposed": grid.T, "big": grid.astype(">f4")[:, ::2]}, {})
    found = read_arrays(file).arrays
    np.testing.assert_array_equal(found["transposed"], grid.T)
    np.testing.assert_array_equal(found["big"], grid[:, ::2])


def test_arrays_are_mapped_and_aligned(file: Path) -> None:
    arrays = {f"{size}": np.arange(size, dtype=np.float32) for size in (3, 16, 1, 32, 89, 64)}
    write_arrays(file, arrays, {"note": "odd"})
    for name, array in read_arrays(file).arrays.items():
        root: Any = array
        while not isinstance(root, np.memmap):
            root = root.base
        assert array.flags.aligned
        if int(name) % 16 == 0:
            assert array.ctypes.data % 64 == 0


def test_numbers_that_begin_anywhere_are_read(file: Path) -> None:
    entries = {
        "a": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]},
        "b": {"dtype": "F32", "shape": [2], "data_offsets": [1, 9]},
    }
    write(file, entries, b"\x05" + np.array([1.5, 2.5], "<f4").tobytes())
    found = read_arrays(file).arrays
    assert found["a"].tolist() == [5]
    assert found["b"].tolist() == [1.5, 2.5]
    assert found["b"].flags.aligned


def test_a_file_that_is_cut_off_is_refused(file: Path) -> None:
    write_arrays(file, {"weight": np.ones(7), "shift": np.ones(3, np.float32)}, {"a": "b"})
    whole = file.read_bytes()
    for length in range(len(whole)):
        file.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"is cut off|does not begin with a header"):
            read_arrays(file)
    file.write_bytes(whole + b"\0")
    with pytest.raises(ValueError, match="1 bytes behind the last array belong to none"):
        read_arrays(file)


ENTRY = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (b"[1, 2]  ", "does not begin with a header"),
        (b"{'a': 1}", "its header is not JSON"),
        (b"{" * 10_000, "its header is not JSON"),
        (b'{"a": {}, "a": {}}', "a name occurs twice"),
        ({"__metadata__": {"a": 1}}, "its metadata are not strings by name"),
        ({"w": []}, "array 'w' must have a dtype, a shape and data_offsets"),
        ({"w": {"dtype": "F32", "shape": [2]}}, "array 'w' must have a dtype, a shape and data_offsets"),
        ({"w": {**ENTRY, "shape": [-2]}}, "array 'w' must have natural numbers"),
        ({"w": {**ENTRY, "shape": [2.0]}}, "array 'w' must have natural numbers"),
        ({"w": {**ENTRY, "data_offsets": [8]}}, "array 'w' must have two data_offsets"),
        ({"w": {**ENTRY, "dtype": "BF16"}}, "array 'w' has the dtype 'BF16', and F64, F32"),
        ({"w": {**ENTRY, "shape": [3]}}, r"array 'w' has 8 bytes, and its shape \[3\] needs 12"),
        ({"w": {**ENTRY, "shape": [2**40, 2**40]}}, "array 'w' has 8 bytes"),
        ({"w": {**ENTRY, "data_offsets": [4, 12]}}, "array 'w' begins at byte 4 instead of 0"),
        ({"v": ENTRY, "w": ENTRY}, "array 'w' begins at byte 0 instead of 8"),
        ({"v": ENTRY, "w": {**ENTRY, "data_offsets": [8, 16]}}, "its arrays have 16 bytes, and 8 are there"),
    ],
)
def test_damaged_headers_are_refused(file: Path, header: Any, message: str) -> None:
    write(file, header, bytes(8))
    with pytest.raises(ValueError, match=message) as caught:
        read_arrays(file)
    assert str(caught.value).startswith(str(file))


@pytest.mark.parametrize(
    ("arrays", "metadata", "kind", "message"),
    [
        ({"w": np.ones(2, complex)}, {}, TypeError, "array 'w' must be a NumPy array of F64, .*, got complex128"),
        ({"w": [1.0]}, {}, TypeError, "array 'w' must be a NumPy array of F64, .*, got list"),
        ({"__metadata__": np.ones(2)}, {}, ValueError, "an array cannot be called __metadata__"),
        ({}, {"a": 1}, TypeError, "metadata must be strings by name, got 'a': 1"),
    ],
)
def test_what_the_format_lacks_is_refused(file: Path, arrays: Any, metadata: Any, kind: Any, message: str) -> None:
    file.write_bytes(b"as it was")
    with pytest.raises(kind, match=message):
        write_arrays(file, arrays, metadata)
    assert file.read_bytes() == b"as it was"
