"""Fits of low-rank products: tables of known rank are found again, and errors are those of the bilinear maps."""

from __future__ import annotations

import numpy as np
import pytest
from strategies import tolerance

import tpnumba as tp
from tpnumba.products.low_rank_fit import fits_by_rank
from tpnumba.products.polyadic import MaskedTable, decompose


def random_table(lmax, seed=0, parity=(0, 1)):
    rng = np.random.default_rng(seed)
    degrees = range(lmax + 1)
    return {
        (a, b, c): float(rng.standard_normal())
        for a in degrees
        for b in degrees
        for c in range(abs(a - b), a + b + 1)
        if (a + b + c) % 2 in parity
    }


def bilinear_map(p, weights):
    """The dense table of a product with its weights put in, and its blocks of one degree added up."""
    unit = np.eye(p.irreps_in1.dim), np.eye(p.irreps_in2.dim)
    return p(unit[0][:, None, :], unit[1][None, :, :], weights)


@pytest.mark.parametrize("normalization", ["integral", "component"])
@pytest.mark.parametrize(("lmax", "ranks"), [(1, (1, 0)), (2, (1, 1)), (3, (2, 1)), (3, (0, 2)), (4, (2, 2))])
def test_tables_of_known_rank_are_found_again(lmax, ranks, normalization):
    p = tp.LowRankTensorProduct(lmax, lmax, rank=ranks[0], bracket_rank=ranks[1], normalization=normalization)
    weights = np.random.default_rng(3).standard_normal(p.weight_numel)
    table = np.zeros((lmax + 1, lmax + 1, 2 * lmax + 1))
    for triple, number in p.path_weights(weights).items():
        table[triple] = number
    fit = tp.fit_low_rank(table, tol=1e-9, normalization=normalization)
    assert fit.error <= 1e-9
    assert (fit.product.rank, fit.product.bracket_rank) == ranks
    # The factors are those of the table but for exchanges and scales, so the maps are what can be compared.
    found, expected = bilinear_map(fit.product, fit.weights), bilinear_map(p, weights)
    assert np.linalg.norm(found - expected) <= (1e-9 + tolerance("float64", 2 * lmax)) * np.linalg.norm(expected)


def test_the_error_is_that_of_the_bilinear_maps():
    table = random_table(3)
    fit = tp.fit_low_rank(table, rank=(2, 1))
    assert 0.01 < fit.error < 1
    found = bilinear_map(fit.product, fit.weights)
    expected = np.zeros_like(found)
    where = dict(zip([ir for _, ir in fit.product.irreps_out], fit.product.irreps_out.slices(), strict=True))
    for (l1, l2, l3), number in table.items():
        rows, columns = slice(l1**2, (l1 + 1) ** 2), slice(l2**2, (l2 + 1) ** 2)
        block = where[tp.Irrep(l3, (-1) ** (l1 + l2))]
        expected[rows, columns, block] += number * tp.clebsch_gordan(l1, l2, l3)
    norm = np.linalg.norm(expected)
    assert norm == pytest.approx(np.sqrt(sum(number**2 for number in table.values())), rel=tolerance("float64", 3))
    error = np.linalg.norm(found - expected) / norm
    assert fit.error == pytest.approx(error, rel=tolerance("float64", 6, 1000))


def test_more_terms_come_nearer_until_the_table_is_reached():
    errors = [fit.error for fit in fits_by_rank(random_table(2), (1, 2, 3))]
    assert errors[0] > errors[1]
    # of rank 2 for even and 1 for odd triples; the generic rank, at which this table is reached
    assert errors[2] < 1e-9


def test_a_mapping_and_an_array_are_the_same_table():
    table = random_table(2, parity=(0,))
    dense = np.zeros((3, 3, 5))
    for triple, number in table.items():
        dense[triple] = number
    one, other = tp.fit_low_rank(table, rank=1), tp.fit_low_rank(dense, rank=1)
    assert one.product == other.product == tp.LowRankTensorProduct(2, 2, 4, rank=1)
    np.testing.assert_array_equal(one.weights, other.weights)
    assert one.error == other.error


