"""Files that a study writes: found to be writable before the work starts, whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO


def check_writable(option: str, path: str) -> None:
    """Raise ``ValueError`` if ``path`` cannot be written."""
    target = Path(path)
    if target.is_dir():
        raise ValueError(f"{option} {path} is a directory")
    if target.exists() and not os.access(target, os.W_OK):
        raise ValueError(f"{option} {path} cannot be written")
    if target.exists() and not target.is_file():
        return
    try:
        with tempfile.TemporaryFile(dir=target.parent):
            pass
    except OSError as error:
        raise ValueError(f"{option} {path} cannot be written: {error.strerror}") from error


def write_whole(path: str, write: Callable[[BinaryIO], object]) -> None:
    """Let ``write`` fill a file beside ``path``, then put it in its place; devices and pipes are written directly."""
    target = Path(path)
    if target.exists() and not target.is_file():
        with target.open("wb") as stream:
            write(stream)
        return
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
