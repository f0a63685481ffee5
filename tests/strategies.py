"""What hypothesis draws: irreps, products, shapes; and the tolerances that follow from dtype and degree."""

from __future__ import annotations

import inspect
import tracemalloc
from collections.abc import Callable, Iterator
from math import pi, sqrt
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st

import tpnumba as tp
from tpnumba.backends import evaluate
from tpnumba.backends.call import Call
from tpnumba.backends.namespaces import common_context
from tpnumba.plans.harmonics import Harmonics
from tpnumba.plans.methods import Methods
from tpnumba.products import SPHERE_PRODUCTS
from tpnumba.products.degrees import irreps_of
from tpnumba.products.sphere import SphereProduct


def tolerance(dtype: str, degree: int = 4, terms: int = 100) -> float:
    """Rounding of sums of ``terms`` products of couplings up to ``degree``, relative to the largest number in play.

    A sum of n rounded products of unit size errs by at most n eps, in practice by sqrt(n) eps; couplings and harmonics
    bring a factor that grows with the degree.
    """
    return float(np.finfo(dtype).eps) * 8 * (degree + 1) * float(np.sqrt(terms))


def harmonic_tolerance(dtype: str, degree: int, normalization: str = "component") -> float:
    """Rounding of harmonics up to ``degree``, which are as large as ``sqrt(2 l + 1)`` in the norm of components."""
    size = {"integral": sqrt((2 * degree + 1) / (4 * pi)), "component": sqrt(2 * degree + 1), "norm": 1.0}
    return tolerance(dtype, degree, 2 * degree + 1) * size[normalization]


irreps_of_l = st.builds(tp.Irrep, st.integers(0, 3), st.sampled_from([1, -1]))


def irreps(max_blocks: int = 3, max_mul: int = 3, min_blocks: int = 0) -> st.SearchStrategy[tp.Irreps]:
    """Irreps with mixed parities, repeated blocks, and multiplicities that may be zero."""
    block = st.tuples(st.integers(0, max_mul), irreps_of_l)
    return st.lists(block, min_size=min_blocks, max_size=max_blocks).map(tp.Irreps)


dtypes = st.sampled_from(["float32", "float64"])
layouts = st.sampled_from(["mul_ir", "ir_mul"])
#: Leading axes of two operands that broadcast.
leading_pairs = st.sampled_from(
    [((), ()), ((3,), (3,)), ((4,), ()), ((), (2,)), ((2, 1), (3,)), ((1,), (3,)), ((0,), (0,)), ((2, 3), (1, 3))]
)

MODES = ("uvw", "uvu", "uvv", "uuw", "uuu", "uvuv", "uvu<v", "u<vw")


@st.composite
def tensor_products(draw: Any, modes: tuple[str, ...] = MODES, max_degree: int = 2) -> tp.TensorProduct:
    """A TensorProduct of one to three instructions of any mode, with and without weights, in any normalisation."""
    blocks1, blocks2, blocks_out, instructions = [], [], [], []
    for number in range(draw(st.integers(1, 3))):
        mode = draw(st.sampled_from(modes))
        u, v, w = (draw(st.integers(1, 3)) for _ in range(3))
        weighted = True if mode in ("uvw", "u<vw") else draw(st.booleans())
        if mode in ("uuw", "uuu", "uvu<v", "u<vw"):
            v = u
        pairs = u * (u - 1) // 2
        mul_out = {"uvw": w, "uvu": u, "uvv": v, "uuw": w if weighted else 1, "uuu": u, "uvuv": u * v, "u<vw": w}
        l1, l2 = draw(st.integers(0, max_degree)), draw(st.integers(0, max_degree))
        l3 = draw(st.integers(abs(l1 - l2), l1 + l2))
        p1, p2 = draw(st.sampled_from([1, -1])), draw(st.sampled_from([1, -1]))
        blocks1.append((u, (l1, p1)))
        blocks2.append((v, (l2, p2)))
        blocks_out.append((mul_out.get(mode, pairs), (l3, p1 * p2)))
        path_weight = draw(st.sampled_from([1.0, 0.5, 2.0]))
        instructions.append((number, number, number, mode, weighted, path_weight))

    def blocks(items: list[Any]) -> tp.Irreps:
        return tp.Irreps([(mul, tp.Irrep(*ir)) for mul, ir in items])

    return tp.TensorProduct(
        blocks(blocks1),
        blocks(blocks2),
        blocks(blocks_out),
        instructions,
        irrep_normalization=draw(st.sampled_from(["component", "norm", "none"])),
        path_normalization=draw(st.sampled_from(["element", "path", "none"])),
        layout=draw(layouts),
    )


