"""Torch tensors on the kernels of the processor: which calls get there, and what torch does with them on the way."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from namespaces.kinds import KINDS, close
from strategies import random_arguments

import tpnumba as tp
from tpnumba.backends import batching

torch = pytest.importorskip("torch", reason="needs torch==2.13.0 (session namespaces)")

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning")

GRID = tp.Grid.exact(4)


def tensors(p, leading=(3,), dtype="float64", seed=0):
    return [torch.tensor(x, requires_grad=True) for x in random_arguments(p, leading, leading, dtype, seed)]


@pytest.mark.parametrize("name", KINDS)
def test_products_and_derivatives_of_any_order_run_on_kernels(name, only_kernels):
    p = KINDS[name]
    arguments = tensors(p)
    plain = [x.detach() for x in arguments]
    values = p(*plain)
    close(p(*arguments), values)
    first = torch.autograd.grad(torch.sum(torch.sin(p(*arguments))), arguments, create_graph=True)
    torch.autograd.grad(sum(torch.sum(g * g) for g in first), arguments)
    torch.vmap(p)(*plain)
    torch.func.jvp(p, tuple(plain), tuple(plain))
    torch.func.jvp(torch.func.grad(lambda *x: torch.sum(torch.sin(p(*x)))), tuple(plain), tuple(plain))


def test_harmonics_and_grids_run_on_kernels(only_kernels):
    points = torch.tensor(np.random.default_rng(0).standard_normal((5, 3)), requires_grad=True)
    Y = tp.SphericalHarmonics(2)
    values = Y(points)
    torch.autograd.grad(torch.sum(values**2), points)
    torch.vmap(Y)(points.detach())
    for result in (*Y.value_and_jacobian(points.detach()), Y.vjp(points.detach(), values.detach())):
        assert type(result) is torch.Tensor
    f = tp.to_grid(Y(points), 2, GRID)
    torch.autograd.grad(torch.sum(tp.from_grid(f * f, 2, GRID)), points)


def test_compiled_graphs_run_on_kernels(only_kernels):
    from functorch.compile import make_boxed_func
    from torch._dynamo.backends.common import aot_autograd

    torch.compiler.reset()
    p, Y = tp.ChannelwiseTensorProduct("2x1o", "0e + 1o", "1o"), tp.SphericalHarmonics(1)
    x, _, weights = tensors(p, (4,))
    points = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    graphs = []

    def keep(graph, _):
        graphs.append([str(node.target) for node in graph.graph.nodes])
        return make_boxed_func(graph)

    def value(x, points, weights):
        return torch.sum(torch.sin(p(x, Y(points), weights=weights)))

    found = torch.compile(value, backend=aot_autograd(fw_compiler=keep, bw_compiler=keep), fullgraph=True)(
        x, points, weights
    )
    close(found, value(x, points, weights))
    gradients = torch.autograd.grad(found, (x, points, weights))
    for one, other in zip(gradients, torch.autograd.grad(value(x, points, weights), (x, points, weights)), strict=True):
        close(one, other)
    assert len(graphs) == 2  # forward and backward
    for nodes in graphs:
        assert "tpnumba.evaluate.default" in nodes


@pytest.mark.parametrize("kind", ["values", "jacobian", "vjp", "jvp"])
def test_second_derivatives_of_harmonics(kind):
    rng = np.random.default_rng(0)
    points, tangent, cotangent = (torch.tensor(rng.standard_normal((2, n)), requires_grad=True) for n in (3, 3, 9))
    Y = tp.SphericalHarmonics(2)
    function = {
        "values": lambda r, *_: Y(r),
        "jacobian": lambda r, *_: Y.value_and_jacobian(r)[1],
        "vjp": lambda r, _, g: Y.vjp(r, g),
        "jvp": lambda r, t, _: Y.jvp(r, t),
    }[kind]
    arguments = (points, tangent, cotangent)[: 1 if kind in ("values", "jacobian") else 3]
    fast = {"fast_mode": True, "check_undefined_grad": False}
    assert torch.autograd.gradcheck(lambda *x: function(*x, *(None,) * (3 - len(x))), arguments, **fast)
    assert torch.autograd.gradgradcheck(lambda *x: function(*x, *(None,) * (3 - len(x))), arguments, **fast)


def test_vmap_of_any_depth_and_axis():
    p = KINDS["weighted"]
    x, y, w = (x.detach() for x in tensors(p, (2, 3, 4)))
    expected = p(x, y, w)
    close(torch.vmap(torch.vmap(p))(x, y, w), expected)
    close(torch.vmap(torch.vmap(p, in_dims=(1, 1, 1), out_dims=1))(x, y, w), expected)
    shared = torch.vmap(torch.vmap(p, in_dims=(0, 0, None)), in_dims=(0, None, None))(x, y[0], w[0, 0])
    close(shared, p(x, y[0], w[0, 0]))

    def loss(w, x, y):
        return torch.sum(torch.cos(p(x, y, w)))

    each = torch.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))(w[0, 0, 0], x[0, 0], y[0, 0])
    for i in range(4):
        close(each[i], torch.func.grad(loss)(w[0, 0, 0], x[0, 0, i], y[0, 0, i]))
    close(torch.vmap(lambda x: p(x, y[0, 0], w[0, 0]))(x[0]), p(x[0], y[0, 0], w[0, 0]))


def test_gradients_of_broadcast_operands_and_other_dtypes():
    p = KINDS["full"]
    x, y = tensors(p, (3,))
    x32, one = x.detach().to(torch.float32).requires_grad_(), y.detach()[:1].requires_grad_()
    result = p(x32, one)
    assert result.dtype == torch.float64
    gradients = torch.autograd.grad(torch.sum(torch.sin(result)), (x32, one))
    assert [g.dtype for g in gradients] == [torch.float32, torch.float64]
    assert [g.shape for g in gradients] == [x32.shape, one.shape]
    expected = p.vjp(x32.detach().numpy(), one.detach().numpy(), torch.cos(result).detach().numpy())
    close(gradients[1], expected[1])


def test_results_are_written_into_the_memory_of_tensors():
    p = KINDS["gaunt-fourier"]
    x, y = (x.detach() for x in tensors(p))
    out = torch.empty((3, p.irreps_out.dim), dtype=torch.float64)
    place, version = out.data_ptr(), out._version
    assert p(x, y, out=out) is out
    assert (out.data_ptr(), out._version) == (place, version + 1)
    close(out, p(x.numpy(), y.numpy()))
    with torch.inference_mode():
        close(p(x, y), out)
    with torch.no_grad():
        assert not p(x.requires_grad_(), y).requires_grad


def test_threads_are_those_of_torch_unless_said_otherwise(monkeypatch):
    p = KINDS["full"]
    x, y = (x.detach() for x in tensors(p))
    seen = []
    evaluate = batching.evaluate

    def note(evaluation, plan, call, *arguments):
        seen.append(call.num_threads)
        return evaluate(evaluation, plan, call, *arguments)

    monkeypatch.delenv("TPNUMBA_NUM_THREADS", raising=False)
    monkeypatch.setattr(batching, "evaluate", note)
    p(x, y)
    p(x, y, num_threads=7)
    monkeypatch.setenv("TPNUMBA_NUM_THREADS", "5")
    p(x, y)
    assert seen == [torch.get_num_threads(), 7, 5]


def test_threads_of_gradients_are_those_when_they_are_computed(monkeypatch):
    p = KINDS["full"]
    seen = []
    evaluate = batching.evaluate

    def note(evaluation, plan, call, *arguments):
        seen.append(call.num_threads)
        return evaluate(evaluation, plan, call, *arguments)

    monkeypatch.delenv("TPNUMBA_NUM_THREADS", raising=False)
    monkeypatch.setattr(batching, "evaluate", note)
    arguments, before = tensors(p), torch.get_num_threads()
    result = p(*arguments)
    try:
        torch.set_num_threads(before + 3)
        torch.autograd.grad(result.sum(), arguments)
    finally:
        torch.set_num_threads(before)
    assert seen == [before, before + 3, before + 3]


def test_what_gradients_need_is_kept_as_torch_keeps_it():
    p = KINDS["weighted"]
    arguments = tensors(p)
    result = p(*arguments)
    expected = torch.autograd.grad(result.sum(), arguments, retain_graph=True)
    with torch.no_grad():
        arguments[0].mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        torch.autograd.grad(result.sum(), arguments)
    with torch.no_grad():
        arguments[0].mul_(0.5)
    with torch.autograd.graph.saved_tensors_hooks(lambda x: x.detach().numpy().copy(), torch.from_numpy):
        packed = p(*arguments)
    for one, other in zip(torch.autograd.grad(packed.sum(), arguments), expected, strict=True):
        close(one, other)
    parameter = torch.nn.Parameter(arguments[2].detach())
    only = torch.autograd.grad(p(arguments[0].detach(), arguments[1].detach(), parameter).sum(), parameter)
    close(only[0], expected[2])


class Products(torch.utils.data.Dataset):
    """A product in each item, made where the items are."""

    p = tp.GauntTensorProduct(2, 2)

    def __len__(self):
        return 4

    def __getitem__(self, i):
        x = torch.full((2000, 9), float(i + 1))
        return self.p(x, x)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_workers_of_a_loader():
    data = Products()
    expected = [data[i] for i in range(4)]  # the pool of this process is there before the fork
    loader = torch.utils.data.DataLoader(data, batch_size=None, num_workers=2, multiprocessing_context="fork")
    for found, one in zip(loader, expected, strict=True):
        assert torch.equal(found, one)


def test_backend_cpu_takes_tensors_and_says_what_it_does_not_take():
    p = KINDS["full"]
    x, y = (x.detach() for x in tensors(p))
    close(p(x, y, backend="cpu"), p(x.numpy(), y.numpy()))
    close(p(x, y, backend="generic"), p(x.numpy(), y.numpy()))
    with pytest.raises(TypeError, match="got arrays of torch on meta"):
        p(x.to("meta"), y.to("meta"), backend="cpu")


CACHED = """
import sys
import numpy as np, torch, tpnumba as tp
products = [tp.FullTensorProduct("1o", "1o"), tp.FullTensorProduct("1o", "1e")]
for p in products[:: int(sys.argv[1])]:
    x, y = (torch.tensor(np.random.default_rng(i).standard_normal((3, 3)), requires_grad=True) for i in range(2))
    compiled = torch.compile(lambda x, y: torch.sin(p(x, y)), fullgraph=True)
    found = compiled(x, y)
    assert torch.allclose(found, torch.sin(p(x, y))), p
    for one, other in zip(torch.autograd.grad(found.sum(), (x, y)), p.vjp(x, y, torch.cos(p(x, y)))):
        assert torch.allclose(one, other), p
    torch.compiler.reset()
