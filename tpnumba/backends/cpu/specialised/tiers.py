"""Which of its two kernels evaluates a contraction: the one that reads tables, or code made for the plan.

Both give the same bits, so that a program may change from one to the other between any two calls. Code that is on disk
is loaded when a program is first used. Else it is compiled in the background, once the kernel that reads tables has
been at work for about as long as compiling takes; ``TPNUMBA_SPECIALIZE=0`` forbids both.
"""

from __future__ import annotations

import atexit
import os
import threading
import warnings
from collections.abc import Callable
from functools import lru_cache
from queue import SimpleQueue
from typing import TypeGuard

from tpnumba.backends.cpu.contraction.program import ContractionProgram
from tpnumba.backends.cpu.layout import ENTRY_ENOUGH, ENTRY_KERNEL, ENTRY_SAMPLES, NEVER
from tpnumba.backends.cpu.program import Program
from tpnumba.backends.cpu.specialised import store
from tpnumba.backends.cpu.specialised.machine import Loaded, compile_source, most_sums, processor
from tpnumba.backends.cpu.specialised.source import write_source
from tpnumba.backends.cpu.specialised.sums import operations

#: About the time that compiling takes, a function and an operation of its code.
_SECONDS, _SECONDS_OF_OPERATION = 0.02, 7e-5


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
    """The kernel that a program has at the moment, in its entry.

    Attributes:
        is_specialised: whether it is code made for the plan.
    """

    def __init__(self, program: Program) -> None:
        self._program = program
        self.is_specialised = False
        self._code: Loaded | None = None
        if _has_code(program):
            self._begin(program)

    def _begin(self, program: ContractionProgram) -> None:
        self._key = store.key_of(program)
        found = store.read(self._key)
        if found is not None:
            self._take(program, found)
        else:
            seconds = _SECONDS + _SECONDS_OF_OPERATION * operations(program)
            program.entry[ENTRY_ENOUGH] = int(seconds / program.seconds)

    def ask_if_it_pays(self) -> None:
        """Compile in the background, if enough samples were evaluated for it to pay."""
        entry = self._program.entry
        if entry[ENTRY_SAMPLES] > entry[ENTRY_ENOUGH]:
            entry[ENTRY_ENOUGH] = NEVER  # or every further call would ask
            _compiler.ask(self)

    def compile(self) -> None:
        """Make the code now, whatever it costs, and keep it; nothing is done where the program has none or has it."""
        program = self._program
        if self.is_specialised or not _has_code(program):
            return
        code = store.read(self._key)  # as another process, or a program of the same plan, may have made it
        if code is None:
            code = _compiled(program)
            store.write(self._key, code)
        self._take(program, code)

    def wait_again(self) -> None:
        """Begin anew to wait for the moment when it pays: whoever compiled for it is gone."""
        self._program.entry[ENTRY_ENOUGH] = 0

    def _take(self, program: ContractionProgram, code: bytes) -> None:
        entry = program.entry
        loaded = Loaded(code, program.native()[0])
        # For as long as the program: of threads that come at once, each may load the code, and one tier stays.
        program.__dict__.setdefault("_codes", []).append(loaded)
        self._code = loaded
        entry[ENTRY_ENOUGH] = NEVER
        entry[ENTRY_KERNEL] = loaded.address
        self.is_specialised = True

    def put_aside(self) -> Callable[[], None]:
        """Let the kernel that reads tables do the work until what is given is called."""
        entry = self._program.entry
        kernel = int(entry[ENTRY_KERNEL])
        if self._code is not None:
            entry[ENTRY_KERNEL] = self._code.tables_kernel
        return lambda: entry.__setitem__(ENTRY_KERNEL, kernel)


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
