"""What is measured: the works, and the bars that each is held against."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

import tpnumba as tp
from tpnumba.measures.expressivity import expressivity
from tpnumba.products.clebsch_gordan import TensorProduct
from tpnumba.studies.registry import CONTENDERS, SETTINGS, Case

Array = npt.NDArray[Any]


class Task(enum.StrEnum):
    """What is asked of a product."""

    FORWARD = "forward"
    BACKWARD = "backward"  # the gradients of all operands for a given cotangent
    BOTH = "both"  # the result and the gradients


@dataclass(frozen=True)
class Bar:
    """How many times as fast as the fastest peer a work must be, and should be.

    ``must_numpy``: against the hand-written NumPy, if that is another number.
    """

    title: str
    must: float
    aim: float
    must_numpy: float | None = None


FULL = Bar("FullTensorProduct MIMO, natural-parity filter and all paths", 5, 10, must_numpy=4)
SINGLE = Bar("SIMO and SISO", 3, 8)
GRADIENT = Bar("vjp of these against the peer's backward", 4, 8)
CHANNELWISE = Bar("channelwise uvu, per-edge weights: forward", 3, 4)
CHANNELWISE_GRADIENT = Bar("channelwise uvu, per-edge weights: forward and all gradients", 4, 8)
CONNECTED = Bar("fully connected uvw", 2, 4)
DOUBLE = Bar("float64: MIMO, natural-parity filter and all paths", 4, 8)
BARS = (FULL, SINGLE, GRADIENT, CHANNELWISE, CHANNELWISE_GRADIENT, CONNECTED, DOUBLE)

#: The share of the roofline that MIMO of these degrees must reach, and should, with the output given.
ROOFLINE_DEGREES, ROOFLINE_MUST, ROOFLINE_AIM = range(4, 9), 0.15, 0.5


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

    def rows(self, chosen: npt.NDArray[np.intp]) -> Operands:
        """Some of the samples, in float64."""

        def take(array: Array | None) -> Array | None:
            return None if array is None else (array[chosen] if array.ndim == 2 else array).astype(np.float64)

        x1, x2 = take(self.x1), take(self.x2)
        assert x1 is not None
        assert x2 is not None
        return Operands(x1, x2, take(self.weights), take(self.cotangent))


@dataclass(frozen=True)
class Work:
    """One product, on one batch.

    Attributes:
        group: the family, as in ``mimo-natural``; its members differ in ``lmax`` or size alone.
        kind: ``full``, ``channelwise`` or ``connected``.
        in1, in2: irreps.
        out: the irreps of the output if ``connected``, else those that are kept.
        weights: ``none``, ``each`` (sample) or ``shared``.
        size: tells the members of a group apart; L where there is one.
    """

    group: str
    size: str
    kind: str
    in1: str
    in2: str
    out: str
    weights: str
    batch: int
    task: Task
    dtype: str
    bar: Bar
    lmax: int | None = None

    @property
    def name(self) -> str:
        """What ``--cases`` is matched with."""
        return f"{self.group}-{self.size}-{self.task}-{self.dtype}"

    @property
    def family(self) -> tuple[str, ...]:
        """Works that only grow from one to the next: what did not fit once does not fit again."""
        return self.group, str(self.task), self.dtype

    @property
    def product(self) -> TensorProduct:
        """The product, ours."""
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

    def describe(self) -> dict[str, Any]:
        """What tables and files say of it."""
        p = self.product
        cost = p.cost(self.batch, self.dtype)
        return {
            **{field.name: getattr(self, field.name) for field in fields(self) if field.name != "bar"},
            "name": self.name,
            "bar": self.bar.title,
            "columns": p.irreps_out.dim,
            "paths": len(p.paths),
            "expressivity": expressivity(p, single_copies=True),
            "flops": cost.flops,
            "bytes": cost.bytes,
        }


@cache
def _product(kind: str, in1: str, in2: str, out: str) -> TensorProduct:
    made = {
        "full": tp.FullTensorProduct,
        "channelwise": tp.ChannelwiseTensorProduct,
        "connected": tp.FullyConnectedTensorProduct,
    }
    return made[kind](in1, in2, out)


@dataclass(frozen=True)
class Extent:
    """How far the works go."""

    mimo: int = 8
    single: int = 10
    batch: int = 10_000
    share: float = 1.0  # of the edges and samples of the other works


QUICK = Extent(mimo=2, single=2, batch=500, share=0.05)


def works(extent: Extent, patterns: tuple[str, ...] = ("*",)) -> list[Work]:
    """The works that match, in the order in which they are run: every bar gets numbers early, small before large."""
    return [work for work in _all(extent) if any(fnmatchcase(work.name, pattern) for pattern in patterns)]


def _all(extent: Extent) -> Iterator[Work]:
    yield from _channelwise(extent)
    yield from _connected(extent)
    mimo, single = ("mimo-natural", "mimo-all"), ("simo", "siso")
    yield from _full(mimo, extent.mimo, extent.batch, Task.FORWARD, "float32", FULL)
    yield from _full(single, extent.single, extent.batch, Task.FORWARD, "float32", SINGLE)
    yield from _full(mimo, extent.mimo, extent.batch, Task.BACKWARD, "float32", GRADIENT)
    yield from _full(single, extent.single, extent.batch, Task.BACKWARD, "float32", GRADIENT)
    yield from _full(mimo, extent.mimo, extent.batch, Task.FORWARD, "float64", DOUBLE)


def _full(groups: tuple[str, ...], lmax: int, batch: int, task: Task, dtype: str, bar: Bar) -> Iterator[Work]:
    (complete,) = (contender for contender in CONTENDERS if contender.product == "Clebsch-Gordan")
    settings = {setting.name.lower(): setting for setting in SETTINGS}
    for group in groups:
        for L in range(1, lmax + 1):
            p = Case(settings[group.partition("-")[0]], complete, L).build()
            kept = sorted({block.ir for block in p.irreps_out})
            if group == "mimo-natural":
                kept = [ir for ir in kept if ir.p == (-1) ** ir.l]
            out = " + ".join(str(ir) for ir in kept)
            irreps = str(p.irreps_in1), str(p.irreps_in2), out
            yield Work(group, str(L), "full", *irreps, "none", batch, task, dtype, bar, lmax=L)


def _channelwise(extent: Extent) -> Iterator[Work]:
    kept = " + ".join(f"{degree}{parity}" for degree in range(4) for parity in "eo")  # every path of degree <= 3
    shapes = ((32, "0e 1o", 5_000), (64, "0e 1o 2e", 2_000), (128, "0e 1o 2e", 1_000))
    for task, bar in ((Task.FORWARD, CHANNELWISE), (Task.BOTH, CHANNELWISE_GRADIENT)):
        for channels, irreps, edges in shapes:
            in1 = " + ".join(f"{channels}x{ir}" for ir in irreps.split())
            size = f"{channels}x({'+'.join(irreps.split())})"
            batch = round(edges * extent.share)
            harmonics = "0e + 1o + 2e + 3o"
            yield Work("channelwise", size, "channelwise", in1, harmonics, kept, "each", batch, task, "float32", bar)


def _connected(extent: Extent) -> Iterator[Work]:
    irreps = "32x0e + 32x1o + 32x2e"
    for weights, samples in (("shared", 2_000), ("each", 200)):
        batch = round(samples * extent.share)
        yield Work(
            "connected",
            f"{weights}-weights",
            "connected",
            irreps,
            "0e + 1o + 2e",
            irreps,
            weights,
            batch,
            Task.FORWARD,
            "float32",
            CONNECTED,
        )
