"""Progress with the time left, on a clock of our own."""

from __future__ import annotations

import pytest

from tpnumba.studies.progress import progress_with_time


def test_without_a_terminal_there_is_a_line_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    now = 0.0
    with progress_with_time("work", clock=lambda: now) as report:
        for seconds, done in ((0.0, 0), (4.0, 100), (12.0, 250), (20.0, 500), (32.0, 800), (40.0, 1000)):
            now = seconds
            report(f"part {done}", done, 1000)
    printed = capsys.readouterr()
    assert printed.out == ""
    # A line at once, then one that is ten seconds later than the last; the end says itself.
    assert printed.err.splitlines() == [
        "part 0: 0% done",
        "part 250: 25% done, about 36 s left",
        "part 800: 80% done, about 8 s left",
    ]


@pytest.mark.parametrize(
    ("seconds", "left"), [(5.0, "about 45 s left"), (20.0, "about 3 min left"), (1000.0, "about 2.5 h left")]
)
def test_the_time_left_is_that_of_the_rest(seconds: float, left: str, capsys: pytest.CaptureFixture[str]) -> None:
    now = 0.0
    with progress_with_time("work", clock=lambda: now) as report:
        now = seconds
        report("part", 1, 10)
    assert capsys.readouterr().err == f"part: 10% done, {left}\n"


def test_nothing_to_do_is_done() -> None:
    with progress_with_time("work") as report:
        report("done", 0, 0)
