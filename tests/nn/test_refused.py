"""Bad arguments of layers: one clear error that names the argument, what came and what was expected."""

from __future__ import annotations

import array_api_strict
import numpy as np
import pytest

from tpnumba import nn

SILU, TANH = nn.Activation("silu"), nn.Activation("tanh")
LINEAR = nn.Linear("2x0e + 1o", "0e + 1o", biases=True)
CONNECTION = nn.SelfConnection("2x0e", "0e", 3)
GATE = nn.Gate("0e", [SILU], "0e", [SILU], "1o")
NORM = nn.LayerNorm("2x0e + 1o")
MLP = nn.MLP([3, 4, 2], SILU)
BASIS = nn.BesselBasis(4, 5.0)
X, W, B, R = np.ones((2, 5)), np.ones(3), np.ones(1), np.ones(6)
EL, WC = np.array([0, 2]), np.ones(6)
XM, WM = np.ones((7, 3)), np.ones(20)


def square(r):
    return (r * r)[:, None]


TABLE = nn.SplineTable(square, 5.0, tolerance=1e-3)

CONSTRUCTORS = [
    (ValueError, lambda: nn.Activation("elu"), "name must be one of silu, tanh, .* got 'elu'"),
    (TypeError, lambda: nn.Activation("silu", "2"), "scale must be a number, got '2'"),
    (ValueError, lambda: nn.Activation("silu", np.nan), "scale must be finite, got nan"),
    (ValueError, lambda: nn.Activation.normalized("silu", moment="e3nn"), "moment must be one of exact, sampled"),
    (ValueError, lambda: nn.Linear("0e", "0e", instructions=[(0, 1)]), "i_out of instruction 0 must be below 1"),
    (
        ValueError,
        lambda: nn.Linear("0e", "1o", instructions=[(0, 0)]),
        "instruction 0 must join blocks of equal irreps",
    ),
    (TypeError, lambda: nn.Linear("0e", "0e", instructions=[0]), r"instruction 0 must be \(i_in, i_out\), got 0"),
    (ValueError, lambda: nn.Linear("0e", "0e", path_normalization="all"), "path_normalization must be one of"),
    (ValueError, lambda: nn.Linear("0e", "0e", layout="mul"), "layout must be one of mul_ir, ir_mul, got 'mul'"),
    (TypeError, lambda: nn.Linear("0e", "0e", biases=1), "biases must be True, False or one of these"),
    (ValueError, lambda: nn.Linear("0e", "0e", biases=[True, False]), "biases must have 1 items"),
    (ValueError, lambda: nn.Linear("0o", "0o", biases=[True]), "only scalars 0e can have a bias, got one for 1x0o"),
    (ValueError, lambda: nn.SelfConnection("0e", "0e", 0), "num_elements must be a positive integer, got 0"),
    (
        ValueError,
        lambda: nn.Gate("0e", [SILU], "2x0e", [SILU], "1o"),
        "irreps_gates must have a scalar for each of the 1",
    ),
    (ValueError, lambda: nn.Gate("0e", [], "", [], ""), "act_scalars must have 1 items"),
    (ValueError, lambda: nn.Gate("1o", [SILU], "", [], ""), "irreps_scalars must be scalars, got 1x1o"),
    (ValueError, lambda: nn.Gate("", [], "0o", [SILU], "1o"), "act_gates: silu is neither even nor odd"),
    (TypeError, lambda: nn.Gate("0e", ["silu"], "", [], ""), "act_scalars must hold Activation objects or None"),
    (ValueError, lambda: nn.LayerNorm("0e", eps=0.0), "eps must be finite and above zero, got 0.0"),
    (TypeError, lambda: nn.LayerNorm("0e", affine=1), "affine must be True or False, got 1"),
    (TypeError, lambda: nn.MLP(3, SILU), "widths must be a tuple or list of integers, got 3"),
    (ValueError, lambda: nn.MLP([3], SILU), "widths must have an input and an output"),
    (ValueError, lambda: nn.MLP([3, 0, 2], SILU), r"widths\[1\] must be a positive integer, got 0"),
    (TypeError, lambda: nn.MLP([3, 2], "silu"), "activation must be an Activation or None, got 'silu'"),
    (TypeError, lambda: nn.MLP([3, 2], SILU, biases=None), "biases must be True or False, got None"),
    (ValueError, lambda: nn.MLP([3, 2], SILU, normalization="fan_out"), "normalization must be one of fan_in, none"),
    (ValueError, lambda: nn.BesselBasis(8, 0.0), "cutoff must be finite and above zero, got 0.0"),
    (ValueError, lambda: nn.BesselBasis(0, 5.0), "number must be a positive integer, got 0"),
    (ValueError, lambda: nn.GaussianBasis(8, 2.0, 1.0), "start must be below stop, got 2.0 and 1.0"),
    (ValueError, lambda: nn.GaussianBasis(1, 0.0, 1.0), "number must be at least 2"),
    (TypeError, lambda: nn.GaussianBasis(4, 0.0, 1.0, ends=0), "ends must be True or False, got 0"),
    (ValueError, lambda: nn.PolynomialEnvelope(5.0, p=0), "p must be a positive integer, got 0"),
    (
        ValueError,
        lambda: nn.XPLOREnvelope(5.0, onset=5.0),
        "onset must be at least 0 and below the cutoff 5.0, got 5.0",
    ),
    (ValueError, lambda: nn.CosineEnvelope(np.inf), "cutoff must be finite and above zero, got inf"),
    (TypeError, lambda: nn.RadialEmbedding(BASIS, BASIS), "envelope must be of type Envelope, got BesselBasis"),
    (TypeError, lambda: nn.SplineTable(1, 5.0, tolerance=1e-3), "function must be callable, got 1"),
    (ValueError, lambda: nn.SplineTable(square, 5.0, tolerance=0), "tolerance must be finite and above zero, got 0"),
    (ValueError, lambda: nn.SplineTable(square, 5.0, tolerance=1, start=6), "start must be at least 0 and below"),
    (ValueError, lambda: nn.SplineTable(square, 5.0, tolerance=1, breaks=(4, 3)), "breaks must ascend from 0.0 to 5.0"),
    (ValueError, lambda: nn.SplineTable(square, 5.0, tolerance=1, breaks=(5.0,)), "breaks must ascend from 0.0 to 5.0"),
    (TypeError, lambda: nn.SplineTable(square, 5.0, tolerance=1, breaks="4"), r"breaks\[0\] must be a number, got '4'"),
    (
        ValueError,
        lambda: nn.SplineTable(lambda r: r, 5.0, tolerance=1),
        r"function must give an array of shape \(33, s",
    ),
    (ValueError, lambda: nn.SplineTable(lambda r: r[:, None] * np.nan, 5.0, tolerance=1), "function must be finite"),
    (
        ArithmeticError,
        lambda: nn.SplineTable(lambda r: np.sign(r - 1.234)[:, None], 5.0, tolerance=1e-3),
        "16384 intervals leave an error of .*, above tolerance 0.001",
    ),
]

