"""The registry: configurations as the paper has them, and contenders that are what they say."""

from __future__ import annotations

import numpy as np
import pytest
from strategies import random_arguments, tolerance

import tpnumba as tp
from tpnumba.studies.registry import CONFIGURATIONS, CONTENDERS, cases

LISTED = cases(3)


def name_of(case) -> str:
    return f"{case.configuration.name}-{case.contender.product}-{case.contender.method}-{case.lmax}"


def test_every_configuration_product_and_degree_appears() -> None:
    assert len(LISTED) == len(CONFIGURATIONS) * 3 * len(CONTENDERS)
    assert {case.lmax for case in LISTED} == {1, 2, 3}
    assert {case.lmax for case in cases(0)} == {0}


@pytest.mark.parametrize("case", LISTED, ids=name_of)
def test_case_has_the_degrees_of_its_configuration(case) -> None:
    product = case.build()
    first, second, out = case.degrees
    assert set(product.irreps_in1.ls) == set(first)
    assert set(product.irreps_in2.ls) == set(second)
    assert set(product.irreps_out.ls) <= set(out)
    assert tp.interactability(product) <= case.triples


@pytest.mark.parametrize("case", LISTED, ids=name_of)
def test_reference_is_the_same_product(case) -> None:
    product, reference = case.build(), case.build_reference()
    x1, x2 = random_arguments(product, (5,), (5,))
    np.testing.assert_allclose(
        product(x1, x2),
        reference(x1, x2),
        rtol=0,
        atol=10 * tolerance("float64", 2 * case.lmax, product.irreps_in1.dim**2),
    )
    assert product.method == case.contender.method or case.interactable(product) == 0
    assert reference.method == "direct"


def coupled(product: str, triples: frozenset[tuple[int, int, int]]) -> set[tuple[int, int, int]]:
    """What each product can couple, by its rule."""
    return {
        "Gaunt": {triple for triple in triples if sum(triple) % 2 == 0},
        "bracket": {triple for triple in triples if sum(triple) % 2 == 1},
        "vector spherical (cross)": triples - {(0, 0, 0)},
    }.get(product, set(triples))


@pytest.mark.parametrize("case", LISTED, ids=name_of)
def test_every_product_couples_what_its_rule_says(case) -> None:
    assert case.interactable(case.build()) == len(coupled(case.contender.product, case.triples))


def test_triples_of_mimo_are_counted_by_the_law() -> None:
    for case in cases(6):
        if case.configuration.name == "MIMO":
            L = case.lmax
            assert len(case.triples) == (L + 1) * (2 * L**2 + 4 * L + 3) // 3
