"""Calls of the spherical harmonics: shapes, memory, dtypes, and arguments that are refused."""

from __future__ import annotations

import pickle

import array_api_strict
import numpy as np
import pytest
from strategies import harmonic_tolerance, require_chunks, require_writable, tolerance

import tpnumba as tp
from tpnumba import limits

DTYPES = ["float32", "float64"]


@pytest.mark.parametrize("shape", [(), (0,), (1,), (4,), (2, 0), (2, 1, 3)])
@pytest.mark.parametrize("lmax", [0, 3])
def test_shapes(xp, shape, lmax):
    harmonics = tp.SphericalHarmonics(lmax)
    points = np.random.default_rng(13).standard_normal((*shape, 3))
    cotangent = np.random.default_rng(14).standard_normal((*shape, (lmax + 1) ** 2))
    values = xp.to_numpy(harmonics(xp.asarray(points)))
    gradient = xp.to_numpy(harmonics.vjp(xp.asarray(points), xp.asarray(cotangent)))
    assert values.shape == (*shape, harmonics.irreps.dim) == cotangent.shape
    assert gradient.shape == points.shape
    atol = harmonic_tolerance("float64", lmax)
    for index in np.ndindex(shape):
        np.testing.assert_allclose(values[index], harmonics(points[index]), rtol=0, atol=atol)
        one = harmonics.vjp(points[index], cotangent[index])
        np.testing.assert_allclose(gradient[index], one, rtol=tolerance("float64", lmax**2, 16))


def test_batches_beyond_one_chunk(xp):
    require_chunks(xp)
    harmonics = tp.SphericalHarmonics(20)
    points = np.random.default_rng(15).standard_normal((1000, 3))
    cotangent = np.random.default_rng(16).standard_normal((1000, 441))
    values = xp.to_numpy(harmonics(xp.asarray(points)))
    gradient = xp.to_numpy(harmonics.vjp(xp.asarray(points), xp.asarray(cotangent)))
    atol = harmonic_tolerance("float64", 20)
    for part in (slice(0, 10), slice(495, 505), slice(990, 1000)):
        np.testing.assert_allclose(values[part], harmonics(points[part]), rtol=0, atol=atol)
        alone = harmonics.vjp(points[part], cotangent[part])
        limit = tolerance("float64", 20**2, 441) * np.max(np.abs(alone))
        np.testing.assert_allclose(gradient[part], alone, rtol=0, atol=limit)


def test_any_memory_order_is_read():
    harmonics = tp.SphericalHarmonics(4)
    rng = np.random.default_rng(17)
    points, cotangent = rng.standard_normal((6, 5, 3)), rng.standard_normal((6, 5, 25))
    values, gradient = harmonics(points), harmonics.vjp(points, cotangent)
    wide_points, wide_cotangent = np.zeros((12, 5, 6)), np.zeros((12, 5, 50))
    wide_points[::2, :, ::2], wide_cotangent[::2, :, ::2] = points, cotangent
    flipped = points[::-1].copy()[::-1]
    frozen = points.copy()
    frozen.flags.writeable = False
    limit = 100 * harmonic_tolerance("float64", 4)
    for xyz in (np.asfortranarray(points), wide_points[::2, :, ::2], flipped, frozen):
        for ct in (np.asfortranarray(cotangent), wide_cotangent[::2, :, ::2]):
            np.testing.assert_array_equal(harmonics(xyz), values)
            np.testing.assert_allclose(harmonics.vjp(xyz, ct), gradient, rtol=0, atol=limit)


def test_non_contiguous_arrays_of_any_namespace(xp):
    harmonics = tp.SphericalHarmonics(4)
    points = np.random.default_rng(18).standard_normal((6, 6))
    found = xp.to_numpy(harmonics(xp.asarray(points)[::2, 1:4]))
    np.testing.assert_allclose(found, harmonics(points[::2, 1:4].copy()), rtol=0, atol=harmonic_tolerance("float64", 4))


@pytest.mark.parametrize("dtype", DTYPES)
def test_out_is_filled_and_returned(xp, dtype):
    harmonics = tp.SphericalHarmonics(3)
    points = xp.asarray(np.random.default_rng(19).standard_normal((2, 5, 3)), dtype)
    out = xp.asarray(np.full((2, 5, 16), np.nan), dtype)
    require_writable(xp)
    assert harmonics(points, out=out) is out
    np.testing.assert_array_equal(xp.to_numpy(out), xp.to_numpy(harmonics(points)))


def test_out_of_any_strides_is_filled():
    harmonics = tp.SphericalHarmonics(3)
    points = np.random.default_rng(20).standard_normal((5, 3))
    for out in (np.zeros((5, 16), order="F"), np.zeros((10, 32))[::2, ::2], np.zeros((5, 16))[::-1]):
        assert harmonics(points, out=out) is out
        np.testing.assert_array_equal(out, harmonics(points))


def test_out_that_does_not_fit_is_refused(xp):
    require_writable(xp)
    harmonics = tp.SphericalHarmonics(3)
    points = xp.asarray(np.zeros((5, 3)))
    with pytest.raises(ValueError, match=r"out must have shape \(5, 16\), got \(5, 15\)"):
        harmonics(points, out=xp.asarray(np.zeros((5, 15))))
    with pytest.raises(TypeError, match="out must have dtype float64, got float32"):
        harmonics(points, out=xp.asarray(np.zeros((5, 16)), "float32"))
    with pytest.raises(TypeError, match="out must be an array"):
        harmonics(points, out=np.zeros((5, 16)).tolist())


