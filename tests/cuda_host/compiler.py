"""CUDA sources, unchanged, compiled by a C++ compiler and run on NumPy arrays; looks like ``cupy.RawModule``."""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

HEADER = Path(__file__).parent / "cuda_host.h"
TRACE = Path(__file__).parent / "trace.cpp"
COMPILER = os.environ.get("CXX", "g++")
#: Strict about rounding, so that another compiler gives the same numbers.
FLAGS = ("-std=c++20", "-fPIC", "-shared", "-pthread", "-ffp-contract=off")
SANITIZERS = {
    "none": ("-O1",),
    "memory": (
        *("-O1", "-g", "-DCUDA_HOST_THREADS", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"),
        "-fno-omit-frame-pointer",
    ),
    "thread": ("-O1", "-g", "-DCUDA_HOST_THREADS", "-fsanitize=thread"),
    # Not a sanitizer, but its hooks, which trace.cpp has functions for.
    "trace": ("-O2", "-g", "-DCUDA_HOST_TRACE", "-fsanitize=thread", "-fno-threadsafe-statics"),
}

_DYNAMIC = re.compile(r"extern\s+__shared__\s+(?:__align__\(\d+\)\s+)?([\w ]+?)\s+(\w+)\[\];")
#: The compiler's names of the types that kernels take, as NumPy's.
_KINDS = {"f": "f4", "d": "f8", "i": "i4", "x": "i8", "l": "i8"}


def is_there() -> bool:
    """Whether there is a compiler."""
    return shutil.which(COMPILER) is not None


class HostModule:
    """Like ``cupy.RawModule``. ``sanitizer``: a key of ``SANITIZERS``; ``order``: that of threads, see the header."""

    def __init__(
        self,
        code: str,
        *,
        options: tuple[str, ...] = (),
        name_expressions: tuple[str, ...] = (),
        sanitizer: str = "none",
        order: int = 0,
    ) -> None:
        assert all(option.startswith(("-std", "-D")) for option in options)
        dynamic = _DYNAMIC.sub(r"\1* \2 = reinterpret_cast<\1*>(cuda_host::shared);", code)
        assert "__shared__" not in dynamic, "static shared memory, which the header does not know"
        lines = [f'#include "{HEADER}"', '#line 1 "kernel.cu"', dynamic]
        for number, name in enumerate(name_expressions):
            arguments = "const unsigned* grid, const unsigned* threads, size_t bytes, void** arguments"
            launch = f"return cuda_host::launch(&{name}, grid, threads, bytes, arguments);"
            lines.append(f'extern "C" const char* launch_{number}({arguments}) {{ {launch} }}')
            lines.append(f'extern "C" const char* signature_{number}() {{ return cuda_host::signature(&{name}); }}')
        lines.append('extern "C" void set_order(int order) { cuda_host::order = order; }')
        self.code = code
        self.path = _compiled("\n".join(lines), sanitizer)
        self.library = ctypes.CDLL(str(self.path))
        if sanitizer == "trace":
            TRACED[self.path] = self
        self.names = name_expressions
        self.order = order

    def get_function(self, name: str) -> HostKernel:
        self.library.set_order(self.order)
        return HostKernel(self.library, self.names.index(name), name)


#: The modules that note what they read and write.
TRACED: dict[Path, HostModule] = {}


def _compiled(source: str, sanitizer: str) -> Path:
    """The shared library, made once for each source and set of flags."""
    beside = (TRACE,) if sanitizer == "trace" else ()
    command = [COMPILER, *FLAGS, *SANITIZERS[sanitizer]]
    text = "\0".join([*command, source, *(path.read_text(encoding="utf-8") for path in (HEADER, *beside))])
    folder = Path(tempfile.gettempdir()) / f"tpnumba-cuda-host-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    library = folder / f"{hashlib.sha256(text.encode()).hexdigest()[:20]}.so"
    if not library.exists():
        with tempfile.TemporaryDirectory(dir=folder) as place:
            written, compiled, made = (Path(place) / name for name in ("kernel.cpp", "kernel.o", "kernel.so"))
            written.write_text(source, encoding="utf-8")
            _run([*command, "-c", written, "-o", compiled] if beside else [*command, written, "-o", made])
            if beside:  # without the sanitizer's own library
                _run([COMPILER, *FLAGS, "-O2", *beside, compiled, "-o", made])
            made.replace(library)
    return library


def _run(command: list[str | Path]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)


class HostKernel:
    """Like a function of ``cupy.RawModule``, and stricter: the type of every argument must be the declared one."""

    def __init__(self, library: ctypes.CDLL, number: int, name: str) -> None:
        self._launch: Any = getattr(library, f"launch_{number}")
        self._launch.restype = ctypes.c_char_p
        signature: Any = getattr(library, f"signature_{number}")
        signature.restype = ctypes.c_char_p
        self.types = [text.split(":") for text in signature().decode().split(",")[:-1]]
        self.name = name
        self.max_dynamic_shared_size_bytes = 48 * 2**10

    def __call__(
        self, grid: tuple[int, ...], threads: tuple[int, ...], arguments: tuple[Any, ...], *, shared_mem: int = 0
    ) -> None:
        if shared_mem > self.max_dynamic_shared_size_bytes:
            raise RuntimeError(f"{shared_mem} bytes of shared memory were not asked for")
        if len(arguments) != len(self.types):
            raise TypeError(f"{self.name} takes {len(self.types)} arguments, got {len(arguments)}")
        values = [
            self._value(place, argument, kind, int(size))
            for place, (argument, (kind, size)) in enumerate(zip(arguments, self.types, strict=True))
        ]
        pointers = (ctypes.c_void_p * len(values))(*(value.ctypes.data for value in values))
        shapes = ((ctypes.c_uint * 3)(*(*shape, 1, 1)[:3]) for shape in (grid, threads))
        error = self._launch(*shapes, ctypes.c_size_t(shared_mem), pointers)
        if error:
            raise RuntimeError(f"{self.name}: {error.decode()}")

    def _value(self, place: int, argument: Any, kind: str, size: int) -> Any:
        """What the argument's pointer points to."""
        if isinstance(argument, np.generic):
            if argument.dtype != np.dtype(_KINDS[kind]) or argument.itemsize != size:
                raise TypeError(f"{self.name}, argument {place}: {argument.dtype} for the C++ type {kind!r}")
            return np.array(argument)
        if not isinstance(argument, np.ndarray):  # CuPy would pass 8 bytes, whatever is declared
            raise TypeError(f"{self.name}, argument {place}: a plain {type(argument).__name__}")
        if not kind.startswith("P") or argument.dtype != np.dtype(_KINDS[kind.lstrip("PK")]):
            raise TypeError(f"{self.name}, argument {place}: an array of {argument.dtype} for the C++ type {kind!r}")
        if "K" not in kind and not argument.flags.writeable:
            raise ValueError(f"{self.name}, argument {place}: read-only, but written into")
        return np.array(argument.ctypes.data, dtype=np.uintp)
