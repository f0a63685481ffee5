"""Timing the benchmark's subjects: in turns within a setting and an L, each result checked."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from tpnumba.backends.registry import require
from tpnumba.extras import need
from tpnumba.limits import require_memory
from tpnumba.measures.equivariance import equivariance_error
from tpnumba.measures.expressivity import expressivity, interactability
from tpnumba.plans.base import ITEMSIZE
from tpnumba.plans.contraction import Contraction
from tpnumba.plans.ordering import BATCH
from tpnumba.plans.speed import seconds
from tpnumba.products.base import Operator
from tpnumba.studies.backends import evaluated_by, make_ready
from tpnumba.studies.benchmark.paper import INEXACT, way
from tpnumba.studies.benchmark.rows import COMPLETE, DENSE, PAPER, Key, Measurement, Options, Subject, subjects
from tpnumba.studies.checks import ROUNDINGS, compared_samples
from tpnumba.studies.registry import PRODUCTS, Case
from tpnumba.studies.roofline import Roofline
from tpnumba.studies.timing import Timing, interleaved

Array = npt.NDArray[Any]
Progress = Callable[[str, int, int], None]

#: A repeat lasts at least so long, and no further ones begin once those of all subjects of an L took so long.
_REPEAT_SECONDS, _LIMIT_SECONDS = 0.01, 20.0
#: What a subject takes besides its calls: tables, reference, expressivity; and how much the paper's way takes longer.
_OTHER_SECONDS, _LONGER = 0.05, 10


@dataclass(frozen=True)
class _Prepared:
    """A subject that can be called, and what is known of it before."""

    call: Callable[[Any, Any], Any]
    reference: Callable[[Array, Array], Array]
    sizes: tuple[int, int, int]
    flops: int
    output_irreps: int
    couples: int
    expressivity: int
    backend: str
    evaluated_by: str
    product: Operator | None
    inexact: bool = False


def measure(
    options: Options, roofline: Roofline | None, known: Collection[Key] = (), *, on_progress: Progress | None = None
) -> Iterator[list[Measurement]]:
    """Yield the rows of one setting and L after the other.

    Args:
        options: what is timed and how.
        roofline: of this machine; None: not known, as of a GPU.
        known: rows that need not be measured; where one of a setting and L is missing, all are measured, as only those
            timed in turns can be compared.
        on_progress: called with a description, and the work done and in all, in milliseconds as they are foreseen.

    Raises:
        MemoryError: operands or results would not fit; their size is named, before anything is timed.
        RuntimeError, ImportError: the backend is not there; or a result is wrong.
    """
    groups = [group for group in subjects(options) if not {subject.key for subject in group} <= set(known)]
    _require_what_is_needed(groups, options)
    foreseen = [sum(_foreseen(subject, options) for subject in group) for group in groups]
    done, total = 0, sum(foreseen)
    for group, milliseconds in zip(groups, foreseen, strict=True):
        if on_progress is not None:
            on_progress(f"{group[0].key.setting}, L = {group[0].key.lmax}", done, total)
        yield _measure(group, options, roofline)
        done += milliseconds
    if on_progress is not None:
        on_progress("done", total, total)


def _require_what_is_needed(groups: list[list[Subject]], options: Options) -> None:
    """Raise if the backend or the memory is not there."""
    if options.backend != "auto":
        require(options.backend)
    largest = 0
    for group in groups:
        first, second, out = (sum(2 * degree + 1 for degree in degrees) for degrees in group[0].case.degrees)
        # The result of a complete product is the largest; the paper's way and the dense one make another array of it.
        names = {subject.key.product for subject in group}
        results = 2 * first * second if COMPLETE in names else 3 * out
        largest = max(largest, 3 * (first + second) + 2 * results)
    what = f"operands and results of {options.batch:,} samples up to L = {max(options.degrees):,}"
    require_memory(options.batch * ITEMSIZE[options.dtype] * largest, what)


def _foreseen(subject: Subject, options: Options) -> int:
    """Milliseconds, roughly."""
    backend = "generic" if subject.method == DENSE or options.backend == "generic" else "cpu"
    each = seconds(_built(subject.case).plan, backend, options.dtype) * (_LONGER if subject.is_paper else 1)
    calls = options.repeats + 3
    return round(1e3 * (calls * max(each * options.batch, _REPEAT_SECONDS) + _OTHER_SECONDS))


@lru_cache(maxsize=1024)
def _built(case: Case) -> Operator:
    return case.build()


@lru_cache(maxsize=1024)
def _expressivity(case: Case) -> int:
    return expressivity(_built(case), single_copies=True)


def _of_any_method(case: Case, product: str) -> Case:
    """The case of a product, whatever the method."""
    (found,) = (entry for entry in PRODUCTS if entry.name == product)
    return Case(case.configuration, found.contender("direct"), case.lmax)


def _prepare(subject: Subject, options: Options) -> _Prepared:
    case = subject.case
    if subject.is_paper:
        return _prepare_paper(subject, options)
    product = _built(case)
    backend = "generic" if subject.method == DENSE else options.backend
    make_ready(product, options.dtype, backend)
    return _Prepared(
        call=partial(product, backend=backend, num_threads=options.threads),
        reference=partial(case.build_reference(), backend="generic"),
        sizes=(product.irreps_in1.dim, product.irreps_in2.dim, product.irreps_out.dim),
        flops=dense_flops(product.form) if subject.method == DENSE else product.cost().flops,
        output_irreps=product.irreps_out.num_irreps,
        couples=case.interactable(product),
        expressivity=_expressivity(_of_any_method(case, case.contender.product)),
        backend=backend,
        evaluated_by=evaluated_by(product, options.dtype, backend),
        product=product,
    )


def _prepare_paper(subject: Subject, options: Options) -> _Prepared:
    case = subject.case
    found = way(case, subject.method.removesuffix(PAPER), options.dtype)
    if found.product is None:  # it couples as the complete product does
        couples, degrees_of_freedom = len(case.triples), _expressivity(_of_any_method(case, COMPLETE))
    else:
        couples = len(interactability(found.product) & case.triples)
        degrees_of_freedom = expressivity(found.product, single_copies=True)
    return _Prepared(
        call=found.call,
        reference=found.reference,
        sizes=found.sizes,
        flops=found.flops,
        output_irreps=found.irreps_out,
        couples=couples,
        expressivity=degrees_of_freedom,
        backend="numpy",
        evaluated_by="numpy",
        product=None,
        inexact=found.inexact,
    )


def dense_flops(form: Contraction) -> int:
    """Operations a sample of a contraction in its order, if its coupling is an array with all its zeros."""
    total = 0
    for group in form.groups:
        letters = [set(group.letters[i]) for i in group.inputs] + [set(group.coupling_letters)]
        for step in group.order.steps:
            union = letters[step.left] | letters[step.right]
            numbers = prod(group.extents[letter] for letter in union if letter != BATCH)
            total += numbers * (1 if union == set(step.letters) else 2)
            letters.append(set(step.letters))
    return total


def _measure(group: list[Subject], options: Options, roofline: Roofline | None) -> list[Measurement]:
    prepared = {subject: _prepare(subject, options) for subject in group}
    sizes = {(place, one.sizes[place]) for one in prepared.values() for place in (0, 1)}
    samples = {
        (place, size): np.random.default_rng(place).standard_normal((options.batch, size)).astype(options.dtype)
        for place, size in sorted(sizes)
    }
    placed = _placed(samples, options.backend)
    calls: dict[Subject, Callable[[], Any]] = {}
    for subject, one in prepared.items():
        if one.couples:
            where = samples if one.backend in ("numpy", "generic") else placed
            calls[subject] = partial(_call, one.call, where[0, one.sizes[0]], where[1, one.sizes[1]])
    errors = {subject: _error(subject, prepared[subject], samples, call) for subject, call in calls.items()}
    timings = interleaved(
        calls,
        repeats=options.repeats,
        repeat_seconds=_REPEAT_SECONDS,
        limit_seconds=_LIMIT_SECONDS,
    )
    return [
        _row(subject, prepared[subject], options, roofline, timings.get(subject), errors.get(subject))
        for subject in group
    ]


def _placed(samples: Mapping[tuple[int, int], Array], backend: str) -> Mapping[tuple[int, int], Any]:
    """The operands where the backend takes them."""
    if backend != "gpu":
        return samples
    cupy = need("cupy", extra="cuda13")
    return {key: cupy.asarray(array) for key, array in samples.items()}


def _call(function: Callable[[Any, Any], Any], x1: Any, x2: Any) -> Any:
    """The result, once it is there."""
    result = function(x1, x2)
    if not isinstance(result, np.ndarray):
        need("cupy", extra="cuda13").cuda.get_current_stream().synchronize()
    return result


def _error(
    subject: Subject, one: _Prepared, samples: Mapping[tuple[int, int], Array], call: Callable[[], Any]
) -> float:
    """The greatest deviation from float64 over some samples, relative to the greatest number.

    Raises:
        RuntimeError: it is more than rounding, or than what the paper's sums have.
    """
    first, second = samples[0, one.sizes[0]], samples[1, one.sizes[1]]
    chosen = compared_samples(len(first))
    result = call()[chosen]
    found = result if isinstance(result, np.ndarray) else result.get()
    wanted = one.reference(first[chosen].astype(np.float64), second[chosen].astype(np.float64))
    error = float(np.max(np.abs(found - wanted)) / np.max(np.abs(wanted)))
    bound = INEXACT if one.inexact else ROUNDINGS * float(np.finfo(first.dtype).eps)
    if not error <= bound:
        raise RuntimeError(
            f"{subject.key.product}, {subject.method}, {subject.key.setting}, L = {subject.key.lmax}: the result "
            f"deviates from float64 by {error:.1e} of its greatest number, and {bound:.1e} is rounding"
        )
    return error


def _row(
    subject: Subject,
    one: _Prepared,
    options: Options,
    roofline: Roofline | None,
    timing: Timing | None,
    error: float | None,
) -> Measurement:
    n_bytes = ITEMSIZE[options.dtype] * sum(one.sizes)
    each = None if timing is None else timing.seconds / options.batch
    limit = None if roofline is None else roofline.seconds(one.flops, n_bytes, options.dtype)
    turned = None
    if timing is not None and one.product is not None:
        backend = "auto" if one.backend == "gpu" else one.backend  # the rotations are those of NumPy arrays
        turned = equivariance_error(one.product, dtype=options.dtype, backend=backend)

    def over(value: float | None) -> float | None:
        return None if each is None or value is None else value / each

    def share(count: int) -> float | None:
        return None if each is None else each / count

    return Measurement(
        **subject.key._asdict(),
        interactable=one.couples,
        triples=len(subject.case.triples),
        expressivity=one.expressivity,
        flops=one.flops,
        bytes=n_bytes,
        seconds_per_sample=each,
        error=error,
        equivariance_error=turned,
        seconds_spread=None if timing is None else timing.spread / options.batch,
        dtype=options.dtype,
        backend=one.evaluated_by,
        batch=options.batch,
        output_irreps=one.output_irreps,
        samples_per_second=over(1.0),
        flops_per_second=over(one.flops),
        bytes_per_second=over(n_bytes),
        roofline=over(limit),
        seconds_per_irrep=share(one.output_irreps),
        seconds_per_degree_of_freedom=share(one.expressivity),
    )
