"""Whole calls are timed prepared and the usual way, and judged."""

from __future__ import annotations

import pytest

from benchmarks import calls
from tpnumba.backends.prepared import PreparedCalls
from tpnumba.products import base
from tpnumba.studies.timing import Timing


@pytest.mark.parametrize("samples", calls.SAMPLES)
def test_what_is_timed_is_prepared_or_not(samples, monkeypatch):
    seen = []
    usual, evaluate = base.evaluate, PreparedCalls.evaluate
    monkeypatch.setattr(base, "evaluate", lambda *arguments: seen.append(1) or usual(*arguments))
    work = next(calls.works(samples, "float32"))

    def timed(functions, *, repeats):
        found = {}
        for name, function in functions.items():
            seen.clear()
            function()
            found[name] = Timing(float(len(seen)), 0.0, repeats)
        return found

    monkeypatch.setattr(calls, "interleaved", timed)
    prepared, other = calls.measure(work, 2)
    assert (prepared.seconds, other.seconds) == (0.0, 1.0)
    assert PreparedCalls.evaluate is evaluate


def test_the_table_says_which_bars_are_met():
    works = [work for work in calls.works(1, "float32") if work.is_judged]
    assert {work.name for work in works} >= {"FullTensorProduct, L = 1", "GauntTensorProduct, L = 3"}
    rows = [(works[0], Timing(taken * 1e-6, 0.0, 3), Timing(2e-5, 0.0, 3)) for taken in (2.4, 3.0, 4.5)]
    text = calls.report({"processor": "some"}, rows)
    assert [text.count(f"| {verdict} ") for verdict in ("aim met", "must met", "not met")] == [1, 1, 1]
    assert not any(work.is_judged for work in calls.works(100, "float32"))
