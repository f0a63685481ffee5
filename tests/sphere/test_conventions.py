"""Conversions give the harmonics of the named libraries, keep the function, and invert each other."""

from __future__ import annotations

from math import pi, sqrt

import array_api_strict
import numpy as np
import pytest
from harmonics_of_libraries import directions, random_sample, shtools_complex_harmonic, values_at
from hypothesis import given
from hypothesis import strategies as st
from strategies import require_chunks, tolerance

import tpnumba as tp
from tpnumba import limits
from tpnumba.backends import batching
from tpnumba.sphere import conventions
from tpnumba.tables.conventions import CONVENTIONS

LMAX = 6
NAMES = tuple(CONVENTIONS)
names = st.sampled_from(NAMES)
kinds = st.sampled_from(conventions.KINDS)
REAL_NAMES = tuple(name for name in NAMES if not CONVENTIONS[name].is_complex)
PRECISIONS = [("float32", "complex64"), ("float64", "complex128")]


def flat(x, name):
    return x.reshape(*x.shape[:-3], -1) if name.startswith("shtools") else x


#: The lengths of SHTools' harmonics of a degree, in units of scipy's.
SHTOOLS = {
    "shtools": lambda degree: sqrt(4 * pi),
    "shtools-ortho": lambda degree: 1.0,
    "shtools-schmidt": lambda degree: sqrt(4 * pi / (2 * degree + 1)),
}


def complex_sample(leading, dtype="complex128", shape=((LMAX + 1) ** 2,)):
    rng = np.random.default_rng(2)
    real, imaginary = rng.standard_normal((2, *leading, *shape))
    return (real + 1j * imaginary).astype(dtype)


def complex_harmonics(name, points):
    """The complex harmonics of a convention of SHTools, in its layout."""
    values = np.zeros((len(points), 2, LMAX + 1, LMAX + 1), dtype=complex)
    normalization = {"shtools": "4pi"}.get(name, name.removeprefix("shtools-"))
    for degree in range(LMAX + 1):
        for m in range(-degree, degree + 1):
            values[:, int(m < 0), degree, abs(m)] = shtools_complex_harmonic(degree, m, points, normalization)
    return values


def complex_of(dtype):
    return {"float32": "complex64", "float64": "complex128"}[dtype]


#: Conventions differ by 4 pi (2 l + 1) at most in the squares of their harmonics.
SPREAD = sqrt(4 * pi * (2 * LMAX + 1))


@pytest.mark.parametrize("target", NAMES)
@pytest.mark.parametrize("source", NAMES)
def test_values_are_the_harmonics_of_each_library(source, target):
    points = directions(7)
    found = tp.convert(values_at(source, points), LMAX, source=source, target=target, kind="values")
    expected = values_at(target, points)
    assert found.dtype == expected.dtype
    limit = SPREAD * np.max(np.abs(expected)) * tolerance("float64", LMAX**2, 2 * LMAX + 1)
    np.testing.assert_allclose(found, expected, rtol=0, atol=limit)


@pytest.mark.parametrize("target", NAMES)
@pytest.mark.parametrize("source", NAMES)
def test_coefficients_are_those_of_the_same_function(source, target):
    points = directions(7)
    x = random_sample(source)
    converted = tp.convert(x, LMAX, source=source, target=target)

    def function(name, coefficients):
        return flat(values_at(name, points), name) @ flat(coefficients, name)

    found, expected = function(target, converted), function(source, x)
    limit = SPREAD * np.max(np.abs(expected)) * tolerance("float64", LMAX**2, (LMAX + 1) ** 2)
    np.testing.assert_allclose(found, expected, rtol=0, atol=limit)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("axes", conventions.AXES)
@pytest.mark.parametrize("kind", conventions.KINDS)
def test_every_round_trip_is_the_identity(xp, dtype, kind, axes):
    lmax = 3
    for source in NAMES:
        x = random_sample(source, (2,), lmax, dtype=dtype)
        for target in NAMES:
            there = tp.convert(xp.asarray(x, core=3), lmax, source=source, target=target, kind=kind, axes=axes)
            back = xp.to_numpy(tp.convert(there, lmax, source=target, target=source, kind=kind, axes=axes))
            assert xp.to_numpy(there).dtype == (complex_of(dtype) if target == "scipy" else dtype)
            assert back.dtype == x.dtype
            np.testing.assert_allclose(back, x, rtol=0, atol=np.max(np.abs(x)) * tolerance(dtype, lmax, 2 * lmax + 1))


