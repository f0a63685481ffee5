"""The project's one registry of cases: every product and method, in the settings of *The Price of Freedom*."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from tpnumba.irreps import Irrep, Irreps
from tpnumba.measures.expressivity import interactability
from tpnumba.products.base import Operator
from tpnumba.products.bracket import BracketTensorProduct, GauntBracketTensorProduct
from tpnumba.products.clebsch_gordan import FullTensorProduct
from tpnumba.products.gaunt import GauntTensorProduct
from tpnumba.products.matrix import MatrixTensorProduct
from tpnumba.products.vector_spherical import VectorSphericalTensorProduct

Degrees = tuple[int, ...]
Build = Callable[[Degrees, Degrees, Degrees], Operator]


@dataclass(frozen=True)
class Configuration:
    """Which degrees the inputs and the output have, for a largest degree L."""

    name: str
    description: str
    degrees: Callable[[int], tuple[Degrees, Degrees, Degrees]]


def _upto(lmax: int) -> Degrees:
    return tuple(range(lmax + 1))


CONFIGURATIONS = (
    Configuration("SISO", "one degree L in each input and in the output", lambda L: ((L,), (L,), (L,))),
    Configuration(
        "SIMO", "one degree L in each input, all degrees 0..2L in the output", lambda L: ((L,), (L,), _upto(2 * L))
    ),
    Configuration(
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
    build: Build
    reference: Build


def _natural(degrees: Degrees, sign: int = 1) -> Irreps:
    return Irreps([(1, Irrep(degree, sign * (-1) ** degree)) for degree in degrees])


def _even(degrees: Degrees) -> Irreps:
    return Irreps([(1, Irrep(degree, 1)) for degree in degrees])


def _clebsch_gordan(_: str) -> Build:
    return lambda in1, in2, out: FullTensorProduct(_natural(in1), _natural(in2), _natural(out) + _natural(out, -1))


def _gaunt(method: str) -> Build:
    return lambda in1, in2, out: GauntTensorProduct(_natural(in1), _natural(in2), _natural(out), method=method)


def _bracket(method: str) -> Build:
    return lambda in1, in2, out: BracketTensorProduct(_natural(in1), _natural(in2), _natural(out, -1), method=method)


def _both(method: str) -> Build:
    return lambda in1, in2, out: GauntBracketTensorProduct(_natural(in1), _natural(in2), _natural(out), method=method)


def _matrix(method: str) -> Build:
    return lambda in1, in2, out: MatrixTensorProduct(_even(in1), _even(in2), _even(out), method=method)


def _vector_spherical(kind: str) -> Callable[[str], Build]:
    """Fields with the degrees j of the setting, each with all its l: up to one above."""
    above = {"cross": 1, "dot": 0}[kind]

    def of_method(method: str) -> Build:
        return lambda in1, in2, out: VectorSphericalTensorProduct(
            max(in1) + 1, max(in2) + 1, max(out) + above, kind=kind, method=method, j1=in1, j2=in2, j_out=out
        )

    return of_method


class Product(NamedTuple):
    """A product, and the methods that are measured beside each other; ``build`` also makes its method ``auto``."""

    name: str
    build: Callable[[str], Build]
    methods: tuple[str, ...]

    def contender(self, method: str) -> Contender:
        """The product by one method."""
        return Contender(self.name, method, self.build(method), self.build("direct"))


PRODUCTS = (
    Product("Clebsch-Gordan", _clebsch_gordan, ("direct",)),
    Product("Gaunt", _gaunt, ("direct", "grid", "fourier")),
    Product("bracket", _bracket, ("direct", "grid")),
    Product("Gaunt + bracket", _both, ("direct", "grid")),
    Product("matrix", _matrix, ("direct", "matrix")),
    Product("vector spherical (cross)", _vector_spherical("cross"), ("direct", "grid")),
    Product("vector spherical (dot)", _vector_spherical("dot"), ("direct", "grid")),
)
CONTENDERS = tuple(product.contender(method) for product in PRODUCTS for method in product.methods)


@dataclass(frozen=True)
class Case:
    """One contender in one setting at one L."""

    setting: Configuration
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
        for setting in CONFIGURATIONS
        for L in range(min(1, lmax), lmax + 1)
        for contender in CONTENDERS
    ]
