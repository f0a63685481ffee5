"""The one place that says how kernels are compiled, and where their machine code is stored.

Machine code is cached across processes in a folder of the user, named by a hash of all source files of the package: a
change of any of them, also of a function or constant that another file uses, makes a new folder, so no stale code can
run. The folder is ``TPNUMBA_CACHE_DIR``, else the user's cache folder. One that is there and cannot be written, as in a
container, is read; what is missing in it, or where there is none, is compiled anew in each process, and one warning
says so.
"""

from __future__ import annotations

import hashlib
import os
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numba
from numba.core import caching

#: What the compiler may assume of arithmetic: multiply-add may be contracted, the sign of zero and the rounding of a
#: reciprocal may change. NaN and infinity keep their meaning, and sums their order.
FAST_MATH = frozenset({"contract", "nsz", "arcp"})


def jit(function: Callable[..., Any]) -> Any:
    """Compile on first use, without the interpreter lock, cached across processes."""
    return _compiled(function, nogil=True)


def holding(function: Callable[..., Any]) -> Any:
    """The same with the interpreter lock held, for what looks at objects of Python, or takes next to no time."""
    return _compiled(function, nogil=False)


def _compiled(function: Callable[..., Any], *, nogil: bool) -> Any:
    dispatcher: Any = numba.njit(nogil=nogil, fastmath=set(FAST_MATH), error_model="numpy")(function)
    if cache_folder() is not None:
        dispatcher._cache = _Cache(function)  # type: ignore[no-untyped-call]
    return dispatcher


def part(function: Callable[..., Any]) -> Any:
    """A part of a kernel, copied into whoever calls it: what is compiled by itself is optimised again in its caller."""
    return numba.njit(nogil=True, fastmath=set(FAST_MATH), error_model="numpy", inline="always")(function)


@lru_cache(maxsize=1)
def cache_folder() -> Path | None:
    """Where machine code is stored, if only to be read; None if there is no place for it."""
    name = f"{_source_hash()}-{sys.implementation.cache_tag}"
    for parent in _candidates():
        folder = parent / name
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        return folder
    warnings.warn(
        "tpnumba found no writable folder for compiled kernels, so each process compiles its own; "
        "set TPNUMBA_CACHE_DIR to a writable folder",
        RuntimeWarning,
        stacklevel=2,
    )
    return None


def _candidates() -> list[Path]:
    chosen = os.environ.get("TPNUMBA_CACHE_DIR")
    if chosen:
        return [Path(chosen)]
    base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    try:
        return [(Path(base) if base else Path.home() / ".cache") / "tpnumba"]
    except RuntimeError:  # no home
        return []


def hash_sources(package: Path) -> str:
    """The key of the cache: a hash of the Python files below a folder, of their relative paths, and Numba's version."""
    digest = hashlib.sha256(numba.__version__.encode())
    for name, path in sorted((path.relative_to(package).as_posix(), path) for path in package.rglob("*.py")):
        text = path.read_bytes()
        digest.update(f"\0{name}\0{len(text)}\0".encode())
        digest.update(text)
    return digest.hexdigest()[:16]


@lru_cache(maxsize=1)
def _source_hash() -> str:
    # Kernels import nothing from outside of the folder of this backend (a test holds that).
    return hash_sources(Path(__file__).parents[1])


class _Locator(caching._CacheLocator):
    """Puts a function's machine code into :func:`cache_folder`; its stamp is the hash of all sources."""

    def __init__(self, py_func: Callable[..., Any], py_file: str) -> None:
        self._lineno = py_func.__code__.co_firstlineno
        self._py_file = py_file

    def get_cache_path(self) -> str:
        return str(cache_folder())

    def get_source_stamp(self) -> str:
        return _source_hash()

    def get_disambiguator(self) -> str:
        return str(self._lineno)

    @classmethod
    def from_function(cls, py_func: Callable[..., Any], py_file: str) -> _Locator:
        return cls(py_func, py_file)


class _CacheImpl(caching.CompileResultCacheImpl):
    _locator_classes = [_Locator]  # noqa: RUF012


class _Cache(caching.FunctionCache):
    """Numba's, but no state of the folder makes a call fail: what cannot be read is compiled anew."""

    _impl_class = _CacheImpl

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            found = super().load_overload(sig, target_context)  # type: ignore[no-untyped-call]
        except Exception:  # a damaged file is no pickle, and fails as such: in any way
            with suppress(OSError):
                self.flush()  # type: ignore[no-untyped-call]
            return None
        # Processes that compile at once may give one name to the machine code of two signatures.
        return found if found is None or tuple(found.signature.args) == tuple(sig) else None

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)  # type: ignore[no-untyped-call]
        except OSError as error:
            warn_uncached(error.strerror or str(error))


@cache
def warn_uncached(reason: str) -> None:
    """Say, once, that machine code cannot be kept."""
    warnings.warn(
        f"tpnumba cannot keep compiled kernels in {cache_folder()}: {reason}; "
        "set TPNUMBA_CACHE_DIR to a writable folder",
        RuntimeWarning,
        stacklevel=2,
    )
