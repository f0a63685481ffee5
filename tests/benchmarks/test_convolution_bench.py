"""The comparison of convolutions runs to its end and writes what it promises; what the times are is not asked here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.bars import CONVOLUTION, CONVOLUTION_MEMORY
from benchmarks.convolution import verdicts
from benchmarks.convolution_worker import OURS
from benchmarks.peers import CONVOLUTION_PEERS

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="memory is asked of Linux")
def test_runs_and_writes(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.convolution", "--peers", "generic", "--repeats", "1"]
    command += ["--nodes", "200", "--neighbours", "10", "--channels", "16", "--output", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    (report,) = tmp_path.glob("convolution-*.md")
    document = json.loads(report.with_suffix(".json").read_text(encoding="utf-8"))
    works = {(work["peer"], work["measure"], work["task"], work["edges"]): work for work in document["measured"]}
    assert {work["status"] for work in works.values()} == {"measured"}
    tasks = ("forward", "both")
    assert set(works) == {("generic", "times", task, 2_000) for task in tasks} | {
        (peer, "memory", task, edges) for peer in (OURS, "generic") for task in tasks for edges in (2_000, 8_000)
    }
    for work in works.values():
        if work["measure"] == "times":
            assert all(time["seconds"] > 0 and time["error"] < 1e-5 for time in work["times"].values())
    messages = 4 * 2_000 * 688  # 43 blocks of 16 channels
    for task in tasks:
        ours, generic = (works[peer, "memory", task, 8_000]["bytes"] for peer in (OURS, "generic"))
        assert ours < 2**20 * 2 < 4 * messages < generic  # an array of messages is what is saved
    assert document["bars"] == []  # there was no peer that counts
    text = report.read_text(encoding="utf-8")
    assert all(part in text for part in ("## Time (ms)", "tpnumba, generic", "2,000 edges", "8,000 edges"))


def test_bars_are_held_against_the_best_peer() -> None:
    def timed(peer: str, seconds: float) -> dict[str, object]:
        times = {OURS: {"seconds": 1.0}, peer: {"seconds": seconds}}
        return {"peer": peer, "measure": "times", "task": "both", "edges": 10, "status": "measured", "times": times}

    def memory(peer: str, size: int, edges: int) -> dict[str, object]:
        return {"peer": peer, "measure": "memory", "task": "both", "edges": edges, "status": "measured", "bytes": size}

    works = [timed("e3nn", 9.0), timed("cue-jax", 5.0), timed("generic", 2.0)]
    works += [
        memory(peer, size, edges) for edges in (10, 40) for peer, size in ((OURS, 2), ("e3nn", 50), ("generic", 3))
    ]
    failed = {"peer": "e3nn-jax", "measure": "times", "task": "both", "edges": 10, "status": "failed"}
    time, *others = verdicts([*works, failed])
    assert (time["bar"], time["ratio"], time["best"]) == (CONVOLUTION.title, 5.0, "cue-jax")
    assert (time["met_must"], time["met_aim"]) == (True, False)
    assert [(entry["bar"], entry["edges"], entry["ratio"]) for entry in others] == [
        (CONVOLUTION_MEMORY.title, edges, 25.0) for edges in (10, 40)
    ]
    assert all(entry["met_aim"] for entry in others)
    assert "generic" in CONVOLUTION_PEERS
