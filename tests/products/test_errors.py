"""Bad input: one clear error that names the argument, what came and what was expected."""

from __future__ import annotations

import array_api_strict
import numpy as np
import pytest

import tpnumba as tp
from tpnumba import limits

FULL = tp.FullTensorProduct("0e + 1o", "1o")
WEIGHTED = tp.ChannelwiseTensorProduct("2x0e + 2x1o", "1o")
X, Y = np.ones((5, 4)), np.ones((5, 3))
WX, W = np.ones((5, 8)), np.ones(WEIGHTED.weight_numel)


def one_line(error: pytest.ExceptionInfo) -> bool:
    return "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("error", "call", "message"),
    [
        (TypeError, lambda: FULL([1.0] * 4, Y), "x1 must be an array .* got builtins.list"),
        (TypeError, lambda: FULL(X, None), "x2 must be an array .* got builtins.NoneType"),
        (TypeError, lambda: FULL(X, 1.0), "x2 must be an array"),
        (TypeError, lambda: FULL(X, np.float64(1)), "x2 must be an array .* got numpy.float64"),
        (TypeError, lambda: FULL(np.ma.masked_array(X), Y), r"x1 must be an array .* got numpy\.ma\.MaskedArray"),
        (TypeError, lambda: FULL(X.astype(int), Y), "x1 must have dtype float32 or float64, got int64"),
        (TypeError, lambda: FULL(X, Y.astype(complex)), "x2 must have dtype float32 or float64, got complex128"),
        (TypeError, lambda: FULL(X.astype(np.float16), Y), "x1 must have dtype float32 or float64, got float16"),
        (TypeError, lambda: FULL(X.astype(object), Y), "x1 must have dtype float32 or float64, got object"),
        (TypeError, lambda: FULL(X.astype(bool), Y), "x1 must have dtype float32 or float64, got bool"),
        (TypeError, lambda: FULL(X, array_api_strict.ones((5, 3))), "x2 is an array of array_api_strict, but x1 is"),
        (ValueError, lambda: FULL(X[:, :3], Y), r"x1 must have shape \(\.\.\., 4\) for the irreps .* got \(5, 3\)"),
        (ValueError, lambda: FULL(X, np.array(1.0)), r"x2 must have shape \(\.\.\., 3\) .* got \(\)"),
        (ValueError, lambda: FULL(X, Y[:4]), r"do not broadcast: x1 \(5,\), x2 \(4,\)"),
        (ValueError, lambda: FULL(X, Y, W), r"weights were given, but FullTensorProduct has none"),
        (ValueError, lambda: WEIGHTED(WX, Y), r"weights are missing: an array of shape \(\.\.\., 8\)"),
        (ValueError, lambda: WEIGHTED(WX, Y, W[:3]), r"weights must have shape \(\.\.\., 8\), got \(3,\)"),
        (ValueError, lambda: WEIGHTED(WX, Y, np.ones((4, 8))), r"do not broadcast: .* weights \(4,\)"),
        (ValueError, lambda: FULL(X, Y, backend="fast"), "backend must be one of auto, generic, cpu, gpu, got 'fast'"),
        (TypeError, lambda: FULL(X, Y, backend="gpu"), "backend 'gpu' takes cupy arrays, got arrays of numpy"),
        (ValueError, lambda: FULL(X, Y, num_threads=0), "num_threads must be a positive integer, got 0"),
        (TypeError, lambda: FULL(X, Y, num_threads=1.5), "num_threads must be .* got 1.5"),
        (ValueError, lambda: FULL.vjp(X, Y, np.ones((5, 11))), r"cotangent must have shape \(5, 12\), got \(5, 11\)"),
        (ValueError, lambda: FULL.vjp(X, Y, np.ones((4, 12))), r"cotangent must have shape \(5, 12\), got \(4, 12\)"),
        (TypeError, lambda: FULL.vjp(X, Y, None), "cotangent must be an array"),
        (ValueError, lambda: WEIGHTED.vjp(WX, Y, X), "weights are missing"),
        (TypeError, lambda: FULL.jvp(X, Y, None, Y), "t1 must be an array"),
        (ValueError, lambda: FULL.jvp(X, Y, X[:4], Y), r"t1 must have shape \(5, 4\), got \(4, 4\)"),
        (ValueError, lambda: FULL.jvp(X, Y, X, Y[0]), r"t2 must have shape \(5, 3\), got \(3,\)"),
        (ValueError, lambda: FULL.jvp(X, Y, X, Y, tweights=W), "tweights were given without weights"),
        (ValueError, lambda: FULL.adjoint(2), "i must be below 2"),
        (ValueError, lambda: FULL.adjoint(-1), "got -1"),
        (TypeError, lambda: FULL.adjoint("x1"), "got 'x1'"),
        (TypeError, lambda: FULL.cost(dtype="float16"), "dtype must be float32 or float64, got 'float16'"),
        (TypeError, lambda: FULL.cost(dtype=object()), "dtype must be float32 or float64, got <object object"),
        (TypeError, lambda: FULL.cost(dtype="no type"), "dtype must be float32 or float64, got 'no type'"),
        (TypeError, lambda: FULL.cost(dtype=None), "dtype must be float32 or float64, got None"),
        (ValueError, lambda: FULL.cost(-1), "batch .* got -1"),
    ],
)
def test_calls(error, call, message):
    with pytest.raises(error, match=message) as caught:
        call()
    assert one_line(caught)


