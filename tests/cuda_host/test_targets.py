"""Machine code for real devices: every instance compiles within its time, and none spills registers."""

from __future__ import annotations

import pytest
from cuda_host import targets

from tpnumba.backends.gpu import device

pytest.importorskip("cuda.core", reason="needs cuda-core and nvidia-cuda-nvrtc")


@pytest.mark.parametrize("architecture", targets.ARCHITECTURES)
def test_nothing_spills(architecture):
    for name in targets.instances():
        one = targets.compiled(name, architecture)
        assert one.spills == one.stack == 0, one
        assert one.size > 1000
    for what, name, source in targets.unrolled():
        one = targets.compiled(name, architecture, source)
        assert one.spills == one.stack == 0, (what, one)


def test_spills_are_seen():
    """A kernel that has to do with few registers spills them, and the log says so."""
    text = device.source().replace("BLOCKS = 2,", "BLOCKS = 8,")
    assert text != device.source()
    assert targets.compiled("evaluate<double, 8, false>", "sm_90", text).spills > 0


def test_errors_are_seen():
    with pytest.raises(Exception, match=r"program failed|error"):
        targets.compiled("evaluate<float, 1, true>", "sm_90", device.source().replace("T* work", "X* work"))