CALLS = [
    (TypeError, lambda: SILU([1.0]), "x must be an array .* got builtins.list"),
    (TypeError, lambda: SILU(np.ones(3, int)), "x must have dtype float32 or float64, got int64"),
    (ValueError, lambda: SILU.vjp(np.ones(3), np.ones(2)), r"cotangent must have shape \(3,\), got \(2,\)"),
    (ValueError, lambda: SILU(np.ones(3), out=np.ones(2)), r"out must have shape \(3,\), got \(2,\)"),
    (ValueError, lambda: SILU(x := np.ones(3), out=x), "out must not overlap x"),
    (
        ValueError,
        lambda: LINEAR(X[:, :4], W, B),
        r"x must have shape \(\.\.\., 5\) for the irreps 2x0e\+1x1o, got \(2, 4\)",
    ),
    (ValueError, lambda: LINEAR(X, W[:2], B), r"weights must have shape \(3,\), got \(2,\)"),
    (ValueError, lambda: LINEAR(X, W), r"biases are missing: an array of shape \(1,\) is expected"),
    (ValueError, lambda: LINEAR(X, W, np.ones(2)), r"biases must have shape \(1,\), got \(2,\)"),
    (TypeError, lambda: LINEAR(X, array_api_strict.ones(3), B), "weights is an array of array_api_strict, but x is"),
    (ValueError, lambda: LINEAR.fold(W, B, factor=np.nan), "factor must be finite, got nan"),
    (TypeError, lambda: LINEAR.fold(W, B, factor="2"), "factor must be a number, got '2'"),
    (TypeError, lambda: LINEAR.fold(W, B, factor=W), r"factor must be a number, got array\(\[1"),
    (
        ValueError,
        lambda: LINEAR.vjp(X, np.ones((2, 5)), weights=W),
        r"cotangent must have shape \(2, 4\), got \(2, 5\)",
    ),
    (ValueError, lambda: LINEAR.jvp(X, X[:1], weights=W), r"tangent must have shape \(2, 5\), got \(1, 5\)"),
    (ValueError, lambda: LINEAR.jvp(X, X, weights=W, tweights=B), r"tweights must have shape \(3,\), got \(1,\)"),
    (ValueError, lambda: CONNECTION(np.ones((2, 2)), np.array([0, 3]), WC), "from 0 to 2, got 3 for atom 1"),
    (ValueError, lambda: CONNECTION(np.ones((2, 2)), np.array([-1, 0]), WC), "from 0 to 2, got -1 for atom 0"),
    (
        TypeError,
        lambda: CONNECTION(np.ones((2, 2)), np.ones(2), WC),
        "elements must be a NumPy array of integers, got dty",
    ),
    (ValueError, lambda: CONNECTION(np.ones((3, 2)), EL, WC), r"elements must have shape \(3,\), got \(2,\)"),
    (ValueError, lambda: CONNECTION(np.ones(2), EL, WC), r"x must have two axes, got shape \(2,\)"),
    (ValueError, lambda: CONNECTION(np.ones((2, 2)), EL, WC[:5]), r"weights must have shape \(6,\), got \(5,\)"),
    (
        TypeError,
        lambda: CONNECTION(array_api_strict.ones((2, 2)), EL, array_api_strict.ones(6)),
        "SelfConnection takes NumPy arrays, got arrays of array_api_strict",
    ),
    (ValueError, lambda: GATE(np.ones(4)), r"x must have shape \(\.\.\., 5\) for the irreps 2x0e\+1x1o, got \(4,\)"),
    (ValueError, lambda: GATE.vjp(np.ones(5), np.ones(5)), r"cotangent must have shape \(4,\), got \(5,\)"),
    (ValueError, lambda: NORM(X), r"weights are missing: an array of shape \(3,\) is expected"),
    (ValueError, lambda: NORM(X, W, np.ones(3)), r"biases must have shape \(2,\), got \(3,\)"),
    (ValueError, lambda: MLP(X, WM), r"x must have shape \(\.\.\., 3\), got \(2, 5\)"),
    (ValueError, lambda: MLP(XM, WM[1:]), r"weights must have shape \(20,\), got \(19,\)"),
    (ValueError, lambda: MLP.vjp(XM, XM, weights=WM), r"cotangent must have shape \(7, 2\), got \(7, 3\)"),
    (ValueError, lambda: MLP(XM, WM, out=np.ones((7, 3))), r"out must have shape \(7, 2\), got \(7, 3\)"),
    (
        ValueError,
        lambda: MLP(XM, nn.MLP([3, 2], SILU).fold(np.ones(6))),
        r"weights were folded for MLP\(widths=\(3, 2\)",
    ),
    (
        NotImplementedError,
        lambda: nn.MLP([3, 2, 2], SILU, layer_norm=True).jvp(XM, XM, weights=np.ones(14)),
        "MLP.jvp is not there for networks with layer norms; use vjp",
    ),
    (ValueError, lambda: BASIS(R, np.ones(3)), r"frequencies must have shape \(4,\), got \(3,\)"),
    (
        ValueError,
        lambda: nn.GaussianBasis(4, 0.0, 1.0)(R, np.ones(4)),
        "frequencies were given, but GaussianBasis has no",
    ),
    (ValueError, lambda: BASIS.vjp(R, R), r"cotangent must have shape \(6, 4\), got \(6,\)"),
    (TypeError, lambda: nn.CosineEnvelope(5.0)(1.0), "r must be an array"),
    (ValueError, lambda: nn.CosineEnvelope(5.0).vjp(R, R[1:]), r"cotangent must have shape \(6,\), got \(5,\)"),
    (ValueError, lambda: nn.edge_lengths(R), r"vectors must have shape \(\.\.\., 3\), got \(6,\)"),
    (ValueError, lambda: nn.edge_lengths_vjp(XM, R, R), r"lengths must have shape \(7,\), got \(6,\)"),
    (TypeError, lambda: TABLE(array_api_strict.ones(3)), "SplineTable takes NumPy arrays"),
    (ValueError, lambda: TABLE.vjp(R, R), r"cotangent must have shape \(6, 1\), got \(6,\)"),
]


