"""How what a product couples and reaches grows with the largest degree L, beside the laws."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from math import log2
from typing import Any, NamedTuple

import numpy as np

from tpnumba.measures.expressivity import expressivity
from tpnumba.studies.registry import CONFIGURATIONS, PRODUCTS, Case

#: Largest degrees that are counted.
LARGEST = range(1, 7)


class Law(NamedTuple):
    """The expressivity as a function of L, from L = ``least`` on."""

    text: str
    value: Callable[[int], int]
    least: int = 1

    @property
    def exponent(self) -> float:
        """The power of L at which it grows, over two neighbours, of which one may be zero; of a constant 0."""
        low, high = (self.value(L) + self.value(L + 1) for L in (2**30, 2**31))
        return round(log2(high / low), 3)


#: Those that couple every triple of degrees; of vector fields by the cross product, all but (0, 0, 0).
_ALL_TRIPLES = ("Clebsch-Gordan", "Gaunt + bracket", "matrix", "vector spherical (cross)", "vector spherical (dot)")

#: *The Price of Freedom*, table 2, and beyond; by configuration and product.
LAWS: dict[tuple[str, str], Law] = {
    **{("SISO", product): Law("1", lambda L: 1) for product in _ALL_TRIPLES},
    ("SISO", "Gaunt"): Law("1 for even L", lambda L: 1 - L % 2),
    ("SISO", "bracket"): Law("1 for odd L", lambda L: L % 2),
    **{("SIMO", product): Law("2L+1", lambda L: 2 * L + 1) for product in _ALL_TRIPLES},
    ("SIMO", "Gaunt"): Law("L+1", lambda L: L + 1),
    ("SIMO", "bracket"): Law("L", lambda L: L),
    ("MIMO", "Clebsch-Gordan"): Law("(L+1)(2L^2+4L+3)/3", lambda L: (L + 1) * (2 * L**2 + 4 * L + 3) // 3),
    ("MIMO", "Gaunt"): Law("4L+1", lambda L: 4 * L + 1),
    ("MIMO", "bracket"): Law("4L-3", lambda L: 4 * L - 3),
    ("MIMO", "Gaunt + bracket"): Law("6L", lambda L: 6 * L),
    ("MIMO", "matrix"): Law("4L+1", lambda L: 4 * L + 1),
    ("MIMO", "vector spherical (cross)"): Law("12L-3 from 3 on", lambda L: 12 * L - 3, 3),
    ("MIMO", "vector spherical (dot)"): Law("8L-1 from 2 on", lambda L: 8 * L - 1, 2),
}


@dataclass(frozen=True)
class Growth:
    """The counts of one product in one configuration.

    Attributes:
        setting: the name of the configuration.
        product: its name.
        lmax: the values of L.
        interactable: triples that are coupled, for each L.
        expressivity: likewise.
        fitted: the power of L by which expressivity grows over the upper half of the values of L that are not zero:
            the slope of a line through its logarithm.
        theory: the power in the law, which the fit tends to as L grows; None if no law is known.
        law: the expressivity as a function of L, likewise.
    """

    setting: str
    product: str
    lmax: tuple[int, ...]
    interactable: tuple[int, ...]
    expressivity: tuple[int, ...]
    fitted: float
    theory: float | None
    law: str | None

    def as_dict(self) -> dict[str, Any]:
        """The fields, by name."""
        return asdict(self)


def grow(
    largest: Sequence[int] = LARGEST, *, on_progress: Callable[[str, int, int], None] | None = None
) -> list[Growth]:
    """Count every product in every configuration.

    Args:
        largest: values of L.
        on_progress: called with a description, the number of products and configurations done, and their total.
    """
    found: list[Growth] = []
    total = len(CONFIGURATIONS) * len(PRODUCTS)
    for configuration in CONFIGURATIONS:
        for product in PRODUCTS:
            if on_progress is not None:
                on_progress(f"{configuration.name}, {product.name}", len(found), total)
            cases = [Case(configuration, product.contender("direct"), L) for L in largest]
            operators = [case.build() for case in cases]
            counts = [expressivity(operator, single_copies=True) for operator in operators]
            law = LAWS.get((configuration.name, product.name))
            found.append(
                Growth(
                    setting=configuration.name,
                    product=product.name,
                    lmax=tuple(largest),
                    interactable=tuple(case.interactable(p) for case, p in zip(cases, operators, strict=True)),
                    expressivity=tuple(counts),
                    fitted=fit_exponent(largest, counts),
                    theory=None if law is None else law.exponent,
                    law=None if law is None else law.text,
                )
            )
    return found


def fit_exponent(largest: Sequence[int], counts: Sequence[int]) -> float:
    """The slope of ``log count`` against ``log L``, over the upper half of the L whose count is not zero: two or more.

    Raises:
        ValueError: fewer than two counts that are not zero.

    Example:
        >>> round(fit_exponent([1, 2, 4, 8], [0, 9, 30, 240]), 6)
        3.0
    """
    points = [(degree, count) for degree, count in zip(largest, counts, strict=True) if count]
    if len(points) < 2:
        raise ValueError(f"counts must not be zero for two values of largest or more, got {list(counts)}")
    x, y = np.log(np.array(points[min(len(points) // 2, len(points) - 2) :], dtype=np.float64)).T
    return float(np.polyfit(x, y, 1)[0])
