"""Progress with the time left, on standard error: a bar on a terminal, and now and then a line elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tpnumba.studies.report import progress_bar

#: Between two lines where there is no terminal.
_LINE_SECONDS = 10.0


@contextmanager
def progress_with_time(
    what: str, *, clock: Callable[[], float] = time.monotonic
) -> Iterator[Callable[[str, int, int], None]]:
    """Yield what is called with a description, the work done and the work in all, in any unit.

    The time left is that of the work left, at the speed so far; so it is known once something is done.
    """
    start = clock()
    printed = start - _LINE_SECONDS
    is_terminal = sys.stderr is not None and sys.stderr.isatty()
    with progress_bar(what) as bar:

        def report(description: str, done: int, total: int) -> None:
            nonlocal printed
            now = clock()
            left = "" if done in (0, total) else f", {_readable((now - start) * (total - done) / done)} left"
            bar(f"{description}{left}", done, total)
            if not is_terminal and sys.stderr is not None and done < total and now - printed >= _LINE_SECONDS:
                printed = now
                print(f"{description}: {done / total:.0%} done{left}", file=sys.stderr, flush=True)

        yield report


def _readable(seconds: float) -> str:
    if seconds < 90:
        return f"about {max(seconds, 1):.0f} s"
    return f"about {seconds / 60:.0f} min" if seconds < 5400 else f"about {seconds / 3600:.1f} h"
