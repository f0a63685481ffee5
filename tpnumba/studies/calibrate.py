"""Measuring the coefficients by which ``method="auto"`` compares methods, and the adviser products."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls

from tpnumba.backends import evaluate
from tpnumba.backends.call import Call
from tpnumba.backends.namespaces import common_context
from tpnumba.backends.specialize import specialize, without_code
from tpnumba.plans.base import ITEMSIZE, Plan
from tpnumba.plans.methods import Methods
from tpnumba.plans.speed import LARGE_RESULT, Calls, amounts, kind_on
from tpnumba.products.clebsch_gordan import FullTensorProduct
from tpnumba.studies.machine import available_cores
from tpnumba.studies.registry import Case, cases
from tpnumba.studies.timing import interleaved

Floats = npt.NDArray[np.float64]
#: One call of a plan should take about so long: enough for its own cost a call not to count.
_CALL_SECONDS = 2e-3
#: Plans that take longer a sample are not needed: other methods have long been quicker.
_MOST_SECONDS = {"cpu": 2e-4, "generic": 1e-3}
_MOST_SAMPLES = 4096
#: Until a thread that sleeps has taken over its share: a third of what is worth sharing.
_SHARING_SECONDS = 7e-5


def calibrate(
    *,
    lmax: int,
    call_seconds: float = _CALL_SECONDS,
    repeats: int = 5,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> tuple[dict[str, Any], dict[str, float]]:
    """Time every plan of the registry, each output of it, on each backend that has kernels here, and fit the model.

    Args:
        lmax: cases for L = 1..lmax.
        call_seconds: what one call of a plan should take, about.
        repeats: of each time.
        on_progress: called with a description, the number of groups of plans done, and their total.

    Returns:
        The coefficients, by backend, dtype and kind; and for each kind the median deviation of the fit, relative to
        the time.
    """
    found: dict[str, Any] = {}
    deviations: dict[str, float] = {}
    jobs = [(backend, dtype) for backend in _MOST_SECONDS for dtype in ITEMSIZE]
    for number, (backend, dtype) in enumerate(jobs):
        times: dict[str, list[tuple[tuple[float, ...], float]]] = {}
        for plan, kind, seconds in _timed(cases(lmax), backend, dtype, call_seconds, repeats):
            times.setdefault(kind, []).append((amounts(plan)[1], seconds))
        for kind, rows in sorted(times.items()):
            matrix, seconds_of = np.array([done for done, _ in rows]), np.array([time for _, time in rows])
            # Relative deviations are what is to be small.
            fitted, _ = nnls(matrix / seconds_of[:, None], np.ones(len(rows)))
            found.setdefault(backend, {}).setdefault(dtype, {})[kind] = [float(f"{value:.3g}") for value in fitted]
            deviation = np.median(np.abs(matrix @ fitted / seconds_of - 1))
            deviations[f"{kind}, {backend}, {dtype}"] = float(deviation)
        if on_progress is not None:
            on_progress(f"{backend}, {dtype}", number + 1, len(jobs))
    return found, deviations


def measure_calls(*, repeats: int = 9) -> Calls:
    """What a call costs besides its arithmetic: by the product of two scalars, and by memory written anew and again."""
    scalars = FullTensorProduct("0e", "0e")
    one = np.ones((1, 1), np.float32)
    for _ in range(5):  # until the call is prepared, which takes the first time long
        scalars(one, one)
    size = 2 * LARGE_RESULT
    kept = np.zeros(size, np.uint8)
    timed = interleaved(
        {
            "call": lambda: scalars(one, one),
            "new": lambda: np.empty(size, np.uint8).fill(1),
            "again": lambda: kept.fill(1),
        },
        repeats=repeats,
        repeat_seconds=_CALL_SECONDS,
    )
    new_byte = max(0.0, timed["new"].seconds - timed["again"].seconds) / size
    return Calls(float(f"{timed['call'].seconds:.3g}"), available_cores(), _SHARING_SECONDS, float(f"{new_byte:.3g}"))


def _timed(
    listed: Iterable[Case], backend: str, dtype: str, call_seconds: float, repeats: int
) -> Iterator[tuple[Plan, str, float]]:
    """Plans, each with its kind and the seconds of a sample; those with code of their own also without it."""
    too_long: set[tuple[str, str, str]] = set()
    seen: set[Plan] = set()
    for _, group in groupby(listed, key=lambda case: (case.configuration.name, case.lmax)):
        runs = {}
        for case in group:
            family = case.configuration.name, case.contender.product, case.contender.method
            product = case.build()
            if family in too_long or not product.form.paths:
                continue
            for output in (2, 0):
                plan = product.plan.adjoint(output)
                if plan not in seen:
                    seen.add(plan)
                    call, samples = _call(plan, backend, dtype, call_seconds)
                    if kind_on(plan, backend) != amounts(plan)[0]:
                        specialize([plan], dtype)
                        runs[plan, kind_on(plan, backend), family] = call, samples
                        call = without_code(plan, dtype, call)
                    runs[plan, amounts(plan)[0], family] = call, samples
        timed = interleaved(
            {key: call for key, (call, _) in runs.items()},
            repeats=repeats,
            repeat_seconds=call_seconds,
            limit_seconds=20,
        )
        for (plan, kind, family), timing in timed.items():
            seconds = timing.seconds / runs[plan, kind, family][1]
            if seconds > _MOST_SECONDS[backend]:
                too_long.add(family)
            yield plan, kind, seconds


def _call(plan: Plan, backend: str, dtype: str, call_seconds: float) -> tuple[Callable[[], object], int]:
    """A call on as many samples as take a while, and their number."""
    rng = np.random.default_rng(0)
    flops = sum(plan.flops)
    samples = int(np.clip(call_seconds * 1e10 / max(flops, 1), 64, _MOST_SAMPLES))
    operands = {i: rng.standard_normal((samples, plan.sizes[i])).astype(dtype) for i in plan.inputs}
    context = common_context({str(i): array for i, array in operands.items()})
    call = Call(Methods((("calibrated", plan),)), tuple(operands), (samples,), (samples,), context, backend)
    return lambda: evaluate(call, tuple(operands.values())), samples
