"""Wigner D matrices: a representation of O(3), in the basis of the harmonics."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from strategies import dtypes, irreps, layouts, tolerance

import tpnumba as tp

SEEDS = st.integers(0, 2**32 - 1)


def rotations(n, seed=0):
    return Rotation.random(n, rng=np.random.default_rng(seed))


def bound(dtype, degree):
    """A matrix that is off by eps turns functions of degree l by l eps."""
    return tolerance(dtype, degree, 2 * degree + 1)


@given(degree=st.integers(0, 12), dtype=dtypes, seed=SEEDS)
def test_representation(xp, degree, dtype, seed):
    first, second = (rotations(3, seed + i).as_matrix() for i in range(2))
    d1, d2, both = (
        xp.to_numpy(tp.wigner_d(degree, xp.asarray(R, dtype, core=2))) for R in (first, second, first @ second)
    )
    assert both.dtype == dtype
    np.testing.assert_allclose(d1 @ d2, both, rtol=0, atol=bound(dtype, degree))
    identity = np.broadcast_to(np.eye(2 * degree + 1), both.shape)
    np.testing.assert_allclose(d1 @ d1.swapaxes(1, 2), identity, rtol=0, atol=bound(dtype, degree))


def test_degree_one_is_the_rotation_itself(xp):
    R = rotations(5).as_matrix()
    np.testing.assert_array_equal(xp.to_numpy(tp.wigner_d(1, xp.asarray(R, core=2))), R)
    np.testing.assert_array_equal(xp.to_numpy(tp.wigner_d(0, xp.asarray(R, core=2))), np.ones((5, 1, 1)))


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("angle", [0.0, 1e-9, 1e-4, np.pi / 2, np.pi - 1e-9, np.pi])
def test_harmonics_turn_by_wigner_d_also_where_euler_angles_degenerate(axis, angle):
    R = Rotation.from_rotvec(angle * np.eye(3)[axis])
    points = np.random.default_rng(1).standard_normal((7, 3))
    harmonics = tp.SphericalHarmonics(8, normalization="norm")
    expected = harmonics(points @ R.as_matrix().T)
    np.testing.assert_allclose(tp.rotate(harmonics.irreps, R, harmonics(points)), expected, atol=bound("float64", 64))


@given(layout=layouts, names=irreps(), seed=SEEDS, improper=st.booleans())
def test_rotate_is_the_matrix_times_the_feature(xp, layout, names, seed, improper):
    R = rotations(4, seed).as_matrix() * (-1 if improper else 1)
    x = np.random.default_rng(seed).standard_normal((4, names.dim))
    found = xp.to_numpy(tp.rotate(names, xp.asarray(R, core=2), xp.asarray(x), layout=layout))
    assert found.shape == x.shape
    expected = []
    for where, (mul, ir) in zip(names.slices(), names, strict=True):
        block = tp.wigner_d(ir.l, R * (-1 if improper else 1)) * (ir.p if improper else 1)
        shape = (4, mul, ir.dim) if layout == "mul_ir" else (4, ir.dim, mul)
        subscripts = "nij,nuj->nui" if layout == "mul_ir" else "nij,nju->niu"
        expected.append(np.einsum(subscripts, block, x[:, where].reshape(shape)).reshape(4, mul * ir.dim))
    expected = np.concatenate([np.zeros((4, 0)), *expected], axis=1)
    np.testing.assert_allclose(found, expected, rtol=0, atol=10 * bound("float64", 3))
    if layout == "mul_ir":
        matrices = xp.to_numpy(tp.wigner_d(names, xp.asarray(R, core=2)))
        assert matrices.shape == (4, names.dim, names.dim)
        np.testing.assert_allclose(
            np.einsum("nij,nj->ni", matrices, x), expected, rtol=0, atol=10 * bound("float64", 3)
        )


def test_leading_axes_broadcast(xp):
    R = rotations(6).as_matrix().reshape(2, 3, 3, 3)
    x = np.random.default_rng(2).standard_normal((3, 4))
    found = xp.to_numpy(tp.rotate("0e + 1o", xp.asarray(R, core=2), xp.asarray(x)))
    assert found.shape == (2, 3, 4)
    np.testing.assert_allclose(found[1, 2, 1:], R[1, 2] @ x[2, 1:], rtol=0, atol=bound("float64", 1) * 10)
    assert tp.wigner_d(2, np.eye(3)).shape == (5, 5)
    assert tp.wigner_d(2, np.zeros((0, 3, 3))).shape == (0, 5, 5)
    assert tp.rotate("1o", np.eye(3), np.ones((4, 0, 3))).shape == (4, 0, 3)
    assert tp.rotate("0x1o", np.eye(3), np.ones((4, 0))).shape == (4, 0)


def test_scipy_rotations_are_taken_in_the_dtype_of_the_feature():
    R = rotations(4)
    x = np.ones((4, 3), dtype=np.float32)
    assert tp.rotate("1o", R, x).dtype == np.float32
    assert tp.wigner_d(1, R).dtype == np.float64
    np.testing.assert_array_equal(tp.wigner_d("1o", R), R.as_matrix())
    assert tp.wigner_d(2, rotations(None)).shape == (5, 5)


def test_improper_rotations_need_a_parity():
    inversion = tp.wigner_d("2e + 1o + 0o", -np.eye(3))
    np.testing.assert_allclose(inversion, np.diag([1.0] * 5 + [-1.0] * 4), rtol=0, atol=bound("float64", 2))
    with pytest.raises(ValueError, match="R has determinant -1, and a bare degree has no parity"):
        tp.wigner_d(2, -np.eye(3))


@pytest.mark.parametrize(
    ("error", "call", "message"),
    [
        (ValueError, lambda: tp.wigner_d(1, np.ones((3, 3))), "R must be orthogonal: .* differs .* by"),
        (ValueError, lambda: tp.wigner_d(1, np.full((3, 3), np.nan)), "R must be orthogonal"),
        (ValueError, lambda: tp.wigner_d(1, np.eye(4)), r"R must have shape \(\.\.\., 3, 3\), got \(4, 4\)"),
        (ValueError, lambda: tp.wigner_d(1, np.ones(9)), r"R must have shape .* got \(9,\)"),
        (TypeError, lambda: tp.wigner_d(1, [[1, 0, 0], [0, 1, 0], [0, 0, 1]]), "R must be an array"),
        (TypeError, lambda: tp.wigner_d(1, np.eye(3, dtype=int)), "R must have dtype float32 or float64, got int64"),
        (ValueError, lambda: tp.wigner_d(-1, np.eye(3)), "l must be a non-negative integer, got -1"),
        (TypeError, lambda: tp.wigner_d(1.5, np.eye(3)), "l must be a non-negative integer, got 1.5"),
        (ValueError, lambda: tp.wigner_d("1x", np.eye(3)), "'1x' at position 0"),
        (ValueError, lambda: tp.rotate("1o", np.eye(3), np.ones(4)), r"x must have shape \(\.\.\., 3\) .* got \(4,\)"),
        (TypeError, lambda: tp.rotate("1o", np.eye(3), [1.0, 0.0, 0.0]), "x must be an array"),
        (ValueError, lambda: tp.rotate("1o", np.eye(3), np.ones(3), layout="im"), "layout must be one of"),
        (
            ValueError,
            lambda: tp.rotate("1o", np.ones((2, 1, 1)) * np.eye(3), np.ones((3, 3))),
            r"do not broadcast: R \(2,\), x \(3,\)",
        ),
        (MemoryError, lambda: tp.wigner_d("100000x2e", np.eye(3)), "Wigner D matrices of dimension 500000"),
    ],
)
def test_bad_input(error, call, message):
    with pytest.raises(error, match=message):
        call()
