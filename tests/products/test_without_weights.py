"""Products that could have weights but have none: they may be given, of length zero, or left out."""

from __future__ import annotations

import numpy as np
import pytest

import tpnumba as tp

#: A path whose weights are none, as one input has no channels; and no path at all.
PRODUCTS = {
    "no channels": tp.FullyConnectedTensorProduct("0x1o", "1x1o", "1x0e"),
    "no path": tp.FullyConnectedTensorProduct("1x1o", "1x1o", "1x3o"),
    "no instruction has weights": tp.TensorProduct("1o", "1o", "0e", [(0, 0, 0, "uuu", False)]),
}


@pytest.mark.parametrize("leading", [(), (4,)])
@pytest.mark.parametrize("name", PRODUCTS)
def test_both_calls_give_the_same(xp, name, leading):
    p = PRODUCTS[name]
    rng = np.random.default_rng(0)
    x, y, g = (
        xp.asarray(rng.standard_normal((4, irreps.dim))) for irreps in (p.irreps_in1, p.irreps_in2, p.irreps_out)
    )
    w = xp.asarray(np.ones((*leading, 0)))
    options = {"backend": xp.backend}

    def same(one, other):
        np.testing.assert_array_equal(xp.to_numpy(one), xp.to_numpy(other))

    bare = p(x, y, **options)
    assert tuple(bare.shape) == (4, p.irreps_out.dim)
    same(p(x, y, w, **options), bare)
    pulled, with_weights = p.vjp(x, y, g, **options), p.vjp(x, y, g, weights=w, **options)
    assert [len(pulled), len(with_weights)] == [2, 3]
    for one, other in zip(pulled, with_weights, strict=False):
        same(one, other)
    assert tuple(with_weights[2].shape) == (*leading, 0)
    pushed = p.jvp(x, y, x, y, **options)
    same(p.jvp(x, y, x, y, weights=w, **options), pushed)
    same(p.jvp(x, y, x, y, weights=w, tweights=w, **options), pushed)
    adjoint = p.adjoint(0)
    same(adjoint(g, y, **options), pulled[0])
    same(adjoint(g, y, w, **options), pulled[0])


def test_weights_of_zero_length_broadcast_as_all_others_do():
    p = PRODUCTS["no instruction has weights"]
    x = np.arange(3.0)
    assert p(x, x, np.ones((4, 0))).shape == (4, 1)
    np.testing.assert_allclose(p(x, x, np.ones((4, 0))), np.broadcast_to(p(x, x), (4, 1)))
    gradients = p.vjp(x, x, np.ones((4, 1)), weights=np.ones((4, 0)))
    assert [g.shape for g in gradients] == [(3,), (3,), (4, 0)]
    np.testing.assert_allclose(gradients[0], 4 * p.vjp(x, x, np.ones(1))[0])


def test_weights_of_some_length_stay_an_error():
    for p in PRODUCTS.values():
        with pytest.raises(ValueError, match=r"weights were given, but .* has none here \(weight_numel = 0\)"):
            p(np.ones(p.irreps_in1.dim), np.ones(p.irreps_in2.dim), np.ones(2))
