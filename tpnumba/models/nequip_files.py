"""Files of ``nequip``, loaded by that package; and which release it is."""

from __future__ import annotations

import os
import re
import sys
import zipfile
from os import PathLike
from typing import Any

#: Of the files that ``nequip`` writes.
SUFFIXES = (".ckpt", ".nequip.zip")
#: The release of ``nequip`` whose models are known.
RELEASE = "0.19"


def load_file(path: str | PathLike[str]) -> Any:
    """The model of a file; the state that ``nequip`` keeps for its process is set as its own programs set it."""
    try:
        from nequip.model.saved_models.load_utils import load_saved_model
        from nequip.utils.global_state import global_state_initialized, set_global_state
    except ImportError as error:
        raise ImportError(
            f"files of NequIP are loaded by the package nequip {RELEASE}, which cannot be imported here: install it "
            "beside tpnumba (python -m pip install torch nequip), convert there, and evaluate anywhere"
        ) from error
    check_release(installed(), "the package nequip")
    name = os.fspath(path)
    with open(name, "rb"):  # the error says why it cannot be read
        pass
    if name.endswith(".zip"):
        check_release(_packaged(name), name)
    if not global_state_initialized():
        set_global_state()
    try:
        return load_saved_model(name)
    except Exception as error:
        raise ValueError(f"{name} is no model that nequip loads: {type(error).__name__}: {error}") from error


def installed() -> str:
    """The release of the package ``nequip``; empty if it is not imported."""
    return str(getattr(sys.modules.get("nequip"), "__version__", ""))


def _packaged(name: str) -> str:
    """The release of ``nequip`` whose code is in a package."""
    try:
        with zipfile.ZipFile(name) as archive:
            (entry,) = [each for each in archive.namelist() if each.endswith("/model/package_metadata.txt")]
            found = re.search(r"^ +nequip: (\S+)$", archive.read(entry).decode(), re.MULTILINE)
    except (zipfile.BadZipFile, ValueError) as error:
        raise ValueError(f"{name} is no package of nequip: {error}") from error
    return found[1] if found else ""


def check_release(version: str, what: str) -> None:
    """Raise if something is of another release than what is known; nothing is said of one that is empty."""
    if version and not version.startswith(f"{RELEASE}."):
        raise ValueError(
            f"{what} is of release {version}, and models of {RELEASE} are known: others may mean other things by the "
            "same names"
        )
