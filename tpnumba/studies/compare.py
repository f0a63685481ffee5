"""Every product and method on the features of one structure: what it can express, what it costs, how exact it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from tpnumba.limits import require_memory
from tpnumba.measures.equivariance import equivariance_error, relative_deviation
from tpnumba.measures.expressivity import expressivity
from tpnumba.plans.base import ITEMSIZE
from tpnumba.products.base import Operator
from tpnumba.studies.backends import make_ready
from tpnumba.studies.registry import CONFIGURATIONS, Case, cases
from tpnumba.studies.structures import Neighbourhoods, neighbourhood_features
from tpnumba.studies.timing import interleaved

#: A result below this share of the product of the greatest numbers is zero but for rounding.
_ZERO = 1e-9

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Row:
    """One case measured. Times are None where the product couples nothing that the configuration asks for.

    ``setting`` is the name of the configuration.

    ``error`` is the greatest deviation from the float64 result of the direct method, relative to that result's greatest
    component; ``seconds_spread`` is half the distance between the quartiles of ``seconds_per_sample``.
    """

    setting: str
    product: str
    method: str
    lmax: int
    interactable: int
    triples: int
    expressivity: int
    flops: int
    bytes: int
    seconds_per_sample: float | None
    error: float | None
    equivariance_error: float | None
    seconds_spread: float | None

    @property
    def seconds_per_degree(self) -> float | None:
        """Time a sample divided by the expressivity: what one degree of freedom costs."""
        return None if self.seconds_per_sample is None else self.seconds_per_sample / self.expressivity

    def as_dict(self) -> dict[str, Any]:
        """The fields, by name."""
        return asdict(self)


def compare(
    neighbourhoods: Neighbourhoods,
    *,
    lmax: int,
    batch: int,
    dtype: str,
    backend: str = "auto",
    on_progress: Callable[[str, int, int], None] | None = None,
) -> list[Row]:
    """Run every case for L = 1..lmax.

    Args:
        neighbourhoods: of a structure; its atoms are repeated to ``batch`` samples.
        lmax, batch, dtype, backend: see ``tpnumba compare --help``.
        on_progress: called with a description, the number of cases done, and their total.

    Raises:
        MemoryError: operands or results would not fit; their size is named.
        RuntimeError, ImportError: the backend is not there.
    """
    # The complete product of two features has the product of their dimensions, a field three times its degrees: no
    # result is larger. It is held twice.
    what = f"operands and results of {batch:,} samples up to L = {lmax:,}"
    require_memory(batch * ITEMSIZE[dtype] * (lmax + 1) ** 2, what)  # before the degrees are listed
    widest = 0
    for configuration in CONFIGURATIONS:
        first, second, out = (sum(2 * degree + 1 for degree in degrees) for degrees in configuration.degrees(lmax))
        widest = max(widest, first + second + 2 * first * second, 3 * (first + second + 2 * out))
    needed = batch * widest * (ITEMSIZE[dtype] + ITEMSIZE["float64"])
    require_memory(needed, what)
    listed = cases(lmax)
    products = {case: case.build() for case in listed}
    features = neighbourhood_features(neighbourhoods, lmax)
    # Fails here, before anything is timed, if the backend is not there.
    small = np.ones((1, 1), dtype=dtype)
    cases(0)[0].build()(small, small, backend=backend)

    rows: list[Row] = []
    for (name, degree), group in groupby(listed, key=lambda case: (case.configuration.name, case.lmax)):
        if on_progress is not None:
            on_progress(f"{name}, L = {degree}", len(rows), len(listed))
        together = list(group)
        samples = {case: _operands(products[case], features, batch) for case in together}
        able = [case for case in together if case.interactable(products[case])]
        for case in able:
            make_ready(products[case], dtype, backend)
        calls = {case: _call(products[case], samples[case], dtype, backend) for case in able}
        timings = interleaved(calls, repeats=7, repeat_seconds=0.005)
        for case in together:
            product = products[case]
            measured = case in calls
            cost = product.cost()
            rows.append(
                Row(
                    setting=case.configuration.name,
                    product=case.contender.product,
                    method=case.contender.method,
                    lmax=case.lmax,
                    interactable=case.interactable(product),
                    triples=len(case.triples),
                    expressivity=expressivity(product, single_copies=True),
                    flops=cost.flops,
                    bytes=product.cost(dtype=dtype).bytes,
                    seconds_per_sample=timings[case].seconds / batch if measured else None,
                    error=_error(case, calls[case](), samples[case]) if measured else None,
                    equivariance_error=equivariance_error(product, dtype=dtype, backend=backend) if measured else None,
                    seconds_spread=timings[case].spread / batch if measured else None,
                )
            )
    if on_progress is not None:
        on_progress("done", len(rows), len(listed))
    return rows


def _operands(product: Operator, features: tuple[Array, Array], batch: int) -> tuple[Array, Array]:
    """Into every block of an input the feature of its degree, the atoms repeated to ``batch`` samples, in float64."""
    atoms = np.arange(batch) % len(features[0])
    first, second = (
        np.concatenate([np.arange(ir.l**2, (ir.l + 1) ** 2) for _, ir in irreps])
        for irreps in (product.irreps_in1, product.irreps_in2)
    )
    return features[0][atoms][:, first], features[1][atoms][:, second]


def _call(product: Operator, samples: tuple[Array, Array], dtype: str, backend: str) -> Callable[[], Array]:
    x1, x2 = (np.ascontiguousarray(x, dtype=dtype) for x in samples)
    return lambda: product(x1, x2, backend=backend)


def _error(case: Case, result: Array, operands: Sequence[Array]) -> float:
    """The deviation from the reference; if that is zero but for rounding, relative to the products it is a sum of."""
    reference = case.build_reference()(*operands)
    product = prod(float(np.max(np.abs(operand), initial=0.0)) for operand in operands)
    if np.max(np.abs(reference), initial=0.0) > _ZERO * product or product == 0:
        return relative_deviation(result, reference)
    return float(np.max(np.abs(result - reference), initial=0.0)) / product