@given(names, names, names, kinds, st.sampled_from(conventions.AXES), st.integers(0, 5))
def test_two_conversions_are_one(first, second, third, kind, axes, lmax):
    x = random_sample(first, (3,), lmax)
    once = tp.convert(x, lmax, source=first, target=third, kind=kind, axes=axes)
    between = tp.convert(x, lmax, source=first, target=second, kind=kind, axes=axes)
    twice = tp.convert(between, lmax, source=second, target=third, kind=kind, axes=axes)
    limit = SPREAD * np.max(np.abs(x)) * tolerance("float64", lmax, 2 * lmax + 1)
    np.testing.assert_allclose(twice, once, rtol=0, atol=limit)


@given(names, names, st.integers(0, 5))
def test_values_are_dual_to_coefficients(source, target, lmax):
    """The sum over coefficients times values, the function at a point, does not depend on the convention."""
    x, values = random_sample(source, (), lmax), random_sample(source, (), lmax, seed=1)
    new_x = tp.convert(x, lmax, source=source, target=target)
    new_values = tp.convert(values, lmax, source=source, target=target, kind="values")
    limit = (lmax + 1) ** 2 * np.max(np.abs(x)) * np.max(np.abs(values)) * tolerance("float64", lmax)
    assert abs(np.sum(new_x * new_values) - np.sum(x * values)) <= limit


@pytest.mark.parametrize("lmax", [0, 1, 20, 48])
def test_axes_at_high_degree_keep_lengths_and_values(lmax):
    points = directions(5)
    values = tp.SphericalHarmonics(lmax)(points)
    turned = tp.convert(values, lmax, source="e3nn", target="sphericart", kind="values")
    # mathematics of the axes: Y_z(x, y, z) = Y_y(y, z, x)
    expected = tp.SphericalHarmonics(lmax)(points[:, [1, 2, 0]])
    limit = sqrt(2 * lmax + 1) * tolerance("float64", lmax**2, 2 * lmax + 1)
    np.testing.assert_allclose(turned, expected, rtol=0, atol=limit)


def test_degree_one_is_a_permutation_of_the_axes(xp):
    vector = xp.asarray([0.0, 1.0, 2.0, 3.0], "float64")
    for target, expected in (("sphericart", [0, 2, 3, 1]), ("n3d", [0, 2, 3, 1]), ("e3nn", [0, 1, 2, 3])):
        factor = 1 if target != "n3d" else 1 / sqrt(4 * pi)
        found = xp.to_numpy(tp.convert(vector, 1, source="e3nn", target=target))
        np.testing.assert_allclose(found, np.multiply(expected, factor), rtol=tolerance("float64", 1, 1))


@pytest.mark.parametrize("target", ["sphericart", "n3d", "sn3d"])
def test_relabelled_axes_keep_every_component(target):
    x = random_sample("e3nn")
    points = directions(7)
    found = tp.convert(x, LMAX, source="e3nn", target=target, axes="relabelled")
    # the axes z, x, y of e3nn become x, y, z
    renamed = points[:, [2, 0, 1]]
    expected = values_at("e3nn", points) @ x
    limit = SPREAD * np.max(np.abs(expected)) * tolerance("float64", LMAX**2, (LMAX + 1) ** 2)
    np.testing.assert_allclose(values_at(target, renamed) @ found, expected, rtol=0, atol=limit)
    ratio = found / x
    for degree in range(LMAX + 1):
        block = ratio[degree**2 : (degree + 1) ** 2]
        np.testing.assert_allclose(block, block[0], rtol=tolerance("float64", 1, 1))


def test_an_ambisonic_signal_is_converted_as_values():
    source = directions(1)[0]
    signal = values_at("sn3d", source)
    n3d = tp.convert(signal, LMAX, source="sn3d", target="n3d", kind="values")
    degrees = np.floor(np.sqrt(np.arange(n3d.size)))
    np.testing.assert_allclose(n3d, signal * np.sqrt(2 * degrees + 1), rtol=tolerance("float64", 1, 1))


def test_places_without_a_harmonic_are_not_read_and_are_zero(xp):
    x = random_sample("shtools", (2,))
    spoilt = x.copy()
    spoilt[:, 1, :, 0] = np.nan
    spoilt[:, 0][:, np.triu_indices(LMAX + 1, 1)[0], np.triu_indices(LMAX + 1, 1)[1]] = np.nan
    clean, same = (
        xp.to_numpy(tp.convert(xp.asarray(array, core=3), LMAX, source="shtools", target="shtools-ortho"))
        for array in (x, spoilt)
    )
    np.testing.assert_array_equal(clean, same)
    assert not np.any(clean[:, 1, :, 0])
    assert not np.any(np.triu(clean, 1))


