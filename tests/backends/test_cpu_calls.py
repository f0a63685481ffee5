"""What a call does besides its kernel: it finds what it needs without comparing plans, and addresses without asking."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from strategies import random_arguments

import tpnumba as tp
from tpnumba.backends.cpu.runtime.workspace import address_of
from tpnumba.plans.contraction import Contraction
from tpnumba.plans.transform import Transform

HARMONICS = tp.SphericalHarmonics(2)
SPHERICAL = tp.Irreps.spherical_harmonics(2)


@pytest.mark.parametrize(
    "make",
    [
        lambda: tp.FullTensorProduct(SPHERICAL, SPHERICAL),
        lambda: tp.FullyConnectedTensorProduct("2x0e + 1o", SPHERICAL, "2x0e + 1o"),
        lambda: tp.GauntTensorProduct(2, 2),
        lambda: tp.GauntTensorProduct(2, 2, method="grid"),
    ],
    ids=["full", "fully connected", "auto", "grid"],
)
def test_an_operator_equal_to_another_is_called_without_comparing_their_plans(make, monkeypatch):
    def calls(p, samples=3):
        arguments = random_arguments(p, (samples,), (samples,))
        named = {"weights": arguments[2][0]} if len(arguments) == 3 else {}
        x1, x2 = arguments[:2]
        result = p(*arguments)
        return result, *p.vjp(x1, x2[0], result, **named), p.jvp(x1, x2, x1, x2, **named)

    def refuse(*_):
        raise AssertionError("two plans were compared")

    one, other = make(), make()
    expected, more = calls(one), calls(one, 4)
    calls(other)
    calls(other)  # from here on they are prepared calls
    for kind in (Contraction, Transform):
        monkeypatch.setattr(kind, "__eq__", refuse)
    for found, wanted in ((calls(other), expected), (calls(other, 4), more)):
        for left, right in zip(found, wanted, strict=True):
            np.testing.assert_array_equal(left, right)
    with pytest.raises(AssertionError, match="compared"):
        _ = one.form == other.form


@pytest.mark.parametrize(
    "array",
    [
        np.zeros(3),
        np.zeros((2, 0), dtype=np.float32),
        np.zeros((5, 7))[4:1:-2, ::3],
        np.zeros(9, dtype=np.uint8)[1:].view(np.float64),
        np.broadcast_to(np.float32(1), (4, 3)),
        np.zeros(3).view(type("Subclass", (np.ndarray,), {})),
    ],
    ids=["plain", "empty", "strided", "unaligned", "broadcast", "subclass"],
)
def test_the_address_is_the_one_that_numpy_gives(array):
    assert address_of(array) == array.__array_interface__["data"][0]


@pytest.mark.parametrize("kind", ["contraction", "transform", "harmonics"])
def test_a_call_reaches_its_kernel_in_six_frames(kind, monkeypatch):
    from tpnumba.backends.cpu.contraction.program import ContractionProgram
    from tpnumba.backends.cpu.harmonics.program import HarmonicsProgram
    from tpnumba.backends.cpu.transform.program import TransformProgram

    program = {"contraction": ContractionProgram, "transform": TransformProgram, "harmonics": HarmonicsProgram}[kind]
    evaluate = {
        "contraction": lambda x: tp.FullTensorProduct("1o", "1o")(x, x),
        "transform": lambda x: tp.GauntTensorProduct("1o", "1o", method="grid")(x, x),
        "harmonics": lambda x: HARMONICS(x),  # noqa: PLW0108
    }[kind]
    evaluate(np.ones((4, 3)))
    seen = []

    def record(*_):
        names, frame = [], sys._getframe(1)
        while frame.f_code is not evaluate.__code__:
            names.append(frame.f_code.co_qualname)
            frame = frame.f_back
        seen.append(names)

    monkeypatch.setattr(program, "call", record)
    evaluate(np.ones((4, 3)))
    (names,) = seen
    assert len(names) + 2 <= 6, names  # the program's and the kernel's frames, too
