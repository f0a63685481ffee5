"""Dask arrays: nothing is computed by a call, leading axes may be cut into chunks, samples may not."""

from __future__ import annotations

import numpy as np
import pytest
from namespaces.kinds import KINDS
from strategies import random_arguments, tolerance

import tpnumba as tp

da = pytest.importorskip("dask.array", reason="needs dask (session namespaces)")


def lazy(x, chunks=2):
    return da.from_array(x, chunks=(*(chunks,) * (x.ndim - 1), -1))


def close(found, expected):
    assert isinstance(found, da.Array)
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    size = 1 + float(np.max(np.abs(expected), initial=0.0))
    result = found.compute(scheduler="synchronous")
    np.testing.assert_allclose(result, expected, rtol=0, atol=size * tolerance("float64", 4, 1000))


@pytest.mark.parametrize("leading", [((5,), (5,)), ((5, 1), (3,)), ((5,), ())], ids=str)
@pytest.mark.parametrize("name", KINDS)
def test_calls_and_gradients(name, leading):
    p = KINDS[name]
    plain = random_arguments(p, *leading)
    arguments = [lazy(x) for x in plain]
    expected = p(*plain)
    close(p(*arguments), expected)
    cotangent = np.random.default_rng(1).standard_normal(expected.shape)
    named, lazily = ({"weights": x[2]} if len(x) == 3 else {} for x in (plain, arguments))
    found = p.vjp(*arguments[:2], lazy(cotangent), **lazily)
    for one, other in zip(found, p.vjp(*plain[:2], cotangent, **named), strict=True):
        close(one, other)


def test_nothing_is_computed_by_a_call():
    def explode(block):
        raise AssertionError

    p = KINDS["full"]
    x, y = (lazy(x) for x in random_arguments(p, (6,), (6,)))
    result = p(x.map_blocks(explode, meta=np.empty((0, 0))), y)
    assert result.shape == (6, p.irreps_out.dim)
    assert result.chunks[0] == (2, 2, 2)
    assert len(result.__dask_graph__().layers) < 10
    with pytest.raises(AssertionError):
        result.compute(scheduler="synchronous")


def test_samples_in_pieces_are_refused():
    p = KINDS["full"]
    x, y = random_arguments(p, (6,), (6,))
    with pytest.raises(ValueError, match="x1 must be one chunk along the axis -1, got chunks"):
        p(da.from_array(x, chunks=(2, 3)), lazy(y))
    with pytest.raises(TypeError, match="out cannot be used with dask"):
        p(lazy(x), lazy(y), out=lazy(np.zeros((6, p.irreps_out.dim))))


def test_harmonics_and_rotations():
    points = np.random.default_rng(0).standard_normal((5, 3))
    harmonics = tp.SphericalHarmonics(3)
    close(harmonics(lazy(points)), harmonics(points))
    cotangent = np.random.default_rng(1).standard_normal((5, 16))
    close(harmonics.vjp(lazy(points), lazy(cotangent)), harmonics.vjp(points, cotangent))