def test_environment_default_of_threads(monkeypatch):
    monkeypatch.setenv("TPNUMBA_NUM_THREADS", "many")
    with pytest.raises(ValueError, match="TPNUMBA_NUM_THREADS must be a positive integer, got 'many'"):
        FULL(X, Y)
    monkeypatch.setenv("TPNUMBA_NUM_THREADS", "1")
    assert FULL(X, Y).shape == (5, 12)


def read_only():
    out = np.zeros((5, 12))
    out.flags.writeable = False
    return out


@pytest.mark.parametrize(
    ("error", "out", "message"),
    [
        (ValueError, np.zeros((5, 11)), r"out must have shape \(5, 12\), got \(5, 11\)"),
        (ValueError, np.zeros((1, 5, 12)), r"out must have shape \(5, 12\)"),
        (TypeError, np.zeros((5, 12), np.float32), "out must have dtype float64, got float32"),
        (TypeError, [[0.0] * 12] * 5, "out must be an array of numpy"),
        (TypeError, array_api_strict.zeros((5, 12)), "out must be an array of numpy"),
        (ValueError, read_only(), "out is read-only"),
    ],
)
def test_out_that_does_not_fit(error, out, message):
    with pytest.raises(error, match=message):
        FULL(X, Y, out=out)


def test_out_that_overlaps_itself():
    memory = np.zeros(100)
    for shape, strides in (((5, 12), (0, 8)), ((5, 12), (8, 8)), ((5, 12), (88, 8)), ((5, 12), (-40, 8))):
        out = np.lib.stride_tricks.as_strided(memory[50:], shape, strides)
        with pytest.raises(ValueError, match="out must not overlap itself") as error:
            FULL(X, Y, out=out)
        assert one_line(error)
    diagonal = np.diagonal(np.zeros((12, 5, 5)), axis1=1, axis2=2).T
    for out in (np.zeros((12, 5)).T, np.zeros((9, 36))[8:3:-1, ::-3], diagonal):
        out.flags.writeable = True
        np.testing.assert_array_equal(FULL(X, Y, out=out), FULL(X, Y))
    assert FULL(X[:0], Y[:0], out=np.broadcast_to(memory[:12], (5, 12))[:0].copy()).shape == (0, 12)


def test_out_that_overlaps_an_input():
    memory = np.ones((5, 19))
    x, y, out = memory[:, :4], memory[:, 4:7], memory[:, 7:]
    assert FULL(x, y, out=out) is out
    square = tp.FullTensorProduct("1o", "1o", "1e")
    z = np.ones((5, 3))
    for arguments in ((z, Y), (Y, z), (z[::-1], Y)):
        with pytest.raises(ValueError, match=r"out must not overlap x[12]"):
            square(*arguments, out=z)
    strict = array_api_strict.ones((5, 3))
    with pytest.raises(ValueError, match="out must not overlap x1"):
        square(strict, array_api_strict.ones(3), out=strict)


