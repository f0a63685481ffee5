"""Files that a command writes: found to be writable before the work starts, whole or not at all."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, BinaryIO


def check_writable(option: str, path: str) -> None:
    """Raise ``ValueError`` if ``path`` cannot be written."""
    target = Path(path)
    if target.is_dir():
        raise ValueError(f"{option} {path} is a directory")
    if target.exists() and not os.access(target, os.W_OK):
        raise ValueError(f"{option} {path} cannot be written")
    if is_of_the_system(path) or (target.exists() and not target.is_file()):
        return
    target = Path(os.path.realpath(path))
    try:
        with tempfile.TemporaryFile(dir=target.parent):
            pass
    except OSError as error:
        raise ValueError(f"{option} {path} cannot be written: {error.strerror}") from error


def check_apart(files: Iterable[tuple[str, str | None]]) -> None:
    """Raise ``ValueError`` if two options name the same file, also by a link; None is no file."""
    named: dict[str, str] = {}
    for option, path in files:
        if path is not None:
            other = named.setdefault(os.path.realpath(path), option)
            if other != option:
                raise ValueError(f"{other} and {option} are both {path}")


def is_of_the_system(path: str) -> bool:
    """Whether a name stands for a device or an open file: nothing may be put in its place."""
    return os.path.abspath(path).startswith(("/dev/", "/proc/"))


def write_whole(path: str, write: Callable[[BinaryIO], object]) -> None:
    """Let ``write`` fill a file beside ``path``, then put it in its place; devices and pipes are written directly.

    So are the names that the system gives to open files, such as ``/dev/stdout``, also where that is a regular file: it
    is appended to, and the name stays what it is. Other links are followed.
    """
    if is_of_the_system(path) or (Path(path).exists() and not Path(path).is_file()):
        with Path(path).open("ab") as stream:
            write(stream)
        return
    target = Path(os.path.realpath(path))
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            write(stream)
        umask = os.umask(0)
        os.umask(umask)
        Path(name).chmod(0o666 & ~umask)
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def write_json(path: str, document: Any) -> None:
    """Write a document whole, behind what was printed so far: ``path`` may be ``/dev/stdout``."""
    if sys.stdout is not None:  # closed by whoever started us
        sys.stdout.flush()
    text = json.dumps(document, indent=1, allow_nan=False) + "\n"
    write_whole(path, lambda stream: stream.write(text.encode()))
