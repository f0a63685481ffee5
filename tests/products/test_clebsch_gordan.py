"""Clebsch-Gordan products: identities, numbers of mathematics.md, and each of e3nn's modes written out by hand."""

from __future__ import annotations

from math import prod, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import MODES, layouts, random_arguments, tensor_products, tolerance

import tpnumba as tp

NORMALIZATIONS = ["component", "norm", "none"]


@pytest.mark.parametrize("lmax", [1, 2, 4])
def test_full_product_keeps_lengths(lmax):
    """sqrt(2 l3 + 1) C over all l3 is an orthogonal change of basis of the outer product."""
    irreps = tp.Irreps.spherical_harmonics(lmax)
    p = tp.FullTensorProduct(irreps, irreps)
    assert p.irreps_out.dim == (lmax + 1) ** 4
    x, y = random_arguments(p, (5,), (5,))
    lengths = np.linalg.norm(x, axis=-1) * np.linalg.norm(y, axis=-1)
    np.testing.assert_allclose(
        np.linalg.norm(p(x, y), axis=-1), lengths, rtol=tolerance("float64", 2 * lmax, irreps.dim**2)
    )


def test_cross_and_dot_product():
    x, y = np.random.default_rng(0).standard_normal((2, 6, 3))
    dot = tp.FullTensorProduct("1o", "1o", "0e", irrep_normalization="none")(x, y)
    cross = tp.FullTensorProduct("1o", "1o", "1e", irrep_normalization="none")(x, y)
    np.testing.assert_allclose(dot[:, 0] * sqrt(3), np.sum(x * y, axis=-1), atol=tolerance("float64", 1, 3) * 10)
    np.testing.assert_allclose(cross * sqrt(6), np.cross(x, y), atol=tolerance("float64", 1, 3) * 10)


@pytest.mark.parametrize(("lmax", "even", "odd"), [(2, 162, 82), (4, 2229, 1512), (6, 12322, 9440)])
def test_numbers_of_non_zeros(lmax, even, odd):
    irreps = tp.Irreps.spherical_harmonics(lmax)
    p = tp.FullTensorProduct(irreps, irreps)
    counts = {0: 0, 1: 0}
    for path in p.form.paths:
        counts[sum(path.coupling.degrees) % 2] += path.coupling.sparse.values.size
    assert (counts[0], counts[1]) == (even, odd)
    assert p.coefficients().values.size == even + odd


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_irrep_normalizations(normalization):
    x, y = np.random.default_rng(1).standard_normal((2, 200, 5))
    for degree in range(5):
        p = tp.FullTensorProduct("2e", "2e", f"{degree}e", irrep_normalization=normalization)
        factor = {"component": 2 * degree + 1, "norm": 25, "none": 1}[normalization]
        expected = sqrt(factor) * np.einsum("na,nb,abc->nc", x, y, tp.clebsch_gordan(2, 2, degree))
        np.testing.assert_allclose(p(x, y), expected, rtol=0, atol=tolerance("float64", 4, 25) * 25)


def test_full_product_merges_neighbours_and_sorts():
    p = tp.FullTensorProduct("1o + 1o + 0x2e + 0e", "0e + 1o")
    assert p.irreps_in1 == tp.Irreps("2x1o + 0e")
    assert p.irreps_out == tp.Irreps("2x0e + 0e + 2x1o + 1o + 2x1e + 2x2e")


@pytest.mark.parametrize("keep", ["0e + 2e", tp.Irreps("2e + 0e"), ["0e", "2e"], [tp.Irrep("2e"), (1, "0e")]])
def test_filter_is_read_in_every_spelling(keep):
    assert tp.FullTensorProduct("1o", "1o", keep).irreps_out == tp.Irreps("0e + 2e")


def test_u_is_outer_and_v_inner():
    p = tp.FullTensorProduct("2x0e", "3x0e")
    x, y = np.array([1.0, 10.0]), np.array([1.0, 2.0, 3.0])
    np.testing.assert_array_equal(p(x, y), [1, 2, 3, 10, 20, 30])


SUBSCRIPTS = {
    "uvw": "zua,zvb,uvw,abc->zwc",
    "uvu": "zua,zvb,uv,abc->zuc",
    "uvv": "zua,zvb,uv,abc->zvc",
    "uuw": "zua,zub,uw,abc->zwc",
    "uuu": "zua,zub,u,abc->zuc",
    "uvuv": "zua,zvb,uv,abc->zuvc",
}


