"""The convolution over the edges of a graph against its peers: time, and memory that is taken meanwhile.

``python -m benchmarks.convolution`` writes ``convolution-cpu-PROCESSOR.json`` and ``.md``. The work is that of
interatomic potentials: 64 channels of degrees 0 to 2, harmonics to degree 3, 2,000 nodes with 20 neighbours, weights
for each edge; forward, and forward with the gradients of all arguments, in float32. Each peer has a process of its own,
in which it and tpnumba are timed in turns; memory has one more for each peer and number of edges.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

from benchmarks.bars import CONVOLUTION, CONVOLUTION_MEMORY, Bar
from benchmarks.convolution_worker import OURS, ConvolutionOptions, describe
from benchmarks.options import start_process
from benchmarks.peers import CONVOLUTION_PEERS
from benchmarks.tables import table
from benchmarks.works import Task
from tpnumba.outputs import write_whole
from tpnumba.studies.machine import describe_machine

#: Memory is measured at so many times the edges.
_SHARES = (1, 4)
#: Malloc hands memory back as soon as it is free, so that the peak of a call can be told from what was there before.
_MALLOC = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
#: Not among the peers that the bars are held against.
_NO_PEER = "generic"

Entry = dict[str, Any]


def main() -> int:
    """Run the benchmark; the exit status is 1 if something failed."""
    options = _read_options()
    machine = describe_machine()
    asked = {
        peer: ConvolutionOptions(
            quick=False,
            patterns=(),
            threads=int(machine["cores"]),
            repeats=options.repeats,
            seconds=60 * options.minutes,
            peer=peer,
            measure="times",
            nodes=options.nodes,
            neighbours=options.neighbours,
            channels=options.channels,
        )
        for peer in (OURS, *options.peers)
    }
    works: list[Entry] = []
    for peer, one in asked.items():
        if peer != OURS:
            works += _measure(one)
        for share in _SHARES:
            works += _measure(_changed(one, measure="memory", neighbours=share * options.neighbours))
    document = {"machine": machine, "work": describe(asked[OURS]), "measured": works, "bars": verdicts(works)}
    stem = options.output / f"convolution-cpu-{_slug(str(machine['processor']))}"
    write_whole(f"{stem}.json", lambda stream: stream.write(json.dumps(document, indent=1).encode()))
    write_whole(f"{stem}.md", lambda stream: stream.write(markdown(document).encode()))
    print(f"{stem}.md", file=sys.stderr)
    return 1 if any(work["status"] == "failed" for work in works) else 0


def _read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.convolution", description=__doc__)
    parser.add_argument(
        "--peers", nargs="+", default=list(CONVOLUTION_PEERS), choices=list(CONVOLUTION_PEERS), metavar="PEER"
    )
    parser.add_argument("--repeats", type=int, default=9, help="of each time")
    parser.add_argument("--minutes", type=float, default=5.0, help="after which a peer begins no further repeats")
    parser.add_argument("--nodes", type=int, default=2_000)
    parser.add_argument("--neighbours", type=int, default=20, help="of each node")
    parser.add_argument("--channels", type=int, default=64)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results", metavar="FOLDER")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    return options


def _changed(options: ConvolutionOptions, **changes: Any) -> ConvolutionOptions:
    return ConvolutionOptions.read(json.dumps(json.loads(options.write()) | changes))


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "unknown"


def _measure(options: ConvolutionOptions) -> list[Entry]:
    """The lines of a process; where it ended early, that."""
    variables = _MALLOC if options.measure == "memory" else {}
    lines, ended = start_process(
        "benchmarks.convolution_worker", options.write(), 4 * options.seconds, options.threads, **variables
    )
    edges = options.nodes * options.neighbours
    for task in (Task.FORWARD, Task.BOTH)[len(lines) :]:
        entry = {"peer": options.peer, "measure": options.measure, "task": str(task), "edges": edges}
        lines.append({**entry, "status": "failed", "reason": ended or "it wrote nothing", "versions": {}})
    for line in lines:
        shown = line["reason"]
        if line["status"] == "measured" and options.measure == "times":
            shown = ", ".join(f"{name} {time['seconds'] * 1e3:.3g} ms" for name, time in line["times"].items())
        elif line["status"] == "measured":
            shown = _mebibytes(line["bytes"])
        print(f"[{options.peer}] {options.measure}, {line['task']}, {edges:,} edges: {shown}", file=sys.stderr)
    return lines


def verdicts(works: list[Entry]) -> list[Entry]:
    """The bars, each against the best of the peers that were measured."""
    found = []
    times = [work for work in _measured(works, "times", Task.BOTH) if work["peer"] != _NO_PEER]
    ratios = {work["peer"]: _ratio(work) for work in times}
    if ratios:
        found.append(_verdict(CONVOLUTION, ratios))
    memory = _measured(works, "memory", Task.BOTH)
    for edges in sorted({work["edges"] for work in memory}):
        taken = {work["peer"]: work["bytes"] for work in memory if work["edges"] == edges}
        ours = taken.pop(OURS, None)
        taken.pop(_NO_PEER, None)
        if ours and taken:
            ratios = {peer: size / ours for peer, size in taken.items()}
            found.append(_verdict(CONVOLUTION_MEMORY, ratios) | {"edges": edges})
    return found


def _verdict(bar: Bar, ratios: dict[str, float]) -> Entry:
    best = min(ratios, key=lambda peer: ratios[peer])
    ratio = ratios[best]
    return {"bar": bar.title, "ratio": ratio, "best": best, "met_must": ratio >= bar.must, "met_aim": ratio >= bar.aim}


def _measured(works: list[Entry], measure: str, task: Task) -> list[Entry]:
    return [
        work
        for work in works
        if work["status"] == "measured" and work["measure"] == measure and work["task"] == str(task)
    ]


def _ratio(work: Entry) -> float:
    return float(work["times"][work["peer"]]["seconds"] / work["times"][OURS]["seconds"])


def _mebibytes(size: float) -> str:
    return f"{size / 2**20:,.1f} MiB"


_METHOD = """\
Each peer has a process of its own, in which it and tpnumba are timed in turns; a ratio is of two times of one process.
Times are medians with half the distance between the quartiles, of calls after the first, so that tracing and compiling
are not in them. An error is the greatest deviation of any number from the float64 reference (gather, product of the
reference backend, `np.add.at`), relative to the greatest number of its array; beyond rounding it makes the run fail.

