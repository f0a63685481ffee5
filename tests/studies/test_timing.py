"""The timing harness, on a clock of our own: nothing here depends on how busy the machine is."""

from __future__ import annotations

import pytest

from tpnumba.studies.timing import interleaved


class Clock:
    """Time that passes only when a function says so."""

    def __init__(self) -> None:
        self.now = 0.0
        self.calls: list[str] = []

    def __call__(self) -> float:
        return self.now

    def function(self, name: str, durations: list[float]):
        remaining = iter(durations)
        last = durations[-1]

        def run() -> None:
            self.calls.append(name)
            self.now += next(remaining, last)

        return run


def test_median_ignores_warm_up_and_outliers() -> None:
    clock = Clock()
    # warm-up, calibration, then five repeats of one call each
    slow = clock.function("slow", [50.0, 1.0, 1.0, 1.0, 9.0, 1.0, 1.0])
    timing = interleaved({"slow": slow}, repeats=5, repeat_seconds=0.5, clock=clock)["slow"]
    assert timing.seconds == 1.0
    assert timing.spread == 0.0
    assert timing.repeats == 5


def test_spread_is_half_the_distance_between_quartiles() -> None:
    clock = Clock()
    run = clock.function("a", [1.0, 1.0, 1.0, 2.0, 3.0, 4.0, 5.0])
    timing = interleaved({"a": run}, repeats=5, repeat_seconds=0.5, clock=clock)["a"]
    assert timing.seconds == pytest.approx(3.0)
    assert timing.spread == pytest.approx(1.0)


def test_repeats_are_interleaved_and_short_functions_called_often() -> None:
    clock = Clock()
    functions = {"a": clock.function("a", [0.01]), "b": clock.function("b", [0.004])}
    timings = interleaved(functions, repeats=3, repeat_seconds=0.02, clock=clock)
    assert "".join(clock.calls) == "aabb" + 3 * ("a" * 2 + "b" * 5)
    assert timings["a"].seconds == pytest.approx(0.01)
    assert timings["b"].seconds == pytest.approx(0.004)


def test_what_comes_before_each_repeat_is_not_timed() -> None:
    clock = Clock()
    come = []

    def before() -> None:
        come.append(len(clock.calls))
        clock.now += 7.0

    functions = {"a": clock.function("a", [1.0]), "b": clock.function("b", [1.0])}
    timings = interleaved(functions, repeats=2, before=before, clock=clock)
    assert come == [4, 5, 6, 7]  # two calls of each come first
    assert timings["a"].seconds == timings["b"].seconds == 1.0


def test_slow_functions_are_repeated_less_often_but_not_too_little() -> None:
    def repeats(limit_seconds: float) -> int:
        clock = Clock()
        functions = {"a": clock.function("a", [1.0]), "b": clock.function("b", [1.0])}
        timings = interleaved(functions, repeats=9, fewest=3, limit_seconds=limit_seconds, clock=clock)
        assert timings["a"].repeats == timings["b"].repeats
        return timings["a"].repeats

    assert [repeats(limit) for limit in (0.0, 8.0, 100.0)] == [3, 4, 9]


def test_one_repeat_has_no_spread() -> None:
    clock = Clock()
    assert interleaved({"a": clock.function("a", [1.0])}, repeats=1, clock=clock)["a"].spread == 0.0


def test_errors_of_the_function_come_through() -> None:
    def broken() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        interleaved({"broken": broken})
