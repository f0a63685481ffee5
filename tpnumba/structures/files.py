"""Structures from files, pipes and standard input, in the formats that ASE reads; errors name their source."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import re
import shutil
import stat
import sys
import tempfile
import traceback
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

import numpy as np
import numpy.typing as npt

from tpnumba.extras import need
from tpnumba.outputs import is_of_the_system
from tpnumba.structures.neighbours import periods

Array = npt.NDArray[np.float64]

#: Symbols that ASE's tables lack, by atomic number.
_ISOTOPES = {"D": 1, "T": 1}

_NUMBERS = rb"[ \t]*(?:[-+.\deE]+[ \t]+){2}[-+.\deE]+[^\n]*\n"
#: Formats that ASE knows by their names only, by how they begin.
_BEGINNINGS = {
    "cif": rb"(?:\s*#[^\n]*\n|\s)*data_",
    "proteindatabank": rb"(?:HEADER|TITLE |COMPND|REMARK|CRYST1|MODEL |ATOM  |HETATM)",
    "json": rb"\s*\{",
    "sdf": rb"(?:[^\n]*\n){3}[^\n]*V[23]000",
    "lammps-dump-text": rb"ITEM: ",
    "vasp": rb"[^\n]*\n[ \t]*[-+.\deE]+[^\n]*\n(?:" + _NUMBERS + rb"){3}",
}
#: How to unpack a pipe, by its first bytes, and the ending that goes with it.
_PACKED: dict[bytes, tuple[str, Callable[[BinaryIO], BinaryIO]]] = {
    b"\x1f\x8b": (".gz", lambda stream: cast(BinaryIO, gzip.GzipFile(fileobj=stream))),
    b"BZh": (".bz2", lambda stream: cast(BinaryIO, bz2.BZ2File(stream))),
    b"\xfd7zXZ\x00": (".xz", lambda stream: cast(BinaryIO, lzma.LZMAFile(stream))),  # noqa: SIM115
}
#: A file of at least this many frames is read at its end: reading 250,000 frames of two atoms took minutes.
COUNTED_FRAMES = 1000
#: How much of a file is looked at: more than the longest comment line has.
_LOOK = 2**16


class Structure(NamedTuple):
    """Atoms of the last of ``frames`` frames: positions ``(n, 3)`` and lattice ``(0..3, 3)``, in angstrom.

    Frames are counted up to `COUNTED_FRAMES`.
    """

    name: str
    positions: Array
    lattice: Array
    frames: int


def read_structure(path: str, file_format: str | None = None) -> Structure:
    """Read the last frame of a file, of a pipe, or of standard input (``-``).

    A direction repeats if the file says so (or leaves it open) and has a vector for it that is not zero.

    Args:
        path: any file of a format that ASE reads, also packed by gzip, bzip2 or xz.
        file_format: ASE's name of the format. By default it is found by the name of the file and its content.

    Raises:
        ValueError: what is there is no structure of finite, known atoms in a cell that is not flat; the file is named.
        ImportError: ASE is not installed.
    """
    with _errors_of(path):
        with _regular_file(path) as file:
            atoms, frames = _last_frame(file, file_format)
        positions = np.asarray(atoms.get_positions(), dtype=np.float64)
        if len(positions) == 0:
            raise ValueError("holds no atoms")
        with np.errstate(over="ignore"):
            bad = np.flatnonzero(~np.isfinite(np.sum(positions**2, axis=1)))
        if len(bad):
            x, y, z = positions[bad[0]]
            raise ValueError(
                f"has positions that are not finite, or whose squares are not: atom {bad[0] + 1} of {len(positions)} "
                f"({atoms.symbols[int(bad[0])]}) at ({x:g} {y:g} {z:g})"
            )
        try:
            lattice = periods(np.asarray(atoms.cell, dtype=np.float64), np.asarray(atoms.pbc))
        except ValueError as error:
            raise ValueError(f"cannot be used: {error}") from error
    return Structure(shown_name(path), positions, lattice, frames)


def read_frames(path: str, file_format: str | None = None) -> list[Any]:
    """Read all frames of a file, of a pipe, or of standard input (``-``), each as an ``ase.Atoms``.

    Args:
        path, file_format: as of `read_structure`.

    Raises:
        ValueError: what is there holds no structures; the file is named. What the structures are is not looked at.
        ImportError: ASE is not installed.
    """
    with _errors_of(path), _regular_file(path) as file:
        with _reading(file, file_format) as (readers, options):
            frames = list(readers.iread(str(file), index=slice(None), **options))
        if not frames:
            raise ValueError("holds no atoms")
        return frames


def shown_name(path: str) -> str:
    """What a file is called in tables: its name without the folder."""
    return "standard input" if path == "-" else path if is_of_the_system(path) else Path(path).name


def source_of(path: str) -> str:
    """What a file is called in errors."""
    return "the structure on standard input" if path == "-" else f"the structure file {path}"


@contextmanager
def _errors_of(path: str) -> Iterator[None]:
    """Name the file in errors."""
    need("ase.io")
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{source_of(path)} {error}") from error
    except OSError as error:
        raise ValueError(f"{source_of(path)} cannot be read: {error.strerror or error}") from error


@contextmanager
def _regular_file(path: str) -> Iterator[Path]:
    """A file that can be read more than once: ``path`` itself, or a copy of what a pipe gives."""
    if path == "-":
        if sys.stdin is None:
            raise ValueError("cannot be read: it is closed")
        with _copied(sys.stdin.buffer, "structure") as copy:
            yield copy
        return
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError as error:
        raise ValueError("does not exist") from error
    if stat.S_ISDIR(mode):
        raise ValueError("is a directory")
    if stat.S_ISREG(mode) and not is_of_the_system(path):
        yield Path(path).absolute()
        return
    with open(path, "rb") as stream:
        if stat.S_ISBLK(mode) or (stat.S_ISCHR(mode) and not stream.isatty()):
            raise ValueError("is a device, which holds no structure")
        with _copied(stream, "structure" if is_of_the_system(path) else Path(path).name) as copy:
            yield copy


@contextmanager
def _copied(stream: BinaryIO, name: str) -> Iterator[Path]:
    """A copy of what is left in a stream, unpacked."""
    buffered = io.BufferedReader(cast(io.RawIOBase, stream))
    start = buffered.peek(8)
    with tempfile.TemporaryDirectory() as folder:
        unpacked = cast(BinaryIO, buffered)
        for magic, (ending, unpack) in _PACKED.items():
            if start.startswith(magic):
                unpacked, name = unpack(unpacked), name.removesuffix(ending)
        copy = Path(folder, name)
        try:
            with copy.open("wb") as target:
                shutil.copyfileobj(unpacked, target)
        except (EOFError, zlib.error, lzma.LZMAError) as error:
            raise ValueError(f"cannot be read: {error}") from error
        finally:
            buffered.detach()  # the stream is not ours to close
        yield copy


def _last_frame(file: Path, file_format: str | None) -> tuple[Any, int]:
    atoms, frames = None, 0
    with _reading(file, file_format) as (readers, options):
        for atoms in readers.iread(str(file), index=slice(0, COUNTED_FRAMES), **options):  # noqa: B007
            frames += 1
        if frames == COUNTED_FRAMES:
            atoms = readers.read(str(file), index=-1, **options)
    if atoms is None:
        raise ValueError("holds no atoms")
    return atoms, frames


@contextmanager
def _reading(file: Path, file_format: str | None) -> Iterator[tuple[Any, dict[str, Any]]]:
    """ASE's readers and their options for a file; what they raise becomes an error that says what it means."""
    chosen = _format(file, file_format)
    try:
        with warnings.catch_warnings(), _isotopes():
            warnings.simplefilter("ignore")  # what a reader thinks of a file's dialect changes nothing here
            yield need("ase.io"), {"format": chosen, "do_not_split_by_at_sign": True}
    except Exception as error:  # every format's reader fails in its own way
        raise ValueError(_reason(error, chosen)) from error


