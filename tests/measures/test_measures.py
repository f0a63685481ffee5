"""The numbers of the paper, and measures that notice a fault."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import products, tensor_products

import tpnumba as tp
from tpnumba.plans.base import Operand
from tpnumba.plans.contraction import Contraction, Coupling, Path
from tpnumba.plans.methods import Methods
from tpnumba.products.base import Operator


def natural(*degrees):
    return tp.Irreps([(1, (degree, (-1) ** degree)) for degree in degrees])


@pytest.mark.parametrize(("lmax", "full", "gaunt"), [(1, 6, 5), (2, 19, 9), (3, 44, 13), (4, 85, 17), (5, 146, 21)])
def test_expressivity_of_mimo(lmax, full, gaunt):
    irreps = tp.Irreps.spherical_harmonics(lmax)
    p = tp.FullTensorProduct(irreps, irreps)
    assert tp.expressivity(p) == full == (lmax + 1) * (2 * lmax**2 + 4 * lmax + 3) // 3 == len(p.paths)
    for method in ("direct", "grid"):
        assert tp.expressivity(tp.GauntTensorProduct(lmax, lmax, method=method)) == gaunt == 4 * lmax + 1


@pytest.mark.parametrize("degree", [1, 2, 3, 4])
def test_expressivity_of_simo_and_siso(degree):
    one, reach = natural(degree), natural(*range(2 * degree + 1))
    assert tp.expressivity(tp.FullTensorProduct(one, one)) == 2 * degree + 1
    assert tp.expressivity(tp.GauntTensorProduct(one, one, reach)) == degree + 1
    assert tp.expressivity(tp.GauntTensorProduct(one, one, one)) == (degree + 1) % 2


def test_channels_add_expressivity_until_everything_is_reached():
    """n copies of Gaunt paths mixed on both sides, n readouts: never more than the maps that exist."""
    counts = [tp.expressivity(tp.ElementwiseTensorProduct(f"{n}x1o", f"{n}x1o")) for n in (1, 2, 3, 9)]
    # maps from n x n pairs of copies to 0e, 1e, 2e; a rank-n table of n x n numbers for each of them, one basis for all
    assert counts[0] == 3
    assert counts == sorted(counts)
    assert tp.expressivity(tp.FullTensorProduct("3x1o", "3x1o")) == 3 * 9


def test_weights_count_as_parameters():
    weighted = tp.FullyConnectedTensorProduct("2x0e", "2x0e", "0e")
    assert tp.expressivity(weighted) == 4
    # A weight for every path reaches every map, though paths outnumber what mixing before and behind could tell apart.
    harmonics = tp.Irreps.spherical_harmonics(2)
    every = tp.FullyConnectedTensorProduct(harmonics, harmonics, "0e + 1o + 2e + 1e + 2o")
    assert tp.expressivity(every) == len(every.paths) == 15
    fixed = tp.TensorProduct("0e + 1o", "0e + 1o", "0e", [(0, 0, 0, "uvw", True), (1, 1, 0, "uvu", False)])
    assert tp.expressivity(fixed) == 2


def test_interactable_triples():
    assert tp.interactability(tp.FullTensorProduct("1o", "2e")) == {(1, 2, 1), (1, 2, 2), (1, 2, 3)}
    assert tp.interactability(tp.GauntTensorProduct("1o", "2e", 3)) == {(1, 2, 1), (1, 2, 3)}
    assert tp.interactability(tp.FullTensorProduct("0x1o", "1o")) == frozenset()
    switched_off = tp.TensorProduct("1o", "1o", "0e", [(0, 0, 0, "uuu", False, 0.0)])
    assert tp.interactability(switched_off) == frozenset()


@given(tensor_products(), st.sampled_from(["float32", "float64"]))
def test_equivariance_error_is_rounding(p, dtype):
    assert tp.equivariance_error(p, dtype=dtype, rotations=2) < 200 * np.finfo(dtype).eps


@given(products())
def test_measures_take_every_product_and_its_adjoints(p):
    assert (tp.expressivity(p) > 0) == bool(tp.interactability(p))
    assert len(tp.interactability(p)) <= len(p.paths)
    assert tp.equivariance_error(p.adjoint(0), rotations=1) < 1e-12


@given(products())
def test_gradients_couple_the_same_blocks_in_their_own_order(p):
    triples = tp.interactability(p)
    assert tp.interactability(p.adjoint(0)) == {(l3, l2, l1) for l1, l2, l3 in triples}
    assert tp.interactability(p.adjoint(1)) == {(l1, l3, l2) for l1, l2, l3 in triples}


def test_gradient_has_the_irreps_of_its_own_arguments():
    """More blocks in the first feature than in the result, so that their numbers cannot be confused."""
    p = tp.TensorProduct("0e + 1o + 2e", "2e", "0e", [(2, 0, 0, "uuu", False)])
    assert tp.interactability(p.adjoint(0)) == {(0, 2, 2)}
    assert tp.expressivity(p.adjoint(0)) == 1


class Mislabelled(Operator):
    """A product that claims irreps which it does not have."""

    def __init__(self, degrees, coupling, legs, irreps_out):
        irreps = tp.Irreps([degrees[0]]), tp.Irreps([degrees[1]]), tp.Irreps(irreps_out)
        operands = tuple(Operand.of_irreps(name, block) for name, block in zip(("a", "b", "c"), irreps, strict=True))
        form = Contraction(operands, 2, (Path((0, 0, 0), ",,", Coupling("clebsch_gordan", coupling), legs, 1.0),))
        self._initialize({}, form, Methods.of("direct", form, {}), irreps, (0, 1))


def test_equivariance_error_notices_a_wrong_parity_only_under_inversion():
    wrong = Mislabelled(("1o", "1o"), (1, 1, 1), (0, 1, 2), "1o")
    assert tp.equivariance_error(wrong) > 0.5
    assert tp.equivariance_error(wrong, improper=False) < 1e-14


def test_equivariance_error_notices_a_wrong_basis():
    from tpnumba.tables import clebsch_gordan as tables

    table = tables.clebsch_gordan_sparse(1, 1, 2)
    flipped = table._replace(values=np.where(table.coords[2] == 1, -table.values, table.values))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(contraction_tables(), "clebsch_gordan", lambda *degrees: flipped)
        wrong = Mislabelled(("1o", "1o"), (1, 1, 2), (0, 1, 2), "2e")
        assert tp.equivariance_error(wrong) > 0.1
    assert tp.equivariance_error(tp.FullTensorProduct("1o", "1o", "2e")) < 1e-14


def contraction_tables():
    from tpnumba.plans import contraction

    return contraction._TABLES


def test_equivariance_error_is_repeatable_and_takes_a_generator():
    p = tp.FullTensorProduct("1o", "2e")
    assert tp.equivariance_error(p) == tp.equivariance_error(p)
    assert tp.equivariance_error(p, rng=5) == tp.equivariance_error(p, rng=np.random.default_rng(5))


WEIGHTED = tp.FullyConnectedTensorProduct("1o", "1o", "0e + 1e")


@pytest.mark.parametrize(
    ("error", "call", "message"),
    [
        (TypeError, lambda p: tp.expressivity("1o"), "p must be a tensor product of tpnumba, got str"),
        (TypeError, lambda p: tp.interactability(None), "p must be a tensor product of tpnumba, got NoneType"),
        (
            ValueError,
            lambda p: tp.interactability(WEIGHTED.adjoint(2)),
            "p must map two features .* gradient of weights",
        ),
        (ValueError, lambda p: tp.expressivity(WEIGHTED.adjoint(2)), "p must map two features .* gradient of weights"),
        (TypeError, lambda p: tp.equivariance_error(max), "p must be a tensor product"),
        (TypeError, lambda p: tp.equivariance_error(p, dtype="int64"), "dtype must be float32 or float64, got 'int64'"),
        (ValueError, lambda p: tp.equivariance_error(p, rotations=0), "rotations must be a positive integer, got 0"),
        (TypeError, lambda p: tp.equivariance_error(p, rotations=1.5), "rotations .* got 1.5"),
    ],
)
def test_bad_arguments(error, call, message):
    with pytest.raises(error, match=message):
        call(tp.FullTensorProduct("1o", "1o"))


def test_a_derivative_that_does_not_fit_is_refused(monkeypatch):
    from tpnumba import limits

    monkeypatch.setattr(limits, "available_bytes", lambda: 2**20)
    with pytest.raises(MemoryError, match="the derivative of the bilinear map"):
        tp.expressivity(tp.FullyConnectedTensorProduct("40x0e", "40x0e", "40x0e"))


def single(p):
    return tp.expressivity(p, single_copies=True)


@pytest.mark.parametrize("L", range(1, 7))
def test_expressivity_of_all_products_in_the_papers_table(L):
    degrees = range(L + 1)
    irreps = tp.Irreps.spherical_harmonics(L)
    assert single(tp.FullTensorProduct(irreps, irreps)) == (L + 1) * (2 * L**2 + 4 * L + 3) // 3
    assert single(tp.GauntTensorProduct(L, L)) == 4 * L + 1
    assert single(tp.MatrixTensorProduct(L, L, degree=L)) == 4 * L + 1
    assert single(tp.MatrixTensorProduct(L, L, degree=L, split=True)) == 6 * L
    assert single(tp.BracketTensorProduct(L, L)) == 4 * L - 3
    assert single(tp.GauntBracketTensorProduct(L, L)) == 6 * L
    fields = {"j1": degrees, "j2": degrees, "j_out": range(2 * L + 1)}
    cross = tp.VectorSphericalTensorProduct(L + 1, L + 1, 2 * L + 1, **fields)
    assert single(cross) == {1: 5, 2: 18}.get(L, 12 * L - 3)
    dot = tp.VectorSphericalTensorProduct(L + 1, L + 1, 2 * L, kind="dot", **fields)
    assert single(dot) == {1: 6}.get(L, 8 * L - 1)


@pytest.mark.parametrize("L", [1, 2, 3, 4])
def test_expressivity_of_gaunt_and_bracket_with_weights_of_their_own(L):
    """Two copies of a degree in each input, one for each half: 8 L - 2."""
    assert single(TwoSlots(L)) == 8 * L - 2


class TwoSlots(Operator):
    def __init__(self, L):
        from tpnumba.products.degrees import make_form
        from tpnumba.tables.couplings import bracket_coupling, gaunt_coupling

        once, reach = tp.Irreps.spherical_harmonics(L), tp.Irreps.spherical_harmonics(2 * L)
        irreps = once + once, once + once, reach + reach
        sizes = [len(once), len(once), len(reach)]

        def coupling(*places):
            halves = {place // size for place, size in zip(places, sizes, strict=True)}
            degrees = (block[place].ir.l for block, place in zip(irreps, places, strict=True))
            return 0.0 if len(halves) > 1 else (gaunt_coupling, bracket_coupling)[halves.pop()](*degrees)

        form = make_form(irreps, coupling)
        self._initialize({}, form, Methods.of("direct", form, {}), irreps, (0, 1))


@pytest.mark.parametrize("L", [1, 2, 3])
def test_expressivity_of_simo(L):
    one = natural(L)
    assert single(tp.GauntTensorProduct(one, one, 2 * L)) == L + 1
    assert single(tp.BracketTensorProduct(one, one, 2 * L)) == L
    even = tp.Irreps([(1, (L, 1))])
    assert single(tp.MatrixTensorProduct(even, even, 2 * L, degree=L)) == 2 * L + 1
    fields = {"j1": [L], "j2": [L], "j_out": range(2 * L + 1)}
    assert single(tp.VectorSphericalTensorProduct(L + 1, L + 1, 2 * L + 1, **fields)) == 2 * L + 1


@pytest.mark.parametrize(
    ("parity", "ranks"), [(0, (1, 2, 3, 4, 5, 7, 8)), (1, (1, 1, 2, 3, 4, 5, 7))], ids=["gaunt", "bracket"]
)
def test_rank_at_which_copies_reach_every_table(parity, ranks):
    """R copies with weights a degree, summed: the least R whose derivative has full rank (a polyadic form's rank)."""
    for L, rank in enumerate(ranks, start=1):
        triples = [
            (a, b, c)
            for a in range(L + 1)
            for b in range(L + 1)
            for c in range(2 * L + 1)
            if abs(a - b) <= c <= a + b and (a + b + c) % 2 == parity
        ]
        assert polyadic_rank(triples, L, rank) == len(triples)
        assert rank == 1 or polyadic_rank(triples, L, rank - 1) < len(triples)


def polyadic_rank(triples, L, rank):
    rng = np.random.default_rng(0)
    a, b, c = (rng.standard_normal((rank, n)) for n in (L + 1, L + 1, 2 * L + 1))
    i, j, k = np.array(triples).T
    jacobian = np.zeros((a.size + b.size + c.size, len(triples)))
    columns = np.arange(len(triples))
    for r in range(rank):
        jacobian[r * (L + 1) + i, columns] = b[r, j] * c[r, k]
        jacobian[a.size + r * (L + 1) + j, columns] = a[r, i] * c[r, k]
        jacobian[a.size + b.size + r * (2 * L + 1) + k, columns] = a[r, i] * b[r, j]
    return np.linalg.matrix_rank(jacobian)
