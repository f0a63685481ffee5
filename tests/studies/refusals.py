"""How the command refuses what it cannot do."""

from __future__ import annotations

import pytest

from tpnumba.cli import main


def assert_refused(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Hold that the command prints one line of error, with ``message`` in it, and exits with code 2."""
    try:
        code = main(arguments)
    except SystemExit as exit_:
        code = exit_.code
    printed = capsys.readouterr()
    assert code == 2
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert message in printed.err