@pytest.mark.parametrize(
    ("error", "make", "message"),
    [
        (ValueError, lambda: tp.FullTensorProduct("1o + 2x", "1o"), "'2x' at position 5 does not"),
        (TypeError, lambda: tp.FullTensorProduct(1, "1o"), "irreps must be"),
        (ValueError, lambda: tp.FullTensorProduct("1o", "1o", "1q"), "1q"),
        (ValueError, lambda: tp.FullTensorProduct("1o", "1o", layout="rows"), "layout must be one of mul_ir, ir_mul"),
        (
            ValueError,
            lambda: tp.FullTensorProduct("1o", "1o", irrep_normalization="unit"),
            "irrep_normalization must be one of component, norm, none, got 'unit'",
        ),
        (
            ValueError,
            lambda: tp.FullyConnectedTensorProduct("1o", "1o", "1e", path_normalization="sum"),
            "path_normalization must be one of element, path, none, got 'sum'",
        ),
        (ValueError, lambda: tp.ElementwiseTensorProduct("2x1o", "1o"), "as many copies, got 2 in .* and 1 in"),
        (
            ValueError,
            lambda: tp.ElementwiseTensorProduct("2x1o", "0e + 1o", layout="ir_mul"),
            "in the layout ir_mul the blocks .* must line up",
        ),
        (ValueError, lambda: product((0, 0, 0, "uvx", True)), "the mode of instruction 0 must be one of uvw"),
        (ValueError, lambda: product((0, 0, 1, "uvw", True)), "i_out of instruction 0 must be below 1"),
        (ValueError, lambda: product((0, -1, 0, "uvw", True)), "i_in2 of instruction 0 .* got -1"),
        (TypeError, lambda: product((0, 0, 0.0, "uvw", True)), "i_out of instruction 0 .* got 0.0"),
        (TypeError, lambda: product((0, 0, 0, "uvw")), "instruction 0 must be .* got"),
        (TypeError, lambda: product("uvw"), "instruction 0 must be"),
        (TypeError, lambda: product((0, 0, 0, "uvw", 1)), "has_weight of instruction 0 must be True or False, got 1"),
        (ValueError, lambda: product((0, 0, 0, "uvw", False)), "the mode uvw needs has_weight=True"),
        (ValueError, lambda: product((0, 0, 0, "uvw", True, -np.inf)), "path_weight of instruction 0 .* got -inf"),
        (ValueError, lambda: product((0, 0, 0, "uvw", True, np.nan)), "path_weight of instruction 0 .* got nan"),
        (TypeError, lambda: product((0, 0, 0, "uvw", True, "1")), "path_weight of instruction 0 must be a number"),
        (ValueError, lambda: product((0, 0, 0, "uuu", True)), "uuu does not fit the multiplicities 2, 3 -> 4"),
        (ValueError, lambda: product((0, 0, 0, "uvu", True)), "uvu does not fit the multiplicities"),
        (ValueError, lambda: product((0, 0, 0, "uvuv", False)), "uvuv does not fit the multiplicities"),
        (ValueError, lambda: product((0, 0, 0, "uvw", True), out="4x3o"), "1o x 1o reaches 0e, 1e, 2e, not 3o"),
        (ValueError, lambda: product((0, 0, 0, "uvw", True), out="4x2o"), "1o x 1o reaches 0e, 1e, 2e, not 2o"),
        (ValueError, lambda: product((0, 0, 0, "uvw", True), in1_var=[1.0, 1.0]), "in1_var must have 1 items, .* 2"),
        (ValueError, lambda: product((0, 0, 0, "uvw", True), out_var=[-1.0]), r"out_var\[0\] must be finite"),
        (TypeError, lambda: product((0, 0, 0, "uvw", True), in2_var=["a"]), r"in2_var\[0\] must be a number"),
        (ValueError, lambda: tp.GauntTensorProduct(-1, 2), "lmax1 must be a non-negative integer, got -1"),
        (TypeError, lambda: tp.GauntTensorProduct(2, 2.0), "lmax2 must be a non-negative integer, got 2.0"),
        (TypeError, lambda: tp.GauntTensorProduct(2, 2, True), "lmax_out must be a non-negative integer, got True"),
        (ValueError, lambda: tp.GauntTensorProduct("2x1o", 2), "lmax1 must have multiplicity 1 .* got 2x1o"),
        (ValueError, lambda: tp.GauntTensorProduct("1e", 2), r"lmax1 must have the parity \(-1\)\^l .* got 1e"),
        (ValueError, lambda: tp.GauntTensorProduct("1o + 1o", 2), "lmax1 must have each degree at most once"),
        (ValueError, lambda: tp.GauntTensorProduct(1, 1, method="fft"), "method must be one of .* got 'fft'"),
        (ValueError, lambda: tp.GauntTensorProduct(1, 1, normalization="4pi"), "normalization must be .* got '4pi'"),
        (ValueError, lambda: tp.clebsch_gordan(1, 1, 3), r"\(1, 1, 3\) lies outside the triangle .* 0 to 2"),
        (ValueError, lambda: tp.gaunt(0, -1, 1), "l2 must be a non-negative integer, got -1"),
        (TypeError, lambda: tp.gaunt(0, 1, 1.5), "l3 must be a non-negative integer, got 1.5"),
    ],
)
def test_constructors(error, make, message):
    with pytest.raises(error, match=message):
        make()


def product(instruction, out="4x2e", **options):
    return tp.TensorProduct("2x1o", "3x1o", out, [instruction], **options)


def test_what_does_not_fit_in_memory_is_refused_with_its_size(monkeypatch):
    monkeypatch.setattr(limits, "available_bytes", lambda: 2**27)
    p = tp.FullTensorProduct("4e", "4e")
    x = np.broadcast_to(np.ones(9), (10**6, 9))
    with pytest.raises(MemoryError, match=r"a result of shape \(1000000, 81\) would take 618.0 MiB, and 128.0 MiB"):
        p(x, x)
    with pytest.raises(MemoryError, match="would take"):
        p.vjp(x, x, np.broadcast_to(np.ones(81), (10**6, 81)))
    with pytest.raises(MemoryError, match=r"the table of coefficients would take .* GiB"):
        tp.FullyConnectedTensorProduct("100x2e", "100x2e", "100x2e").coefficients()
    with pytest.raises(MemoryError, match=r"clebsch_gordan\(200, 200, 400\) would take 982.7 MiB"):
        tp.clebsch_gordan(200, 200, 400)


def test_errors_come_before_anything_is_written():
    out = np.zeros((5, 12))
    with pytest.raises(ValueError, match="num_threads"):
        FULL(X, Y, out=out, num_threads=-1)
    assert not out.any()
