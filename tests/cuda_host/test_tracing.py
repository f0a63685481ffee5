"""Accesses of warps: coalesced in device memory, and in shared memory without conflicts of banks."""

from __future__ import annotations

import numpy as np
import pytest
from cuda_host.compiler import COMPILER, is_there
from cuda_host.standin import MULTIPASS
from cuda_host.tracing import traced
from strategies import random_arguments

import tpnumba as tp
from tpnumba.backends.gpu import sources

pytestmark = pytest.mark.skipif(not is_there(), reason=f"needs a C++ compiler ({COMPILER}; set CXX for another)")

#: A request for 128 bytes that does not start where a sector does takes one of these more.
UNALIGNED = 1
#: Rows of a tile are loaded along their width, so that a warp may meet a bank of the row before again; with four
#: samples of many channels these loads take four steps. Threads that step by a power of two take up to 32.
CONFLICTS = 1.5

PRODUCTS = {
    "full": (tp.FullTensorProduct(*[tp.Irreps.spherical_harmonics(3)] * 2), {}),
    "channelwise": (tp.ChannelwiseTensorProduct("64x0e + 64x1o", "0e + 1o + 2e"), {}),
    "multipass transform": (tp.GauntTensorProduct(4, 4, method="grid"), {"limits": MULTIPASS[0]}),
}


def totals(accesses, *, shared):
    own = [one for one in accesses if one.shared == shared]
    return (sum(number) for number in zip(*((one.requests, one.steps, one.least) for one in own), strict=True))


@pytest.mark.parametrize("gradient", [False, True], ids=["forward", "gradients"])
@pytest.mark.parametrize("name", PRODUCTS)
def test_products(name, gradient):
    p, where = PRODUCTS[name]
    arguments = random_arguments(p, (64,), (64,), dtype="float32")
    named = {"weights": arguments.pop()} if len(arguments) == 3 else {}
    cotangent = np.ones((64, p.irreps_out.dim), dtype="float32")
    with traced(**where) as accesses:
        if gradient:
            p.vjp(*arguments, cotangent, **named, backend="gpu")
        else:
            p(*arguments, **named, backend="gpu")
    requests, steps, least = totals(accesses, shared=False)
    assert steps <= least + UNALIGNED * requests
    _, steps, least = totals(accesses, shared=True)
    assert 0 < steps <= CONFLICTS * least


def test_harmonics():
    harmonics = tp.SphericalHarmonics(5)
    xyz = np.random.default_rng(0).standard_normal((256, 3)).astype("float32")
    with traced() as accesses:
        harmonics(xyz, backend="gpu")
        harmonics.vjp(xyz, np.ones((256, 36), dtype="float32"), backend="gpu")
    stored = [one for one in accesses if not one.shared and "rows[p * size" in one.text]
    assert sum(one.bytes for one in stored) == 256 * 36 * 4
    for one in stored:
        assert one.steps <= one.least + UNALIGNED * one.requests


def test_accesses_apart_from_each_other_are_seen(monkeypatch):
    """A kernel whose lanes step from row to row, and not along one."""
    p = tp.FullTensorProduct(*[tp.Irreps.spherical_harmonics(3)] * 2)
    x = np.ones((64, 16), dtype="float32")
    plain = sources.assemble
    old = "rows[sample * stride + (columns ? columns[column] : column)]"
    assert plain("tile.cu").count(old) == 1

    def apart(*names):
        return plain(*names).replace(old, "rows[column % 32 * stride]")

    apart.cache_clear = plain.cache_clear
    monkeypatch.setattr(sources, "assemble", apart)
    with traced() as accesses:
        p(x, x, backend="gpu")
    (loads,) = (one for one in accesses if "rows[column % 32 * stride]" in one.text and not one.shared)
    assert loads.steps > 2 * loads.least
