"""The command for a GPU, as far as it goes without one: what it says then, its works, its clock, and its report."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import gpu, gpu_worker
from benchmarks.gpu_report import markdown
from benchmarks.works import Task
from tpnumba.backends.gpu import missing

ROOT = Path(__file__).parents[2]


def command(*options: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "benchmarks.gpu", *options]
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False, env=dict(os.environ))


@pytest.mark.skipif(missing() is None, reason="there is a GPU")
def test_without_a_gpu_it_says_so_and_fails(tmp_path):
    done = command("--output", str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.startswith("nothing was run: backend 'gpu' needs")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("option", [("--minutes", "0"), ("--minutes", "few"), ("--hours", "1")])
def test_wrong_options_are_refused(option):
    done = command(*option)
    assert done.returncode == 2
    assert option[0] in done.stderr


def test_the_works_are_those_promised():
    listed = list(gpu.works())
    assert len({work.name for work in listed}) == len(listed)
    aims = {work.name: work.aim for work in listed if work.aim is not None}
    assert [aims[f"full L={L}"] for L in (2, 4, 6, 8, 10)] == [10, 15, 40, 100, 250]
    assert [aims[f"gaunt L={L}"] for L in (2, 4, 6, 8, 10)] == [8, 12, 20, 35, 60]
    assert aims["full L=4, a million"] == 0.8
    assert gpu.CONVOLUTION.product.weight_numel == gpu.CONVOLUTION.operands().weights.shape[1]


def test_a_work_is_described_with_its_backend():
    found = {work.name: gpu.describe(work, work.build()) for work in gpu.works() if "L=2" in work.name}
    assert all(entry["backend"] == "gpu" and entry["flops"] > 0 for entry in found.values())
    assert found["Gaunt, grid L=2 gradients"]["task"] == Task.BACKWARD


def test_the_clock_of_peers():
    now = [0.0]
    calls = []

    def call():
        calls.append(None)
        now[0] += 0.01

    assert gpu_worker.queued(call, lambda: None, clock=lambda: now[0]) == pytest.approx(0.01)
    assert len(calls) > 5 * 18


class Host:
    """Stands for the device: NumPy arrays, and a clock that calls."""

    def array(self, values):
        return values

    def host(self, array):
        return array

    def seconds(self, function):
        function()
        return 1e-3


@pytest.mark.parametrize("task", [Task.FORWARD, Task.BACKWARD])
@pytest.mark.parametrize("name", ["full L=2", "channelwise"])
def test_a_work_is_checked_and_timed(name, task):
    chosen = next(work for work in gpu.works() if work.name == name)
    limits = {"bytes_per_second": 1e12, "flops_per_second": 1e12}
    entry = gpu.measure(replace(chosen, batch=70, task=task), Host(), limits)
    assert entry["status"] == "timed"
    assert 0 < entry["error"] < 1e-5
    assert entry["microseconds"] == 1e3
    assert entry["bandwidth_share"] == pytest.approx(entry["bytes"] / 1e9)
    assert entry["aim"] is None or entry["met"] is False


@pytest.fixture
def document():
    timed = {"status": "timed", "batch": 10, "dtype": "float32", "backend": "gpu", "error": 1e-7, "expressivity": 85}
    shares = {"bandwidth_share": 0.5, "flops_share": 0.25}
    return {
        "device": "NVIDIA Imaginary 1",
        "machine": {"processor": "none"},
        "commit": "c0ffee",
        "kernels": "5ca1e",
        "tests": {"status": "passed", "said": "100 passed"},
        "limits": {"bytes_per_second": 4e12, "flops_per_second": 6e13},
        "works": [
            {"name": "full L=4", "task": "forward", "aim": 15.0, "microseconds": 12.0, "met": True, **timed, **shares},
            {"name": "million", "task": "forward", "aim": 0.8, "microseconds": 9.0, "met": False, **timed, **shares},
            {
                "name": "other",
                "task": "forward",
                "aim": None,
                "microseconds": 3.0,
                **timed,
                **shares,
                "status": "wrong",
            },
            {"name": "late", "task": "forward", "aim": None, "status": "not run"},
        ],
        "peers": [
            {"peer": "e3nn", "name": "full L=4", "status": "timed", "error": 1e-6, "microseconds": 240.0},
            {"peer": "cue-torch", "name": "full L=4", "status": "not installed", "reason": "No module named cue"},
        ],
    }


def test_report(document, tmp_path):
    pytest.importorskip("matplotlib")
    gpu.write(document, tmp_path)
    stem = tmp_path / "gpu-nvidia-imaginary-1"
    assert json.loads(stem.with_suffix(".json").read_text(encoding="utf-8")) == document
    assert stem.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    text = stem.with_suffix(".md").read_text(encoding="utf-8")
    assert text == markdown(document, "gpu-nvidia-imaginary-1.png")
    for said in (
        "# tpnumba on NVIDIA Imaginary 1",
        "| commit of the kernels | c0ffee |",
        "15 us, met",
        "80% of bandwidth, missed",
        "(WRONG)",
        "| late |  |  | not run |",
        "| full L=4 | e3nn | 240.0 | 12.0 | 20.00 | timed, error 1e-06 |",
        "not installed: No module named cue",
    ):
        assert said in text


def test_a_peer_that_fails_or_is_late_is_an_entry():
    assert gpu.run_peer("nobody", "full L=2", 100)["status"] == "failed"
    assert gpu.run_peer("e3nn", "full L=2", 1) == {
        "peer": "e3nn",
        "name": "full L=2",
        "status": "not run",
        "reason": "the time was over",
    }
