"""The comparison with peers runs to its end and writes what it promises; what the numbers are is not asked here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.__main__ import added
from benchmarks.bars import BARS, HARMONICS, ROTATIONS, SPHERE_GRADIENT
from benchmarks.kinds import ON_SPHERE
from benchmarks.peers import PEERS
from benchmarks.product_works import registered

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    command = [sys.executable, "-m", "benchmarks", "--quick", "--output", str(folder), "--peers", "numpy", "numpy-plan"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    for process in ("numpy", "numpy-plan", "methods"):
        assert f"[{process} 1/" in done.stderr
    return folder


def only(folder: Path, ending: str) -> Path:
    (found,) = (path for path in folder.glob(f"cpu-*.{ending}") if not path.stem.endswith("-methods"))
    return found


def read(folder: Path) -> dict[str, Any]:
    return json.loads(only(folder, "json").read_text(encoding="utf-8"))


def test_every_work_is_right_and_has_its_times(results: Path) -> None:
    document = read(results)
    assert document["works"]
    for work in document["works"]:
        assert work["status"] == "timed", work["reason"]
        assert {"tpnumba", work["peer"]} <= set(work["times"])
        assert ("numpy" in work["times"]) is (work["kind"] in PEERS["numpy"].kinds)
        assert all(entry["seconds"] > 0 and entry["error"] < 1e-4 for entry in work["times"].values())
        assert work["expressivity"] > 0
    assert {work["task"] for work in document["works"]} == {"forward", "backward", "both"}
    assert {work["dtype"] for work in document["works"]} == {"float32", "float64"}


def test_every_bar_has_its_verdict_and_the_roofline_is_measured(results: Path) -> None:
    document = read(results)
    held = {work["name"]: work["bars"] for work in document["works"]}
    assert [(entry["work"], entry["bar"]) for entry in document["bars"]] == [
        (name, bar) for name, bars in held.items() for bar in bars
    ]
    not_asked = {HARMONICS.title, ROTATIONS.title, SPHERE_GRADIENT.title}  # of these two peers
    assert {entry["bar"] for entry in document["bars"]} == {bar.title for bar in BARS} - not_asked
    judged = {bar.title: bar.against for bar in BARS}
    for entry in document["bars"]:
        against = judged[entry["bar"]]
        assert all(against is None or peer in against for peer in entry["ratios"])
        assert entry["met_must"] is (entry["shortfall"] is None)
    assert {tuple(entry["ratios"]) for entry in document["bars"]} == {("numpy",), ("numpy-plan",), ()}
    limits = document["peers"]["numpy"]["roofline"]
    assert limits["bytes_per_second"] > 0
    assert all(entry["share"] > 0 for entry in document["roofline"])


def test_every_method_has_its_time_error_and_expressivity(results: Path) -> None:
    document = read(results)
    timed = [case for case in document["methods"] if case["status"] == "timed"]
    assert {case["kind"] for case in timed} == set(ON_SPHERE)
    assert {(case["kind"], case["setting"]) for case in document["methods"] if case["status"] != "timed"} == {
        ("gaunt", "SISO"),  # of odd degree: 1 + 1 + 1 is odd
        ("bracket", "SISO"),
    }
    for case in timed:
        assert case["study"] == "growth" or case["auto"] in case["methods"]
        assert [run["method"] for run in case["runs"]] == list(case["methods"]) * len(case["lmaxes"])
        for run in case["runs"]:
            assert run["seconds"] > 0
            assert run["error"] < (1e-4 if case["dtype"] == "float32" else 1e-12)
            assert run["expressivity"] > 0
    assert document["auto"]["cases"] == len([case for case in timed if case["study"] == "methods"])
    assert {(entry["kind"], entry["method"]) for entry in document["exponents"]} == {
        (kind, method) for kind, name in ON_SPHERE.items() for method in registered(name).methods
    }
    assert len(document["growth"]) == 2


def test_report_and_figures(results: Path) -> None:
    report = only(results, "md").read_text(encoding="utf-8")
    (methods,) = results.glob("cpu-*-methods.png")
    saids = ("copy bandwidth", "must met", "expressivity", "e3j: was not asked for", "What `auto` missed", "theory")
    for said in (*saids, only(results, "png").name, methods.name):
        assert said in report
    for figure in (only(results, "png"), methods):
        assert figure.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("option", [["--peers", "nobody"], ["--repeats", "few"]])
def test_unknown_options_are_refused(option: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", *option], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert option[1] in done.stderr


def test_a_later_run_adds_what_it_timed():
    def work(peer: str, name: str, status: str, seconds: float = 0.0) -> dict[str, Any]:
        return {"peer": peer, "name": name, "status": status, "times": {"tpnumba": seconds}}

    before = {
        "quick": False,
        "peers": {"a": 1},
        "methods": [],
        "works": [work("a", "x", "timed", 1.0), work("a", "y", "not run")],
    }
    later = [work("a", "x", "not run"), work("a", "y", "timed", 2.0), work("b", "x", "timed", 3.0)]
    found = added(before, {"quick": False, "peers": {"a": 2, "b": 3}, "methods": [], "works": later})
    assert found["works"] == [before["works"][0], later[1], later[2]]
    assert found["peers"] == {"a": 1, "b": 3}
