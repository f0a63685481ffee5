"""Machine code for real devices: what the check of all instances would see."""

from __future__ import annotations

import pytest
from cuda_host import targets

from tpnumba.backends.gpu import device

pytest.importorskip("cuda.core", reason="needs cuda-core and nvidia-cuda-nvrtc")


@pytest.mark.parametrize("architecture", targets.ARCHITECTURES)
@pytest.mark.parametrize("name", ["evaluate<float, 1, true>", "evaluate<double, 4, false>"])
def test_what_is_said_of_an_instance(name, architecture):
    """Of every instance: ``targets.py`` itself, which the session runs."""
    assert name in targets.instances()
    one = targets.compiled(name, architecture)
    assert one.spills == one.stack == 0
    assert 32 <= one.registers <= 128
    assert one.size > 1000


def test_spills_are_seen():
    """A kernel that has to do with few registers spills them, and the log says so."""
    text = device.source().replace("BLOCKS = 2,", "BLOCKS = 8,")
    assert text != device.source()
    assert targets.compiled("evaluate<double, 4, false>", "sm_90", text).spills > 0


def test_errors_are_seen():
    with pytest.raises(Exception, match=r"program failed|error"):
        targets.compiled("evaluate<float, 1, true>", "sm_90", device.source().replace("T* work", "X* work"))
