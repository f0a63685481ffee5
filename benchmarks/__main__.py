"""The command: a process for each peer, one after the other, and a file for each kind of reader."""

from __future__ import annotations

import argparse
import json
import re
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.figures import figure, methods_figure
from benchmarks.growth import choices, exponents, growth_verdicts
from benchmarks.methods import MethodOptions
from benchmarks.options import start_process
from benchmarks.peers import PEERS
from benchmarks.report import markdown
from benchmarks.verdicts import roofline_verdicts, verdicts
from benchmarks.worker import PeerOptions
from tpnumba.outputs import write_whole
from tpnumba.studies.machine import describe_machine

_RESULTS = Path(__file__).parent / "results"


def main() -> int:
    """Run the benchmark; the exit status is 1 if a result was wrong, or a method of ours failed."""
    options = _read_options()
    machine = describe_machine()
    before = _read_results(options, machine) if options.add else None
    works_and_peers = [_run_peer(name, options, int(machine["cores"])) for name in options.peers]
    document: dict[str, Any] = {
        "machine": machine,
        "quick": options.quick,
        "repeats": options.repeats,
        "threads": machine["cores"],
        "peers": {name: about for name, (about, _) in zip(options.peers, works_and_peers, strict=True)},
        "works": [work for _, works in works_and_peers for work in works],
        "methods": _run_methods(options, int(machine["cores"])),
    }
    if before is not None:
        document = added(before, document)
    document["bars"] = verdicts(document["works"])
    document["exponents"] = exponents(document["methods"])
    document["growth"] = growth_verdicts(document["methods"])
    document["auto"] = choices(document["methods"])
    document["roofline"] = roofline_verdicts(document["works"], document["peers"])
    _write(document, _stem(machine, options))
    wrong = [work for work in document["works"] if work["status"] == "wrong"]
    for work in wrong:
        print(f"wrong: {work['peer']}, {work['name']}: {work['reason']}", file=sys.stderr)
    failed = [case for case in document["methods"] if case["status"] in ("failed", "wrong")]
    for case in failed:
        print(f"{case['status']}: {case['name']}: {case['reason']}", file=sys.stderr)
    return 1 if wrong or failed else 0


def _read_results(options: argparse.Namespace, machine: dict[str, Any]) -> dict[str, Any]:
    """The results that are to be added to.

    Raises:
        ValueError: they are of another machine or other packages.
    """
    path = Path(f"{_stem(machine, options)}.json")
    before: dict[str, Any] = json.loads(path.read_bytes())
    if before["machine"] != machine:
        raise ValueError(f"--add: {path} is of {before['machine']}, this is {machine}")
    return before


def added(before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """Results with those of a later run, which count where something was timed, or nothing was known."""

    def joined(key: str, *names: str) -> list[dict[str, Any]]:
        found = {tuple(entry[name] for name in names): entry for entry in before[key]}
        for entry in now[key]:
            place = tuple(entry[name] for name in names)
            if entry["status"] in ("timed", "wrong", "failed") or place not in found:
                found[place] = entry
        return list(found.values())

    peers = now["peers"] | before["peers"]
    return {**before, "peers": peers, "works": joined("works", "peer", "name"), "methods": joined("methods", "name")}


def _read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="tpnumba against its peers, on the CPU.")
    parser.add_argument("--quick", action="store_true", help="few degrees, small batches, few repeats")
    parser.add_argument("--cases", nargs="+", default=["*"], metavar="PATTERN", help="such as 'gaunt-*' 'methods-*'")
    parser.add_argument("--peers", nargs="+", default=list(PEERS), choices=list(PEERS), metavar="PEER")
    parser.add_argument("--repeats", type=int, help="of each time; 9, or 3 if quick")
    parser.add_argument("--minutes", type=float, default=4.0, help="for each peer (some have half) and our methods")
    parser.add_argument("--prepare-seconds", type=float, default=30.0, help="for a peer to build and compile a case")
    parser.add_argument("--output", type=Path, default=_RESULTS, metavar="FOLDER")
    parser.add_argument("--add", action="store_true", help="add to the results of this machine that are in FOLDER")
    options = parser.parse_args()
    options.repeats = options.repeats or (3 if options.quick else 9)
    options.output.mkdir(parents=True, exist_ok=True)
    return options


def _run_peer(name: str, options: argparse.Namespace, threads: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What a worker says of the peer and of each work; where it ended early, that."""
    asked = PeerOptions(
        peer=name,
        quick=options.quick,
        patterns=tuple(options.cases),
        threads=threads,
        repeats=options.repeats,
        prepare_seconds=options.prepare_seconds,
        seconds=60 * options.minutes * PEERS[name].share,
    )
    about = {"label": PEERS[name].label, "missing": None, "versions": {}, "roofline": None}
    if not asked.works:
        return about, []
    lines, ended = start_process("benchmarks.worker", asked.write(), asked.seconds, threads)
    works = []
    for line in lines:
        if line.pop("line") == "peer":
            about |= {key: line[key] for key in ("missing", "versions", "roofline")}
        else:
            works.append(line)
    if about["missing"] is None and ended is not None:
        for work in asked.works[len(works) :]:
            works.append({"peer": name, **work.describe(), "status": "failed", "reason": ended, "times": {}})
    return about, works


def _run_methods(options: argparse.Namespace, threads: int) -> list[dict[str, Any]]:
    """The study of methods, case by case; it has the time of a peer."""
    asked = MethodOptions(
        quick=options.quick,
        patterns=tuple(options.cases),
        threads=threads,
        repeats=options.repeats // 2 + 1,
        seconds=60 * options.minutes,
    )
    cases = asked.cases
    if not cases:
        return []
    lines, ended = start_process("benchmarks.methods", asked.write(), asked.seconds, threads)
    missing = [{**asdict(case), "name": case.name, "status": "failed", "reason": ended} for case in cases[len(lines) :]]
    return lines + missing


def _stem(machine: dict[str, Any], options: argparse.Namespace) -> str:
    """The path of the results without its ending."""
    processor = re.sub(r"[^a-z0-9]+", "-", str(machine["processor"]).lower()).strip("-")
    quick = "-quick" if options.quick else ""  # not in the place of a whole run
    return str(options.output / f"cpu-{processor or 'unknown'}{quick}")


def _write(document: dict[str, Any], stem: str) -> None:
    write_whole(f"{stem}.json", lambda stream: stream.write(json.dumps(document, indent=1).encode()))
    names = f"{Path(stem).name}.png", f"{Path(stem).name}-methods.png"
    write_whole(f"{stem}.md", lambda stream: stream.write(markdown(document, *names).encode()))
    write_whole(f"{stem}.png", lambda stream: figure(document).savefig(stream, format="png", dpi=110))
    if document["methods"]:
        drawing = methods_figure(document)
        write_whole(f"{stem}-methods.png", lambda stream: drawing.savefig(stream, format="png", dpi=110))
    print(f"{stem}.md", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
