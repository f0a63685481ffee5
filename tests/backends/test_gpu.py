"""The GPU's backend where there is none: what is missing is said in one error. Its kernels: ``tests/cuda_host``."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import numpy as np
import pytest

import tpnumba as tp
from tpnumba.backends import gpu
from tpnumba.backends.gpu import device, layout, program_of
from tpnumba.backends.gpu.sources import assemble
from tpnumba.backends.gpu.tile.program import Program
from tpnumba.backends.gpu.transform.multipass import MultipassProgram
from tpnumba.backends.namespaces import is_numpy

FULL = tp.FullTensorProduct("1o", "1o")
X = np.ones((2, 3))


@pytest.fixture
def gpu_arrays(monkeypatch):
    """NumPy arrays pass for CuPy's; the device is looked for anew."""
    monkeypatch.setattr(gpu, "accepts", lambda context: is_numpy(context.xp))
    device.missing.cache_clear()
    yield monkeypatch
    device.missing.cache_clear()


def cupy(**contents):
    module = types.ModuleType("cupy")
    module.__dict__.update(contents)
    return module


def fail(*_):
    raise OSError("libnvrtc is not there")


@pytest.mark.parametrize(
    ("module", "error", "message"),
    [
        (None, ImportError, r"backend 'gpu' needs CuPy.*pip install 'tpnumba\[cuda13\]' or 'tpnumba\[cuda12\]'"),
        (cupy(is_available=lambda: False), RuntimeError, "backend 'gpu' needs an NVIDIA GPU with its driver"),
        (cupy(is_available=lambda: True, ones=fail), RuntimeError, "cannot compile or run a kernel.*libnvrtc"),
        (cupy(is_available=lambda: True, ones=np.zeros), RuntimeError, "wrong sums"),
    ],
)
def test_what_is_missing(gpu_arrays, module, error, message):
    gpu_arrays.setitem(sys.modules, "cupy", module)
    for _ in range(2):
        with pytest.raises(error, match=message):
            FULL(X, X, backend="gpu")
        with pytest.raises(error, match=message):
            FULL.vjp(X, X, np.ones((2, 9)), backend="gpu")


def test_host_arrays(gpu_arrays):
    gpu_arrays.undo()
    gpu_arrays.setitem(sys.modules, "cupy", None)
    with pytest.raises(
        TypeError, match=r"takes cupy arrays, got arrays of numpy on cpu \(and backend 'gpu' needs CuPy"
    ):
        FULL(X, X, backend="gpu")
    gpu_arrays.setitem(sys.modules, "cupy", cupy(is_available=lambda: True, ones=np.ones))
    device.missing.cache_clear()
    with pytest.raises(TypeError, match=r"backend 'gpu' takes cupy arrays, got arrays of numpy on cpu$"):
        FULL(X, X, backend="gpu")


def test_tables_are_waited_for_once_by_every_other_stream(monkeypatch):
    """On the device, not on the host."""
    done = []
    stream = types.SimpleNamespace(ptr=1, wait_event=lambda event: done.append((stream.ptr, "waits")))
    event = types.SimpleNamespace(record=lambda stream: done.append((stream.ptr, "records")))
    places = types.SimpleNamespace(
        get_current_stream=lambda: stream, get_device_id=lambda: 0, Event=lambda disable_timing: event
    )
    monkeypatch.setitem(sys.modules, "cupy", cupy(asarray=np.asarray, cuda=places))
    program = program_of(FULL.plan, "float32")
    device._tables.cache_clear()
    for pointer in (1, 1, 2, 2, 1):
        stream.ptr = pointer
        table, coefficients = device.tables_of(program)
        assert np.array_equal(table, program.table)
        assert coefficients.dtype == np.float32
    device._tables.cache_clear()
    assert done == [(1, "records"), (2, "waits")]


def test_small_plans_have_code_and_large_ones_tables():
    small, large = (tp.FullTensorProduct(*[tp.Irreps.spherical_harmonics(L)] * 2) for L in (2, 6))
    code, tables = (program_of(p.plan, "float32") for p in (small, large))
    assert code.terms.count("case") > 10
    assert tables.terms == ""
    assert code.coefficients.size < 10 < tables.coefficients.size
    text = assemble("tile.cu")
    assert assemble("tile.cu", code.terms).startswith(layout.cuda_constants("tile.cu") + code.terms)
    assert len(assemble("tile.cu", code.terms)) == len(text) + len(code.terms)
    # What is the same for many blocks is there once.
    copies = program_of(tp.ChannelwiseTensorProduct("3x1o + 4x1o + 5x1o", "1o").plan, "float32")
    alone = program_of(tp.ChannelwiseTensorProduct("3x1o", "1o").plan, "float32")
    assert copies.terms.count("case") == alone.terms.count("case")


def test_the_source_is_in_the_package():
    folder = Path(device.__file__).parent / "kernels"
    files = ["harmonics.cu", "multipass.cu", "tile.cu"]
    assert sorted(path.name for path in folder.glob("*.cu")) == files
    assert all("__global__" in assemble(file) for file in files)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_has_a_program(dtype):
    """Of one kernel: every contraction of the package; transforms whose grid values fit into shared memory."""
    degrees = tp.Irreps.spherical_harmonics(6)
    for p in (
        tp.FullTensorProduct(degrees, degrees),
        tp.ChannelwiseTensorProduct("128x0e + 128x1o + 128x2e", "0e + 1o + 2e + 3o"),
        tp.FullyConnectedTensorProduct("32x0e + 32x1o + 32x2e", "0e + 1o + 2e", "32x0e + 32x1o + 32x2e"),
        tp.GauntTensorProduct(6, 6, method="grid"),
        tp.GauntTensorProduct(4, 4, method="fourier"),
        tp.MatrixTensorProduct(6, 6, method="matrix"),
        tp.VectorSphericalTensorProduct(3, 3, method="grid"),
    ):
        for i in range(len(p.plan.operands)):
            program = program_of(p.plan.adjoint(i), dtype)
            assert isinstance(program, Program)
            assert program.tile * np.dtype(dtype).itemsize <= 96 * 2**10 or not program.shared
            assert not program.table.flags.writeable


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_has_a_multipass_program(dtype):
    """Every larger transform."""
    for p in (
        tp.GauntTensorProduct(24, 24, method="grid"),
        tp.GauntTensorProduct(16, 16, method="fourier"),
        tp.BracketTensorProduct(24, 24, method="grid"),
        tp.GauntBracketTensorProduct(16, 16, method="grid"),
        tp.MatrixTensorProduct(40, 4, degree=40, method="matrix"),
    ):
        for i in range(3):
            program = program_of(p.plan.adjoint(i), dtype)
            assert isinstance(program, MultipassProgram)
            assert not program.table.flags.writeable
            assert not program.coefficients.flags.writeable
            # Which operands are one row for all samples is for each call to say.
            assert program_of(p.plan.adjoint(i).with_access(("shared", "batch", "batch")), dtype) is program
