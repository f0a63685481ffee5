"""Torch tensors: autograd through the reference backend, torch.compile, and what a trace must not leave behind."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from namespaces.kinds import KINDS, close
from strategies import random_arguments

import tpnumba as tp

torch = pytest.importorskip("torch", reason="needs torch==2.13.0 (session namespaces)")

# What torch's own modules do when compilation or vmap first needs them.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning")


def tensors(p, leading=(3,), dtype="float64", seed=0):
    return [torch.tensor(x, requires_grad=True) for x in random_arguments(p, leading, leading, dtype, seed)]


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


def gradients(function, arguments):
    value = function(*arguments)
    return value, *torch.autograd.grad(torch.sum(torch.sin(value)), arguments)


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_compile_takes_an_operator_as_one_step_of_a_whole_graph(backend):
    torch.compiler.reset()
    p, harmonics = tp.ChannelwiseTensorProduct("2x1o", "0e + 1o", "1o"), tp.SphericalHarmonics(1)
    x, _, weights = tensors(p, (4,))
    points = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)

    def message(x, points, weights):
        edges = harmonics(points)
        result = p(x, edges, weights=weights)
        return result + p.jvp(x, edges, *p.vjp(x, edges, result, weights=weights)[:2], weights=weights)

    compiled = torch.compile(message, backend=backend, fullgraph=True)
    for batch in (4, 3):  # the second makes the sizes symbols
        arguments = [array[:batch].detach().requires_grad_() for array in (x, points, weights)]
        for one, other in zip(gradients(compiled, arguments), gradients(message, arguments), strict=True):
            close(one, other)
    with pytest.raises(Exception, match="out cannot be used"):
        torch.compile(lambda r, out: harmonics(r, out=out), backend=backend, fullgraph=True)(
            points.detach(), torch.empty(4, 4, dtype=torch.float64)
        )


@pytest.mark.skipif(shutil.which("g++") is None, reason="inductor needs a C++ compiler")
def test_compile_into_machine_code():
    torch.compiler.reset()
    p = tp.FullTensorProduct("0e + 1o", "1o")
    arguments = tensors(p, (4,))
    compiled = torch.compile(p.__call__, fullgraph=True)
    for one, other in zip(gradients(compiled, arguments), gradients(p, arguments), strict=True):
        close(one, other)


@pytest.mark.parametrize("name", ["full", "weighted", "gaunt-fourier", "matrix-split"])
def test_transforms_of_functions(name):
    p = KINDS[name]
    arguments = [x.detach() for x in tensors(p, (4,))]
    close(torch.vmap(p)(*arguments), p(*arguments))
    one = [x[0] for x in arguments]
    close(torch.vmap(p, in_dims=(0, *(None,) * (len(one) - 1)))(arguments[0], *one[1:]), p(arguments[0], *one[1:]))

    def value(x):
        return torch.sum(torch.sin(p(x, *one[1:])))

    close(torch.func.jacfwd(p)(*one), torch.func.jacrev(p)(*one))
    close(torch.func.hessian(value)(one[0]), torch.autograd.functional.hessian(value, one[0]))


def test_traces_leave_nothing_behind():
    """Traced with tensors that hold nothing, on products that no cache has seen; then eagerly, then traced again."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    for make in (
        lambda: tp.GauntTensorProduct(3, 1, 2, method="fourier"),
        lambda: tp.FullTensorProduct("2x3o + 1e", "3e + 2o"),
        lambda: tp.MatrixTensorProduct(3, 2, split=True, method="matrix"),
    ):
        p = make()
        arguments = [x.detach() for x in tensors(p)]
        with FakeTensorMode() as mode:
            fake = [mode.from_tensor(x) for x in arguments]
            assert type(p(*fake)) is type(fake[0])
        torch.vmap(p)(*arguments)
        found = p(*arguments)
        assert type(found) is torch.Tensor
        close(found, p(*(x.numpy() for x in arguments)))
        with mode:
            assert p(*fake).shape == found.shape
        assert p(*(x.to("meta") for x in arguments)).is_meta


