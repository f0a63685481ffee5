"""The CUDA source of spherical harmonics, unchanged, on the processor: agreement with the reference, and identities."""

from __future__ import annotations

import numpy as np
import pytest
from backends.cpu_cases import views
from backends.test_cpu_harmonics import DTYPES, SPECIAL, all_of, arguments_of, assert_close
from cuda_host.compiler import COMPILER, is_there
from cuda_host.standin import numpy_on_gpu
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import dtypes, tolerance

import tpnumba as tp
from tpnumba.backends.gpu import device, evaluation, program_of
from tpnumba.backends.gpu.harmonics import launch as kernels
from tpnumba.backends.gpu.harmonics import lower
from tpnumba.plans.harmonics import HIGHEST_SINGLE, KINDS, Harmonics
from tpnumba.tables.couplings import NORMALIZATIONS

pytestmark = pytest.mark.skipif(not is_there(), reason=f"needs a C++ compiler ({COMPILER}; set CXX for another)")

BOTH = [True, False]
#: With so little memory that few points are in a tile, and degrees come in ranges; in few blocks, one after the other.
LITTLE = [
    {(lower, name): value for name, value in zip(("SMALL_BYTES", "USUAL_BYTES", "USUAL_DEGREES"), own, strict=True)}
    | {(device, "MOST_BLOCKS"): 2, (evaluation, "COPY_BYTES"): 2**10}
    for own in ((0, 2**11, 2), (0, 2**13, 2), (0, 2**14, 3))
]
#: As many points in a block as of a large batch.
MANY = {(kernels, "ENOUGH_BLOCKS"): 1}


@settings(max_examples=100)
@given(
    lmax=st.integers(0, 13),
    normalization=st.sampled_from(NORMALIZATIONS),
    normalize=st.booleans(),
    dtype=dtypes,
    leading=st.sampled_from([(), (1,), (0,), (2, 1, 33), (300,)]),
    order=st.integers(0, 4),
    limits=st.sampled_from([None, MANY, *LITTLE]),
    seed=st.integers(0, 1000),
)
def test_agrees_with_the_reference(lmax, normalization, normalize, dtype, leading, order, limits, seed):
    harmonics = tp.SphericalHarmonics(lmax, normalization=normalization, normalize=normalize)
    xyz, cotangent, tangent = arguments_of(harmonics, leading, dtype, seed)
    if leading == (300,):
        xyz[: len(SPECIAL)] = SPECIAL
    if normalize:  # gradients grow as 1 / |r|
        xyz = (xyz / np.max(np.abs(xyz), axis=-1, initial=1e-30)[..., None]).astype(dtype)
    expected = all_of(harmonics, xyz, cotangent, tangent, backend="generic")
    with numpy_on_gpu(order=order, limits=limits):
        found = all_of(harmonics, xyz, cotangent, tangent, backend="gpu")
    for one, other in zip(expected, found, strict=True):
        assert_close(other, one, dtype, lmax)


