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

from tpnumba.backends import gpu
from tpnumba.backends.gpu import device, evaluation, lower, sources
from tpnumba.backends.gpu.tile import launch as tile_launch
from tpnumba.backends.gpu.tile import unrolled as code
from tpnumba.backends.gpu.transform import lower as transform
from tpnumba.backends.gpu.transform import multipass_launch, passes
from tpnumba.backends.lowering.linear_maps import Axis
from tpnumba.backends.namespaces import is_numpy

#: Limits, by the module they stand in, under which small plans and batches take the ways of large ones: sections of the
#: result; slabs of the work buffer, one block after the other; and portions of the samples that are copied.
SMALL: tuple[dict[tuple[Any, str], int], ...] = (
    {(device, "COMFORTABLE_BYTES"): 2**12, (device, "MOST_BLOCKS"): 2},
    {(device, "COMFORTABLE_BYTES"): 0, (device, "MOST_SHARED_BYTES"): 0, (tile_launch, "SLAB_BYTES"): 2**14},
    {(evaluation, "COPY_BYTES"): 2**10, (tile_launch, "SUM_BYTES"): 2**10, (tile_launch, "MOST_SUMMING"): 2},
)


def _least_factor(axis: Axis) -> int:
    return next((factor for factor in range(2, axis.count) if axis.count % factor == 0), 1)


#: Those under which every transform is evaluated in several passes: over a batch as a whole; over chunks of it; and
#: over chunks of one sample, with Fourier sums in two passes wherever a length has factors.
_PASSES = {(transform, "LEAST_SAMPLES"): 2**30}
MULTIPASS: tuple[dict[tuple[Any, str], Any], ...] = (
    _PASSES,
    {**_PASSES, (multipass_launch, "WORK_BYTES"): 2**16},
    {**_PASSES, (multipass_launch, "WORK_BYTES"): 0, (passes, "first_factor"): _least_factor},
)


@contextmanager
def numpy_on_gpu(
    *,
    order: int = 0,
    sanitizer: str = "none",
    limits: dict[tuple[Any, str], Any] | None = None,
    unrolled: bool = False,
) -> Iterator[None]:
    """``backend="gpu"`` takes NumPy arrays; what it allocates starts as NaN.

    ``order`` of threads and ``sanitizer`` as in the compiler; ``limits``: one of ``SMALL`` or ``MULTIPASS``;
    ``unrolled``: small plans have code of their own, which is compiled for each, and not tables.
    """

    stream = types.SimpleNamespace(ptr=0)
    event = types.SimpleNamespace(record=lambda stream: None)
    cupy = types.ModuleType("cupy")
    cupy.__dict__.update(
        ndarray=type("ndarray", (), {}),
        asarray=np.asarray,
        RawModule=partial(HostModule, order=order, sanitizer=sanitizer),
        is_available=lambda: True,
        ones=np.ones,
        cuda=types.SimpleNamespace(
            get_current_stream=lambda: stream, get_device_id=lambda: 0, Event=lambda disable_timing: event
        ),
    )

    def empty(shape: Any, dtype: Any = float, device: Any = None) -> Any:
        return np.full(shape, np.nan, dtype=dtype)

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "cupy", cupy)
        patch.setattr(array_api_compat.numpy, "empty", empty)
        patch.setattr(gpu, "accepts", lambda context: is_numpy(context.xp))
        patch.setattr(gpu, "missing", lambda: None)
        patch.setattr(gpu, "on_device", lambda array: nullcontext())
        for (module, name), value in (limits or {}).items():
            patch.setattr(module, name, value)
        if not unrolled:
            patch.setattr(code, "MOST_UNROLLED", -1)
        caches = (device._module, device._tables, sources.assemble, lower.program_of, lower._multipass)
        for cached in caches:
            cached.cache_clear()
        try:
            yield
        finally:
            for cached in caches:
                cached.cache_clear()