ON = array_api_strict.asarray
WITH_THREADS = {
    "linear": lambda n: LINEAR(X, W, B, num_threads=n),
    "linear, by x": lambda n: LINEAR.vjp_input(np.ones((2, 4)), weights=W, num_threads=n),
    "linear, elsewhere": lambda n: LINEAR(ON(X), ON(W), ON(B), num_threads=n),
    "linear, by x, elsewhere": lambda n: LINEAR.vjp_input(ON(np.ones((2, 4))), weights=ON(W), num_threads=n),
    "network": lambda n: MLP(XM, WM, num_threads=n),
    "network, gradients": lambda n: MLP.vjp(XM, np.ones((7, 2)), weights=WM, num_threads=n),
    "network, no rows": lambda n: MLP.vjp_input(XM[:0], np.ones((0, 2)), weights=WM, num_threads=n),
    "network, elsewhere": lambda n: MLP(ON(XM), ON(WM), num_threads=n),
    "spline": lambda n: TABLE(R, num_threads=n),
    "spline, gradient": lambda n: TABLE.vjp(R, R[:, None], num_threads=n),
}


@pytest.mark.parametrize("call", WITH_THREADS.values(), ids=WITH_THREADS)
@pytest.mark.parametrize("kernels", [True, False])
def test_threads_are_a_positive_number(call, kernels, monkeypatch):
    for module in () if kernels else ("folded_linear", "mlp", "spline"):
        monkeypatch.setattr(f"tpnumba.nn.{module}.kernels_of", lambda _: None)
    for error, number in ((ValueError, 0), (ValueError, -1), (TypeError, True), (TypeError, 1.5)):
        with pytest.raises(error, match=f"num_threads must be a .* integer, got {number}"):
            call(number)


@pytest.mark.parametrize(("error", "call", "message"), CONSTRUCTORS + CALLS)
def test_refused(error, call, message):
    with pytest.raises(error, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
