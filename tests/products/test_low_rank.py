"""The low-rank product is the sum of Gaunt products and brackets between weights, and reaches every table."""

from __future__ import annotations

import numpy as np
import pytest
from strategies import arguments_of, memory_beyond_results, operands_of, random_arguments, tolerance

import tpnumba as tp

METHODS = ["direct", "grid"]
RANKS = [(2, 3), (1, 0), (0, 2)]


def parts_of(p, weights):
    """The weights of each kind of product as documented: for each of a, b, c an array (..., degrees, rank)."""
    counts = [len(p.irreps_in1), len(p.irreps_in2), len(p.irreps_out) // ((p.rank > 0) + (p.bracket_rank > 0))]
    found, start = [[], []], 0
    for count in counts:
        for kind, rank in enumerate((p.rank, p.bracket_rank)):
            stop = start + count * rank
            found[kind].append(weights[..., start:stop].reshape(*weights.shape[:-1], count, rank))
            start = stop
    assert start == weights.shape[-1]
    return found


def spread(factors, irreps):
    """A weight for each component."""
    return np.repeat(factors, [ir.dim for _, ir in irreps], axis=-1)


def sum_of_products(p, x1, x2, weights, degrees, normalization):
    """One separate call for each of the Gaunt products and brackets."""
    blocks = []
    for kind, product in enumerate((tp.GauntTensorProduct, tp.BracketTensorProduct)):
        a, b, c = parts_of(p, weights)[kind]
        if a.shape[-1] == 0:
            continue
        q = product(*degrees, normalization=normalization, method="direct")
        total = 0.0
        for r in range(a.shape[-1]):
            left, right = x1 * spread(a[..., r], p.irreps_in1), x2 * spread(b[..., r], p.irreps_in2)
            total = total + q(left, right) * spread(c[..., r], q.irreps_out)
        blocks.append(total)
    return np.concatenate(blocks, axis=-1)


@pytest.mark.parametrize("normalization", ["integral", "component", "norm"])
@pytest.mark.parametrize("ranks", RANKS, ids=str)
@pytest.mark.parametrize("degrees", [(2, 3, 4), (1, 1, 1), (3, 1, 5)], ids=str)
def test_sum_of_separate_products(xp, degrees, ranks, normalization):
    for method in METHODS:
        p = tp.LowRankTensorProduct(
            *degrees, rank=ranks[0], bracket_rank=ranks[1], method=method, normalization=normalization
        )
        assert p.method == method
        x1, x2, weights = random_arguments(p, (3,), (3,))
        for given in (weights, weights[0]):
            found = xp.to_numpy(p(xp.asarray(x1), xp.asarray(x2), xp.asarray(given)))
            expected = sum_of_products(p, x1, x2, given, degrees, normalization)
            size = np.linalg.norm(x1) * np.linalg.norm(x2) * np.max(np.abs(given)) ** 3 * 4 * np.pi
            terms = sum(ranks) * p.irreps_in1.dim * p.irreps_in2.dim
            np.testing.assert_allclose(found, expected, rtol=0, atol=size * tolerance("float64", 5, terms))


@pytest.mark.parametrize("ranks", RANKS, ids=str)
def test_blocks_of_the_output_and_number_of_weights(ranks):
    p = tp.LowRankTensorProduct(2, "1o", 3, rank=ranks[0], bracket_rank=ranks[1])
    natural = tp.Irreps.spherical_harmonics(3)
    pseudo = tp.Irreps([(1, (ir.l, -ir.p)) for _, ir in natural])
    assert p.irreps_out == (natural if ranks[0] else tp.Irreps("")) + (pseudo if ranks[1] else tp.Irreps(""))
    assert p.weight_numel == sum(ranks) * (3 + 1 + 4)
    parity = {sum(triple) % 2 for triple in tp.interactability(p)}
    assert parity == {kind for kind in (0, 1) if ranks[kind]}


@pytest.mark.parametrize("method", METHODS)
def test_path_weights_are_the_numbers_in_front_of_the_coefficients(method):
    p = tp.LowRankTensorProduct(2, 1, rank=2, bracket_rank=1, method=method, normalization="component")
    x1, x2, weights = random_arguments(p)
    table = p.path_weights(weights)
    assert set(table) == tp.interactability(p)
    blocks = {(ir.l, ir.p): where for where, (_, ir) in zip(p.irreps_out.slices(), p.irreps_out, strict=True)}
    expected = np.zeros(p.irreps_out.dim)
    for (l1, l2, l3), number in table.items():
        left, right = x1[l1**2 : (l1 + 1) ** 2], x2[l2**2 : (l2 + 1) ** 2]
        where = blocks[l3, (-1) ** (l1 + l2)]
        expected[where] += number * np.einsum("i,k,ikm->m", left, right, tp.clebsch_gordan(l1, l2, l3))
    size = np.sqrt(sum(number**2 for number in table.values())) * np.linalg.norm(x1) * np.linalg.norm(x2)
    np.testing.assert_allclose(p(x1, x2, weights), expected, rtol=0, atol=size * tolerance("float64", 3, 36))
    with pytest.raises(ValueError, match=r"weights must have shape \(27,\), got \(2, 27\)"):
        p.path_weights(np.ones((2, p.weight_numel)))
    with pytest.raises(TypeError, match="weights must be real numbers, got dtype complex128"):
        p.path_weights(np.ones(p.weight_numel, complex))


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("ranks", RANKS, ids=str)
def test_derivatives_along_weights_are_differences(xp, ranks, shared):
    """The product is of degree three in its weights, so that differences at two distances are exact."""
    p = tp.LowRankTensorProduct(2, 2, 2, rank=ranks[0], bracket_rank=ranks[1])
    x1, x2, weights = random_arguments(p, (4,), (4,))
    t1, t2, along = random_arguments(p, (4,), (4,), seed=1)
    if shared:
        weights, along = weights[0], along[0]

    def at(step):
        return p(x1 + step * t1, x2 + step * t2, weights + step * along)

    # of degree five along all arguments: three distances
    expected = (45 * (at(1) - at(-1)) - 9 * (at(2) - at(-2)) + (at(3) - at(-3))) / 60
    options = {"weights": xp.asarray(weights)}
    operands = [xp.asarray(x) for x in (x1, x2, t1, t2)]
    found = xp.to_numpy(p.jvp(*operands, tweights=xp.asarray(along), **options))
    size = float(np.max(np.abs(at(3))))
    np.testing.assert_allclose(found, expected, rtol=0, atol=size * tolerance("float64", 2, 1000))
    cotangent = np.random.default_rng(2).standard_normal(found.shape)
    gradients = [xp.to_numpy(g) for g in p.vjp(*operands[:2], xp.asarray(cotangent), **options)]
    assert gradients[2].shape == weights.shape
    pulled = sum(float(np.sum(g * t)) for g, t in zip(gradients, (t1, t2, along), strict=True))
    limit = size * tolerance("float64", 2, 1000) * float(np.sum(np.abs(cotangent)))
    assert abs(pulled - float(np.sum(cotangent * expected))) < limit


def test_parts_of_the_weights_are_arguments_of_adjoints():
    p = tp.LowRankTensorProduct(2, 1, rank=2, bracket_rank=1)
    operands = operands_of(p, random_arguments(p, (3,), (3,)))
    cotangent = np.random.default_rng(1).standard_normal((3, p.irreps_out.dim))
    gradients = operands_of(p, [*p.vjp(*operands[:2], cotangent, weights=arguments_of(operands)[2])])
    for i in range(5):
        inputs = [cotangent if k == i else x for k, x in enumerate(operands)]
        found = p.adjoint(i)(*arguments_of(inputs))
        np.testing.assert_allclose(found, gradients[i], rtol=0, atol=tolerance("float64", 3) * np.max(np.abs(found)))
        assert tp.equivariance_error(p.adjoint(i)) < tolerance("float64", 3)
        for k in range(5):
            back = p.adjoint(i).adjoint(k).adjoint(k).adjoint(i)
            assert back == p
    with pytest.raises(ValueError, match="i must be below 5, the number of arguments, got 5"):
        p.adjoint(5)


def test_equivariant_under_rotations_and_inversions():
    for ranks in RANKS:
        p = tp.LowRankTensorProduct(3, 2, rank=ranks[0], bracket_rank=ranks[1])
        for dtype in ("float32", "float64"):
            assert tp.equivariance_error(p, dtype=dtype) < tolerance(dtype, 5, 50)


@pytest.mark.parametrize("L", [1, 2, 3, 4])
def test_from_one_gaunt_product_to_the_complete_product(L):
    irreps = tp.Irreps.spherical_harmonics(L)
    complete = tp.expressivity(tp.FullTensorProduct(irreps, irreps))
    counts = [tp.expressivity(tp.LowRankTensorProduct(L, L, rank=R, bracket_rank=R)) for R in range(1, L + 1)]
    assert tp.expressivity(tp.LowRankTensorProduct(L, L, rank=1)) == 4 * L + 1
    assert tp.expressivity(tp.LowRankTensorProduct(L, L, rank=0, bracket_rank=1)) == 4 * L - 3
    assert counts[-1] == complete
    assert counts == sorted(set(counts))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("backend", ["cpu", "generic"])
def test_memory_does_not_grow_with_the_rank(backend, method):
    most = []
    for rank in (1, 16):
        p = tp.LowRankTensorProduct(6, 6, rank=rank, bracket_rank=rank, method=method)
        x1, x2, weights = random_arguments(p, (500,), ())
        p(x1, x2, weights, backend=backend)  # what is kept for later calls
        most.append(memory_beyond_results(lambda p=p, x=(x1, x2, weights): p(*x, backend=backend)))
    one_field = 13 * 26 * 500 * 8
    assert most[1] - most[0] < one_field


def test_a_product_that_couples_nothing_is_zero():
    p = tp.LowRankTensorProduct(0, 2, rank=1, bracket_rank=1)
    x1, x2, weights = random_arguments(p, (3,), (3,))
    found = p(x1, x2, weights)
    assert np.any(found[:, :9])
    assert not np.any(found[:, 9:])
    gradients = p.vjp(x1, x2, np.ones_like(found), weights=weights)
    assert [g.shape for g in gradients] == [x1.shape, x2.shape, weights.shape]


def test_bad_arguments():
    def make(*degrees, **options):
        return tp.LowRankTensorProduct(*degrees, **options)

    with pytest.raises(ValueError, match="rank or bracket_rank must be positive, got 0 for both"):
        make(1, 1, rank=0)
    with pytest.raises(ValueError, match="rank must be a non-negative integer, got -1"):
        make(1, 1, rank=-1)
    with pytest.raises(TypeError, match=r"bracket_rank must be a non-negative integer, got 1\.0"):
        make(1, 1, rank=1, bracket_rank=1.0)
    with pytest.raises(TypeError, match="rank"):
        make(1, 1)
    with pytest.raises(ValueError, match=r"lmax_out must have the parity \(-1\)\^l of functions on the sphere, got 1e"):
        make(1, 1, "1e", rank=1, bracket_rank=1)
    with pytest.raises(ValueError, match="method must be one of auto, direct, grid, got 'fourier'"):
        make(1, 1, rank=1, method="fourier")
    with pytest.raises(ValueError, match="normalization must be one of"):
        make(1, 1, rank=1, normalization="unit")
    p = make(1, 1, rank=2)
    x = np.ones(4)
    with pytest.raises(ValueError, match=r"weights are missing: an array of shape \(..., 14\) is expected"):
        p(x, x)
    with pytest.raises(ValueError, match=r"weights must have shape \(..., 14\), got \(13,\)"):
        p(x, x, np.ones(13))
    with pytest.raises(ValueError, match=r"tweights must have shape \(14,\), got \(2, 14\)"):
        p.jvp(x, x, x, x, weights=np.ones(14), tweights=np.ones((2, 14)))
    with pytest.raises(ValueError, match="product must be linear in its weights, which LowRankTensorProduct is not"):
        tp.TensorProductConvolution(p)
