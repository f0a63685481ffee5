"""One product of every kind and method, for the tests of other libraries' arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from strategies import tolerance

import tpnumba as tp

SPHERICAL = "0e + 1o + 2e"

KINDS = {
    "full": tp.FullTensorProduct(SPHERICAL, "0e + 1o"),
    "weighted": tp.TensorProduct(
        "2x1o + 3x0e",
        "2x1o + 3x1o",
        "4x2e + 3x1o",
        [(0, 0, 0, "uvw", True), (1, 1, 1, "uuu", True), (1, 1, 1, "uvv", False)],
    ),
    "channelwise": tp.ChannelwiseTensorProduct("3x0e + 2x1o", SPHERICAL),
    "pairs": tp.TensorProduct("3x1o", "3x1o", "2x1e", [(0, 0, 0, "u<vw", True)]),
    **{
        f"gaunt-{m}": tp.GauntTensorProduct(2, 2, method=m, normalization="norm") for m in ("direct", "grid", "fourier")
    },
    **{f"bracket-{method}": tp.BracketTensorProduct(2, 2, method=method) for method in ("direct", "grid")},
    "both-grid": tp.GauntBracketTensorProduct(2, 1, method="grid"),
    "matrix": tp.MatrixTensorProduct(2, 1, method="matrix"),
    "matrix-split": tp.MatrixTensorProduct(2, 1, split=True, method="matrix"),
    "cross-grid": tp.VectorSphericalTensorProduct(1, 1, method="grid"),
    **{
        f"low-rank-{method}": tp.LowRankTensorProduct(1, 2, rank=2, bracket_rank=1, method=method)
        for method in ("direct", "grid")
    },
    "dot-grid": tp.VectorSphericalTensorProduct(1, 1, kind="dot", method="grid"),
}


def close(found: Any, expected: Any, dtype: str = "float64") -> None:
    """Hold that two arrays of any library agree to rounding, in one dtype."""
    found, expected = (x.detach().numpy() if hasattr(x, "detach") else np.asarray(x) for x in (found, expected))
    assert found.dtype == expected.dtype == dtype
    size = 1 + float(np.max(np.abs(expected), initial=0.0))
    np.testing.assert_allclose(found, expected, rtol=0, atol=size * tolerance(dtype, 4, 1000))