def by_hand(p, x1, x2, weights):
    """One instruction after the other, with dense coefficients and channels as separate axes, in the layout mul_ir."""
    n = len(x1)
    result = np.zeros((n, p.irreps_out.dim))
    slices1, slices2, slices_out = p.irreps_in1.slices(), p.irreps_in2.slices(), p.irreps_out.slices()
    start = 0
    for ins, path in zip(p.instructions, p.paths, strict=True):
        (u, ir1), (v, ir2), (w, ir3) = p.irreps_in1[ins[0]], p.irreps_in2[ins[1]], p.irreps_out[ins[2]]
        a = x1[:, slices1[ins[0]]].reshape(n, u, ir1.dim)
        b = x2[:, slices2[ins[1]]].reshape(n, v, ir2.dim)
        table = tp.clebsch_gordan(ir1.l, ir2.l, ir3.l) * path.scale
        pairs = [(i, j) for i in range(u) for j in range(i + 1, v)]
        shape = {
            "uvw": (u, v, w),
            "uuw": (u, w),
            "uuu": (u,),
            "uvu<v": (len(pairs),),
            "u<vw": (len(pairs), w),
        }.get(ins.mode, (u, v))
        if ins.has_weight:
            block = weights[start : start + prod(shape)].reshape(shape)
            start += prod(shape)
        else:
            block = np.ones(shape)
        if ins.mode in ("uvu<v", "u<vw"):
            each = [np.einsum("za,zb,abc->zc", a[:, i], b[:, j], table) for i, j in pairs]
            stacked = np.stack(each, axis=1) if each else np.zeros((n, 0, ir3.dim))
            value = np.einsum("zpc,p->zpc" if ins.mode == "uvu<v" else "zpc,pw->zwc", stacked, block)
        else:
            value = np.einsum(SUBSCRIPTS[ins.mode], a, b, block, table)
        result[:, slices_out[ins[2]]] += value.reshape(n, w * ir3.dim)
    assert start == p.weight_numel
    return result


@given(p=tensor_products(), seed=st.integers(0, 2**32 - 1))
def test_modes_are_those_written_by_hand(p, seed):
    rng = np.random.default_rng(seed)
    arguments = dict(p.__reduce__()[1][1])
    x1, x2 = rng.standard_normal((4, p.irreps_in1.dim)), rng.standard_normal((4, p.irreps_in2.dim))
    weights = rng.standard_normal(p.weight_numel)
    weighted = [weights] if len(p.form.operands) == 4 else []
    expected = by_hand(p, x1, x2, weights)
    plain = tp.TensorProduct(**{**arguments, "layout": "mul_ir"})
    size = by_hand(p, np.abs(x1), np.abs(x2), np.abs(weights))
    atol = tolerance("float64", 4, 100) * max(1.0, float(np.max(np.abs(size), initial=0.0)))
    np.testing.assert_allclose(plain(x1, x2, *weighted), expected, rtol=0, atol=atol)
    turned = tp.TensorProduct(**{**arguments, "layout": "ir_mul"})
    found = turned(to_ir_mul(p.irreps_in1, x1), to_ir_mul(p.irreps_in2, x2), *weighted)
    np.testing.assert_allclose(found, to_ir_mul(p.irreps_out, expected), rtol=0, atol=atol)


def to_ir_mul(irreps, x):
    blocks = [
        x[:, where].reshape(len(x), mul, ir.dim).swapaxes(1, 2).reshape(len(x), -1)
        for where, (mul, ir) in zip(irreps.slices(), irreps, strict=True)
    ]
    return np.concatenate([np.zeros((len(x), 0)), *blocks], axis=-1)


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_with_different_multiplicities(mode):
    multiplicities = {"uvw": (2, 3, 4), "uvu": (2, 3, 2), "uvv": (2, 3, 3), "uuw": (3, 3, 4), "uuu": (3, 3, 3)}
    u, v, w = multiplicities.get(mode, {"uvuv": (2, 3, 6), "uvu<v": (3, 3, 3), "u<vw": (3, 3, 4)}.get(mode))
    p = tp.TensorProduct(f"{u}x1o", f"{v}x1o", f"{w}x2e", [(0, 0, 0, mode, True)])
    numel = {"uvw": 24, "uvu": 6, "uvv": 6, "uuw": 12, "uuu": 3, "uvuv": 6, "uvu<v": 3, "u<vw": 12}[mode]
    assert p.weight_numel == numel
    rng = np.random.default_rng(0)
    x1, x2, weights = (rng.standard_normal(shape) for shape in ((4, 3 * u), (4, 3 * v), (numel,)))
    np.testing.assert_allclose(
        p(x1, x2, weights), by_hand(p, x1, x2, weights), rtol=0, atol=tolerance("float64", 2, 99)
    )