@pytest.mark.parametrize(("real_dtype", "complex_dtype"), PRECISIONS)
def test_complex_functions(xp, real_dtype, complex_dtype):
    rng = np.random.default_rng(2)
    x = (rng.standard_normal((3, 49)) + 1j * rng.standard_normal((3, 49))).astype(complex_dtype)
    for source in REAL_NAMES:
        if source in SHTOOLS:  # which read complex arrays otherwise: see below
            continue
        there = tp.convert(xp.asarray(x), LMAX, source="scipy", target=source, real=False)
        back = xp.to_numpy(tp.convert(there, LMAX, source=source, target="scipy", real=False))
        assert xp.to_numpy(there).dtype == back.dtype == complex_dtype
        np.testing.assert_allclose(back, x, rtol=0, atol=4 * tolerance(real_dtype, LMAX, 2 * LMAX + 1))
        # the real and the imaginary part are functions of their own
        parts = [
            xp.to_numpy(tp.convert(xp.asarray(part), LMAX, source="e3nn", target=source)) for part in (x.real, x.imag)
        ]
        whole = xp.to_numpy(tp.convert(xp.asarray(x), LMAX, source="e3nn", target=source, real=False))
        limit = SPREAD * 4 * tolerance(real_dtype, LMAX, 2 * LMAX + 1)
        np.testing.assert_allclose(whole, parts[0] + 1j * parts[1], rtol=0, atol=limit)


@pytest.mark.parametrize(("real_dtype", "complex_dtype"), PRECISIONS)
@pytest.mark.parametrize("target", SHTOOLS)
def test_complex_arrays_of_shtools_belong_to_complex_harmonics(xp, target, real_dtype, complex_dtype):
    c = complex_sample((3,), complex_dtype)
    found = xp.to_numpy(tp.convert(xp.asarray(c), LMAX, source="scipy", target=target, real=False))
    expected = np.zeros((3, 2, LMAX + 1, LMAX + 1), dtype=complex)
    for degree in range(LMAX + 1):
        length = SHTOOLS[target](degree)
        for m in range(degree + 1):
            centre = degree**2 + degree
            expected[:, 0, degree, m] = (-1) ** m * c[:, centre + m] / length
            if m:
                expected[:, 1, degree, m] = (-1) ** m * c[:, centre - m] / length
    assert found.dtype == complex_dtype
    limit = np.max(np.abs(expected)) * tolerance(real_dtype, 1, 1)
    np.testing.assert_allclose(found, expected, rtol=0, atol=limit)
    spoilt = found.copy()
    spoilt[:, 1, :, 0] = np.nan
    back = xp.to_numpy(tp.convert(xp.asarray(spoilt, core=3), LMAX, source=target, target="scipy", real=False))
    assert back.dtype == complex_dtype
    np.testing.assert_allclose(back, c, rtol=0, atol=np.max(np.abs(c)) * tolerance(real_dtype, 1, 1))


@pytest.mark.parametrize("kind", conventions.KINDS)
@pytest.mark.parametrize("target", SHTOOLS)
@pytest.mark.parametrize("source", ["e3nn", "sn3d", "scipy", *SHTOOLS])
def test_complex_functions_keep_their_values_in_shtools(source, target, kind):
    """The function at a point is the sum of coefficients times values, whichever of the two was converted."""
    points = directions(7)
    x = complex_sample((), shape=CONVENTIONS[source].shape(LMAX))
    other = complex_harmonics(target, points)
    own = complex_harmonics(source, points) if source in SHTOOLS else values_at(source, points)
    if kind == "coefficients":
        converted = tp.convert(x, LMAX, source=source, target=target, real=False)
        found = flat(other, target) @ flat(converted, target)
        back = tp.convert(converted, LMAX, source=target, target=source, real=False)
        unread = np.abs(flat(own, source)).max(axis=0) == 0
        np.testing.assert_array_equal(flat(back, source)[unread], 0)
    else:
        converted = tp.convert(other, LMAX, source=target, target=source, kind="values", real=False)
        found = flat(converted, source) @ flat(x, source)
    expected = flat(own, source) @ flat(x, source)
    limit = SPREAD * np.max(np.abs(expected)) * tolerance("float64", LMAX**2, (LMAX + 1) ** 2)
    np.testing.assert_allclose(found, expected, rtol=0, atol=limit)