def _reason(error: Exception, file_format: str) -> str:
    """What an error of the reader of a format means."""
    innermost = traceback.extract_tb(error.__traceback__)[-1].name
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    if isinstance(error, KeyError) and innermost in {"symbols2numbers", "label_to_symbol"}:
        return f"holds an unknown element {text.rpartition(' ')[2].rstrip('.')!r}"  # the last word is the symbol
    if isinstance(error, OSError) and error.strerror:
        text = error.strerror
    kind = "" if isinstance(error, (ValueError, OSError)) and text else f"{type(error).__name__} "
    return f"cannot be read as {file_format}: {kind}{' '.join(text.split())}".rstrip()


def _format(file: Path, asked: str | None) -> str:
    """ASE's name of the format of a file, by its name and content unless it was asked for."""
    formats = need("ase.io.formats")
    with formats.open_with_compression(str(file), "rb") as stream:
        start = stream.read(_LOOK)
    if not start.strip():
        raise ValueError("cannot be read: it is empty")
    if asked is not None:
        if asked not in formats.ioformats:
            raise ValueError(f"cannot be read: {asked!r} is no format that ASE knows, such as extxyz, cif or vasp")
        return asked
    for guess in (True, False):  # endings that are formats, then whether the beginning is that of an XYZ file
        with suppress(formats.UnknownFileTypeError):
            name = str(formats.filetype(str(file), guess=guess))
            if name in formats.ioformats:
                return name
    for name, beginning in _BEGINNINGS.items():
        if re.match(beginning, start):
            return name
    raise ValueError("cannot be read: its format is not known by its name or content; name it with --format")


@contextmanager
def _isotopes() -> Iterator[None]:
    """Let ASE's readers take the symbols of deuterium and tritium for those of hydrogen."""
    data = need("ase.data")
    added = {symbol: number for symbol, number in _ISOTOPES.items() if symbol not in data.atomic_numbers}
    data.atomic_numbers.update(added)
    data.chemical_symbols.extend(added)  # for readers that look there whether a symbol is one
    try:
        yield
    finally:
        for symbol in added:
            del data.atomic_numbers[symbol]
            data.chemical_symbols.remove(symbol)
