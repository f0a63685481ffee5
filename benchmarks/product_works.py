"""Products as works: which there are, what they are given, and how tpnumba does them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

import tpnumba as tp
from benchmarks.bars import (
    CHANNELWISE,
    CHANNELWISE_GRADIENT,
    CONNECTED,
    GAUNT,
    GAUNT_FIRST,
    PAPER,
    SAME_PLAN,
    SPHERE_GRADIENT,
    Bar,
)
from benchmarks.kinds import ON_SPHERE
from benchmarks.peers import Run
from benchmarks.works import Array, Task, Work
from tpnumba.measures.expressivity import expressivity
from tpnumba.products.base import Operator
from tpnumba.studies.backends import make_ready
from tpnumba.studies.registry import CONFIGURATIONS, PRODUCTS, Case, Product


@dataclass(frozen=True)
class Operands:
    """Samples in rows; ``weights`` of all samples in one row where they are shared."""

    x1: Array
    x2: Array
    weights: Array | None
    cotangent: Array | None

    @property
    def inputs(self) -> tuple[Array, ...]:
        """What the product takes."""
        return (self.x1, self.x2) if self.weights is None else (self.x1, self.x2, self.weights)

    @property
    def named(self) -> Mapping[str, Any]:
        """The weights as the gradients take them."""
        return {} if self.weights is None else {"weights": self.weights}

    def rows(self, chosen: npt.NDArray[np.intp]) -> Operands:
        """Some of the samples, in float64."""

        def take(array: Array | None) -> Array | None:
            return None if array is None else (array[chosen] if array.ndim == 2 else array).astype(np.float64)

        x1, x2 = take(self.x1), take(self.x2)
        assert x1 is not None
        assert x2 is not None
        return Operands(x1, x2, take(self.weights), take(self.cotangent))


@dataclass(frozen=True, kw_only=True)
class ProductWork(Work):
    """One product.

    Attributes:
        kind: ``full``, ``channelwise``, ``connected``, or a key of :data:`ON_SPHERE`: that one MIMO, up to ``lmax``.
        in1, in2: irreps.
        out: the irreps of the output if ``connected`` or on the sphere, else those that the filter lets through.
        weights: ``none``, ``each`` (sample) or ``shared``.
    """

    in1: str
    in2: str
    out: str
    weights: str = "none"

    @property
    def product(self) -> Operator:
        """The product, ours."""
        if self.kind in ON_SPHERE:
            assert self.lmax is not None
            return on_sphere(self.kind, self.lmax)
        return _product(self.kind, self.in1, self.in2, self.out)

    def operands(self) -> Operands:
        """Normally distributed numbers, the same in every process."""
        p, rng = self.product, np.random.default_rng(0)

        def normal(*shape: int) -> Array:
            return rng.standard_normal(shape, dtype=np.float32).astype(self.dtype)

        weights = {"none": (), "each": (self.batch, p.weight_numel), "shared": (p.weight_numel,)}[self.weights]
        return Operands(
            normal(self.batch, p.irreps_in1.dim),
            normal(self.batch, p.irreps_in2.dim),
            normal(*weights) if weights else None,
            None if self.task is Task.FORWARD else normal(self.batch, p.irreps_out.dim),
        )

    def ours(self, given: Operands, threads: int) -> Run:
        """By tpnumba."""
        p = self.product
        make_ready(p, self.dtype, "auto")

        def forward(out: Array | None = None) -> tuple[Array, ...]:
            return (p(*given.inputs, out=out, num_threads=threads),)

        def backward() -> tuple[Array, ...]:
            return p.vjp(given.x1, given.x2, given.cotangent, **given.named, num_threads=threads)

        if self.task is Task.BACKWARD:
            return Run(backward)
        out = np.empty((self.batch, p.irreps_out.dim), self.dtype)
        if self.task is Task.FORWARD:
            return Run(forward, into=lambda: forward(out))
        return Run(lambda: forward() + backward(), into=lambda: forward(out) + backward())

    def reference(self, given: Operands) -> tuple[Array, ...]:
        """By the reference backend, on float64; on the sphere by the sparse coefficients, whatever the method is."""
        p = on_sphere(self.kind, self.lmax, "direct") if self.kind in ON_SPHERE and self.lmax else self.product
        found: tuple[Array, ...] = ()
        if self.task is not Task.BACKWARD:
            found += (p(*given.inputs, backend="generic"),)
        if self.task is not Task.FORWARD:
            found += p.vjp(given.x1, given.x2, given.cotangent, **given.named, backend="generic")
        return found

    def describe(self) -> dict[str, Any]:
        """What tables and files say of it."""
        p = self.product
        cost = p.cost(self.batch, self.dtype)
        return super().describe() | {
            "columns": p.irreps_out.dim,
            "paths": len(p.paths),
            "expressivity": expressivity(p, single_copies=True),
            "flops": cost.flops,
            "bytes": cost.bytes,
        }


@cache
def _product(kind: str, in1: str, in2: str, out: str) -> Operator:
    made = {
        "full": tp.FullTensorProduct,
        "channelwise": tp.ChannelwiseTensorProduct,
        "connected": tp.FullyConnectedTensorProduct,
    }
    return made[kind](in1, in2, out)


@cache
def on_sphere(kind: str, lmax: int, method: str = "auto") -> Operator:
    """The registry's product, MIMO."""
    return build(ON_SPHERE[kind], "MIMO", method, lmax)


