"""Reasons for couplings that are not there, held against independent formulas and against the operators' own paths."""

from __future__ import annotations

import itertools
from functools import cache

import numpy as np
import pytest
from tables.symbols import exact_6j, is_triad, summed_9j

import tpnumba as tp
from tpnumba.measures.selection import PRODUCTS, REASONS, candidates, select

BOTH = "0e + 0o + 1e + 1o + 2e + 2o + 3e + 3o"
#: Above rounding of a sum of products of symbols, and below any that is not zero at these degrees.
ZERO = 1e-12


@cache
def selections(first: str, second: str, degree: int | None = None):
    triples = candidates(tp.Irreps(first), tp.Irreps(second))
    return triples, {selection.product: selection for selection in select(triples, degree=degree)}


@cache
def legendre(l1: int, l2: int, l3: int) -> float:
    """The integral of three Legendre polynomials: twice the square of ``3j(l1 l2 l3; 0 0 0)``."""
    points, weights = np.polynomial.legendre.leggauss(l1 + l2 + l3 + 1)
    values = [np.polynomial.Legendre.basis(degree)(points) for degree in (l1, l2, l3)]
    return float(np.sum(weights * values[0] * values[1] * values[2]))


def natural(ir) -> bool:
    return ir in {block.ir for block in tp.Irreps.spherical_harmonics(ir.l)}


def blocks(ir, vector: str) -> list[int]:
    """The degrees of the functions whose product with the vector has the irrep."""
    return [degree for degree in range(ir.l + 2) if ir in list(tp.Irrep(degree, (-1) ** degree) * tp.Irrep(vector))]


def vector_coupling(kind: str, triple) -> bool:
    """Whether any blocks of the fields are coupled, by integrals of functions and exact symbols."""
    j1, j2, j3 = (ir.l for ir in triple)
    third = blocks(triple[2], "1e") if kind == "cross" else [j3] if natural(triple[2]) else []
    for l1, l2, l3 in itertools.product(blocks(triple[0], "1o"), blocks(triple[1], "1o"), third):
        if not is_triad(l1, l2, l3) or abs(legendre(l1, l2, l3)) < ZERO:
            continue
        symbol = summed_9j(l1, l2, l3, 1, 1, 1, j1, j2, j3) if kind == "cross" else exact_6j(l1, l2, j3, j2, j1, 1)
        if abs(symbol) > ZERO:
            return True
    return False


def expected(product: str, triple, a: int) -> bool:
    l1, l2, l3 = (ir.l for ir in triple)
    functions = natural(triple[0]) and natural(triple[1])
    even = abs(legendre(l1, l2, l3)) > ZERO
    operators = max(l1, l2, l3) <= 2 * a and abs(exact_6j(l1, l2, l3, a, a, a)) > ZERO
    return {
        "Clebsch-Gordan": lambda: True,
        "Gaunt": lambda: functions and even,
        "bracket": lambda: functions and not even,
        "Gaunt + bracket": lambda: functions,
        "matrix": lambda: operators and all(ir.p == 1 for ir in triple),
        "matrix, split": lambda: operators and functions,
        "vector spherical (cross)": lambda: vector_coupling("cross", triple),
        "vector spherical (dot)": lambda: vector_coupling("dot", triple),
    }[product]()


CASES = [(BOTH, BOTH, 3), (BOTH, BOTH, 1), ("3e + 5e + 6e", "3e + 5e + 6e", 6), ("3o + 5o", "5o + 6e", 6)]


@pytest.mark.parametrize(("first", "second", "a"), CASES, ids=["all", "cut", "zeros", "natural zeros"])
@pytest.mark.parametrize("product", PRODUCTS)
def test_what_is_coupled_is_what_independent_formulas_say(product: str, first: str, second: str, a: int) -> None:
    triples, found = selections(first, second, a)
    selection = found[product]
    assert list(selection.coupled) == [triple for triple in triples if expected(product, triple, a)]
    assert {*selection.coupled, *selection.left_out} == set(triples)
    assert not set(selection.coupled) & set(selection.left_out)


