"""How long a plan takes: a linear model of what it does a sample, with coefficients that were measured.

``method="auto"`` compares methods by it. The coefficients are in ``speed.json``, written by ``tpnumba calibrate`` on
the machine that is named there; on another one their ratios, which are all that counts, are much the same.
"""

from __future__ import annotations

import json
from functools import lru_cache
from importlib.resources import files
from typing import Any, NamedTuple

from tpnumba.plans.base import ITEMSIZE, Plan, cached_on_instance
from tpnumba.plans.contraction import Contraction
from tpnumba.plans.low_rank import LowRankContraction, LowRankTransform
from tpnumba.plans.stages import FourierStage, LegendreStage, SparseStage, ThetaStage
from tpnumba.plans.transform import Matrices, Transform
from tpnumba.tables.quadrature import Grid

#: The package's coefficients: seconds a unit of each amount, by backend, dtype and kind.
COEFFICIENTS = "speed.json"


#: Products and terms of a contraction, at most, for code of its own: beyond, compiling takes longer than it saves.
OWN_CODE = 5_000


@cached_on_instance
def has_own_code(plan: Plan) -> bool:
    """Whether code is made for this plan alone on a processor; whether it is there yet plays no part."""
    if not isinstance(plan, Contraction):
        return False
    *_, products, terms, _ = amounts(plan)[1]
    return products + terms <= OWN_CODE


def kind_on(plan: Plan, backend: str) -> str:
    """The kind of a plan whose coefficients tell its time on a backend: ``code`` for what has its own."""
    return "code" if backend == "cpu" and has_own_code(plan) else amounts(plan)[0]


def amounts(plan: Plan) -> tuple[str, tuple[float, ...]]:
    """The kind of a plan, and how much of each thing that costs time it does a sample."""
    numbers = float(sum(plan.sizes))
    if isinstance(plan, Contraction):
        pairs: dict[tuple[int | None, ...], list[tuple[int, ...]]] = {}
        for path in plan.paths:
            pairs.setdefault(path.segments[:2], []).append(path.coupling.degrees)
        products = dense = terms = 0.0
        for degrees in pairs.values():
            outer = (2 * degrees[0][0] + 1) * (2 * degrees[0][1] + 1)
            products += outer
            dense += outer * sum(2 * triple[2] + 1 for triple in degrees)
            terms += sum(_terms(*triple) for triple in degrees)
        return "contraction", (1.0, numbers, float(len(pairs)), products, terms, dense)
    if isinstance(plan, LowRankContraction):
        return amounts(plan.inner)
    if isinstance(plan, LowRankTransform):
        each = [
            amounts(transform)[1]
            for part, transform in zip(plan.parts, plan.transforms, strict=True)
            for _ in range(part.rank)
        ]
        return "grid", tuple(map(sum, zip(*each, strict=True)))
    assert isinstance(plan, Transform)
    rows, columns = plan.domain.shape
    maps = [linear_map for parts in plan.maps for linear_map in parts]
    stages = [stage for linear_map in maps for stage in linear_map.stages]
    sparse = float(sum(stage.flops for stage in stages if isinstance(stage, SparseStage)))
    if isinstance(plan.domain, Matrices):
        return "matrices", (1.0, numbers, sparse, float(len(plan.terms) * rows**3))
    legendre = float(sum(stage.flops for stage in stages if isinstance(stage, LegendreStage)))
    around = float(sum(stage.flops for stage in stages if isinstance(stage, FourierStage | ThetaStage)))
    dense = float(sum((2 * stage.m_max + 1) * columns * rows for stage in stages if isinstance(stage, FourierStage)))
    kind = "grid" if isinstance(plan.domain, Grid) else "torus"
    return kind, (1.0, numbers, sparse, legendre, around, dense, float(rows * columns * len(maps)))


@lru_cache(maxsize=2**16)
def _terms(l1: int, l2: int, l3: int) -> int:
    """About the number of non-zeros of a coupling: the triples of orders that add up to zero."""
    return sum(max(0, min(l1, m + l2) - max(-l1, m - l2) + 1) for m in range(-l3, l3 + 1))


@cached_on_instance
@lru_cache(maxsize=4096)
def seconds(plan: Plan, backend: str, dtype: str) -> float:
    """About how long a sample takes; for a backend that was not measured, in operations.

    The kernels of the GPU were never timed. They do the work that those of the processor do, so these speak for them.
    """
    table = _coefficients().get("cpu" if backend == "gpu" else backend, {}).get(dtype)
    if table is None:
        return float(sum(plan.flops))
    done = amounts(plan)[1]
    return float(sum(each * amount for each, amount in zip(table[kind_on(plan, backend)], done, strict=True)))


class Calls(NamedTuple):
    """What a call costs whatever its arithmetic is, measured with the coefficients.

    Attributes:
        seconds: of a call of one small sample.
        threads: with which the coefficients were measured.
        sharing: seconds until another thread has taken over its share.
        new_byte: seconds a byte of a result that is too large for memory that was used before.
    """

    seconds: float
    threads: int
    sharing: float
    new_byte: float


#: Results of more bytes are new memory in each call, which the system hands out page by page.
LARGE_RESULT = 2**25
#: A call works at least as many samples as two vectors hold, in bytes of one number each.
_FEWEST_BYTES = 128


def seconds_of_call(plan: Plan, batch: int, backend: str, dtype: str) -> float:
    """About how long a call takes: what products can be compared by, where the batch is known.

    Beyond :func:`seconds` it knows the cost of a call, that small works stay on one thread, and that results which are
    large are new memory. It never plays a part in what ``method="auto"`` takes.
    """
    calls = _calls()
    itemsize = ITEMSIZE[dtype]
    alone = seconds(plan, backend, dtype) * max(batch, _FEWEST_BYTES // itemsize)
    if backend != "generic":  # whose threads are those of the array library
        alone = min(alone * calls.threads, alone + calls.sharing)
    written = batch * plan.sizes[plan.output] * itemsize
    return calls.seconds + alone + (calls.new_byte * written if written > LARGE_RESULT else 0.0)


@lru_cache(maxsize=1)
def _coefficients() -> dict[str, Any]:
    found: dict[str, Any] = _document()["coefficients"]
    return found


@lru_cache(maxsize=1)
def _calls() -> Calls:
    return Calls(**_document()["calls"])


def _document() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(files("tpnumba.plans").joinpath(COEFFICIENTS).read_text(encoding="utf-8"))
    return found
