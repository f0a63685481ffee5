"""The one door to CuPy: whether there is a usable GPU, kernels compiled at run time, and tables on a device."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable
from contextlib import AbstractContextManager
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Array = Any

#: The C++ that the source is written in; the compiler's own default for the rest, on every device.
OPTIONS = ("-std=c++17",)
C_TYPES = {"float32": "float", "float64": "double"}
#: Parts of sources, which are put in their place: the compiler at run time knows no folder.
_INCLUDE = re.compile(r'^#include "(\w+\.cuh)"\n', re.MULTILINE)
#: Shared memory, in bytes, that a kernel gets without asking for more.
_GIVEN_BYTES = 48 * 2**10

INSTALL = "install CuPy for the CUDA of the driver: pip install 'tpnumba[cuda13]' or 'tpnumba[cuda12]'"


def require_device() -> None:
    """Raise unless kernels can run.

    Raises:
        ImportError: CuPy is not installed.
        RuntimeError: there is no GPU, or kernels cannot be compiled for it.
    """
    reason = missing()
    if reason is not None:
        raise type(reason)(*reason.args)  # a new one, which holds on to no earlier traceback


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


def source(unrolled: str = "", file: str = "program.cu") -> str:
    """A CUDA source, with what it includes, after the code that a program has in place of tables."""
    folder = Path(__file__).parent
    text = (folder / file).read_text(encoding="utf-8")
    return unrolled + _INCLUDE.sub(lambda found: (folder / found[1]).read_text(encoding="utf-8"), text)


def instance(dtype: str, repeat: int, shared: bool, kinds: int) -> str:
    """The instance of the kernel for programs of so many results at a time, with their tile in shared memory or not.

    ``kinds``: a bit for each kind of operation.
    """
    return f"evaluate<{C_TYPES[dtype]}, {repeat}, {'true' if shared else 'false'}, {kinds}>"


def add_instance(dtype: str) -> str:
    """The instance of the kernel that adds rows."""
    return f"add_rows<{C_TYPES[dtype]}>"


def on_device(array: Array) -> AbstractContextManager[Any]:
    """The device of an array as the current one."""
    device: AbstractContextManager[Any] = array.device
    return device


@lru_cache(maxsize=512)
def _module(names: tuple[str, ...], unrolled: str, file: str) -> Any:
    """Compiled for each device on first use there; CuPy keeps the machine code in files as well."""
    import cupy

    return cupy.RawModule(code=source(unrolled, file), options=OPTIONS, name_expressions=names)


def kernel(
    name: str, shared_bytes: int = 0, unrolled: str = "", file: str = "program.cu", together: tuple[str, ...] = ()
) -> Callable[..., None]:
    """An instance of a kernel on the current device, which may use so much shared memory.

    ``together``: instances that are compiled with it, itself among them, as whoever needs one needs the others.
    """
    function: Any = _module(together or (name,), unrolled, file).get_function(name)
    if shared_bytes > _GIVEN_BYTES and function.max_dynamic_shared_size_bytes < shared_bytes:
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
