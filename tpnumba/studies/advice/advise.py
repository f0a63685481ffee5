"""The adviser: products that reach what must be reached, ranked by what they cost on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tpnumba.backends.registry import check_backend, require
from tpnumba.irreps import Irreps, IrrepsLike, check_degree
from tpnumba.limits import require_memory
from tpnumba.plans.base import ITEMSIZE
from tpnumba.plans.speed import seconds_of_call
from tpnumba.products.base import Operator
from tpnumba.products.instructions import check_choice
from tpnumba.studies.advice.alternatives import COMPLETE, Progress, alternatives, required_alone
from tpnumba.studies.advice.requirement import Triple, read_requirement, written
from tpnumba.studies.backends import evaluated_by, make_ready
from tpnumba.studies.timing import interleaved

#: A repeat of a measurement lasts at least so long; no further repeats of all begin after the limit.
_REPEAT_SECONDS, _LIMIT_SECONDS = 0.005, 10.0
_REPEATS = 7


@dataclass(frozen=True)
class Choice:
    """A product by one method.

    Attributes:
        product, method: as `tpnumba compare` names them.
        seconds_per_sample: of all channels; as the model says, or as measured.
        couples: the triples that it couples, sorted.
        gives_up: what the complete product has and this one has not: first triples, as ``"l1,l2,l3"``, then words.
        operator: the product, for one channel; channels go on leading axes.
    """

    product: str
    method: str
    seconds_per_sample: float
    couples: tuple[Triple, ...]
    gives_up: tuple[str, ...]
    operator: Operator

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "product": self.product,
            "method": self.method,
            "seconds_per_sample": self.seconds_per_sample,
            "couples": [list(triple) for triple in self.couples],
            "gives_up": list(self.gives_up),
        }


@dataclass(frozen=True)
class Advice:
    """What :func:`advise` found.

    Attributes:
        ranking: the products and methods that couple what must be coupled, the cheapest first.
        impossible: required triples that no product can couple if the inversion has a meaning, by the irreps given.
        measured: whether times were measured; else they are those of a model.
        alone: a product of the required paths and no others.
        alone_seconds: its time a sample.
    """

    irreps_in1: Irreps
    irreps_in2: Irreps
    irreps_out: Irreps
    must_couple: tuple[Triple, ...]
    batch: int
    dtype: str
    backend: str
    measured: bool
    ranking: tuple[Choice, ...]
    impossible: tuple[Triple, ...]
    alone: Operator
    alone_seconds: float

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "irreps": [str(self.irreps_in1), str(self.irreps_in2), str(self.irreps_out)],
            "must_couple": [list(triple) for triple in self.must_couple],
            "batch": self.batch,
            "dtype": self.dtype,
            "backend": self.backend,
            "measured": self.measured,
            "ranking": [choice.as_dict() for choice in self.ranking],
            "required_alone": {"paths": len(self.alone.paths), "seconds_per_sample": self.alone_seconds},
            "said": list(self.statements()),
        }

    def statements(self) -> tuple[str, ...]:
        """What to know first, a sentence each."""
        first = self.ranking[0]
        said = []
        if self.impossible:
            triples = "; ".join(map(written, self.impossible))
            said.append(
                f"No product that respects the inversion couples {triples}, as no irrep of irreps_out has the parity: "
                "everything below is equivariant under rotations alone."
            )
        if first.product == COMPLETE:
            said.append("Nothing cheaper than the complete product couples all this: it is the cheapest.")
        else:
            complete = next(choice for choice in self.ranking if choice.product == COMPLETE)
            times = complete.seconds_per_sample / first.seconds_per_sample
            said.append(
                f"Cheapest: {first.product} by {first.method}, {times:.1f} times as fast as the complete product; "
                f"it gives up {listed(first.gives_up)}."
            )
            if "parity" in first.gives_up and not self.impossible:
                other = next(choice for choice in self.ranking if "parity" not in choice.gives_up)
                said.append(f"Cheapest that respects the inversion: {other.product} by {other.method}.")
        paths = len(self.alone.paths)
        if paths < len(next(choice for choice in self.ranking if choice.product == COMPLETE).couples):
            said.append(
                f"If nothing else is wanted, tpnumba.TensorProduct with the {paths} required "
                f"path{'s' * (paths > 1)} takes {self.alone_seconds * 1e9:,.0f} ns a sample."
            )
        return tuple(said)

    def __str__(self) -> str:
        rows = (
            f"{number}. {choice.product}, {choice.method}: {choice.seconds_per_sample * 1e9:,.0f} ns a sample; couples "
            f"{len(choice.couples)}; gives up {listed(choice.gives_up)}"
            for number, choice in enumerate(self.ranking, start=1)
        )
        return "\n".join([*self.statements(), *rows])


def listed(gives_up: tuple[str, ...], most: int = 4) -> str:
    """What is given up as a phrase: some of the triples, then the words."""
    triples = [item for item in gives_up if item[0].isdigit()]
    words = [item for item in gives_up if not item[0].isdigit()]
    if triples:
        more = f" and {len(triples) - most} more" if len(triples) > most else ""
        words.insert(0, f"the triples {'; '.join(triples[:most])}{more}")
    return ", ".join(words) or "nothing"


def advise(
    irreps_in1: IrrepsLike,
    irreps_in2: IrrepsLike,
    irreps_out: IrrepsLike,
    must_couple: str | Iterable[Any],
    *,
    batch: int = 10_000,
    dtype: str = "float32",
    backend: str = "auto",
    measure: bool = False,
    on_progress: Progress | None = None,
) -> Advice:
    """Which product to use between irreps, where some triples of degrees must be coupled.

    Every product of the package is made for these irreps and asked what it couples (:func:`tpnumba.interactability`).
    Those that couple what must be coupled are ranked by their time on this machine: by the model that
    ``method="auto"`` uses, whose coefficients ``tpnumba calibrate`` measures, or measured.

    A product that reaches the triples only if the inversion is left out of account is offered with ``"parity"`` among
    what it gives up. A product of functions on the sphere has each degree once in an input.

    Args:
        irreps_in1, irreps_in2, irreps_out: irreps; equal multiplicities within a feature are channels, paired one to
            one (an input may have one).
        must_couple: triples ``(l1, l2, l3)``, or one of them, also as strings such as ``"1,1,1"``; or ``"all"``.
        batch: samples of a call.
        dtype: ``float32`` or ``float64``.
        backend: ``auto``, ``generic``, ``cpu`` or ``gpu``; the kernels of the last are judged as those of ``cpu``.
        measure: time every alternative, in turns, on NumPy arrays; else a model is asked.
        on_progress: called with a description, what is done, and the total.

    Raises:
        TypeError, ValueError: arguments that are malformed or do not fit; a backend that cannot be measured.
        RuntimeError, ImportError: the backend is not there.
        MemoryError: measured operands would not fit; their size is named.

    Example:
        >>> advice = advise("0e+1o+2e", "0e+1o+2e", "0e+1o+1e+2e", "1,1,1")
        >>> all((1, 1, 1) in choice.couples for choice in advice.ranking)
        True
        >>> "Gaunt" in [choice.product for choice in advice.ranking]  # it cannot
        False
    """
    requirement = read_requirement(irreps_in1, irreps_in2, irreps_out, must_couple)
    if check_degree("batch", batch) == 0:
        raise ValueError("batch must be a positive integer, got 0")
    check_choice("dtype", dtype, tuple(ITEMSIZE))
    check_backend(backend)
    if backend != "auto" and (measure or backend != "gpu"):
        require(backend)
    if measure and backend == "gpu":
        raise ValueError("measure takes NumPy arrays, which backend 'gpu' does not; leave it out for the model")
    found = alternatives(requirement, on_progress)
    alone = required_alone(requirement, found[0])
    times = _measured if measure else _modelled
    samples = batch * requirement.channels
    *seconds, alone_seconds = times([*(one.operator for one in found), alone], samples, dtype, backend, on_progress)
    choices = [
        Choice(one.product, one.method, each / batch, tuple(sorted(one.couples)), one.gives_up, one.operator)
        for one, each in zip(found, seconds, strict=True)
    ]
    return Advice(
        Irreps(irreps_in1),
        Irreps(irreps_in2),
        Irreps(irreps_out),
        tuple(sorted(requirement.must_couple)),
        batch,
        dtype,
        backend,
        measure,
        tuple(sorted(choices, key=lambda choice: choice.seconds_per_sample)),
        tuple(sorted(requirement.must_couple - requirement.possible(parity=True))),
        alone,
        alone_seconds / batch,
    )


def _modelled(
    operators: Sequence[Operator], samples: int, dtype: str, backend: str, on_progress: Progress | None
) -> list[float]:
    """Seconds of a call of each, by the model."""
    seconds = []
    for done, p in enumerate(operators):
        if on_progress is not None:
            on_progress("asking the model", done, len(operators))
        seconds.append(seconds_of_call(p.plan, samples, evaluated_by(p, dtype, backend), dtype))
    return seconds


def _measured(
    operators: Sequence[Operator], samples: int, dtype: str, backend: str, on_progress: Progress | None
) -> list[float]:
    """Seconds of a call of each, timed in turns."""
    widest = max(sum(p.form.sizes) for p in operators)
    require_memory(3 * samples * widest * ITEMSIZE[dtype], f"operands and results of {samples:,} products")
    rng = np.random.default_rng(0)
    sizes = {irreps.dim for p in operators for irreps in (p.irreps_in1, p.irreps_in2)}
    arrays = {size: rng.standard_normal((samples, size)).astype(dtype) for size in sorted(sizes)}

    def call(p: Operator) -> Callable[[], Any]:
        first, second = arrays[p.irreps_in1.dim], arrays[p.irreps_in2.dim]
        make_ready(p, dtype, backend)
        return lambda: p(first, second, backend=backend)

    if on_progress is not None:
        on_progress("timing", 0, 1)
    timings = interleaved(
        {number: call(p) for number, p in enumerate(operators)},
        repeats=_REPEATS,
        repeat_seconds=_REPEAT_SECONDS,
        limit_seconds=_LIMIT_SECONDS,
    )
    return [timings[number].seconds for number in range(len(operators))]