#: The products on the sphere, and the methods of each.
SPHERE = {product: product.METHODS for product in SPHERE_PRODUCTS}

#: What the options of these products may be; a product with another option needs an entry here.
OPTIONS = {
    "normalization": st.sampled_from(["integral", "component", "norm"]),
    "degree": st.sampled_from([None, 4]),
    "split": st.booleans(),
    "kind": st.sampled_from(["cross", "dot"]),
    **dict.fromkeys(("j1", "j2", "j_out"), st.sampled_from([None, (1,), (0, 2)])),
}


def options_of(product: type[SphereProduct]) -> dict[str, st.SearchStrategy[Any]]:
    """A strategy for each keyword of a product's constructor, read from its signature."""
    parameters = inspect.signature(product).parameters.values()
    names = [parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY]
    methods = st.sampled_from(["auto", *product.METHODS])
    return {name: methods if name == "method" else OPTIONS[name] for name in names}


@st.composite
def sphere_products(draw: Any, max_degree: int = 4) -> Any:
    """A product on the sphere between any degrees, also with degrees left out, by any method."""
    product = draw(st.sampled_from(list(SPHERE)))
    options = {name: draw(values) for name, values in options_of(product).items()}
    parity, _ = product.parities(**options)
    top = min(2, max_degree) if product is tp.VectorSphericalTensorProduct else max_degree

    def degrees() -> Any:
        if draw(st.booleans()):
            return draw(st.integers(0, top))
        return irreps_of(sorted(draw(st.sets(st.integers(0, top), min_size=1, max_size=3))), parity)

    return product(degrees(), degrees(), draw(st.sampled_from([None, 0, 2, 5])), **options)


@st.composite
def low_rank_products(draw: Any, max_degree: int = 3) -> tp.LowRankTensorProduct:
    """A low-rank product between any degrees, also with degrees left out, of any ranks, by any method."""

    def degrees() -> Any:
        if draw(st.booleans()):
            return draw(st.integers(0, max_degree))
        return irreps_of(sorted(draw(st.sets(st.integers(0, max_degree), min_size=1, max_size=3))))

    rank, bracket_rank = draw(st.sampled_from([(1, 0), (0, 1), (1, 1), (3, 2), (0, 3), (2, 0)]))
    return tp.LowRankTensorProduct(
        degrees(),
        degrees(),
        draw(st.sampled_from([None, 0, 2, 5])),
        rank=rank,
        bracket_rank=bracket_rank,
        method=draw(st.sampled_from(["auto", *tp.LowRankTensorProduct.METHODS])),
        normalization=draw(OPTIONS["normalization"]),
    )


#: The kinds of products; those on the sphere are many, and drawn twice as often.
KINDS = ("tensor", "full", "connected", "channelwise", "elementwise", "sphere", "sphere", "low rank")


@st.composite
def products(draw: Any) -> Any:
    """Any product of the package, constructors and methods mixed."""
    kind = draw(st.sampled_from(KINDS))
    drawn = {"tensor": tensor_products, "sphere": sphere_products, "low rank": low_rank_products}
    if kind in drawn:
        return draw(drawn[kind]())
    in1, in2 = draw(irreps(2, 2)), draw(irreps(2, 2))
    layout = draw(layouts)
    if kind == "full":
        keep = draw(st.sampled_from([None, "0e + 1o + 1e + 2e"]))
        method = draw(st.sampled_from(["auto", *tp.FullTensorProduct.METHODS]))
        return tp.FullTensorProduct(in1, in2, keep, layout=layout, method=method)
    if kind == "connected":
        return tp.FullyConnectedTensorProduct(in1, in2, draw(irreps(2, 2)), layout=layout)
    if kind == "channelwise":
        return tp.ChannelwiseTensorProduct(in1, in2, layout=layout)
    in2 = tp.Irreps([(mul, draw(irreps_of_l)) for mul, _ in in1])
    return tp.ElementwiseTensorProduct(in1, in2, layout=layout)


def random_arguments(
    p: Any, leading1: Any = (), leading2: Any = (), dtype: str = "float64", seed: int = 0
) -> list[Any]:
    """Random operands of a product: ``[x1, x2]`` or ``[x1, x2, weights]``, weights with the leading axes of x2."""
    rng = np.random.default_rng(seed)
    shapes = [(*leading1, p.irreps_in1.dim), (*leading2, p.irreps_in2.dim)]
    if p.weight_numel or has_weights(p):
        shapes.append((*leading2, p.weight_numel))
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def require_writable(xp: Any) -> None:
    """Skip the test where arrays cannot be written into, so that there is no ``out``."""
    if not xp.writable:
        pytest.skip("arrays of this namespace cannot be written into")


