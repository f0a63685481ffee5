"""Machine code of plans on disk, beside that of the kernels: nothing that stands there, or does not, makes a call fail.

A file is written whole and renamed. It begins with a hash of what follows, and one that does not fit is passed over and
written anew.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from contextlib import suppress
from pathlib import Path

import llvmlite

from tpnumba.backends.cpu.contraction.program import ContractionProgram
from tpnumba.backends.cpu.layout import (
    ADD,
    AT,
    FIRST,
    LEFT,
    LEFT_CHANNEL,
    RIGHT,
    RIGHT_CHANNEL,
    SIZE,
    SUM_RESULT,
    SUM_RESULT_CHANNEL,
)
from tpnumba.backends.cpu.runtime.compiler import cache_folder, warn_uncached
from tpnumba.backends.cpu.specialised.machine import processor

_DIGEST_BYTES = 32


def key_of(program: ContractionProgram) -> str:
    """A hash of all that the machine code follows from, beside the sources, which name the folder.

    Programs of one plan have the same, however wide their columns are.
    """
    digest = hashlib.sha256()
    digest.update("\0".join((llvmlite.__version__, *processor(), program.dtype.name)).encode())
    width = program.tile_width
    groups, rows, sums = program.groups.copy(), program.rows.copy(), program.sums.copy()
    for table, places in (
        (groups, [LEFT, LEFT_CHANNEL, RIGHT, RIGHT_CHANNEL]),
        (rows, [*range(FIRST, ADD)]),
        (sums, [SUM_RESULT, SUM_RESULT_CHANNEL]),
    ):
        table[:, places] //= width
    columns = (program.arrays[:, AT], program.places, program.factors, program.zeros)
    tables = (*(each // width for each in columns), program.arrays[:, SIZE], groups, rows, sums)
    for numbers in (*tables, program.channels, program.values, program.signs):
        digest.update(f"{numbers.shape}".encode())
        digest.update(numbers.tobytes())
    digest.update(f"{program.buffer // width}".encode())
    return digest.hexdigest()[:32]


def read(key: str) -> bytes | None:
    """The machine code; None if there is none, or it is damaged."""
    folder = cache_folder()
    if folder is None:
        return None
    try:
        content = _path(folder, key).read_bytes()
    except OSError:
        return None
    digest, code = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
    return code if code and hashlib.sha256(code).digest() == digest else None


def write(key: str, code: bytes) -> None:
    """Keep machine code; if that cannot be, one warning says so."""
    folder = cache_folder()
    if folder is None:
        return
    temporary = None
    try:
        handle, temporary = tempfile.mkstemp(dir=folder, prefix=f"{key}-")
        with os.fdopen(handle, "wb") as stream:
            stream.write(hashlib.sha256(code).digest() + code)
        os.replace(temporary, _path(folder, key))
    except OSError as error:
        warn_uncached(error.strerror or str(error))
        if temporary is not None:
            with suppress(OSError):
                os.unlink(temporary)


def _path(folder: Path, key: str) -> Path:
    return folder / f"plan-{key}.o"