Memory is that of a further process for each peer and number of edges: the peak of the resident memory during a call,
less what was there before it (operands, edges, what was compiled) and less the results. To tpnumba's the tiles of its
threads are added, which are there before. The best peer of a bar is the one with the smallest ratio; `generic` is no
peer."""


def markdown(document: Entry) -> str:
    """The report."""
    machine, work, works = document["machine"], document["work"], document["measured"]
    versions = {name: v for entry in works for name, v in entry["versions"].items()}
    described = ", ".join(f"{key} {value}" for key, value in (machine | versions).items())
    title = f"# A convolution and its peers on {machine['processor']}"
    size = (
        f"{work['channels']}x(0e + 1o + 2e), harmonics to degree 3, out 0e + 1o + 2e, {work['nodes']:,} nodes,"
        f" {work['neighbours']} neighbours, weights for each edge, float32, {work['threads']} threads, medians of"
        f" {work['repeats']} repeats in turns. {described}."
    )
    bars = [
        f"- {entry['bar']}{', {:,} edges'.format(entry['edges']) if 'edges' in entry else ''}:"
        f" {entry['ratio']:.1f}x against {entry['best']};"
        f" {'aim met' if entry['met_aim'] else 'must met' if entry['met_must'] else '**missed**'}"
        for entry in document["bars"]
    ]
    missing = [
        f"- {entry['peer']}, {entry['measure']}, {entry['task']}, {entry['edges']:,} edges: {entry['reason']}"
        for entry in works
        if entry["status"] != "measured"
    ]
    parts = [title, size, _METHOD, "## The bars", "\n".join(bars) or "None could be judged.", "## Time (ms)"]
    parts += [_times_table(works), "## Memory beyond operands, results and edges", _memory_table(works)]
    return "\n\n".join([*parts, *(["## What is missing", "\n".join(missing)] if missing else [])]) + "\n"


def _times_table(works: list[Entry]) -> str:
    rows = []
    for task in (Task.FORWARD, Task.BOTH):
        for entry in _measured(works, "times", task):
            cells = [
                f"{time['seconds'] * 1e3:.3g} ± {time['spread'] * 1e3:.2g} ({time['error']:.0e})"
                for time in (entry["times"][OURS], entry["times"][entry["peer"]])
            ]
            rows.append([str(task), _label(entry["peer"]), *cells, f"{_ratio(entry):.1f}x"])
    return table(["task", "peer", "tpnumba (error)", "peer (error)", "ratio"], rows)


def _memory_table(works: list[Entry]) -> str:
    memory = [entry for task in (Task.FORWARD, Task.BOTH) for entry in _measured(works, "memory", task)]
    sizes = sorted({entry["edges"] for entry in memory})
    taken = {(entry["task"], entry["peer"], entry["edges"]): _mebibytes(entry["bytes"]) for entry in memory}
    lines = dict.fromkeys((task, peer) for task, peer, _ in taken)
    rows = [[task, _label(peer), *(taken.get((task, peer, size), "-") for size in sizes)] for task, peer in lines]
    return table(["task", "peer", *(f"{size:,} edges" for size in sizes)], rows)


def _label(peer: str) -> str:
    return peer if peer == OURS else CONVOLUTION_PEERS[peer].label


if __name__ == "__main__":
    sys.exit(main())
