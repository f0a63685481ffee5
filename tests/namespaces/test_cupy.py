"""CuPy arrays, which need a GPU: the same numbers as NumPy's, on the device."""

from __future__ import annotations

import numpy as np
import pytest
from namespaces.kinds import KINDS
from strategies import random_arguments, tolerance

import tpnumba as tp
from tpnumba.backends import registry

cupy = pytest.importorskip("cupy", reason="needs CuPy and a GPU (extras cuda12 and cuda13)")


def close(found, expected):
    assert isinstance(found, cupy.ndarray)
    size = 1 + float(np.max(np.abs(expected), initial=0.0))
    np.testing.assert_allclose(found.get(), expected, rtol=0, atol=size * tolerance("float64", 4, 1000))


def derivatives(harmonics, xyz, cotangent, tangent):
    return [*harmonics.value_and_jacobian(xyz), harmonics.vjp(xyz, cotangent), harmonics.jvp(xyz, tangent)]


@pytest.mark.parametrize("name", KINDS)
def test_calls_and_gradients(name):
    p = KINDS[name]
    plain = random_arguments(p, (5,), (5,))
    arguments = [cupy.asarray(x) for x in plain]
    expected = p(*plain)
    close(p(*arguments), expected)
    named, there = ({"weights": x[2]} if len(x) == 3 else {} for x in (plain, arguments))
    found = p.vjp(*arguments[:2], cupy.asarray(expected), **there)
    for one, other in zip(found, p.vjp(*plain[:2], expected, **named), strict=True):
        close(one, other)


def test_harmonics_and_out():
    points = np.random.default_rng(0).standard_normal((5, 3))
    out = cupy.empty((5, 16))
    assert tp.SphericalHarmonics(3)(cupy.asarray(points), out=out) is out
    close(out, tp.SphericalHarmonics(3)(points))
    cotangent, tangent = np.random.default_rng(1).standard_normal((5, 16)), points[::-1]
    plain, there = (
        [tp.SphericalHarmonics(3), *(turn(x) for x in (points, cotangent, tangent))]
        for turn in (np.asarray, cupy.asarray)
    )
    for one, other in zip(derivatives(*there), derivatives(*plain), strict=True):
        close(one, other)
    with pytest.raises(TypeError, match="out must be an array of numpy"):
        tp.SphericalHarmonics(3)(points, out=out)


@pytest.mark.parametrize("name", KINDS)
def test_they_go_to_the_kernels(name, monkeypatch):
    p = KINDS[name]
    arguments = [cupy.asarray(x) for x in random_arguments(p, (5,), (5,))]
    found = p(*arguments, backend="gpu")
    monkeypatch.setattr(registry, "AUTOMATIC", ("generic",))
    close(found, p(*arguments).get())


def test_out_must_not_overlap_an_input():
    p = tp.GauntTensorProduct(1, 1, 1)
    x = cupy.ones((5, 4))
    with pytest.raises(ValueError, match="out must not overlap x1"):
        p(x[1:], x[1:], out=x[:-1])


def test_the_current_stream_is_used():
    p = KINDS["full"]
    arguments = [cupy.asarray(x) for x in random_arguments(p, (5,), (5,))]
    expected = p(*arguments).get()
    stream = cupy.cuda.Stream(non_blocking=True)
    cupy.cuda.get_current_stream().synchronize()
    with stream:
        found = p(*arguments)
    stream.synchronize()
    close(found, expected)


def test_the_device_of_the_arrays_is_used():
    if cupy.cuda.runtime.getDeviceCount() < 2:
        pytest.skip("needs two GPUs")
    p = KINDS["full"]
    plain = random_arguments(p, (5,), (5,))
    with cupy.cuda.Device(1):
        arguments = [cupy.asarray(x) for x in plain]
    found = p(*arguments)
    assert found.device.id == 1
    close(found, p(*plain))
