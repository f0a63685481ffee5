"""``tpnumba.interop.e3nn`` where neither e3nn nor torch is there; what it converts, ``tests/peers`` has."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from tpnumba.interop.e3nn import from_e3nn

SCRIPT = """
import sys
from importlib.abc import MetaPathFinder

class Absent(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] in ("e3nn", "torch"):
            raise ModuleNotFoundError(f"No module named {name!r}")

sys.meta_path.insert(0, Absent())
from tpnumba.interop.e3nn import from_e3nn

try:
    from_e3nn(object())
except TypeError as error:
    print(error)
"""


def test_it_is_imported_and_refuses_without_them():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert done.stdout == "module must be a TensorProduct, Linear, ... of e3nn, got object\n"


class TensorProduct:
    """Of that name, and not of e3nn."""


@pytest.mark.parametrize("module", [None, "1o", np.ones(3), TensorProduct(), TensorProduct])
def test_what_is_no_module_of_e3nn_is_refused(module):
    with pytest.raises(TypeError, match=f"module must be .* of e3nn, got {type(module).__name__}$"):
        from_e3nn(module)
