"""What the base of the products on the sphere promises: what is in its list is public and studied."""

from __future__ import annotations

import inspect

import pytest
from strategies import OPTIONS, SPHERE, options_of

import tpnumba as tp
from tpnumba.products import SPHERE_PRODUCTS
from tpnumba.products.sphere import SphereProduct
from tpnumba.studies.registry import PRODUCTS

CASES = [(product, variant) for product in SPHERE_PRODUCTS for variant in product.VARIANTS]


def concrete(base):
    """The classes below ``base`` that name their methods."""
    for product in base.__subclasses__():
        if "METHODS" in vars(product):
            yield product
        yield from concrete(product)


def test_every_product_is_listed_and_public():
    found = {product for product in concrete(SphereProduct) if product.__module__.startswith("tpnumba.")}
    assert found == set(SPHERE_PRODUCTS) == set(SPHERE)
    assert {product.__name__ for product in found} <= set(tp.__all__)


def test_every_variant_is_studied_by_all_methods():
    methods = {product.name: product.methods for product in PRODUCTS}
    assert len({variant.key for _, variant in CASES}) == len({variant.title for _, variant in CASES}) == len(CASES)
    for product, variant in CASES:
        assert methods[variant.title] == product.METHODS


@pytest.mark.parametrize(("product", "variant"), CASES, ids=lambda entry: getattr(entry, "key", None))
def test_of_degrees_has_the_degrees_and_the_options(product, variant):
    for method in product.METHODS:
        p = product.of_degrees((1, 2), (2,), (1, 3), method=method, **variant.options)
        assert set(p.irreps_in1.ls) == {1, 2}
        assert set(p.irreps_in2.ls) == {2}
        assert set(p.irreps_out.ls) == {1, 3}
        assert p.method == method
        assert all(getattr(p, name) == value for name, value in variant.options.items())


@pytest.mark.parametrize("product", SPHERE_PRODUCTS)
def test_strategies_draw_every_option(product):
    parameters = inspect.signature(product).parameters
    assert list(parameters)[:3] == ["lmax1", "lmax2", "lmax_out"]
    assert set(options_of(product)) == set(parameters) - {"lmax1", "lmax2", "lmax_out"}
    assert set(options_of(product)) <= {"method", *OPTIONS}


@pytest.mark.parametrize("product", SPHERE_PRODUCTS)
def test_methods_are_those_that_the_constructor_takes(product):
    for method in ("auto", *product.METHODS):
        assert product(1, 1, method=method).method in product.METHODS
    named = ", ".join(("auto", *product.METHODS))
    with pytest.raises(ValueError, match=f"method must be one of {named}, got 'best'"):
        product(1, 1, method="best")
