"""Machine code for real devices: what the check of all instances would see."""

from __future__ import annotations

import pytest
from cuda_host import targets

from tpnumba.backends.gpu.sources import assemble

pytest.importorskip("cuda.core", reason="needs cuda-core and nvidia-cuda-nvrtc")


@pytest.mark.parametrize("architecture", targets.ARCHITECTURES)
@pytest.mark.parametrize("name", ["evaluate<float, 1, true, 3>", "evaluate<double, 4, false, 7>"])
def test_what_is_said_of_an_instance(name, architecture):
    """Of every instance: ``targets.py`` itself, which the session runs."""
    assert name in targets.instances()
    one = targets.compiled(name, architecture)
    assert one.spills == one.stack == 0
    assert 32 <= one.registers <= 128
    assert one.size > 1000


def test_spills_are_seen():
    """A kernel that has to do with few registers spills them, and the log says so."""
    text = assemble("tile.cu").replace("int BLOCKS = 2;", "int BLOCKS = 8;")
    assert text != assemble("tile.cu")
    assert targets.compiled("evaluate<double, 4, false, 7>", "sm_90", text).spills > 0


def test_errors_are_seen():
    with pytest.raises(Exception, match=r"program failed|error"):
        targets.compiled("evaluate<float, 1, true, 3>", "sm_90", assemble("tile.cu").replace("T* work", "X* work"))
