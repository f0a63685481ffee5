"""Products of every class, of a few degrees each, and what their kernels are held against."""

from __future__ import annotations

from typing import Any

import numpy as np
from strategies import random_arguments, tolerance

import tpnumba as tp

L2, L3 = (str(tp.Irreps.spherical_harmonics(lmax)) for lmax in (2, 3))
#: The modes that no product of its own has.
MODES = [
    ("uvu", True, 2, 3, 2),
    ("uvv", True, 2, 3, 3),
    ("uuw", True, 3, 3, 2),
    ("uuw", False, 3, 3, 1),
    ("uuu", True, 3, 3, 3),
    ("uvuv", True, 2, 3, 6),
    ("uvu<v", False, 4, 4, 6),
    ("uvu<v", True, 3, 3, 3),
    ("u<vw", True, 3, 3, 4),
    ("u<vw", True, 2, 2, 3),
]


def _of_modes(layout: str) -> tp.TensorProduct:
    """All modes at once, and two paths into one block."""
    in1 = [(mul, "1o") for _, _, mul, _, _ in MODES]
    in2 = [(mul, "2e") for _, _, _, mul, _ in MODES]
    out = [(mul, "1o") for *_, mul in MODES]
    instructions = [(i, i, i, mode, weighted, 0.5 + i) for i, (mode, weighted, *_) in enumerate(MODES)]
    instructions += [(3, 4, 1, "uvw", True), (0, 1, 1, "uvv", False)]
    return tp.TensorProduct(in1, in2, out, instructions, layout=layout)


PRODUCTS: dict[str, Any] = {
    "full 0": tp.FullTensorProduct("0e", "0e"),
    "full 1": tp.FullTensorProduct("0e + 1o", "0e + 1o"),
    "full 2": tp.FullTensorProduct("2x0e + 2x1o + 2e", L2),
    "full 2, ir_mul": tp.FullTensorProduct("2x0e + 2x1o + 2e", "0e + 3x1o", layout="ir_mul"),
    "full 3": tp.FullTensorProduct(L3, L3),
    "full 3, by a grid": tp.FullTensorProduct(L2, L3, method="grid"),
    "connected": tp.FullyConnectedTensorProduct("4x0e + 3x1o", "0e + 2x1o", "3x0e + 5x1o + 2x1e"),
    "connected, ir_mul": tp.FullyConnectedTensorProduct("4x0e + 3x1o", "2x1o", "3x0e + 5x1o", layout="ir_mul"),
    "connected, single": tp.FullyConnectedTensorProduct(L2, L2, L2),
    "channelwise": tp.ChannelwiseTensorProduct("8x0e + 5x1o + 3x2e", L2),
    "channelwise, ir_mul": tp.ChannelwiseTensorProduct("8x0e + 8x1o", L2, layout="ir_mul"),
    "elementwise": tp.ElementwiseTensorProduct("5x1o + 5x1e", "10x1e"),
    "modes": _of_modes("mul_ir"),
    "modes, ir_mul": _of_modes("ir_mul"),
    "no path": tp.FullTensorProduct("1o", "1o", "0o"),
    "no weights": tp.FullyConnectedTensorProduct("0x0e + 1o", "1o", "0x0e + 0x1e"),
    "gaunt 1": tp.GauntTensorProduct(1, 1),
    "gaunt 3": tp.GauntTensorProduct(3, 2, 4, normalization="component"),
    "gaunt 3, fourier": tp.GauntTensorProduct(3, 3, method="fourier"),
    "gaunt 6": tp.GauntTensorProduct(6, 6, method="grid"),
    "bracket": tp.BracketTensorProduct(2, 3),
    "bracket, grid": tp.BracketTensorProduct(3, 3, method="grid"),
    "gaunt and bracket": tp.GauntBracketTensorProduct(2, 2),
    "matrix": tp.MatrixTensorProduct(2, 2),
    "matrix, split": tp.MatrixTensorProduct(2, 2, split=True, method="matrix"),
    "cross": tp.VectorSphericalTensorProduct(1, 2),
    "dot, grid": tp.VectorSphericalTensorProduct(2, 1, kind="dot", method="grid"),
    "low rank": tp.LowRankTensorProduct(2, 2, rank=3, bracket_rank=1),
    "low rank 1": tp.LowRankTensorProduct(2, 1, rank=1, method="grid"),
}


def of_samples(p: Any, count: int, dtype: str, seed: int = 0) -> list[Any]:
    """Random arguments of a product; weights of length zero are left out."""
    arguments = random_arguments(p, (count,), (count,), dtype=dtype, seed=seed)
    return arguments if p.weight_numel else arguments[:2]


def assert_same(found: Any, p: Any, arguments: list[Any]) -> None:
    """The numbers of the reference, but for rounding.

    Both sum, in another order, as many terms as a number of the result has; so errors go with the sum of their sizes.
    """
    expected = p(*arguments, backend="generic")
    assert found.dtype == expected.dtype
    if expected.size == 0:
        return
    coefficients = [path.coupling.sparse.values.size for path in p.form.paths]
    limit = tolerance(found.dtype.name, 0, max(sum(coefficients), 1))
    np.testing.assert_allclose(found, expected, rtol=0, atol=limit * max(1.0, float(np.abs(expected).max())))
