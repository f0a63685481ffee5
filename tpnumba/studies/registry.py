"""The project's one registry of cases: every product and method, in the configurations of *The Price of Freedom*."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from tpnumba.measures.expressivity import interactability
from tpnumba.products import SPHERE_PRODUCTS
from tpnumba.products.base import Operator
from tpnumba.products.clebsch_gordan import FullTensorProduct
from tpnumba.products.degrees import irreps_of, with_opposite_parity
from tpnumba.products.sphere import SphereProduct

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


def _clebsch_gordan(method: str) -> Build:
    def build(degrees1: Degrees, degrees2: Degrees, degrees_out: Degrees) -> Operator:
        filter_ir_out = with_opposite_parity(irreps_of(degrees_out))
        return FullTensorProduct(irreps_of(degrees1), irreps_of(degrees2), filter_ir_out, method=method)

    return build


def _on_sphere(product: type[SphereProduct], options: Mapping[str, Any]) -> Callable[[str], Build]:
    return lambda method: partial(product.of_degrees, method=method, **options)


class Product(NamedTuple):
    """A product, and the methods that are measured beside each other; ``build`` also makes its method ``auto``."""

    name: str
    build: Callable[[str], Build]
    methods: tuple[str, ...]

    def contender(self, method: str) -> Contender:
        """The product by one method."""
        return Contender(self.name, method, self.build(method), self.build("direct"))


PRODUCTS = (
    Product("Clebsch-Gordan", _clebsch_gordan, FullTensorProduct.METHODS),
    *(
        Product(variant.title, _on_sphere(product, variant.options), product.METHODS)
        for product in SPHERE_PRODUCTS
        for variant in product.VARIANTS
    ),
)
CONTENDERS = tuple(product.contender(method) for product in PRODUCTS for method in product.methods)


@dataclass(frozen=True)
class Case:
    """One contender in one configuration at one L."""

    configuration: Configuration
    contender: Contender
    lmax: int

    @property
    def degrees(self) -> tuple[Degrees, Degrees, Degrees]:
        """The degrees of in1, in2 and out."""
        return self.configuration.degrees(self.lmax)

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
    """All cases for L = 1..lmax (L = 0 alone if ``lmax`` is 0), configuration by configuration."""
    return [
        Case(configuration, contender, L)
        for configuration in CONFIGURATIONS
        for L in range(min(1, lmax), lmax + 1)
        for contender in CONTENDERS
    ]