@pytest.mark.parametrize("path_normalization", ["element", "path", "none"])
def test_component_normalization_gives_unit_variance(path_normalization):
    """With inputs and weights of variance 1 so is each component (element); path gives each path an equal share."""
    p = tp.FullyConnectedTensorProduct(
        "4x0e + 3x1o", "2x0e + 5x1o", "1o", path_normalization=path_normalization, irrep_normalization="component"
    )
    variance = 0.0
    for path, ins in zip(p.paths, p.instructions, strict=True):
        terms = p.irreps_in1[ins.i_in1].mul * p.irreps_in2[ins.i_in2].mul
        variance += terms * path.scale**2 / path.ir_out.dim
    expected = {"element": 1.0, "path": 1.0, "none": 4 * 5 + 3 * 2}[path_normalization]
    assert variance == pytest.approx(expected)


def test_variances_and_path_weights_scale_under_the_root():
    def scale(**options):
        weight = options.pop("path_weight", 1.0)
        return tp.TensorProduct("2x1o", "1o", "0e", [(0, 0, 0, "uvw", True, weight)], **options).paths[0].scale

    one = scale()
    assert scale(path_weight=4.0) == pytest.approx(2 * one)
    assert scale(path_weight=-4.0) == pytest.approx(-2 * one)
    assert scale(out_var=[9.0]) == pytest.approx(3 * one)
    assert scale(in1_var=[4.0]) == pytest.approx(one / 2)
    assert scale(in2_var=[16.0]) == pytest.approx(one / 4)


def test_special_products_are_tensor_products():
    connected = tp.FullyConnectedTensorProduct("2x0e + 2x1o", "0e + 1o", "3x0e + 3x1o")
    assert [path[:3] for path in connected.paths] == [(0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 0)]
    assert connected.weight_numel == 4 * 6
    channelwise = tp.ChannelwiseTensorProduct("2x0e + 3x1o", "0e + 1o")
    assert channelwise.irreps_out == tp.Irreps("2x0e + 3x0e + 2x1o + 3x1o + 3x1e + 3x2e")
    assert channelwise.weight_numel == 2 + 3 + 2 + 3 + 3 + 3
    assert [ins.i_out for ins in channelwise.instructions] == list(range(6))
    elementwise = tp.ElementwiseTensorProduct("5x1o + 5x1e", "10x1e", ["0e", "0o"])
    assert elementwise.irreps_out == tp.Irreps("5x0o + 5x0e")


@given(layout=layouts, mul=st.integers(0, 3))
def test_nothing_to_do_gives_zeros_of_the_right_shape(layout, mul):
    p = tp.TensorProduct(f"{mul}x1o", "1o", f"{mul}x2e + 3x5o", [(0, 0, 0, "uvu", False)], layout=layout)
    x, y = np.ones((2, 3 * mul)), np.ones((2, 3))
    result = p(x, y)
    assert result.shape == (2, 5 * mul + 33)
    assert not result[:, 5 * mul :].any()
    assert bool(result[:, : 5 * mul].any()) == (mul > 0)
    empty = tp.FullTensorProduct("", "1o", layout=layout)
    assert empty(np.ones((4, 0)), np.ones(3)).shape == (4, 0)
    assert empty.coefficients().values.size == 0


def test_weights_stay_per_sample_or_shared():
    p = tp.ChannelwiseTensorProduct("4x0e + 4x1o", "0e + 1o")
    rng = np.random.default_rng(3)
    x, y = rng.standard_normal((6, p.irreps_in1.dim)), rng.standard_normal((6, 4))
    weights = rng.standard_normal((6, p.weight_numel))
    each = np.stack([p(x[i], y[i], weights[i]) for i in range(6)])
    np.testing.assert_allclose(p(x, y, weights), each, atol=tolerance("float64", 2, 4) * 100)
    shared = np.stack([p(x[i], y[i], weights[0]) for i in range(6)])
    np.testing.assert_allclose(p(x, y, weights[0]), shared, atol=tolerance("float64", 2, 4) * 100)


def test_only_the_weights_differ_between_samples(xp):
    """A path without weights then has the same result for every sample, next to paths with weights that have not."""
    p = tp.TensorProduct("2x1o", "2x1o", "2x0e", [(0, 0, 0, "uvu", True), (0, 0, 0, "uvu", False)])
    x, y = np.random.default_rng(0).standard_normal((2, 6))
    weights = np.random.default_rng(1).standard_normal((3, p.weight_numel))
    expected = np.stack([p(x, y, w) for w in weights])
    for rows in (weights, weights[:1]):
        found = xp.to_numpy(p(xp.asarray(x), xp.asarray(y), xp.asarray(rows)))
        np.testing.assert_allclose(found, expected[: len(rows)], rtol=0, atol=tolerance("float64", 1, 100))
