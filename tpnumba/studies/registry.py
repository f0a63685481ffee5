"""The project's one registry of cases: every product and method, in the settings of *The Price of Freedom*."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tpnumba.irreps import Irrep, Irreps
from tpnumba.measures.expressivity import interactability
from tpnumba.products.base import Operator
from tpnumba.products.clebsch_gordan import FullTensorProduct
from tpnumba.products.gaunt import GauntTensorProduct

Degrees = tuple[int, ...]


@dataclass(frozen=True)
class Setting:
    """Which degrees the inputs and the output have, for a largest degree L."""

    name: str
    description: str
    degrees: Callable[[int], tuple[Degrees, Degrees, Degrees]]


def _upto(lmax: int) -> Degrees:
    return tuple(range(lmax + 1))


SETTINGS = (
    Setting("SISO", "one degree L in each input and in the output", lambda L: ((L,), (L,), (L,))),
    Setting(
        "SIMO", "one degree L in each input, all degrees 0..2L in the output", lambda L: ((L,), (L,), _upto(2 * L))
    ),
    Setting(
        "MIMO", "all degrees 0..L in each input, 0..2L in the output", lambda L: (_upto(L), _upto(L), _upto(2 * L))
    ),
)


@dataclass(frozen=True)
class Contender:
    """A product and a method, made for the degrees of its inputs and its output.

    ``reference`` makes the same product by its sparse coefficients, which errors are measured against.
    """

    product: str
    method: str
    build: Callable[[Degrees, Degrees, Degrees], Operator]
    reference: Callable[[Degrees, Degrees, Degrees], Operator]


def _natural(degrees: Degrees) -> Irreps:
    return Irreps([(1, Irrep(degree, (-1) ** degree)) for degree in degrees])


def _clebsch_gordan(in1: Degrees, in2: Degrees, out: Degrees) -> Operator:
    both_parities = Irreps([(1, Irrep(degree, parity)) for degree in out for parity in (1, -1)])
    return FullTensorProduct(_natural(in1), _natural(in2), both_parities)


def _gaunt(method: str) -> Callable[[Degrees, Degrees, Degrees], Operator]:
    return lambda in1, in2, out: GauntTensorProduct(_natural(in1), _natural(in2), _natural(out), method=method)


CONTENDERS = (
    Contender("Clebsch-Gordan", "direct", _clebsch_gordan, _clebsch_gordan),
    Contender("Gaunt", "direct", _gaunt("direct"), _gaunt("direct")),
    Contender("Gaunt", "grid", _gaunt("grid"), _gaunt("direct")),
)


@dataclass(frozen=True)
class Case:
    """One contender in one setting at one L."""

    setting: Setting
    contender: Contender
    lmax: int

    @property
    def degrees(self) -> tuple[Degrees, Degrees, Degrees]:
        """The degrees of in1, in2 and out."""
        return self.setting.degrees(self.lmax)

    @property
    def triples(self) -> frozenset[tuple[int, int, int]]:
        """All triples of these degrees that obey the triangle rule: what a complete product couples."""
        first, second, out = self.degrees
        return frozenset((l1, l2, l3) for l1 in first for l2 in second for l3 in out if abs(l1 - l2) <= l3 <= l1 + l2)

    def build(self) -> Operator:
        """The product."""
        return self.contender.build(*self.degrees)

    def build_reference(self) -> Operator:
        """The same product by its sparse coefficients."""
        return self.contender.reference(*self.degrees)

    def interactable(self, product: Operator) -> int:
        """How many of the triples the product couples."""
        return len(interactability(product) & self.triples)


def cases(lmax: int) -> list[Case]:
    """All cases for L = 1..lmax (L = 0 alone if ``lmax`` is 0), setting by setting."""
    return [
        Case(setting, contender, L)
        for setting in SETTINGS
        for L in range(min(1, lmax), lmax + 1)
        for contender in CONTENDERS
    ]
