"""The comparison with peers runs to its end and writes what it promises; what the numbers are is not asked here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    command = [sys.executable, "-m", "benchmarks", "--quick", "--peers", "numpy", "--output", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert "[numpy 1/" in done.stderr
    return folder


def only(folder: Path, ending: str) -> Path:
    (found,) = folder.glob(f"cpu-*.{ending}")
    return found


def test_every_work_is_right_and_has_its_times(results: Path) -> None:
    document = json.loads(only(results, "json").read_text(encoding="utf-8"))
    assert document["works"]
    for work in document["works"]:
        assert work["status"] == "timed", work["reason"]
        assert {"tpnumba", "numpy"} <= set(work["times"])
        assert all(entry["seconds"] > 0 and entry["error"] < 1e-4 for entry in work["times"].values())
        assert work["expressivity"] > 0
    assert {work["task"] for work in document["works"]} == {"forward", "backward", "both"}
    assert {work["dtype"] for work in document["works"]} == {"float32", "float64"}


def test_every_bar_has_its_verdict_and_the_roofline_is_measured(results: Path) -> None:
    document = json.loads(only(results, "json").read_text(encoding="utf-8"))
    assert [entry["work"] for entry in document["bars"]] == [work["name"] for work in document["works"]]
    assert len({entry["bar"] for entry in document["bars"]}) == 7
    for entry in document["bars"]:
        assert set(entry["ratios"]) == {"numpy"}
        assert entry["met_must"] is (entry["shortfall"] is None)
    limits = document["peers"]["numpy"]["roofline"]
    assert limits["bytes_per_second"] > 0
    assert all(entry["share"] > 0 for entry in document["roofline"])


def test_report_and_figure(results: Path) -> None:
    report = only(results, "md").read_text(encoding="utf-8")
    for said in ("copy bandwidth", "must met", "expressivity", "e3j: was not asked for", only(results, "png").name):
        assert said in report
    assert only(results, "png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("option", [["--peers", "nobody"], ["--repeats", "few"]])
def test_unknown_options_are_refused(option: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", *option], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert option[1] in done.stderr
