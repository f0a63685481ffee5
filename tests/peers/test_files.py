"""Files of torch and safetensors are read as these libraries read them. Runs in the session ``peers``."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tpnumba.models.file import read_arrays, write_arrays
from tpnumba.models.torch_files import read_torch_file

torch = pytest.importorskip("torch", reason="needs torch==2.13.0 (session peers)")
safetensors = pytest.importorskip("safetensors.numpy", reason="needs safetensors (session peers)")

DTYPES = ("f8", "f4", "f2", "i8", "i4", "i2", "i1", "u1", "?")


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("files")


def numbers(dtypes: tuple[str, ...], **shape: int) -> st.SearchStrategy[Any]:
    return st.sampled_from(dtypes).flatmap(lambda dtype: hnp.arrays(dtype, hnp.array_shapes(**shape)))


@st.composite
def views(draw: st.DrawFn) -> Any:
    """A tensor that begins anywhere in its storage, with strides of any order, and of zero."""
    array = draw(numbers((*DTYPES, "c16", "c8"), min_dims=1, max_dims=4, max_side=5))
    tensor = torch.from_numpy(array.copy()).permute(draw(st.permutations(range(array.ndim))))
    for axis, size in enumerate(tensor.shape):
        start, step = draw(st.integers(0, size)), draw(st.integers(1, 3))
        tensor = tensor[(slice(None),) * axis + (slice(start, None, step),)]
    return tensor.unsqueeze(0).expand(2, *tensor.shape) if draw(st.booleans()) else tensor


def same(found: Any, saved: Any) -> None:
    if isinstance(saved, torch.Tensor):
        assert found.strides == tuple(found.itemsize * step for step in saved.stride()) or saved.numel() == 0
        assert not found.flags.writeable or saved.numel() == 0
        saved = saved.detach().numpy()
    if isinstance(saved, np.ndarray):
        assert (found.dtype, found.shape, found.tobytes()) == (saved.dtype, saved.shape, saved.tobytes())
    elif isinstance(saved, dict):
        assert type(found) is dict
        assert list(found) == list(saved)
        for key, value in saved.items():
            same(found[key], value)
    elif isinstance(saved, list | tuple):
        assert len(found) == len(saved)
        for mine, value in zip(found, saved, strict=True):
            same(mine, value)
    else:
        assert found == (str(saved) if isinstance(saved, torch.device) else saved)


@given(st.lists(views(), max_size=3))
def test_tensors_have_their_strides_and_offsets(folder: Path, tensors: list[Any]) -> None:
    shared = [tensor.T if tensor.ndim == 2 else tensor for tensor in tensors]
    torch.save(tensors + shared, folder / "tensors.pth")
    same(read_torch_file(folder / "tensors.pth"), tensors + shared)


def test_states_and_configurations(folder: Path) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    content = {
        "state": model.state_dict(),
        "parameter": torch.nn.Parameter(torch.ones(2)),
        "config": OrderedDict(version="0.9", device=torch.device("cuda:1"), size=torch.Size([2, 3]), nothing=None),
        "arrays": [np.arange(6).reshape(2, 3), np.asfortranarray(np.eye(2, 3, dtype=np.float32)), np.float64(1.5)],
        "numbers": (1, 2**40, -1.5, True, "å"),
    }
    torch.save(content, folder / "content.pth")
    same(read_torch_file(folder / "content.pth"), content)
    torch.save({"dtype": torch.float32}, folder / "dtype.pth")
    assert read_torch_file(folder / "dtype.pth") == {"dtype": "float32"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (torch.nn.Linear(2, 2), r"names torch\.nn\.modules\.linear\.Linear"),
        (torch.ones(2, dtype=torch.bfloat16), r"names torch\.BFloat16Storage"),
        (np.array([None]), "_reconstruct|numpy.dtype"),
        ({"path": Path("a")}, "names pathlib"),
    ],
)
def test_other_objects_are_refused(folder: Path, content: Any, message: str) -> None:
    torch.save(content, folder / "other.pth")
    with pytest.raises(ValueError, match=message):
        read_torch_file(folder / "other.pth")


def test_files_that_are_cut_off_damaged_or_old_are_refused(folder: Path) -> None:
    path = folder / "file.pth"
    torch.save({"weight": torch.arange(400.0)}, path)
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="is not a file of torch"):
            read_torch_file(path)
    middle = whole.index(np.arange(400.0, dtype=np.float32).tobytes()) + 800
    path.write_bytes(whole[:middle] + b"\xff" + whole[middle + 1 :])
    with pytest.raises(ValueError, match="Bad CRC-32"):
        read_torch_file(path)
    path.write_bytes(whole.replace(b"little", b"bigbig"))
    with pytest.raises(ValueError, match="Bad CRC-32"):
        read_torch_file(path)
    torch.save({"weight": torch.ones(2)}, path, _use_new_zipfile_serialization=False)
    with pytest.raises(ValueError, match=r"is not a file of torch 1\.6 or later"):
        read_torch_file(path)


arrays = st.dictionaries(st.text(max_size=4), numbers((*DTYPES, "u8", "u4", "u2"), min_dims=0, min_side=0), max_size=5)
texts = st.dictionaries(st.text(max_size=4), st.text(max_size=4))


@given(arrays, texts)
def test_safetensors_reads_what_is_written(folder: Path, arrays: dict[str, Any], metadata: dict[str, str]) -> None:
    write_arrays(folder / "ours.safetensors", arrays, metadata)
    same(dict(sorted(safetensors.load_file(folder / "ours.safetensors").items())), dict(sorted(arrays.items())))
    with safetensors.safe_open(folder / "ours.safetensors", "numpy") as file:
        assert (file.metadata() or {}) == metadata


@given(arrays, texts)
def test_what_safetensors_writes_is_read(folder: Path, arrays: dict[str, Any], metadata: dict[str, str]) -> None:
    assume(arrays or metadata)  # of nothing, safetensors 0.8 writes a header that is not JSON
    safetensors.save_file(arrays, folder / "theirs.safetensors", metadata)
    found = read_arrays(folder / "theirs.safetensors")
    same(dict(sorted(found.arrays.items())), dict(sorted(arrays.items())))
    assert found.metadata == metadata