@pytest.mark.parametrize("normalize", BOTH)
@pytest.mark.parametrize("limits", LITTLE, ids=range(len(LITTLE)))
def test_degrees_in_ranges_give_the_same_bits(limits, normalize):
    harmonics = tp.SphericalHarmonics(9, normalize=normalize)
    arguments = arguments_of(harmonics, (40,))
    with numpy_on_gpu():
        whole = all_of(harmonics, *arguments, backend="gpu")
    with numpy_on_gpu(limits=limits, order=2):
        ranges = [program_of(Harmonics(9, "integral", normalize, kind), "float64").ranges for kind in KINDS]
        parts = all_of(harmonics, *arguments, backend="gpu")
    assert sum(number > 1 for number in ranges) >= (4 if limits is LITTLE[1] else 3)
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("dtype", "lmax"), [("float32", 60), ("float32", HIGHEST_SINGLE), ("float32", HIGHEST_SINGLE + 1), ("float64", 300)]
)
@pytest.mark.parametrize("normalize", BOTH)
def test_high_degrees(dtype, lmax, normalize):
    harmonics = tp.SphericalHarmonics(lmax, normalization="norm", normalize=normalize)
    xyz, cotangent, tangent = arguments_of(harmonics, (9,), dtype)
    xyz[0] = 1e-3, 1, -1e-4
    xyz[1:3] = SPECIAL[2], SPECIAL[3]
    xyz = (xyz / np.linalg.norm(xyz, axis=-1, keepdims=True)).astype(dtype)
    expected = all_of(harmonics, xyz, cotangent, tangent, backend="generic")
    with numpy_on_gpu():
        found = all_of(harmonics, xyz, cotangent, tangent, backend="gpu")
    # Above, float32 is worked in float64. By their size a degree: gradients of length l, and their sums.
    worked = dtype if lmax <= HIGHEST_SINGLE else "float64"
    limit = tolerance(worked, lmax * (lmax + 1) // 2, 1) + float(np.finfo(dtype).eps)
    for one, other, size in zip(found, expected, (1, 1, lmax, lmax**2, lmax), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=size * limit)


@pytest.mark.parametrize("normalize", BOTH)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("lmax", [0, 1, 2, 4, 7, 40])
def test_derivatives_are_those_of_one_map(lmax, dtype, normalize):
    """Along a tangent by the Jacobian, and <g, dY(t)> = <dY*(g), t>."""
    harmonics = tp.SphericalHarmonics(lmax, normalization="norm", normalize=normalize)
    xyz, cotangent, tangent = arguments_of(harmonics, (20,), dtype)
    xyz = (xyz / np.linalg.norm(xyz, axis=-1, keepdims=True)).astype(dtype)
    with numpy_on_gpu():
        values, jacobian, gradient, along = all_of(harmonics, xyz, cotangent, tangent, backend="gpu")[1:]
    limit = tolerance(dtype, lmax**2, (lmax + 1) ** 2)
    np.testing.assert_allclose(np.einsum("nkc,nc->nk", jacobian, tangent), along, rtol=0, atol=limit)
    pushed, pulled = np.sum(cotangent * along, axis=-1), np.sum(gradient * tangent, axis=-1)
    np.testing.assert_allclose(pushed, pulled, rtol=0, atol=(lmax + 1) * limit)
    degrees = np.arange(lmax + 1)
    squares = np.add.reduceat(values.astype(float) ** 2, degrees**2, axis=-1)
    np.testing.assert_allclose(squares, 1, rtol=0, atol=limit)


@pytest.mark.parametrize("dtype", DTYPES)
def test_points_at_zero_and_near_the_ends_of_the_range(dtype):
    harmonics = tp.SphericalHarmonics(4)
    limits = np.finfo(dtype)
    scales = np.array([1, limits.smallest_normal * 4, limits.max / 4, 1e20, 1e-20], dtype=dtype)
    rays = np.array([[0.5, -1, 0.25], [0, 1, 0], [0, 0, -1]], dtype=dtype)
    points = np.concatenate([rays[:, None] * scales[:, None], np.zeros((1, len(scales), 3), dtype)]).astype(dtype)
    _, cotangent, tangent = arguments_of(harmonics, points.shape[:-1], dtype)
    # As long as the point, so that derivatives are of ordinary size.
    lengths = np.max(np.abs(points), axis=-1, keepdims=True)
    tangent *= np.minimum(lengths, 1)
    cotangent *= np.minimum(lengths, 1)
    with np.errstate(all="ignore"):
        expected = all_of(harmonics, points, cotangent, tangent, backend="generic")
        with numpy_on_gpu():
            found = all_of(harmonics, points, cotangent, tangent, backend="gpu")
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(np.isfinite(one), np.isfinite(other))
        # What is below all normal numbers may be zero.
        shown = np.isfinite(other) & (np.abs(other) > 100 * limits.smallest_normal)
        size = np.max(np.where(shown, np.abs(other), 0), axis=tuple(range(2, other.ndim)), keepdims=True)
        assert (
            np.abs(one - other)[shown] <= (np.broadcast_to(size, one.shape) * tolerance(dtype, 16, 25))[shown]
        ).all()
    assert all(not np.any(part) for part in (found[0][-1, :, 1:], *(part[-1] for part in found[2:])))


def test_nan_stays_in_its_sample():
    for normalize in BOTH:
        harmonics = tp.SphericalHarmonics(3, normalize=normalize)
        arguments = arguments_of(harmonics, (40,))
        arguments[0][5, 1] = np.nan
        arguments[1][7, 3] = np.nan
        arguments[2][9, 0] = np.nan
        with numpy_on_gpu():
            found = all_of(harmonics, *arguments, backend="gpu")
        for part, others in zip(found, ([], [], [], [7], [9]), strict=True):
            bad = np.isnan(part.reshape(40, -1)).any(axis=1)
            assert np.flatnonzero(bad).tolist() == sorted([5, *others])


def test_results_do_not_depend_on_order_or_split():
    harmonics = tp.SphericalHarmonics(6)
    arguments = arguments_of(harmonics, (150,), "float32")
    found = []
    for order, limits in ((0, None), (1, MANY), (2, MANY)):
        with numpy_on_gpu(order=order, limits=limits):
            whole = all_of(harmonics, *arguments, backend="gpu")
            few = all_of(harmonics, *(x[71:74] for x in arguments), backend="gpu")
        assert all(np.array_equal(one[71:74], other) for one, other in zip(whole, few, strict=True))
        found.append(whole)
    for other in found[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(found[0], other, strict=True))


@pytest.mark.parametrize("limits", [None, {(evaluation, "COPY_BYTES"): 2**12}], ids=["usual", "little"])
def test_arrays_of_any_strides(limits):
    harmonics = tp.SphericalHarmonics(3)
    arguments = arguments_of(harmonics, (6, 11))
    with numpy_on_gpu(limits=limits):
        expected = all_of(harmonics, *arguments, backend="gpu")
        for name in views(arguments[0]):
            found = all_of(harmonics, *(views(x)[name] for x in arguments), backend="gpu")
            out = views(np.zeros_like(expected[0]))[name]
            assert harmonics(arguments[0], out=out, backend="gpu") is out
            for one, other in zip((*expected, expected[0]), (*found, out), strict=True):
                np.testing.assert_array_equal(other, one)
        wide = [np.broadcast_to(x[:, :1], x.shape) for x in arguments]
        for one, other in zip(expected, all_of(harmonics, *wide, backend="gpu"), strict=True):
            np.testing.assert_array_equal(other, np.broadcast_to(one[:, :1], other.shape))
        # Rows that stand apart from each other, in place; and one precision from two.
        row = np.concatenate([arguments[0][0], arguments[2][0]], axis=-1)
        np.testing.assert_array_equal(harmonics(row[:, :3], backend="gpu"), expected[0][0])
        mixed = harmonics.jvp(arguments[0].astype("float32"), arguments[2], backend="gpu")
        assert mixed.dtype == "float64"


def test_degrees_that_no_tile_holds_are_left_to_the_reference():
    with numpy_on_gpu(), pytest.raises(RuntimeError, match=r"backend 'gpu' has no kernel for Harmonics\(lmax=3000"):
        tp.SphericalHarmonics(3000)(np.ones((1, 3)), backend="gpu")


@pytest.mark.parametrize("dtype", DTYPES)
def test_programs_of_every_degree_stay_small(dtype):
    for kind in KINDS:
        for lmax in (0, 1, 8, 20, 100, 200, 500, 1000):
            program = lower.lower(Harmonics(lmax, kind=kind), dtype)
            assert program.shared_bytes <= 96 * 2**10
            assert program.coefficients.nbytes + program.table.nbytes <= 2**25
            bounds = program.table[:-1].reshape(-1, 2)
            assert bounds[:, 0].tolist() == sorted(bounds[:, 0])