"""


@pytest.mark.skipif(shutil.which("g++") is None, reason="inductor needs a C++ compiler")
def test_graphs_that_another_process_wrote(tmp_path):
    """They name what they compute in a way that is the same in every process, whatever comes first there."""
    environment = {**os.environ, "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    for order in ("1", "-1"):
        subprocess.run([sys.executable, "-c", CACHED, order], check=True, env=environment)
    assert list(tmp_path.iterdir())


def test_nested_forward_mode():
    Y, r = tp.SphericalHarmonics(2), torch.tensor([[0.3, 0.5, 0.7], [1.0, -0.2, 0.1]], dtype=torch.float64)

    def values(backend):
        jacobian = torch.func.jacfwd(lambda x: Y.value_and_jacobian(x, backend=backend)[1].pow(2).sum())
        pushed = torch.func.jacfwd(lambda x: Y.jvp(x, x * x, backend=backend).pow(3).sum())
        third = torch.func.jacfwd(torch.func.jacfwd(torch.func.jacfwd(lambda x: Y(x, backend=backend))))
        return torch.func.jacfwd(jacobian)(r), torch.func.jacfwd(pushed)(r), third(r)

    for one, other in zip(values("auto"), values("generic"), strict=True):
        close(one, other)
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(r, torch.ones_like(r))
        for result in (Y.value_and_jacobian(dual)[1], Y.vjp(dual, Y(r))):
            assert torch.autograd.forward_ad.unpack_dual(result).tangent.shape == result.shape


# Shapes that are looked at are constants of such a trace.
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore:.*torch.jit.trace.*:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:Attempted to insert a get_attr Node:UserWarning")  # by linearize
def test_traces_of_plain_tensors_keep_no_numbers():
    from torch.fx.experimental.proxy_tensor import make_fx

    p = KINDS["full"]
    x, y = (x.detach() for x in tensors(p))

    def product(x):
        return p(x, y)

    def slope(x):
        return torch.func.grad(lambda x: torch.sum(torch.sin(p(x, y))))(x)

    for function in (product, slope):
        close(make_fx(function)(x)(3 * x), function(3 * x))
        close(torch.func.functionalize(function)(x), function(x))
    close(torch.jit.trace(product, (x,), check_trace=False)(3 * x), product(3 * x))
    _, linear = torch.func.linearize(product, x)
    close(linear(3 * x), product(3 * x))
    torch.compiler.reset()
    close(torch.compile(slope, fullgraph=True, backend="aot_eager")(x), slope(x))


def test_batches_that_torch_hides():
    p = KINDS["weighted"]
    arguments = tensors(p, ())
    result = p(*arguments)
    every = torch.eye(result.shape[0], dtype=torch.float64)
    batched = torch.autograd.grad(result, arguments, every, is_grads_batched=True, retain_graph=True)
    for i, cotangent in enumerate(every):
        each = torch.autograd.grad(result, arguments, cotangent, retain_graph=True)
        for one, other in zip(batched, each, strict=True):
            close(one[i], other)

    def value(x):
        return torch.sum(torch.sin(p(x, *(argument.detach() for argument in arguments[1:]))))

    x = arguments[0].detach()
    hessian = torch.autograd.functional.hessian
    close(hessian(value, x, vectorize=True), hessian(value, x))


def test_memory_that_cannot_be_written_as_it_is():
    p = KINDS["full"]
    x, y = (x.detach() for x in tensors(p, (5,)))
    with pytest.raises(ValueError, match="out must not overlap itself"):
        p(x, y, out=torch.empty(1, p.irreps_out.dim, dtype=torch.float64).expand(5, p.irreps_out.dim))
    negative = torch.zeros(5, p.irreps_out.dim, dtype=torch.complex128).conj().imag
    assert p(x, y, out=negative) is negative
    close(negative.clone(), p(x, y))
