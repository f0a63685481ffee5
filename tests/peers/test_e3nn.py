"""Agreement with e3nn 0.6, forward and gradients, to float64 rounding. Runs in the session ``peers``."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from peers.references import MARKS, SEEDS, assert_agree, gradients, leaf, o3, torch
from strategies import irreps, tensor_products, tolerance

import tpnumba as tp

pytestmark = MARKS


@given(st.tuples(st.integers(0, 8), st.integers(0, 8), st.integers(0, 11)))
def test_wigner_3j(degrees):
    l1, l2, l3 = degrees
    if not abs(l1 - l2) <= l3 <= l1 + l2:
        l3 = abs(l1 - l2)
    expected = o3.wigner_3j(l1, l2, l3, dtype=torch.float64).numpy()
    np.testing.assert_allclose(tp.clebsch_gordan(l1, l2, l3), expected, rtol=0, atol=tolerance("float64", l3, 1))


@given(names=irreps(), other=irreps())
def test_grammar_and_order_of_irreps(names, other):
    a, b = o3.Irreps(str(names)), o3.Irreps(str(other))
    assert str(a) == str(names)
    assert str(a.sort().irreps) == str(names.sort().irreps)
    assert a.sort().p == names.sort().p
    assert a.sort().inv == names.sort().inv
    assert str(a.simplify()) == str(names.simplify())
    assert str(a.regroup()) == str(names.regroup())
    assert a.dim == names.dim
    assert a.slices() == names.slices()
    assert a.ls == names.ls
    assert str(a + b) == str(names + other)


def compare(p, q, x1, x2, weights=None):
    """Values and all gradients of our product ``p`` and of e3nn's ``q``."""
    leaves = [leaf(array) for array in (x1, x2, weights) if array is not None]
    expected = q(*leaves)
    rng = np.random.default_rng(0)
    cotangent = rng.standard_normal(tuple(expected.shape))
    pulled = gradients(expected, leaves, cotangent) if expected.requires_grad else map(torch.zeros_like, leaves)
    ours = p(x1, x2, *([weights] if weights is not None else []))
    named = {"weights": weights} if weights is not None else {}
    our_gradients = p.vjp(x1, x2, cotangent, **named)
    for found, wanted in zip((ours, *our_gradients), (expected, *pulled), strict=True):
        assert_agree(found, wanted)


@given(p=tensor_products(), seed=SEEDS, shared=st.booleans())
def test_tensor_product_in_every_mode(p, seed, shared):
    options = dict(p.__reduce__()[1][1])
    if options["layout"] == "ir_mul":  # the layout of e3nn
        options["layout"] = "mul_ir"
        p = tp.TensorProduct(**options)
    q = o3.TensorProduct(
        str(p.irreps_in1),
        str(p.irreps_in2),
        str(p.irreps_out),
        [tuple(ins) for ins in p.instructions],
        irrep_normalization=options["irrep_normalization"],
        path_normalization=options["path_normalization"],
        shared_weights=shared,
        internal_weights=False,
    )
    assert q.weight_numel == p.weight_numel
    rng = np.random.default_rng(seed)
    x1, x2 = rng.standard_normal((4, p.irreps_in1.dim)), rng.standard_normal((4, p.irreps_in2.dim))
    weighted = any(ins.has_weight for ins in p.instructions)
    weights = rng.standard_normal(p.weight_numel if shared else (4, p.weight_numel)) if weighted else None
    compare(p, q, x1, x2, weights)


@given(in1=irreps(), in2=irreps(), seed=SEEDS, keep=st.sampled_from([None, ["0e", "1o", "2e", "1e"]]))
def test_full_tensor_product(in1, in2, seed, keep):
    p = tp.FullTensorProduct(in1, in2, keep)
    q = o3.FullTensorProduct(str(in1), str(in2), None if keep is None else [o3.Irrep(ir) for ir in keep])
    assert str(q.irreps_out) == str(p.irreps_out)
    rng = np.random.default_rng(seed)
    x1, x2 = rng.standard_normal((3, in1.dim)), rng.standard_normal((3, in2.dim))
    compare(p, q, x1, x2)


