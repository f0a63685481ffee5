"""The command ``tpnumba advise``: what it prints and writes, and what it refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from studies.refusals import assert_refused

import tpnumba as tp
from tpnumba.cli import main
from tpnumba.studies.advice import advise as adviser
from tpnumba.studies.timing import interleaved

IRREPS = ["0e+1o+2e", "0e+1o+2e", "0e+1o+1e+2e"]


@pytest.fixture(autouse=True)
def quick_timing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adviser, "interleaved", lambda calls, **_: interleaved(calls, repeats=2, repeat_seconds=0.0))


def test_ranking_and_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "out.json"
    assert main(["advise", *IRREPS, "--must-couple", "1,1,1", "--must-couple", "1,1,2", "--json", str(path)]) == 0
    document = json.loads(path.read_text())
    assert document["machine"]["cores"] >= 1
    assert document["must_couple"] == [[1, 1, 1], [1, 1, 2]]
    wanted = tp.advise(*IRREPS, ["1,1,1", "1,1,2"]).as_dict()
    assert document["ranking"] == wanted["ranking"]
    printed = capsys.readouterr()
    assert printed.err == ""
    for statement in wanted["said"]:
        assert statement in printed.out
    rows = [line for line in printed.out.splitlines() if line.startswith("  ") and "gives up" not in line]
    shown = [" ".join(line.split()) for line in rows if line.strip()]
    for row, entry in zip(shown, document["ranking"], strict=True):
        assert row.startswith(f"{entry['product']} {entry['method']} ")


def test_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "out.json"
    options = ["--batch", "20", "--dtype", "float64", "--backend", "generic", "--measure"]
    assert main(["advise", *IRREPS, "--must-couple", "all", *options, "--json", str(path)]) == 0
    document = json.loads(path.read_text())
    chosen = {name: document[name] for name in ("measured", "batch", "dtype", "backend")}
    assert chosen == {"measured": True, "batch": 20, "dtype": "float64", "backend": "generic"}
    assert len(document["must_couple"]) == 13
    assert "times measured; batch 20, float64, backend generic" in capsys.readouterr().out


def test_from_a_shell_with_a_narrow_terminal() -> None:
    command = [sys.executable, "-m", "tpnumba", "advise", "0e+1o+1e", "0e+1o", "0e", "--must-couple", "1,1,0"]
    environment = {**os.environ, "COLUMNS": "40", "LINES": "25", "TTY_COMPATIBLE": "1", "NO_COLOR": "1", "TERM": "dumb"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0
    assert "Nothing cheaper than the complete product" in " ".join(done.stdout.split())
    assert max(map(len, done.stdout.splitlines())) <= 40


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([*IRREPS], "--must-couple"),
        (["0e", "0e", "--must-couple", "0,0,0"], "IRREPS_OUT"),
        ([*IRREPS, "--must-couple", "1,1"], "must_couple must have triples"),
        ([*IRREPS, "--must-couple", "0,1,2"], "0,1,2, which is no triangle"),
        (["0e+1x", "0e", "0e", "--must-couple", "0,0,0"], "1x"),
        ([*IRREPS, "--must-couple", "1,1,1", "--batch", "0"], "--batch"),
        ([*IRREPS, "--must-couple", "1,1,1", "--dtype", "float16"], "float16"),
        ([*IRREPS, "--must-couple", "1,1,1", "--backend", "quantum"], "quantum"),
        ([*IRREPS, "--must-couple", "1,1,1", "--backend", "gpu", "--measure"], "backend 'gpu' needs"),
        ([*IRREPS, "--must-couple", "1,1,1", "--json", "no/such/folder/out.json"], "out.json cannot be written"),
        ([*IRREPS, "--must-couple", "1,1,1", "--json", "."], "is a directory"),
    ],
)
def test_errors_are_one_line(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert_refused(["advise", *arguments], message, capsys)
    assert not list(tmp_path.iterdir())
