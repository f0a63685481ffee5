"""Which of its two kernels evaluates a contraction: the one that reads tables, or code made for the plan.

Both give the same bits, so that a program may change from one to the other between any two calls. Code that is on disk
is loaded when a program is first used. Else it is compiled in the background, once the kernel that reads tables has
been at work for about as long as compiling takes; ``TPNUMBA_SPECIALIZE=0`` forbids both.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import threading
import warnings
from collections.abc import Callable
from functools import lru_cache
from queue import SimpleQueue
from typing import Any, TypeGuard

from tpnumba.backends.cpu.contraction.program import ContractionProgram
from tpnumba.backends.cpu.program import Ints, Program
from tpnumba.backends.cpu.runtime.workspace import address_of
from tpnumba.backends.cpu.specialised import store
from tpnumba.backends.cpu.specialised.machine import Loaded, compile_source, most_sums, processor
from tpnumba.backends.cpu.specialised.source import tile_size, write_source
from tpnumba.backends.cpu.specialised.sums import operations

Kernel = Callable[[Any, Ints, int, int], None]
#: About the time that compiling takes, a function and an operation of its code.
_SECONDS, _SECONDS_OF_OPERATION = 0.02, 7e-5

_prototype = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)


@lru_cache(maxsize=1)
def is_enabled() -> bool:
    """Whether code is made for plans: unless ``TPNUMBA_SPECIALIZE`` is 0 when the first plan is evaluated."""
    text = os.environ.get("TPNUMBA_SPECIALIZE", "1")
    if text not in ("0", "1"):
        raise ValueError(f"the environment variable TPNUMBA_SPECIALIZE must be 0 or 1, got {text!r}")
    return text == "1"


def _has_code(program: Program) -> TypeGuard[ContractionProgram]:
    return isinstance(program, ContractionProgram) and program.has_code and is_enabled()


def _compiled(program: ContractionProgram) -> bytes:
    name, features = processor()
    return compile_source(write_source(program, most_sums(features)), name, features)


class Tier:
    """The kernel that a program has at the moment.

    Attributes:
        kernel: ``(tile, arrays, start, stop)``, as :meth:`Program.call`; for results in rows of their own, and operands
            without an index.
        tile_size: the numbers that either kernel works in.
        is_specialised: whether it is code made for the plan.
    """

    def __init__(self, program: Program) -> None:
        self._program = program
        self.kernel: Kernel = program.call
        self.tile_size = program.tile_size
        self.is_specialised = False
        self._code: Loaded | None = None
        self._seconds_left: float | None = None
        if _has_code(program):
            self._begin(program)

    def _begin(self, program: ContractionProgram) -> None:
        self._key = store.key_of(program)
        found = store.read(self._key)
        if found is not None:
            self._take(program, found)
        else:
            self._seconds_left = _SECONDS + _SECONDS_OF_OPERATION * operations(program)

    def count(self, samples: int) -> None:
        """Note that so many samples were evaluated; compile in the background when it pays."""
        left = self._seconds_left
        if left is not None:
            left -= samples * self._program.seconds
            self._seconds_left = left
            if left < 0:
                self._seconds_left = None
                _compiler.ask(self)

    def compile(self) -> None:
        """Make the code now, whatever it costs, and keep it; nothing is done where the program has none or has it."""
        program = self._program
        if self.is_specialised or not _has_code(program):
            return
        code = _compiled(program)
        store.write(self._key, code)
        self._take(program, code)
        self._seconds_left = None

    def wait_again(self) -> None:
        """Begin anew to wait for the moment when it pays: whoever compiled for it is gone."""
        self._seconds_left = 0.0

    def _take(self, program: ContractionProgram, code: bytes) -> None:
        loaded = Loaded(code)
        call = _prototype(loaded.address)

        def kernel(tile: Any, arrays: Ints, start: int, stop: int) -> None:
            call(address_of(tile), address_of(arrays), start, stop)

        self._code = loaded  # for as long as the kernel is there
        # First the size, as another thread may read both in between.
        self.tile_size = max(self.tile_size, tile_size(program))
        self.kernel, self.is_specialised = kernel, True


def tier_of(program: Program) -> Tier:
    """The tier of a program, which is kept with it."""
    tier: Tier | None = program.__dict__.get("_tier")
    if tier is None:
        tier = program.__dict__.setdefault("_tier", Tier(program))
    return tier


class _Compiler:
    """A thread that compiles, one plan after the other; made when it is first needed."""

    def __init__(self) -> None:
        self._pending: list[Tier] = []
        self.forget()

    def forget(self) -> None:
        """Start anew: in the child of a fork the thread does not live, and what it held stays locked."""
        self._queue: SimpleQueue[Tier] = SimpleQueue()
        self._lock, self._at_work = threading.Lock(), threading.Lock()
        self._is_running = False
        for tier in self._pending:
            tier.wait_again()
        self._pending = []

    def ask(self, tier: Tier) -> None:
        """Compile for a program, when those before it are done."""
        with self._lock:
            self._pending.append(tier)
            self._queue.put(tier)
            if not self._is_running:
                threading.Thread(target=self._serve, name="tpnumba-compiler", daemon=True).start()
                self._is_running = True

    def stop(self) -> None:
        """Wait until what is being compiled is done, and let nothing follow: LLVM goes when the process ends."""
        self._at_work.acquire()

    def _serve(self) -> None:
        while True:
            tier = self._queue.get()
            with self._at_work:
                try:
                    tier.compile()
                except Exception as error:  # the kernel that reads tables stays
                    warnings.warn(f"tpnumba could not compile code for a plan: {error}", RuntimeWarning, stacklevel=1)
            self._pending.remove(tier)
            del tier


_compiler = _Compiler()
atexit.register(_compiler.stop)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_compiler.forget)
