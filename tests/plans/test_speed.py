"""The model by which ``auto`` compares methods: it knows every kind of plan, and grows as the work does."""

from __future__ import annotations

import json
from importlib.resources import files

import pytest

import tpnumba as tp
from tpnumba.backends.cpu.runtime.threads import WORTH_SHARING
from tpnumba.plans.speed import COEFFICIENTS, Calls, amounts, has_own_code, kind_on, seconds
from tpnumba.studies.calibrate import calibrate, measure_calls

PLANS = {
    "contraction": lambda L: tp.GauntTensorProduct(L, L, method="direct").plan,
    "grid": lambda L: tp.BracketTensorProduct(L, L, method="grid").plan,
    "torus": lambda L: tp.GauntTensorProduct(L, L, method="fourier").plan,
    "matrices": lambda L: tp.MatrixTensorProduct(L, L, method="matrix").plan,
}


@pytest.mark.parametrize("backend", ["cpu", "generic"])
@pytest.mark.parametrize("kind", PLANS)
def test_every_kind_takes_longer_as_it_grows(kind, backend):
    for dtype in ("float32", "float64"):
        times = [seconds(PLANS[kind](L), backend, dtype) for L in (1, 3, 9, 16)]
        assert times == sorted(times)
        assert 0 < times[0] < times[3] / 10


def test_an_adjoint_does_about_as_much():
    for make in PLANS.values():
        kind, done = amounts(make(4))
        assert amounts(make(4).adjoint(0)) == (kind, done)


def test_code_of_its_own_is_told_by_the_plan_alone():
    small, large = (tp.GauntTensorProduct(L, L, method="direct").form for L in (5, 6))
    assert [has_own_code(plan) for plan in (small, small.adjoint(0), large, PLANS["grid"](3))] == [
        True,
        True,
        False,
        False,
    ]
    assert kind_on(small, "cpu") == "code"
    assert kind_on(small, "generic") == kind_on(large, "cpu") == "contraction"
    assert seconds(small, "cpu", "float32") < seconds(large, "cpu", "float32") / 4


def test_a_backend_that_was_not_measured_is_judged_by_operations():
    plan = PLANS["grid"](3)
    assert seconds(plan, "another", "float32") == sum(plan.flops)
    assert seconds(plan, "gpu", "float32") == seconds(plan, "cpu", "float32")


def test_the_package_says_where_its_coefficients_come_from():
    document = json.loads(files("tpnumba.plans").joinpath(COEFFICIENTS).read_text(encoding="utf-8"))
    assert document["machine"]["processor"]
    for backend in ("cpu", "generic"):
        for dtype in ("float32", "float64"):
            kinds = {*PLANS, "code"} if backend == "cpu" else set(PLANS)
            assert set(document["coefficients"][backend][dtype]) == kinds


def test_the_cost_of_calls_is_measured_and_kept():
    measured = measure_calls(repeats=1)
    kept = json.loads(files("tpnumba.plans").joinpath(COEFFICIENTS).read_text(encoding="utf-8"))["calls"]
    for calls in (measured, Calls(**kept)):
        assert 0 < calls.seconds < 0.1
        assert calls.threads >= 1
        assert 0 < calls.sharing < WORTH_SHARING
        assert 0 <= calls.new_byte < 1e-6


def test_calibration_gives_coefficients_of_this_shape():
    found, deviations = calibrate(lmax=1, call_seconds=1e-4, repeats=1)
    assert set(found) == {"cpu", "generic"}
    for kind, make in {**PLANS, "code": PLANS["contraction"]}.items():
        coefficients = found["cpu"]["float64"][kind]
        assert len(coefficients) == len(amounts(make(1))[1])
        assert min(coefficients) >= 0 < max(coefficients)
    assert all(0 <= deviation < 10 for deviation in deviations.values())
