"""From the source of a kernel to its machine code, for this processor."""

from __future__ import annotations

from ctypes import c_size_t
from functools import lru_cache
from typing import Any

import llvmlite.binding as llvm

from tpnumba.backends.cpu.specialised.source import KERNEL, TABLES_KERNEL


@lru_cache(maxsize=1)
def processor() -> tuple[str, str]:
    """The processor's name and its features, as LLVM calls them; vectors of 64 bytes wherever it has them."""
    features = llvm.get_host_cpu_features()
    if "avx512f" in features:
        features["prefer-256-bit"] = False
    return llvm.get_host_cpu_name(), features.flatten()


@lru_cache(maxsize=8)
def _target(triple: str, name: str, features: str) -> Any:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    target = llvm.Target.from_triple(triple)
    return target.create_target_machine(cpu=name, features=features, opt=2, codemodel="default", reloc="pic")


def most_sums(features: str) -> int:
    """The columns that are summed at a time, so that they stay in registers, of which a column takes one to four."""
    return 20 if "+avx512f" in features else 6


def _parsed(source: str, triple: str | None) -> Any:
    module = llvm.parse_assembly(source)
    module.verify()
    module.triple = triple or llvm.get_process_triple()
    return module


def compile_source(source: str, name: str, features: str, triple: str | None = None) -> bytes:
    """An object file."""
    module = _parsed(source, triple)
    return bytes(_target(module.triple, name, features).emit_object(module))


def assembly(source: str, name: str, features: str, triple: str | None = None) -> str:
    """The same as text, to be read."""
    module = _parsed(source, triple)
    return str(_target(module.triple, name, features).emit_assembly(module))


class Loaded:
    """Machine code in memory, as long as this object lives.

    Attributes:
        address: of the kernel.
        tables_kernel: the address of that which reads tables, and does what this one does not.
    """

    def __init__(self, code: bytes, tables_kernel: int) -> None:
        empty = llvm.parse_assembly("")
        triple = llvm.get_process_triple()
        empty.triple = triple
        machine = llvm.Target.from_triple(triple).create_target_machine()
        self._engine = llvm.create_mcjit_compiler(empty, machine)
        self._engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        self._engine.finalize_object()
        self.tables_kernel = tables_kernel
        c_size_t.from_address(self._engine.get_global_value_address(TABLES_KERNEL)).value = tables_kernel
        self.address = int(self._engine.get_function_address(KERNEL))