def test_real_arrays_of_shtools_belong_to_real_harmonics_also_where_functions_may_be_complex():
    x = random_sample("shtools")
    for target in NAMES:
        found = tp.convert(x, LMAX, source="shtools", target=target, real=False)
        np.testing.assert_array_equal(found, tp.convert(x, LMAX, source="shtools", target=target))


def test_real_arrays_stay_real_where_functions_may_be_complex():
    x = random_sample("e3nn")
    found = tp.convert(x, LMAX, source="e3nn", target="sn3d", real=False)
    np.testing.assert_array_equal(found, tp.convert(x, LMAX, source="e3nn", target="sn3d"))


@pytest.mark.parametrize(("real_dtype", "complex_dtype"), PRECISIONS)
def test_a_function_that_is_not_real_is_refused(xp, real_dtype, complex_dtype):
    x = random_sample("scipy", (4,), dtype=real_dtype)
    eps = np.finfo(real_dtype).eps
    for change in (1.0, 1j, 4000 * eps):
        spoilt = x.copy()
        spoilt[2, 5] += np.asarray(change * np.max(np.abs(x)), dtype=complex_dtype)
        with pytest.raises(
            ValueError, match=r"x must belong to a real function, .* in 'scipy', but differs .* real=Fal"
        ):
            xp.to_numpy(tp.convert(xp.asarray(spoilt), LMAX, source="scipy", target="e3nn"))
        assert tp.convert(xp.asarray(spoilt), LMAX, source="scipy", target="e3nn", real=False).shape == (4, 49)
        assert tp.convert(xp.asarray(spoilt), LMAX, source="scipy", target="scipy").shape == (4, 49)
    slightly = x.copy()
    slightly[:, 5] *= 1 + 4 * eps
    assert tp.convert(xp.asarray(slightly), LMAX, source="scipy", target="e3nn").shape == (4, 49)


def test_without_writing_into_arrays(xp, monkeypatch):
    x = random_sample("scipy", (2, 3))
    spoilt = x.copy()
    spoilt[1, 2, 5] += 1
    expected = tp.convert(x, LMAX, source="scipy", target="shtools")
    monkeypatch.setattr(batching, "is_eager", lambda *_: False)
    monkeypatch.setattr(conventions, "has_values", lambda *_: False)
    found = xp.to_numpy(tp.convert(xp.asarray(spoilt), LMAX, source="scipy", target="shtools"))
    # nothing can be looked at in time, so the sample of no real function becomes NaN
    assert np.all(np.isnan(found[1, 2][0, np.tril_indices(LMAX + 1)[0], np.tril_indices(LMAX + 1)[1]]))
    found[1, 2] = expected[1, 2]
    limit = tolerance("float64", LMAX, 2 * LMAX + 1) * 4
    np.testing.assert_allclose(found, expected, rtol=0, atol=limit)


@given(names, names)
def test_nan_stays_in_its_sample(source, target):
    x = random_sample(source, (3,))
    spoilt = x.copy()
    spoilt.reshape(3, -1)[1, 0] = np.nan
    found, expected = (tp.convert(array, LMAX, source=source, target=target) for array in (spoilt, x))
    keep = [0, 2]
    limit = SPREAD * np.max(np.abs(x)) * tolerance("float64", LMAX, 2 * LMAX + 1)
    np.testing.assert_allclose(found[keep], expected[keep], rtol=0, atol=limit)
    assert np.any(np.isnan(found[1]))


@pytest.mark.parametrize("shape", [(), (0,), (1,), (2, 0), (2, 1, 3)])
@pytest.mark.parametrize(("source", "target"), [("e3nn", "scipy"), ("scipy", "shtools"), ("shtools", "e3nn-norm")])
def test_shapes(xp, shape, source, target):
    for lmax in (0, 3):
        x = random_sample(source, shape, lmax)
        found = xp.to_numpy(tp.convert(xp.asarray(x, core=3), lmax, source=source, target=target))
        assert found.shape == (*shape, *CONVENTIONS[target].shape(lmax))
        for index in np.ndindex(shape):
            alone = tp.convert(x[index], lmax, source=source, target=target)
            np.testing.assert_allclose(found[index], alone, rtol=0, atol=4 * tolerance("float64", lmax))


