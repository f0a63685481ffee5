"""CUDA sources as the compiler gets them: constants, code of a plan's own terms, a file with what it includes."""

from __future__ import annotations

import re
from functools import lru_cache
from importlib import resources

from tpnumba.backends.gpu import layout

C_TYPES = {"float32": "float", "float64": "double"}
#: Parts of sources, which are put in their place: the compiler at run time knows no folder.
_INCLUDE = re.compile(r'^#include "(\w+\.cuh)"\n', re.MULTILINE)


@lru_cache(maxsize=512)
def assemble(file: str, terms: str = "") -> str:
    """The text of ``file``, of the folder ``kernels``, behind its constants and the ``terms`` of a small plan."""
    folder = resources.files(__package__) / "kernels"
    text = (folder / file).read_text(encoding="utf-8")
    text = _INCLUDE.sub(lambda found: (folder / found[1]).read_text(encoding="utf-8"), text)
    return f"{layout.cuda_constants(file)}{terms}{text}"


def instance(name: str, dtypes: tuple[str, ...], *parameters: int | bool) -> str:
    """An instance of a template: its types, by the names of NumPy, then its numbers and truth values."""
    words = [str(own).lower() if isinstance(own, bool) else f"{own:d}" for own in parameters]
    return f"{name}<{', '.join([*(C_TYPES[dtype] for dtype in dtypes), *words])}>"