def test_harmonics_at_the_origin_have_zero_derivatives_of_every_order():
    harmonics = tp.SphericalHarmonics(3)
    points = torch.zeros(2, 3, dtype=torch.float64, requires_grad=True)
    (first,) = torch.autograd.grad(torch.sum(harmonics(points)), points, create_graph=True)
    (second,) = torch.autograd.grad(torch.sum(first), points)
    assert not first.any()
    assert not second.any()
    cotangent = torch.ones(2, 16, dtype=torch.float64)
    (mixed,) = torch.autograd.grad(torch.sum(harmonics.vjp(points, cotangent)), points)
    assert not mixed.any()


def test_functions_of_the_sphere_are_differentiable():
    grid, rng = tp.Grid.exact(4), np.random.default_rng(3)
    x, f = (torch.tensor(rng.standard_normal(shape), requires_grad=True) for shape in ((2, 9), (2, *grid.shape)))
    rotation = torch.tensor(np.linalg.qr(rng.standard_normal((3, 3)))[0], requires_grad=True)
    check = torch.autograd.gradcheck
    assert check(lambda x: tp.to_grid(x, 2, grid), (x,))
    assert check(lambda f: tp.from_grid(f, 2, grid), (f,))
    assert check(lambda x: tp.convert(x, 2, source="e3nn", target="scipy"), (x,))
    assert check(lambda x: tp.rotate("0e + 1o + 2e", rotation.detach(), x), (x,))
    values = tp.wigner_d("2e + 1o", rotation)
    (slope,) = torch.autograd.grad(torch.sum(values), rotation)
    assert torch.all(torch.isfinite(slope))


# torch batches conj_physical by a loop, and says so.
@pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning")
def test_values_are_checked_where_there_are_some():
    bad = torch.ones(2, 3, 3, dtype=torch.float64)
    with pytest.raises(ValueError, match="R must be orthogonal"):
        tp.wigner_d(1, bad)
    assert torch.vmap(lambda R: tp.wigner_d("1o", R))(bad).shape == (2, 3, 3)
    assert tp.wigner_d(1, -bad.to("meta")).shape == (2, 3, 3)
    spoilt = torch.ones(2, 4, dtype=torch.complex64)
    with pytest.raises(ValueError, match="x must belong to a real function"):
        tp.convert(spoilt, 1, source="scipy", target="e3nn")
    traced = torch.vmap(lambda x: tp.convert(x, 1, source="scipy", target="e3nn"))(spoilt)
    assert torch.all(torch.isnan(traced))


def test_harmonics_and_rotations():
    points = torch.tensor(np.random.default_rng(0).standard_normal((4, 3)), requires_grad=True)
    with torch.no_grad():
        points[0] = 0.0
    harmonics = tp.SphericalHarmonics(3)
    values = harmonics(points)
    cotangent = torch.tensor(np.random.default_rng(1).standard_normal((4, 16)))
    (found,) = torch.autograd.grad(values, points, cotangent)
    plain = points.detach().numpy()
    close(found, harmonics.vjp(plain, cotangent.numpy()))
    tangent = torch.tensor(np.random.default_rng(3).standard_normal((4, 3)))
    close(torch.func.jvp(harmonics, (points.detach(),), (tangent,))[1], harmonics.jvp(plain, tangent.numpy()))
    both = torch.compile(harmonics.value_and_jacobian, backend="eager", fullgraph=True)(points.detach())
    for one, other in zip(both, harmonics.value_and_jacobian(plain), strict=True):
        close(one, other)
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
    strided = torch.empty(x.shape[-1], 6, dtype=torch.float64).T[::2]
    strided[...] = x.detach()
    close(p(strided, y.to(torch.float32).to(torch.float64)), p(x.detach(), y.to(torch.float32)))
    assert p(x.detach()[:0], y[:0]).shape == (0, p.irreps_out.dim)
    with pytest.raises(TypeError, match="x2 is on device meta, but x1 is on cpu"):
        p(x.detach(), y.to("meta"))
    with pytest.raises(TypeError, match="x2 is an array of numpy, but x1 is one of torch"):
        p(x.detach(), y.numpy())
    with pytest.raises(TypeError, match="in the processor's memory, got arrays of torch on meta"):
        p(x.detach().to("meta"), y.to("meta"), backend="cpu")


def test_sparse_tensors_name_the_remedy():
    x = torch.ones(2, 4)
    with pytest.raises(TypeError, match=r"x1 must be a dense tensor, got one of layout torch.sparse_coo; use x1.to_d"):
        tp.GauntTensorProduct(1, 1)(x.to_sparse(), x)