def test_the_same_seed_gives_the_same_weights():
    table = random_table(2)
    first, again, other = (tp.fit_low_rank(table, rank=1, seed=seed).weights for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_table_that_is_not_reached_is_said_to_be_so():
    message = r"no low-rank product up to max_rank = 1 was found .* tol = 0\.001: 1 Gaunt products and 1 brackets have"
    with pytest.raises(ValueError, match=message):
        tp.fit_low_rank(random_table(3), tol=1e-3, max_rank=1)
    with pytest.raises(ValueError, match=r"no low-rank product of rank = \(2, 0\) was found .* have the error 0\."):
        tp.fit_low_rank(random_table(3), rank=(2, 0), tol=0.1)


@pytest.mark.parametrize("sizes", [(1e-300, 1e-300), (1e250, 1e250), (1.0, 1e-200), (1e-300, 1.0), (1e200, 1e-200)])
def test_numbers_of_any_size_are_fitted(sizes):
    """Also where squares overflow or vanish, and where one half is far larger than the other."""
    table = {triple: sizes[sum(triple) % 2] * number for triple, number in random_table(1).items()}
    fit = tp.fit_low_rank(table, tol=np.float32(1e-9))
    numbers = fit.product.path_weights(fit.weights)
    for triple, number in table.items():
        size = sizes[sum(triple) % 2]
        assert numbers[triple] / size == pytest.approx(number / size, rel=0, abs=1e-6)


def test_entries_that_are_missing_play_no_part():
    """A decomposition of some entries alone, which other entries would not fit."""
    rng = np.random.default_rng(0)
    a, b, c = (rng.standard_normal((n, 2)) for n in (6, 5, 4))
    coords = np.argwhere(rng.random((6, 5, 4)) < 0.7).T
    scales = rng.uniform(0.5, 2, coords.shape[1])
    values = scales * np.einsum("ir,jr,kr->ijk", a, b, c)[tuple(coords)]
    table = MaskedTable((6, 5, 4), coords, values, scales)
    factors = decompose(table, 2, restarts=8, seed=0)
    assert table.error(factors) < 1e-9
    full = np.einsum("ir,jr,kr->ijk", *factors)
    np.testing.assert_allclose(full, np.einsum("ir,jr,kr->ijk", a, b, c), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("error", "arguments", "message"),
    [
        (ValueError, {}, "rank or tol must be given"),
        (ValueError, {"tol": 0.0}, r"tol must be a positive number, got 0\.0"),
        (ValueError, {"tol": True}, "tol must be a positive number, got True"),
        (ValueError, {"tol": np.nan}, "tol must be a positive number, got nan"),
        (ValueError, {"rank": -1}, "rank must be a non-negative integer, got -1"),
        (TypeError, {"rank": 1.5}, r"rank must be a non-negative integer, got 1\.5"),
        (ValueError, {"rank": (1, 2, 3)}, r"rank must be a number or a pair .* got \(1, 2, 3\)"),
        (ValueError, {"rank": 0}, "rank or bracket_rank must be positive"),
        (ValueError, {"tol": 0.1, "max_rank": 0}, "max_rank must be a positive integer, got 0"),
        (ValueError, {"rank": 1, "restarts": 0}, "restarts must be a positive integer, got 0"),
        (ValueError, {"rank": 1, "normalization": "unit"}, "normalization must be one of"),
        (ValueError, {"path_weights": {}, "rank": 1}, "path_weights must not all be zero"),
        (ValueError, {"path_weights": {(1, 1, 3): 1.0}, "rank": 1}, r"\(1, 1, 3\) lies outside the triangle"),
        (TypeError, {"path_weights": {(1, 1): 1.0}, "rank": 1}, r"keys \(l1, l2, l3\), got \(1, 1\)"),
        (TypeError, {"path_weights": {(1, 1, 1): "1"}, "rank": 1}, r"numbers, got '1' at \(1, 1, 1\)"),
        (ValueError, {"path_weights": {(1, 1, 1): np.inf}, "rank": 1}, r"finite, got inf at \(1, 1, 1\)"),
        (ValueError, {"path_weights": np.ones((2, 2)), "rank": 1}, r"got shape \(2, 2\)"),
        (ValueError, {"path_weights": np.ones((2, 2, 2), complex), "rank": 1}, "dtype complex128"),
        (ValueError, {"path_weights": np.ones((2, 2, 2)), "rank": 1}, r"zero outside the triangle, got 1\.0 at"),
        (ValueError, {"path_weights": np.full((1, 1, 1), np.nan), "rank": 1}, r"finite, got nan at \(0, 0, 0\)"),
        (ValueError, {"path_weights": [[1.0], [1.0, 2.0]], "rank": 1}, "path_weights must be a mapping, or an array"),
        (TypeError, {"path_weights": {(1, 1, 1): np.ones(1)}, "rank": 1}, r"numbers, got array\(\[1\.\]\) at"),
        (TypeError, {"path_weights": {(1, 1, 1): np.True_}, "rank": 1}, r"numbers, got .*True.* at \(1, 1, 1\)"),
        (MemoryError, {"rank": 10**9}, "equations of a decomposition of rank 1000000000 would take"),
        (MemoryError, {"rank": (1, 10**6)}, "equations of a decomposition of rank 1000000 would take"),
    ],
)
def test_bad_arguments(error, arguments, message):
    with pytest.raises(error, match=message):
        tp.fit_low_rank(**{"path_weights": {(0, 0, 0): 1.0, (1, 1, 1): 1.0}, **arguments})