def test_out_that_overlaps_or_is_read_only_is_refused():
    harmonics = tp.SphericalHarmonics(3)
    buffer = np.zeros((5, 16))
    with pytest.raises(ValueError, match="out must not overlap xyz"):
        harmonics(buffer[:, 4:7], out=buffer)
    frozen = np.zeros((5, 16))
    frozen.flags.writeable = False
    with pytest.raises(ValueError, match="out is read-only"):
        harmonics(np.zeros((5, 3)), out=frozen)


def test_mixed_dtypes_promote(xp):
    harmonics = tp.SphericalHarmonics(2)
    rng = np.random.default_rng(21)
    points, cotangent = rng.standard_normal((4, 3)).astype("float32"), rng.standard_normal((4, 9))
    found = xp.to_numpy(harmonics.vjp(xp.asarray(points), xp.asarray(cotangent)))
    expected = harmonics.vjp(points.astype(float), cotangent)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, rtol=0, atol=np.max(np.abs(expected)) * tolerance("float64", 4, 9))


@pytest.mark.parametrize("dtype", ["int64", "complex128", "float16", "bool", "object"])
def test_other_dtypes_are_refused(dtype):
    harmonics = tp.SphericalHarmonics(2)
    with pytest.raises(TypeError, match=f"xyz must have dtype float32 or float64, got {dtype}"):
        harmonics(np.zeros((4, 3), dtype=dtype))
    with pytest.raises(TypeError, match=f"cotangent must have dtype float32 or float64, got {dtype}"):
        harmonics.vjp(np.zeros((4, 3)), np.zeros((4, 9), dtype=dtype))


def test_arrays_that_do_not_fit_are_refused(xp):
    harmonics = tp.SphericalHarmonics(2)
    points, cotangent = xp.asarray(np.zeros((4, 3))), xp.asarray(np.zeros((4, 9)))
    for wrong in ((4, 2), (), (3, 4)):
        with pytest.raises(ValueError, match=r"xyz must have shape \(\.\.\., 3\), got"):
            harmonics(xp.asarray(np.zeros(wrong)))
    for wrong in ((4, 8), (5, 9), (9,), (1, 9)):
        with pytest.raises(ValueError, match=r"cotangent must have shape \(4, 9\), got"):
            harmonics.vjp(points, xp.asarray(np.zeros(wrong)))
    for wrong in ([0.0, 0.0, 1.0], None, 1.0, np.float64(1)):
        with pytest.raises(TypeError, match="xyz must be an array"):
            harmonics(wrong)
        with pytest.raises(TypeError, match="cotangent must be an array"):
            harmonics.vjp(points, wrong)
    with pytest.raises(ValueError, match="backend must be one of"):
        harmonics(points, backend="fast")
    with pytest.raises(ValueError, match="num_threads"):
        harmonics.vjp(points, cotangent, num_threads=0)


def test_arrays_of_two_kinds_are_refused():
    with pytest.raises(TypeError, match="cotangent is an array of numpy, but xyz is one of array_api_strict"):
        tp.SphericalHarmonics(1).vjp(array_api_strict.zeros(3), np.zeros(4))


def test_a_result_that_does_not_fit_is_refused_with_its_size(monkeypatch):
    monkeypatch.setattr(limits, "available_bytes", lambda: 2**20)
    with pytest.raises(MemoryError, match=r"\(100000, 100\) would take 76.3 MiB"):
        tp.SphericalHarmonics(9)(np.zeros((10**5, 3)))
    with pytest.raises(MemoryError, match=r"would take .* TiB"):
        tp.SphericalHarmonics(10**9)(np.zeros(3))


@pytest.mark.parametrize(
    ("error", "make", "message"),
    [
        (ValueError, lambda: tp.SphericalHarmonics(-1), "lmax .* got -1"),
        (TypeError, lambda: tp.SphericalHarmonics(2.0), "lmax .* got 2.0"),
        (TypeError, lambda: tp.SphericalHarmonics(True), "lmax .* got True"),
        (ValueError, lambda: tp.SphericalHarmonics(2, normalization="unit"), "integral, component, norm, got 'unit'"),
        (ValueError, lambda: tp.SphericalHarmonics(2, normalization=None), "got None"),
        (TypeError, lambda: tp.SphericalHarmonics(2, normalize=1), "True or False, got 1"),
    ],
)
def test_bad_arguments_are_refused(error, make, message):
    with pytest.raises(error, match=message):
        make()


def test_operators_are_values():
    harmonics = tp.SphericalHarmonics(2, normalization="norm", normalize=False)
    assert pickle.loads(pickle.dumps(harmonics)) == harmonics
    assert eval(repr(harmonics), {"SphericalHarmonics": tp.SphericalHarmonics}) == harmonics
    different = {harmonics, tp.SphericalHarmonics(2), tp.SphericalHarmonics(3), tp.SphericalHarmonics(np.int64(2))}
    assert len(different) == 3
    with pytest.raises(AttributeError, match="frozen"):
        harmonics.lmax = 3
