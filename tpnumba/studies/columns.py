"""Rows of words as columns on the terminal."""

from __future__ import annotations

from collections.abc import Collection, Sequence


def print_columns(rows: Sequence[Sequence[str]], *, left: Collection[int] = (0,)) -> None:
    """Print rows of equal length, each column as wide as its longest word; those ``left`` begin together."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = (
            cell.ljust(width) if column in left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        print("  ".join(cells).rstrip())
