"""The full run of the Tetris experiment, in small: it ends and writes what it promises."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tpnumba.studies.tetris.training import PRODUCTS

ROOT = Path(__file__).parents[2]


def test_runs_and_writes(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.tetris", "--seeds", "1", "--steps", "2", "--hidden-lmax", "1"]
    done = subprocess.run(
        [*command, "--output", str(tmp_path)], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    (report,) = tmp_path.glob("tetris-*.md")
    document = json.loads(report.with_suffix(".json").read_text(encoding="utf-8"))
    assert [run["product"] for run in document["runs"]] == [name for name, _ in PRODUCTS.values()]
    text = report.read_text(encoding="utf-8")
    for run in document["runs"]:
        line = next(line for line in text.splitlines() if line.startswith(f"| {run['product']} |"))
        assert f"| {run['correct']} of 8 |" in line
    assert f"]({report.with_suffix('.png').name})" in text
    assert report.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
