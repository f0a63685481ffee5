"""What the arguments of commands have in common."""

from __future__ import annotations

import argparse
from collections.abc import Callable

#: Those that take NumPy arrays, which is what is timed.
NUMPY_BACKENDS = ("auto", "generic", "cpu")


def whole_number(least: int) -> Callable[[str], int]:
    """A reader of integers of at least ``least``."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least:
            raise argparse.ArgumentTypeError(f"must be an integer of at least {least}, got {text!r}")
        return value

    return read
