"""Torch tensors: autograd through the reference backend, torch.compile, and what a trace must not leave behind."""

from __future__ import annotations

import numpy as np
import pytest
from namespaces.kinds import KINDS
from strategies import random_arguments, tolerance

import tpnumba as tp

torch = pytest.importorskip("torch", reason="needs torch==2.13.0 (session namespaces)")

LIMIT = tolerance("float64", 4, 1000)


def tensors(p, leading=(3,), dtype="float64", seed=0):
    return [torch.tensor(x, requires_grad=True) for x in random_arguments(p, leading, leading, dtype, seed)]


def close(found, expected, dtype="float64"):
    found, expected = (x.detach().numpy() if hasattr(x, "detach") else np.asarray(x) for x in (found, expected))
    assert found.dtype == expected.dtype == dtype
    size = 1 + float(np.max(np.abs(expected), initial=0.0))
    np.testing.assert_allclose(found, expected, rtol=0, atol=size * tolerance(dtype, 4, 1000))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", KINDS)
def test_autograd_gives_our_gradients(name, dtype):
    p = KINDS[name]
    arguments = tensors(p, dtype=dtype)
    result = p(*arguments)
    plain = [x.detach().numpy() for x in arguments]
    close(result, p(*plain), dtype)
    cotangent = torch.tensor(np.random.default_rng(1).standard_normal(tuple(result.shape)).astype(dtype))
    found = torch.autograd.grad(result, arguments, cotangent)
    named = {"weights": plain[2]} if len(plain) == 3 else {}
    for one, other in zip(found, p.vjp(*plain[:2], cotangent.numpy(), **named), strict=True):
        close(one, other, dtype)


@pytest.mark.parametrize("name", KINDS)
def test_second_derivatives(name):
    p = KINDS[name]
    arguments = tensors(p, ())
    assert torch.autograd.gradgradcheck(p.__call__, arguments)


@pytest.mark.parametrize("name", ["full", "channelwise", "gaunt-fourier", "matrix", "cross-grid"])
def test_compile_gives_the_same_and_leaves_nothing_behind(name):
    """Compiled first, on a product that no cache has seen, then eagerly; then the other way round."""
    torch.compiler.reset()
    p = KINDS[name]
    arguments = tensors(p)

    def function(*x):
        return torch.sum(torch.sin(p(*x)))

    compiled = torch.compile(function, backend="aot_eager")
    for run in (compiled, function, compiled):
        value = run(*arguments)
        close(value, function(*arguments))
        for one, other in zip(
            torch.autograd.grad(value, arguments), torch.autograd.grad(function(*arguments), arguments), strict=True
        ):
            close(one, other)


def test_harmonics_and_rotations():
    points = torch.tensor(np.random.default_rng(0).standard_normal((4, 3)), requires_grad=True)
    with torch.no_grad():
        points[0] = 0.0
    harmonics = tp.SphericalHarmonics(3)
    values = harmonics(points)
    cotangent = torch.tensor(np.random.default_rng(1).standard_normal((4, 16)))
    (found,) = torch.autograd.grad(values, points, cotangent)
    close(found, harmonics.vjp(points.detach().numpy(), cotangent.numpy()))
    rotation = torch.tensor(np.linalg.qr(np.random.default_rng(2).standard_normal((3, 3)))[0])
    turned = tp.rotate(harmonics.irreps, rotation, values.detach())
    close(turned, harmonics(points.detach() @ rotation.T))


def test_out_and_dtypes():
    p = KINDS["full"]
    x, y = (x.detach() for x in tensors(p))
    out = torch.empty(p(x, y).shape, dtype=torch.float64)
    assert p(x, y, out=out) is out
    close(out, p(x, y))
    with pytest.raises(TypeError, match="out cannot be used with tensors that need a gradient"):
        p(x.requires_grad_(), y, out=out)
    for dtype, name in ((torch.int64, "int64"), (torch.bfloat16, "bfloat16"), (torch.float16, "float16")):
        with pytest.raises(TypeError, match=f"x2 must have dtype float32 or float64, got {name}"):
            p(x.detach(), y.to(dtype))
    with pytest.raises(TypeError, match="x2 is an array of numpy, but x1 is one of torch"):
        p(x.detach(), y.numpy())
    with pytest.raises(TypeError, match="backend 'cpu' takes numpy arrays, got arrays of torch"):
        p(x.detach(), y, backend="cpu")