@pytest.mark.parametrize(("first", "second", "a"), CASES, ids=["all", "cut", "zeros", "natural zeros"])
def test_reasons_are_true(first: str, second: str, a: int) -> None:
    """Each kind of reason by its own meaning; a symbol that is named is zero by Racah's sum."""
    _, found = selections(first, second, a)
    for product, selection in found.items():
        for triple, reason in selection.left_out.items():
            degrees = [ir.l for ir in triple]
            if reason.kind == "sum":
                assert product in {"Gaunt", "bracket"}
                assert natural(triple[0])
                assert natural(triple[1])
                parity = {"Gaunt": "odd", "bracket": "even"}[product]
                assert reason.statement == f"{degrees[0]} + {degrees[1]} + {degrees[2]} is {parity}"
                assert (abs(legendre(*degrees)) < ZERO) is (parity == "odd")
            elif reason.kind == "degree":
                assert product.startswith("matrix")
                assert max(degrees) > 2 * a
            elif reason.kind in {"6j", "9j"}:
                symbols = reason.statement.split(" = ")
                assert symbols.pop() == "0"
                for symbol in symbols:
                    kind, numbers = symbol[:2], [int(n) for n in symbol[3:-1].replace(";", "").split()]
                    assert kind == reason.kind
                    assert abs(exact_6j(*numbers) if kind == "6j" else summed_9j(*numbers)) < ZERO
            else:
                assert reason.kind == "parity"
                named = tp.Irrep(reason.statement.split()[0])
                assert named in triple
                held = {
                    "vector": blocks(named, "1o"),
                    "pseudovector": blocks(named, "1e"),
                    "function": natural(named),
                    "pseudo-function": not natural(named),
                    "odd,": named.p == 1,
                }
                assert not held[next(word for word in reason.statement.split() if word in held)]


def test_every_kind_of_reason_occurs() -> None:
    kinds = {
        reason.kind
        for first, second, a in CASES
        for selection in selections(first, second, a)[1].values()
        for reason in selection.left_out.values()
    }
    assert kinds == set(REASONS)


@pytest.mark.parametrize(("first", "second", "a"), CASES, ids=["all", "cut", "zeros", "natural zeros"])
def test_operators_couple_what_is_said(first: str, second: str, a: int) -> None:
    for selection in selections(first, second, a)[1].values():
        paths = [] if selection.operator is None else selection.operator.paths
        assert {(path.ir1, path.ir2, path.ir_out) for path in paths} == set(selection.coupled)
        assert (selection.expressivity > 0) is bool(selection.coupled)
        assert selection.expressivity <= len(selection.coupled)


@pytest.mark.parametrize("L", [1, 2, 3])
def test_expressivity_is_that_of_the_products(L: int) -> None:
    irreps = tp.Irreps.spherical_harmonics(L)
    found = selections(str(irreps), str(irreps))[1]
    whole = {
        "Clebsch-Gordan": tp.FullTensorProduct(irreps, irreps),
        "Gaunt": tp.GauntTensorProduct(L, L),
        "bracket": tp.BracketTensorProduct(L, L),
        "Gaunt + bracket": tp.GauntBracketTensorProduct(L, L),
        "matrix, split": tp.MatrixTensorProduct(L, L, split=True),
    }
    for product, operator in whole.items():
        assert found[product].expressivity == tp.expressivity(operator)
        assert {tuple(ir.l for ir in triple) for triple in found[product].coupled} == tp.interactability(operator)


def test_one_copy_of_each_irrep_counts_parities_apart() -> None:
    """By hand: scalars of either parity, every product of two of them with a weight of its own."""
    p = tp.FullTensorProduct("0e + 0o", "0e + 0o")
    assert tp.expressivity(p, single_copies=True, parity=True) == 4
    assert tp.expressivity(p, single_copies=True) == 1
    with pytest.raises(ValueError, match="parity=True needs single_copies=True"):
        tp.expressivity(p, parity=True)


def test_candidates_are_what_symmetry_permits() -> None:
    first, second, out = tp.Irreps("2x1o + 0x3e + 0e"), tp.Irreps("1e"), tp.Irreps("1o + 1e + 2o + 4e")
    found = candidates(first, second, out)
    assert [tuple(map(str, triple)) for triple in found] == [
        ("0e", "1e", "1e"),
        ("1o", "1e", "1o"),
        ("1o", "1e", "2o"),
    ]
    every = candidates(first, second)
    assert set(found) < set(every)
    for ir1, ir2, ir3 in every:
        assert tp.interactability(tp.FullTensorProduct([(1, ir1)], [(1, ir2)], [(1, ir3)])) == {(ir1.l, ir2.l, ir3.l)}


def test_copies_do_not_count() -> None:
    assert candidates(tp.Irreps("8x0e + 4x1o"), tp.Irreps("1o")) == candidates(tp.Irreps("0e + 1o"), tp.Irreps("3x1o"))
