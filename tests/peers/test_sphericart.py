"""Agreement with sphericart 2, values and gradients. Runs in the session ``peers``."""

from __future__ import annotations

import numpy as np
import pytest
from strategies import tolerance

import tpnumba as tp

sphericart = pytest.importorskip("sphericart", reason="needs sphericart 2 (session peers)")
LMAX = 12


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("normalize", [True, False])
def test_values_and_gradients(dtype, normalize):
    """Y(x, y, z) here is Y(z, x, y) there."""
    rng = np.random.default_rng(0)
    points = rng.uniform(-1, 1, (50, 3)).astype(dtype)
    cls = sphericart.SphericalHarmonics if normalize else sphericart.SolidHarmonics
    expected, gradient = cls(LMAX).compute_with_gradients(np.ascontiguousarray(points[:, [2, 0, 1]]))
    harmonics = tp.SphericalHarmonics(LMAX, normalize=normalize)
    found = harmonics(points)
    assert found.dtype == dtype
    limit = tolerance(dtype, LMAX, 2 * LMAX + 1) * np.max(np.abs(expected))
    np.testing.assert_allclose(found, expected, rtol=0, atol=limit)
    cotangent = rng.standard_normal(found.shape).astype(dtype)
    pulled = np.einsum("nc,nac->na", cotangent, gradient)[:, [1, 2, 0]]
    size = np.max(np.sum(np.abs(cotangent[:, None, :] * gradient), axis=-1))
    limit = tolerance(dtype, LMAX**2, 1) * size
    np.testing.assert_allclose(harmonics.vjp(points, cotangent), pulled, rtol=0, atol=limit)
