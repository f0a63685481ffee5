"""NumPy arrays on the backend of the GPU: its code unchanged, with the kernels run on the processor."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import array_api_compat.numpy
import numpy as np
import pytest
from cuda_host.compiler import HostModule

from tpnumba import backends
from tpnumba.backends import gpu
from tpnumba.backends.gpu import device, launch
from tpnumba.backends.namespaces import is_numpy


@contextmanager
def numpy_on_gpu(*, order: int = 0, sanitizer: str = "none") -> Iterator[Any]:
    """``backend="gpu"`` takes NumPy arrays; what it allocates starts as NaN. Yields the stand-in for CuPy."""

    class Stream:
        def wait_event(self, event: Any) -> None:
            raise AssertionError("there is only one stream here")

    stream = Stream()
    event = types.SimpleNamespace(record=lambda stream: None)
    cupy = types.ModuleType("cupy")
    cupy.__dict__.update(
        asarray=np.asarray,
        RawModule=partial(HostModule, order=order, sanitizer=sanitizer),
        is_available=lambda: True,
        ones=np.ones,
        cuda=types.SimpleNamespace(
            get_current_stream=lambda: stream, get_device_id=lambda: 0, Event=lambda disable_timing: event
        ),
    )

    def empty(shape: Any, dtype: Any = float) -> Any:
        return np.full(shape, np.nan, dtype=dtype)

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "cupy", cupy)
        patch.setattr(array_api_compat.numpy, "empty", empty)
        patch.setattr(backends, "is_cupy", is_numpy)
        patch.setattr(gpu, "require_device", lambda: None)
        patch.setattr(launch, "on_device", lambda array: nullcontext())
        device._module.cache_clear()
        device._tables.cache_clear()
        try:
            yield cupy
        finally:
            device._module.cache_clear()
            device._tables.cache_clear()
