"""What the arguments of commands have in common."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

from tpnumba.plans.base import ITEMSIZE

#: Those that take NumPy arrays, which is what is timed.
NUMPY_BACKENDS = ("auto", "generic", "cpu")


def add_dtype(parser: argparse.ArgumentParser, of: str) -> None:
    """Add ``--dtype``; ``of``: what has it."""
    shown = f"of the {of} (default: float32)"
    parser.add_argument("--dtype", choices=tuple(ITEMSIZE), default="float32", help=shown)


def add_calls(
    parser: argparse.ArgumentParser,
    *,
    batch: int,
    samples: str = "samples",
    of: str = "run",
    products: str = "products",
    backends: Sequence[str] = NUMPY_BACKENDS,
) -> None:
    """Add ``--batch``, ``--dtype`` and ``--backend``: how products are called.

    Args:
        parser: that of the command.
        batch: the default of ``--batch``.
        samples, of, products: what help calls the samples, what has a dtype, and what a backend runs.
        backends: to choose from.
    """
    shown = f"{samples} (default: {batch})"
    parser.add_argument("--batch", type=whole_number(1), default=batch, metavar="N", help=shown)
    add_dtype(parser, of)
    parser.add_argument("--backend", choices=backends, default="auto", help=f"what runs the {products} (default: auto)")


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
