"""Times of kernels inside of loops."""

from __future__ import annotations

from pathlib import Path

import pytest
from strategies import tolerance

from benchmarks.inline import CASES, main, measure


@pytest.mark.parametrize("name", ["harmonics to degree 2", "Gaunt 2", "channelwise 2, 32 channels"])
def test_a_measurement_is_checked(name: str) -> None:
    found = measure(name, "float32")
    assert min(found.compiled, found.loop, found.call) > 0
    assert 0 <= found.difference < tolerance("float32")


def test_the_command_writes_its_table(tmp_path: Path) -> None:
    main(["--cases", "Gaunt 1", "--folder", str(tmp_path)])
    lines = (tmp_path / "inline.md").read_text(encoding="utf-8").splitlines()
    assert [line.split(" | ")[:3] for line in lines[-2:]] == [
        ["| Gaunt 1", dtype, "21 terms"] for dtype in ("float32", "float64")
    ]
    assert "Gaunt 1" in CASES
