"""The registry: settings as the paper has them, and contenders that are what they say."""

from __future__ import annotations

import numpy as np
import pytest
from strategies import random_arguments, tolerance

import tpnumba as tp
from tpnumba.studies.registry import CONTENDERS, SETTINGS, cases

LISTED = cases(3)


def name_of(case) -> str:
    return f"{case.setting.name}-{case.contender.product}-{case.contender.method}-{case.lmax}"


def test_every_setting_product_and_degree_appears() -> None:
    assert len(LISTED) == len(SETTINGS) * 3 * len(CONTENDERS)
    assert {case.lmax for case in LISTED} == {1, 2, 3}
    assert {case.lmax for case in cases(0)} == {0}


@pytest.mark.parametrize("case", LISTED, ids=name_of)
def test_case_has_the_degrees_of_its_setting(case) -> None:
    product = case.build()
    first, second, out = case.degrees
    assert tuple(product.irreps_in1.ls) == first
    assert tuple(product.irreps_in2.ls) == second
    assert set(product.irreps_out.ls) <= set(out)
    assert tp.interactability(product) <= case.triples


@pytest.mark.parametrize("case", LISTED, ids=name_of)
def test_reference_is_the_same_product(case) -> None:
    product, reference = case.build(), case.build_reference()
    x1, x2 = random_arguments(product, (5,), (5,))
    np.testing.assert_allclose(
        product(x1, x2), reference(x1, x2), rtol=0, atol=tolerance("float64", 2 * case.lmax, product.irreps_in1.dim**2)
    )


@pytest.mark.parametrize("case", LISTED, ids=name_of)
def test_clebsch_gordan_is_complete_and_gaunt_has_the_even_half(case) -> None:
    count = case.interactable(case.build())
    if case.contender.product == "Clebsch-Gordan":
        assert count == len(case.triples)
    else:
        assert count == sum(sum(triple) % 2 == 0 for triple in case.triples)


def test_triples_of_mimo_are_counted_by_the_law() -> None:
    for case in cases(6):
        if case.setting.name == "MIMO":
            L = case.lmax
            assert len(case.triples) == (L + 1) * (2 * L**2 + 4 * L + 3) // 3