def registered(name: str) -> Product:
    """The product of that name in the registry."""
    (found,) = (product for product in PRODUCTS if product.name == name)
    return found


def build(product: str, configuration: str, method: str, lmax: int) -> Operator:
    """A product of the registry, by its name, in the configuration of that name."""
    (place,) = (entry for entry in CONFIGURATIONS if entry.name == configuration)
    return Case(place, registered(product).contender(method), lmax).build()


def full(groups: tuple[str, ...], lmax: int, batch: int, task: Task, dtype: str, bar: Bar) -> Iterator[ProductWork]:
    """Complete products of single copies of the registry's degrees."""
    for group in groups:
        for L in range(1, lmax + 1):
            p = build("Clebsch-Gordan", group.partition("-")[0].upper(), "direct", L)
            out = sorted({block.ir for block in p.irreps_out})
            if group == "mimo-natural":
                out = [ir for ir in out if ir.p == (-1) ** ir.l]
            yield ProductWork(
                group=group,
                size=str(L),
                kind="full",
                in1=str(p.irreps_in1),
                in2=str(p.irreps_in2),
                out=" + ".join(str(ir) for ir in out),
                batch=batch,
                task=task,
                dtype=dtype,
                bars=(bar,),
                lmax=L,
            )


def channelwise(share: float) -> Iterator[ProductWork]:
    """As message passing has them; ``share``: of the edges."""
    every = " + ".join(f"{degree}{parity}" for degree in range(4) for parity in "eo")  # every path of degree <= 3
    shapes = ((32, "0e 1o", 5_000), (64, "0e 1o 2e", 2_000), (128, "0e 1o 2e", 1_000))
    for task, bar in ((Task.FORWARD, CHANNELWISE), (Task.BOTH, CHANNELWISE_GRADIENT)):
        for channels, irreps, edges in shapes:
            yield ProductWork(
                group="channelwise",
                size=f"{channels}x({'+'.join(irreps.split())})",
                kind="channelwise",
                in1=" + ".join(f"{channels}x{ir}" for ir in irreps.split()),
                in2="0e + 1o + 2e + 3o",
                out=every,
                weights="each",
                batch=round(edges * share),
                task=task,
                dtype="float32",
                bars=(bar,),
            )


def connected(share: float) -> Iterator[ProductWork]:
    """With a matrix of channels for each path; ``share``: of the samples."""
    irreps = "32x0e + 32x1o + 32x2e"
    for weights, samples in (("shared", 2_000), ("each", 200)):
        yield ProductWork(
            group="connected",
            size=f"{weights}-weights",
            kind="connected",
            in1=irreps,
            in2="0e + 1o + 2e",
            out=irreps,
            weights=weights,
            batch=round(samples * share),
            task=Task.FORWARD,
            dtype="float32",
            bars=(CONNECTED,),
        )


def sphere(kind: str, lmax: int, batch: int, task: Task) -> ProductWork:
    """A product on the sphere, in float32."""
    p = on_sphere(kind, lmax)
    bars: tuple[Bar, ...] = (SAME_PLAN,)
    if task is Task.BACKWARD:
        bars = (SPHERE_GRADIENT,)
    elif kind == "gaunt":
        bars = (GAUNT_FIRST if lmax == 1 else GAUNT, *((PAPER,) if 2 <= lmax <= 8 else ()))
    return ProductWork(
        group=kind,
        size=str(lmax),
        kind=kind,
        in1=str(p.irreps_in1),
        in2=str(p.irreps_in2),
        out=str(p.irreps_out),
        batch=batch,
        task=task,
        dtype="float32",
        bars=bars,
        lmax=lmax,
    )
