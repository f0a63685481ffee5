"""What the study of methods makes of times."""

from __future__ import annotations

import io
import json

import pytest

from benchmarks import methods
from benchmarks.growth import choices, exponents, growth_verdicts
from benchmarks.kinds import ON_SPHERE
from benchmarks.methods import MethodOptions
from tpnumba.studies.registry import CONTENDERS, PRODUCTS


def case(seconds: dict[str, float], lmax: int = 4, auto: str = "grid", study: str = "methods", **more: object) -> dict:
    runs = [{"method": method, "lmax": lmax, "seconds": value} for method, value in seconds.items()]
    known = {"name": "case", "kind": "gaunt", "setting": "MIMO", "dtype": "float32", "status": "timed"}
    return known | {"study": study, "auto": auto, "runs": runs} | more


def test_exponents_are_those_of_the_larger_degrees() -> None:
    cases = [case({"direct": L**4.5, "grid": 100.0 if L < 8 else L**2.5}, lmax=L) for L in (1, 2, 4, 8, 10, 16)]
    others = [
        case({"grid": 1.0}, lmax=16, setting="SISO"),
        case({"grid": 1.0}, lmax=16, dtype="float64"),
        {"study": "methods", "status": "empty"},
    ]
    direct, grid = exponents(cases + others)
    assert (direct["method"], direct["theory"], grid["method"], grid["theory"]) == ("direct", 5, "grid", 3)
    assert direct["exponent"] == pytest.approx(4.5)
    assert grid["exponent"] == pytest.approx(2.5)
    assert grid["fitted"] == [8, 10, 16]


def test_one_degree_has_no_exponent() -> None:
    (entry,) = exponents([case({"matrix": 1.0})])
    assert entry["exponent"] is None


@pytest.mark.parametrize(("power", "must", "aim"), [(2.9, True, True), (3.2, True, False), (3.4, False, False)])
def test_growth_of_the_grid(power: float, must: bool, aim: bool) -> None:
    runs = [{"lmax": L, "seconds": L**power, "error": 0.0, "expressivity": 1} for L in (16, 32, 64)]
    found = growth_verdicts([case({}, study="growth") | {"runs": runs}])
    assert [(entry["from"], entry["to"]) for entry in found] == [(16, 32), (16, 64)]
    for entry in found:
        assert entry["exponent"] == pytest.approx(power)
        assert (entry["met_must"], entry["met_aim"]) == (must, aim)


def test_misses_of_auto_are_those_more_than_a_fifth_slower() -> None:
    cases = [
        case({"direct": 1.0, "grid": 1.19}, name="near"),
        case({"direct": 1.0, "grid": 1.21}, name="missed"),
        case({"direct": 1.0, "grid": 3.0}, name="far"),
        *(case({"direct": 2.0, "grid": 1.0}, name="right") for _ in range(7)),
    ]
    found = choices(cases)
    assert [(miss["name"], miss["auto"], miss["fastest"]) for miss in found["misses"]] == [
        ("far", "grid", "direct"),
        ("missed", "grid", "direct"),
    ]
    assert (found["cases"], found["share"], found["met"]) == (10, 0.8, False)
    assert choices(cases[:1] + cases[3:])["met"]
    assert choices([])["share"] is None


def test_every_method_of_every_product_on_the_sphere_is_a_case() -> None:
    options = MethodOptions(quick=False, patterns=("methods-*",), threads=1, repeats=1, seconds=1.0)
    found = {
        (ON_SPHERE[entry.kind], method, entry.setting, entry.dtype, L)
        for entry in options.cases
        for method in entry.methods
        for L in entry.lmaxes
    }
    wanted = {
        (contender.product, contender.method, setting, dtype, L)
        for contender in CONTENDERS
        if contender.product != "Clebsch-Gordan"  # whose methods benchmarks/complete.py counts and times
        for setting in ("SISO", "SIMO", "MIMO")
        for dtype in ("float32", "float64")
        for L in range(1, 9)
    }
    assert wanted <= found
    assert {L for *_, L in found - wanted} == {10, 12, 16}
    assert {product.name for product in PRODUCTS} - set(ON_SPHERE.values()) == {"Clebsch-Gordan"}


@pytest.mark.parametrize(("factor", "status"), [(1.0, "timed"), (1.001, "wrong")])
def test_a_method_that_computes_something_else_is_noticed(
    factor: float, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    product = methods._product

    class Spoiled:
        def __init__(self, p: object) -> None:
            self.p = p

        def __call__(self, *samples: object, **named: object) -> object:
            return self.p(*samples, **named) * factor

        def __getattr__(self, name: str) -> object:
            return getattr(self.p, name)

    def spoil(kind: str, setting: str, method: str, lmax: int) -> object:
        found = product(kind, setting, method, lmax)
        return Spoiled(found) if method == "grid" else found

    monkeypatch.setattr(methods, "_product", spoil)
    options = MethodOptions(quick=True, patterns=("methods-gaunt-mimo-2-float64",), threads=1, repeats=1, seconds=60.0)
    stream = io.StringIO()
    methods._run(options, stream)
    assert json.loads(stream.getvalue())["status"] == status


def test_cases_are_chosen_by_patterns() -> None:
    options = MethodOptions(
        quick=True, patterns=("methods-gaunt-siso-2-*", "growth-*"), threads=1, repeats=1, seconds=1.0
    )
    assert [entry.name for entry in options.cases] == [
        "growth-gaunt-mimo-2-3-4-float32",
        "methods-gaunt-siso-2-float32",
        "methods-gaunt-siso-2-float64",
    ]
    assert MethodOptions.read(options.write()) == options