def test_batches_beyond_one_chunk(xp, monkeypatch):
    require_chunks(xp)
    x = random_sample("e3nn", (3, 60))
    expected = tp.convert(x, LMAX, source="e3nn", target="scipy")
    monkeypatch.setattr(batching, "PORTION_BYTES", 2**14)
    found = xp.to_numpy(tp.convert(xp.asarray(x), LMAX, source="e3nn", target="scipy"))
    limit = np.max(np.abs(x)) * tolerance("float64", LMAX, 2 * LMAX + 1)
    np.testing.assert_allclose(found, expected, rtol=0, atol=limit)


def test_the_result_is_a_new_array():
    for name in NAMES:
        x = random_sample(name)
        same = tp.convert(x, LMAX, source=name, target=name)
        np.testing.assert_array_equal(same, x)
        assert not np.shares_memory(same, x)


@pytest.mark.parametrize(
    ("source", "dtype", "options", "message"),
    [
        ("e3nn", "int64", {}, "x must have dtype float32 or float64 or complex64 or complex128, got int64"),
        ("e3nn", "float16", {}, "got float16"),
        ("e3nn", "object", {}, "got object"),
        (
            "e3nn",
            "complex64",
            {},
            "x must have dtype float32 or float64 for source 'e3nn', got complex64; .* real=False",
        ),
        ("scipy", "float64", {}, "x must have dtype complex64 or complex128 for source 'scipy', got float64"),
        ("scipy", "float32", {"real": False}, "x must have dtype complex64 or complex128 .*, got float32"),
    ],
)
def test_other_dtypes_are_refused(source, dtype, options, message):
    with pytest.raises(TypeError, match=message):
        tp.convert(np.zeros(4, dtype=dtype), 1, source=source, target="sn3d", **options)


def test_arguments_that_do_not_fit_are_refused(xp):
    x = xp.asarray(np.zeros((3, 4)))

    def convert(x=x, lmax=1, source="e3nn", target="sn3d", **options):
        return tp.convert(x, lmax, source=source, target=target, **options)

    for wrong in ([0.0] * 4, None, 1.0, np.float64(1)):
        with pytest.raises(TypeError, match="x must be an array"):
            convert(wrong)
    for wrong in ((3, 5), (), (4, 3)):
        with pytest.raises(ValueError, match=r"x must have shape \(\.\.\., 4\) for lmax = 1 in 'e3nn', got"):
            convert(xp.asarray(np.zeros(wrong), core=3))
    for wrong in ((4,), (2, 2, 3), (2, 2), ()):
        with pytest.raises(ValueError, match=r"x must have shape \(\.\.\., 2, 2, 2\) for lmax = 1 in 'shtools', got"):
            convert(xp.asarray(np.zeros(wrong), core=3), source="shtools")
    for name in ("source", "target"):
        for wrong in ("healpy", None, "E3NN", 3):
            with pytest.raises(ValueError, match=f"{name} must be one of e3nn, .*, sn3d, got {wrong!r}"):
                convert(**{name: wrong})
    with pytest.raises(ValueError, match="kind must be one of coefficients, values, got 'signal'"):
        convert(kind="signal")
    with pytest.raises(ValueError, match="axes must be one of fixed, relabelled, got 'zxy'"):
        convert(axes="zxy")
    with pytest.raises(TypeError, match="real must be True or False, got None"):
        convert(real=None)
    with pytest.raises(TypeError, match=r"lmax must be a non-negative integer, got 1\.0"):
        convert(lmax=1.0)
    with pytest.raises(ValueError, match="lmax must be a non-negative integer, got -1"):
        convert(lmax=-1)


def test_a_result_that_does_not_fit_is_refused_with_its_size(monkeypatch):
    monkeypatch.setattr(limits, "available_bytes", lambda: 2**20)
    with pytest.raises(MemoryError, match=r"a result of shape \(100000, 100\) would take 152.6 MiB"):
        tp.convert(np.zeros((10**5, 100)), 9, source="e3nn", target="scipy")
    with pytest.raises(MemoryError, match="the matrices between the polar axes up to degree 150 would take 1"):
        tp.convert(np.zeros(151**2), 150, source="e3nn", target="sphericart")


def test_the_namespace_is_kept():
    x = array_api_strict.zeros(4, dtype=array_api_strict.complex64)
    assert tp.convert(x, 1, source="scipy", target="e3nn").dtype == array_api_strict.float32
