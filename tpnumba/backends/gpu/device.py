"""The one door to CuPy, and what devices have: kernels compiled at run time, tables on a device, limits."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from contextlib import AbstractContextManager
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Array = Any

#: The C++ that the source is written in; the compiler's own default for the rest, on every device.
OPTIONS = ("-std=c++17",)
#: Threads of a warp; banks of shared memory, of four bytes each.
WARP, BANKS = 32, 32
#: Bytes of a sector of global memory, and those that a thread reads at once.
SECTOR_BYTES, VECTOR_BYTES = 32, 16
#: Bytes of shared memory that a kernel gets without asking for more; and what every device from sm_80 on gives to one.
GIVEN_BYTES, MOST_SHARED_BYTES = 48 * 2**10, 96 * 2**10
#: Shared memory, in bytes, that leaves room for as many blocks on a multiprocessor as registers do, three of them on
#: sm_90 and two on sm_80.
COMFORTABLE_BYTES = 72 * 2**10
#: Blocks of a launch; what is more is worked by the same blocks, one after the other.
MOST_BLOCKS = 2**16

INSTALL = "install CuPy for the CUDA of the driver: pip install 'tpnumba[cuda13]' or 'tpnumba[cuda12]'"


@lru_cache(maxsize=1)
def missing() -> Exception | None:
    """What stands in the way of running kernels, as an error; None if nothing does."""
    try:
        import cupy
    except ImportError as error:
        return ImportError(f"backend 'gpu' needs CuPy, which cannot be imported: {error}; {INSTALL}")
    if not cupy.is_available():
        return RuntimeError("backend 'gpu' needs an NVIDIA GPU with its driver, and CuPy finds none")
    try:
        usable = int(cupy.ones(2).sum()) == 2  # compiles a kernel of its own
    except Exception as error:
        return RuntimeError(f"backend 'gpu': CuPy cannot compile or run a kernel here: {error}; {INSTALL}")
    return None if usable else RuntimeError("backend 'gpu': the GPU gives wrong sums")


def on_device(array: Array) -> AbstractContextManager[Any]:
    """The device of an array as the current one."""
    device: AbstractContextManager[Any] = array.device
    return device


@lru_cache(maxsize=512)
def _module(names: tuple[str, ...], code: str) -> Any:
    """Compiled for each device on first use there; CuPy keeps the machine code in files as well."""
    import cupy

    return cupy.RawModule(code=code, options=OPTIONS, name_expressions=names)


def kernel(code: str, name: str, shared_bytes: int = 0, together: tuple[str, ...] = ()) -> Callable[..., None]:
    """The instance ``name`` of a kernel in ``code`` on the current device, which may use ``shared_bytes``.

    ``together``: instances that are compiled with this one, itself among them, as whoever needs one needs the others.
    """
    function: Any = _module(together or (name,), code).get_function(name)
    if shared_bytes > GIVEN_BYTES and function.max_dynamic_shared_size_bytes < shared_bytes:
        function.max_dynamic_shared_size_bytes = shared_bytes
    return function  # type: ignore[no-any-return]


class HasTables(Hashable, Protocol):
    """A program, which kernels read as integers and coefficients."""

    @property
    def table(self) -> npt.NDArray[np.int32]:
        """Integers."""

    @property
    def coefficients(self) -> npt.NDArray[np.floating]:
        """Numbers of the dtype."""


class Tables:
    """The tables of a program on the current device, ready for any stream."""

    def __init__(self, program: HasTables) -> None:
        import cupy

        self.table = cupy.asarray(program.table)
        self.coefficients = cupy.asarray(program.coefficients)
        stream = cupy.cuda.get_current_stream()
        self._ready = cupy.cuda.Event(disable_timing=True)
        self._ready.record(stream)
        self._seen = {stream.ptr}

    def wait(self) -> None:
        """Let the current stream, and not the caller, wait until the tables are there."""
        import cupy

        stream = cupy.cuda.get_current_stream()
        if stream.ptr not in self._seen:
            stream.wait_event(self._ready)
            self._seen.add(stream.ptr)


@lru_cache(maxsize=512)
def _tables(program: HasTables, device: int) -> Tables:  # noqa: ARG001
    return Tables(program)


def tables_of(program: HasTables) -> tuple[Array, Array]:
    """The tables of a program on the current device: integers and coefficients."""
    import cupy

    found = _tables(program, cupy.cuda.get_device_id())
    found.wait()
    return found.table, found.coefficients
