"""The check of the adviser: what it draws, and what it makes of times."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import tpnumba as tp
from benchmarks import advice
from benchmarks.advice import judge, report, requirements, verdict
from tpnumba.studies.registry import CONFIGURATIONS


def test_requirements_are_not_what_the_model_was_fitted_to() -> None:
    drawn = list(requirements(12, 3, seed=0))
    assert drawn == list(requirements(12, 3, seed=0))
    assert len(set(drawn)) == 12
    fitted = {configuration.degrees(L) for configuration in CONFIGURATIONS for L in range(10)}
    for asked in drawn:
        degrees = tuple(
            tuple(sorted(set(tp.Irreps(irreps).ls)))
            for irreps in (asked.irreps_in1, asked.irreps_in2, asked.irreps_out)
        )
        assert degrees not in fitted
        products = {choice.product for choice in asked.advise().ranking}
        assert len(products) > 1


def test_the_first_choice_is_held_against_the_best_that_was_measured() -> None:
    (asked,) = requirements(1, 2, seed=0)
    ranking = asked.advise().ranking
    ticks = iter(range(10**6))
    entry = judge(asked, clock=lambda: float(next(ticks)), repeats=1)  # every call takes one second
    assert entry["first"] == [ranking[0].product, ranking[0].method]
    assert [tuple(name) for *name, _ in entry["seconds"]] == [(choice.product, choice.method) for choice in ranking]
    assert {seconds for *_, seconds in entry["seconds"]} == {1 / asked.batch}
    assert entry["slower"] == 1.0


def entry(slower: float) -> dict:
    words = {"irreps_in1": "0e", "irreps_in2": "0e", "irreps_out": "0e", "must_couple": ["0,0,0"], "dtype": "float32"}
    return {**words, "batch": 10, "first": ["Gaunt", "grid"], "best": ["matrix", "matrix"], "slower": slower}


def test_misses_are_those_more_than_a_fifth_slower() -> None:
    found = verdict([entry(1.0)] * 8 + [entry(1.19), entry(1.21)])
    assert (found["requirements"], found["share"], found["met"]) == (10, 0.9, True)
    assert [miss["slower"] for miss in found["misses"]] == [1.21]
    worse = verdict([entry(1.0), entry(1.5), entry(2.5)])
    assert [miss["slower"] for miss in worse["misses"]] == [2.5, 1.5]
    assert not worse["met"]
    text = report({"verdict": worse, "measured": "time", "machine": {"processor": "abacus"}})
    assert "33.3%" in text
    assert "2.50x" in text


def test_the_script_writes_what_it_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["advice", "--requirements", "2", "--lmax", "2", "--output", str(tmp_path)])
    monkeypatch.setattr(advice, "interleaved", lambda calls, **_: {name: Second() for name in calls})
    assert advice.main() == 0
    document = json.loads((tmp_path / "advice-cpu.json").read_text())
    assert len(document["entries"]) == document["verdict"]["requirements"] == 2
    assert (tmp_path / "advice-cpu.md").read_text().startswith("# The adviser's first choice")


class Second:
    """A time."""

    seconds = 1.0