@given(in1=irreps(), in2=irreps(), out=irreps(), seed=SEEDS)
def test_fully_connected_tensor_product(in1, in2, out, seed):
    p = tp.FullyConnectedTensorProduct(in1, in2, out)
    q = o3.FullyConnectedTensorProduct(str(in1), str(in2), str(out), shared_weights=True, internal_weights=False)
    assert q.weight_numel == p.weight_numel
    rng = np.random.default_rng(seed)
    x1, x2 = rng.standard_normal((3, in1.dim)), rng.standard_normal((3, in2.dim))
    compare(p, q, x1, x2, rng.standard_normal(p.weight_numel) if p.instructions else None)


@given(in1=irreps(min_blocks=1), seed=SEEDS, data=st.data())
def test_elementwise_tensor_product(in1, seed, data):
    in2 = tp.Irreps([(1, data.draw(st.sampled_from(["0e", "1o", "2e"]))) for _ in range(in1.num_irreps)])
    keep = data.draw(st.sampled_from([None, ["0e", "1o", "1e"]]))
    p = tp.ElementwiseTensorProduct(in1, in2, keep)
    q = o3.ElementwiseTensorProduct(str(in1), str(in2), None if keep is None else [o3.Irrep(ir) for ir in keep])
    assert str(q.irreps_out) == str(p.irreps_out)
    rng = np.random.default_rng(seed)
    compare(p, q, rng.standard_normal((3, in1.dim)), rng.standard_normal((3, in2.dim)))


@given(variances=st.tuples(*[st.sampled_from([0.5, 1.0, 3.0])] * 3), normalization=st.sampled_from(["element", "path"]))
def test_variances(variances, normalization):
    in1_var, in2_var, out_var = ([v] for v in variances)
    shared = {"in1_var": in1_var, "in2_var": in2_var, "out_var": out_var, "path_normalization": normalization}
    p = tp.FullyConnectedTensorProduct("2x1o", "3x1o", "2x2e", **shared)
    q = o3.FullyConnectedTensorProduct("2x1o", "3x1o", "2x2e", internal_weights=False, shared_weights=True, **shared)
    rng = np.random.default_rng(0)
    compare(p, q, rng.standard_normal((3, 6)), rng.standard_normal((3, 9)), rng.standard_normal(12))


@pytest.mark.parametrize("normalization", ["integral", "component", "norm"])
@pytest.mark.parametrize("normalize", [True, False])
def test_spherical_harmonics(normalization, normalize):
    points = np.random.default_rng(1).standard_normal((20, 3))
    points[0] = [0.0, 1.0, 0.0]
    lmax = 10
    tensor = leaf(points)
    expected = o3.spherical_harmonics(list(range(lmax + 1)), tensor, normalize, normalization)
    harmonics = tp.SphericalHarmonics(lmax, normalization=normalization, normalize=normalize)
    found = harmonics(points)
    scale = np.max(np.abs(expected.detach().numpy()))
    np.testing.assert_allclose(found, expected.detach(), rtol=0, atol=scale * tolerance("float64", lmax, 2 * lmax + 1))
    cotangent = np.random.default_rng(2).standard_normal(found.shape)
    (gradient,) = gradients(expected, tensor, cotangent)
    gradient = gradient.detach().numpy()
    scale = np.max(np.abs(gradient))
    limit = scale * tolerance("float64", lmax**2, (lmax + 1) ** 2)
    np.testing.assert_allclose(harmonics.vjp(points, cotangent), gradient, rtol=0, atol=limit)


def test_spherical_harmonics_at_the_origin():
    origin = np.zeros((1, 3))
    expected = o3.spherical_harmonics([0, 1, 2], leaf(origin), True, "component").detach()
    np.testing.assert_array_equal(tp.SphericalHarmonics(2, normalization="component")(origin), expected)


@given(names=irreps(), seed=SEEDS, improper=st.booleans())
def test_d_from_matrix(names, seed, improper):
    R = np.linalg.qr(np.random.default_rng(seed).standard_normal((3, 3)))[0]
    R = R * np.sign(np.linalg.det(R)) * (-1 if improper else 1)
    if names.dim == 0:
        return
    expected = o3.Irreps(str(names)).D_from_matrix(torch.tensor(R)).numpy()
    # e3nn goes through Euler angles, which lose digits near the poles
    middle = np.sqrt(max(1 - R[1, 1] ** 2, 1e-12))
    np.testing.assert_allclose(tp.wigner_d(names, R), expected, rtol=0, atol=tolerance("float64", 9, 9) / middle)