def require_chunks(xp: Any) -> None:
    """Skip the test where batches are not worked in chunks, as there is nothing to write the chunks into."""
    if not xp.writable:
        pytest.skip("large batches are not cut into chunks here")


def has_weights(p: Any) -> bool:
    """Whether the product takes weights (perhaps none of them, if multiplicities are zero)."""
    return len(p.form.operands) > 3


def operands_of(p: Any, arguments: list[Any]) -> list[Any]:
    """The arguments (or tangents, or gradients), with weights cut into what the product is linear in."""
    return list(p._cut(list(arguments)))


def arguments_of(operands: list[Any]) -> list[Any]:
    """The arguments again: NumPy's arrays of weights side by side."""
    if len(operands) <= 3:
        return list(operands)
    leading = np.broadcast_shapes(*(x.shape[:-1] for x in operands[2:]))
    return [*operands[:2], np.concatenate([np.broadcast_to(x, (*leading, x.shape[-1])) for x in operands[2:]], axis=-1)]


def evaluate_plan(plan: Any, arrays: dict[int, Any], backend: str) -> Any:
    """The results of a plan on arrays ``(count, size)`` of its inputs; of a form, the one that there is."""
    context = common_context({str(i): array for i, array in arrays.items()})
    samples = next(iter(arrays.values())).shape[:-1]
    methods = plan if isinstance(plan, Harmonics) else Methods((("tested", plan),))
    results = evaluate(Call(methods, tuple(arrays), samples, samples, context, backend), tuple(arrays.values()))
    return results if isinstance(plan, Harmonics) else results[0]


def memory_beyond_results(run: Any) -> int:
    """The most bytes that were allocated at once while ``run()`` was evaluated, beyond those of its results."""
    tracemalloc.start()
    try:
        result = run()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return int(peak) - sum(part.nbytes for part in (result if isinstance(result, tuple) else (result,)))


def wide_products() -> Iterator[tp.TensorProduct]:
    """Enough channels for each way that kernels have of treating them, in either input and both layouts."""
    modes = [(0, 0, 0, "uvv", True), (1, 0, 1, "uvu", False), (2, 1, 2, "uuw", True), (2, 1, 3, "u<vw", True)]
    for layout in ("mul_ir", "ir_mul"):
        yield tp.ChannelwiseTensorProduct("5x0e + 9x1o + 4x2e", "0e + 1o + 2e", layout=layout)
        yield tp.ChannelwiseTensorProduct("35x0e + 9x1o + 4x2e", "0e + 1o + 2e", layout=layout)
        yield tp.FullTensorProduct("6x1o + 5x0e", "1o + 2e", layout=layout)
        yield tp.FullTensorProduct("1o + 2e", "6x1o + 5x0e", layout=layout)
        yield tp.FullyConnectedTensorProduct("5x0e + 6x1o", "0e + 2x1o", "7x0e + 4x1o + 3x2e", layout=layout)
        out = "9x1o + 6x2o + 5x2e + 7x0e"
        yield tp.TensorProduct("1e + 6x1e + 5x1o", "9x1o + 5x1o", out, modes, layout=layout)
    # Two paths with the same factors into one block, weights of their own.
    yield tp.TensorProduct("2x1o", "2x1o", "2x0e", [(0, 0, 0, "uuu", True), (0, 0, 0, "uuu", True)])


def with_wide_arguments(samples: int) -> Callable[[Any], Any]:
    """A test of ``(p, arguments, dtype)``, for wide products with any of the arguments shared by all samples."""

    def decorate(test: Callable[..., None]) -> Any:
        @pytest.mark.parametrize("dtype", ["float32", "float64"])
        @pytest.mark.parametrize("shared", [(), (0,), (1,), (2,), (0, 1)], ids=str)
        @pytest.mark.parametrize("p", list(wide_products()), ids=lambda p: f"{type(p).__name__}-{p.irreps_in1}")
        def run(p: tp.TensorProduct, shared: tuple[int, ...], dtype: str) -> None:
            arguments = random_arguments(p, (samples,), (samples,), dtype=dtype)
            test(p, [x[0] if i in shared else x for i, x in enumerate(arguments)], dtype)

        return run

    return decorate
