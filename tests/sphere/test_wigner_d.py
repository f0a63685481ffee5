"""Wigner D matrices are a representation, that of the harmonics, at every rotation and degree."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from strategies import require_chunks, tolerance

import tpnumba as tp
from tpnumba import limits
from tpnumba.sphere import rotations
from tpnumba.tables.wigner_d import swap_matrix

DTYPES = ["float32", "float64"]
AXES = np.eye(3)


def bound(dtype, degree):
    """Rounding of R moves an element of D by up to the degree; sums over one row."""
    return tolerance(dtype, degree, 2 * degree + 1)


def random_rotations(n, seed=0):
    return Rotation.random(n, rng=np.random.default_rng(seed)).as_matrix()


def difficult_rotations():
    """About each axis and to each pole: where Euler angles of some convention are lost, and beside it."""
    vectors = [np.zeros(3)]
    for axis in [*AXES, AXES[0] + AXES[1], AXES[1] - AXES[2]]:
        for angle in (1e-300, 1e-8, 1e-6, 1e-3, np.pi / 4, np.pi / 2, np.pi - 1e-3, np.pi - 1e-8, np.pi, -np.pi / 2):
            vectors.append(angle * axis / np.linalg.norm(axis))
    turned = Rotation.from_rotvec(vectors)
    return np.concatenate([turned.as_matrix(), (turned * Rotation.from_rotvec([0, 1.0, 0])).as_matrix()])


@pytest.mark.parametrize("degree", [0, 1, 2, 3, 10, 11, 64, 128, 512])
def test_the_swap_is_a_symmetric_involution(degree):
    matrix = swap_matrix(degree)
    np.testing.assert_array_equal(matrix, matrix.T)
    np.testing.assert_allclose(matrix @ matrix, np.eye(2 * degree + 1), rtol=0, atol=bound("float64", degree))
    assert not matrix.flags.writeable


@pytest.mark.parametrize("degree", [0, 1, 2, 7, 64, 128])
def test_the_swap_exchanges_y_and_x_in_the_harmonics(degree):
    points = np.random.default_rng(1).standard_normal((5, 3))
    harmonics = tp.SphericalHarmonics(degree, normalization="norm")
    found, values = (harmonics(p)[:, degree**2 :] for p in (points[:, [1, 0, 2]] * [1, 1, -1], points))
    limit = tolerance("float64", degree**2, 2 * degree + 1)
    np.testing.assert_allclose(found, values @ swap_matrix(degree), rtol=0, atol=limit)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("degree", [0, 1, 2, 3, 8, 64, 128])
def test_matrices_turn_the_harmonics(degree, dtype):
    points = np.random.default_rng(2).standard_normal((4, 3)).astype(dtype)
    matrices = np.concatenate([random_rotations(4), difficult_rotations()[::7]]).astype(dtype)
    harmonics = tp.SphericalHarmonics(degree, normalization="norm")
    found = harmonics(points)[:, degree**2 :] @ np.swapaxes(tp.wigner_d(degree, matrices), -1, -2)
    expected = harmonics(points @ np.swapaxes(matrices, -1, -2))[..., degree**2 :]
    assert found.dtype == dtype
    # a point that is off by eps moves harmonics of length 1 by the degree, near the poles by its square
    limit = tolerance(dtype, degree**2, 2 * degree + 1)
    np.testing.assert_allclose(found, expected, rtol=0, atol=limit)


@pytest.mark.parametrize("degree", [1, 2, 5, 64, 128])
def test_group_law_and_orthogonality(degree):
    a, b = random_rotations(3, 3), random_rotations(3, 4)
    da, db = tp.wigner_d(degree, a), tp.wigner_d(degree, b)
    np.testing.assert_allclose(da @ db, tp.wigner_d(degree, a @ b), rtol=0, atol=bound("float64", degree))
    inverse = tp.wigner_d(degree, np.swapaxes(a, -1, -2))
    np.testing.assert_allclose(np.swapaxes(da, -1, -2), inverse, rtol=0, atol=bound("float64", degree))
    identity = np.broadcast_to(np.eye(2 * degree + 1), da.shape)
    np.testing.assert_allclose(da @ np.swapaxes(da, -1, -2), identity, rtol=0, atol=bound("float64", degree))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("degree", [2, 9, 64])
def test_no_rotation_is_difficult(xp, degree, dtype):
    """The group law with a rotation that is not special, whose product is not either."""
    special = difficult_rotations()[:: 1 if degree < 64 else 9]
    other = random_rotations(1, 5)[0]
    products = (special @ other).astype(dtype)
    found, expected, factor = (
        xp.to_numpy(tp.wigner_d(degree, xp.asarray(matrices, dtype, core=2))) for matrices in (special, products, other)
    )
    assert found.dtype == dtype
    np.testing.assert_allclose(found @ factor, expected, rtol=0, atol=bound(dtype, degree))


@pytest.mark.parametrize("degree", [1, 2, 6, 64, 128])
def test_the_identity(degree):
    limit = bound("float64", degree)
    np.testing.assert_allclose(tp.wigner_d(degree, np.eye(3)), np.eye(2 * degree + 1), rtol=0, atol=limit)


@pytest.mark.parametrize("degree", [256, 512])
def test_very_high_degrees_are_finite_and_orthogonal(degree):
    matrices = tp.wigner_d(degree, np.stack([random_rotations(1)[0], Rotation.from_rotvec([1e-9, 0, 0]).as_matrix()]))
    assert np.all(np.isfinite(matrices))
    for matrix in matrices:
        np.testing.assert_allclose(matrix @ matrix.T, np.eye(2 * degree + 1), rtol=0, atol=bound("float64", degree))


@pytest.mark.parametrize("eager", [True, False])
@pytest.mark.parametrize("layout", ["mul_ir", "ir_mul"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "leading", [((), ()), ((3,), (3,)), ((2, 1), (3,)), ((), (40,)), ((40,), ()), ((0,), (0,))], ids=str
)
@pytest.mark.parametrize("irreps", ["1o", "3x0e + 2x1o + 0x4e + 2x2o + 1e", "2x3o + 3e", ""])
def test_rotate_multiplies_by_the_matrices(xp, monkeypatch, eager, irreps, leading, layout, dtype):
    if eager:
        require_chunks(xp)
    # as for namespaces whose arrays cannot be written into
    monkeypatch.setattr(rotations, "is_eager", lambda *_: eager)
    irreps = tp.Irreps(irreps)
    rng = np.random.default_rng(6)
    matrices = random_rotations(int(np.prod(leading[0])), 6).reshape(*leading[0], 3, 3).astype(dtype)
    matrices *= rng.choice([-1, 1], (*leading[0], 1, 1)).astype(dtype)
    x = rng.standard_normal((*leading[1], irreps.dim)).astype(dtype)
    found = xp.to_numpy(tp.rotate(irreps, xp.asarray(matrices, core=2), xp.asarray(x), layout=layout))
    dense = xp.to_numpy(tp.wigner_d(irreps, xp.asarray(matrices, core=2)))
    assert found.dtype == dense.dtype == dtype
    assert dense.shape == (*leading[0], irreps.dim, irreps.dim)
    places = np.arange(irreps.dim)  # of each number in the other layout
    if layout == "ir_mul":
        for where, (mul, ir) in zip(irreps.slices(), irreps, strict=True):
            places[where] = places[where].reshape(mul, ir.dim).T.ravel()
    rows = np.zeros_like(x)
    rows[..., places] = x
    expected = (dense @ rows[..., None])[..., 0][..., places]
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=0, atol=10 * bound(dtype, 3))


@pytest.mark.parametrize("leading", [((300,), (300,)), ((2, 1, 100), (3, 1)), ((3,), (200, 1)), ((), (500,))])
def test_batches_beyond_one_portion(xp, monkeypatch, leading):
    require_chunks(xp)
    monkeypatch.setattr(rotations, "_PORTION_NUMBERS", 2**10)
    irreps = tp.Irreps("2x5o + 3e + 4x1o")
    matrices = random_rotations(int(np.prod(leading[0])), 7).reshape(*leading[0], 3, 3)
    x = np.random.default_rng(8).standard_normal((*leading[1], irreps.dim))
    found = xp.to_numpy(tp.rotate(irreps, xp.asarray(matrices, core=2), xp.asarray(x)))
    dense = xp.to_numpy(tp.wigner_d(irreps, xp.asarray(matrices, core=2)))
    np.testing.assert_allclose(found, (dense @ x[..., None])[..., 0], rtol=0, atol=10 * bound("float64", 5))


def test_matrices_of_irreps_are_block_diagonal():
    rotation = -random_rotations(1)[0]
    found = tp.wigner_d("2x1o + 2e + 1e", rotation)
    d1, d2 = (tp.wigner_d(degree, -rotation) for degree in (1, 2))
    expected = np.zeros((14, 14))
    for start, block in [(0, -d1), (3, -d1), (6, d2), (11, d1)]:
        expected[start : start + len(block), start : start + len(block)] = block
    np.testing.assert_array_equal(found, expected)


def test_rotations_of_scipy(xp):
    rotation = Rotation.from_rotvec([[0.1, 0.2, 0.3], [3.0, 0.0, 0.0]])
    np.testing.assert_array_equal(tp.wigner_d(3, rotation), tp.wigner_d(3, rotation.as_matrix()))
    x = np.random.default_rng(9).standard_normal((2, 7)).astype("float32")
    found = xp.to_numpy(tp.rotate("3o", rotation, xp.asarray(x)))
    assert found.dtype == np.float32
    expected = np.einsum("nab,nb->na", tp.wigner_d(3, rotation), x)
    np.testing.assert_allclose(found, expected, rtol=0, atol=10 * bound("float32", 3))


@pytest.mark.parametrize(
    ("error", "call", "message"),
    [
        (ValueError, lambda: tp.wigner_d(1, np.ones((3, 3))), "R must be orthogonal"),
        (ValueError, lambda: tp.wigner_d(1, np.full((3, 3), np.nan)), "R must be orthogonal"),
        (ValueError, lambda: tp.wigner_d(2, -np.eye(3)), "determinant -1, and a bare degree has no parity"),
        (ValueError, lambda: tp.wigner_d(1, np.eye(4)), r"R must have shape \(\.\.\., 3, 3\), got \(4, 4\)"),
        (TypeError, lambda: tp.wigner_d(1, np.eye(3).tolist()), "R must be an array"),
        (TypeError, lambda: tp.wigner_d(1.0, np.eye(3)), "l must be a non-negative integer"),
        (ValueError, lambda: tp.rotate("1o", np.eye(3), np.ones(4)), r"x must have shape \(\.\.\., 3\)"),
        (ValueError, lambda: tp.rotate("1o", np.eye(3), np.ones(3), layout="m"), "layout must be one of"),
        (
            ValueError,
            lambda: tp.rotate("1o", np.broadcast_to(np.eye(3), (2, 3, 3)), np.ones((3, 3))),
            "leading axes do not broadcast",
        ),
    ],
)
def test_bad_arguments_are_refused(error, call, message):
    with pytest.raises(error, match=message):
        call()


def test_a_result_that_does_not_fit_is_refused_with_its_size(monkeypatch):
    monkeypatch.setattr(limits, "available_bytes", lambda: 2**20)
    with pytest.raises(MemoryError, match=r"10000 Wigner D matrices of dimension 129 would take 1\.2 GiB"):
        tp.wigner_d(64, np.broadcast_to(np.eye(3), (10**4, 3, 3)))
