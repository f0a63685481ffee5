"""Dask arrays: nothing is computed by a call, leading axes may be cut into chunks, samples may not."""

from __future__ import annotations

import pickle

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


def test_the_graph_grows_with_the_blocks_alone():
    sizes = []
    for p in (KINDS["full"], KINDS["gaunt-fourier"]):
        for n in (4, 8):
            x, y = (da.from_array(x, chunks=(1, -1)) for x in random_arguments(p, (n,), (n,)))
            gradient = p.vjp(x, y[0], da.ones((n, p.irreps_out.dim), chunks=(1, -1)))[1]
            sizes.append((len(p(x, y).__dask_graph__()), len(gradient.__dask_graph__())))
    assert sizes[0] == sizes[2]
    assert sizes[1] == sizes[3]
    assert sizes[1][0] <= 2 * sizes[0][0]


def test_a_result_larger_than_memory_is_no_error():
    p = KINDS["full"]
    x, y = (da.zeros((10**12, n), chunks=(10**9, -1)) for n in (p.irreps_in1.dim, p.irreps_in2.dim))
    assert p(x, y).shape == (10**12, p.irreps_out.dim)
    assert tp.SphericalHarmonics(3)(da.zeros((10**12, 3), chunks=(10**9, -1))).shape == (10**12, 16)


def test_the_graph_can_be_sent_elsewhere():
    p = KINDS["channelwise"]
    plain = random_arguments(p, (4,), (4,))
    result = p(*(lazy(x) for x in plain))
    copy = pickle.loads(pickle.dumps(result))
    assert copy.name == p(*(lazy(x) for x in plain)).name
    close(copy, p(*plain))


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
    close(harmonics.jvp(lazy(points), lazy(points)), harmonics.jvp(points, points))
    for one, other in zip(
        harmonics.value_and_jacobian(lazy(points)), harmonics.value_and_jacobian(points), strict=True
    ):
        close(one, other)
    R = np.linalg.qr(np.random.default_rng(2).standard_normal((5, 3, 3)))[0]
    rotation = da.from_array(R, chunks=(2, 3, 3))
    close(tp.wigner_d("1o + 2e", rotation), tp.wigner_d("1o + 2e", R))
    x = np.random.default_rng(3).standard_normal((4, 1, 16)).astype(np.float32)
    close(tp.rotate(harmonics.irreps, rotation, lazy(x)), tp.rotate(harmonics.irreps, R, x))
    with pytest.raises(ValueError, match="R must be one chunk along the axis -2"):
        tp.wigner_d(1, da.from_array(R, chunks=(5, 2, 3)))
    wrong = tp.wigner_d(1, da.ones((2, 3, 3)))
    with pytest.raises(ValueError, match="R must be orthogonal"):  # where there are numbers to look at
        wrong.compute(scheduler="synchronous")


def test_grids_and_conventions():
    grid = tp.Grid.exact(4)
    x = np.random.default_rng(0).standard_normal((3, 2, 9))
    f = tp.to_grid(x, 2, grid)
    close(tp.to_grid(lazy(x), 2, grid), f)
    close(tp.from_grid(da.from_array(f, chunks=(2, 1, -1, -1)), 2, grid), tp.from_grid(f, 2, grid))
    with pytest.raises(ValueError, match="f must be one chunk along the axis -1"):
        tp.from_grid(da.from_array(f, chunks=(3, 2, -1, 2)), 2, grid)
    for target in ("scipy", "shtools"):
        close(tp.convert(lazy(x), 2, source="e3nn", target=target), tp.convert(x, 2, source="e3nn", target=target))
    spoilt = tp.convert(da.ones((2, 9), dtype=complex), 2, source="scipy", target="e3nn")
    with pytest.raises(ValueError, match="x must belong to a real function"):
        spoilt.compute(scheduler="synchronous")


def test_shapes_that_are_not_known_are_refused():
    p = KINDS["full"]
    x, y = (lazy(x) for x in random_arguments(p, (6,), (6,)))
    with pytest.raises(ValueError, match=r"x1 must have a known shape, .* call compute_chunk_sizes\(\) first"):
        p(x[x[:, 0] > 0], y)


def test_blocks_name_the_argument():
    x = da.from_array(np.ones((2, 4)))
    masked = x.map_blocks(np.ma.array, meta=np.empty((0, 0)))
    with pytest.raises(TypeError, match="x1 must be an array"):
        tp.GauntTensorProduct(1, 1)(masked, x).compute(scheduler="synchronous")
