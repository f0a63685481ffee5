"""Ratios against the fastest peer, held against the bars."""

from __future__ import annotations

from typing import Any

from benchmarks.bars import BARS, ROOFLINE_AIM, ROOFLINE_DEGREES, ROOFLINE_MUST, Bar
from benchmarks.peers import PEERS

Entry = dict[str, Any]


def verdicts(works: list[Entry]) -> list[Entry]:
    """For each work and bar of it the fastest peer, the ratio to it, and how that stands to the bar.

    A ratio is of two times of one process. Both make their result anew: that is what every peer can do.
    """
    bars = {bar.title: bar for bar in BARS}
    found = []
    for name in dict.fromkeys(work["name"] for work in works):
        same = [work for work in works if work["name"] == name]
        timed = {work["peer"]: ratio(work, work["peer"]) for work in same if work["status"] == "timed"}
        found += [_verdict(name, bars[title], timed) for title in same[0]["bars"]]
    return found


def _verdict(name: str, bar: Bar, timed: dict[str, float]) -> Entry:
    ratios = {peer: times for peer, times in timed.items() if bar.against is None or peer in bar.against}
    musts = {peer: bar.must_numpy or bar.must if peer == "numpy" else bar.must for peer in ratios}
    short = {peer: ratios[peer] / musts[peer] for peer in ratios if ratios[peer] < musts[peer]}
    entry = {
        "work": name,
        "bar": bar.title,
        "must": bar.must,
        "must_numpy": bar.must_numpy,
        "aim": bar.aim,
        "fastest": min(ratios, key=lambda peer: ratios[peer]) if ratios else None,
        "ratios": ratios,
        "met_must": bool(ratios) and not short,
        "met_aim": bool(ratios) and min(ratios.values()) >= bar.aim,
        "shortfall": None,
    }
    if short:
        worst = min(short, key=lambda peer: short[peer])
        entry["shortfall"] = f"{ratios[worst]:.2g}x of {musts[worst]:g}x against {PEERS[worst].label}"
    elif not ratios:
        entry["shortfall"] = "no peer was timed"
    return entry


def ratio(work: Entry, peer: str) -> float:
    """How many times as long the peer takes, both with a new result."""
    return float(work["times"][peer]["seconds"] / work["times"]["tpnumba"]["seconds"])


def roofline_verdicts(works: list[Entry], peers: dict[str, Entry]) -> list[Entry]:
    """The share of what the machine can do, of MIMO with the result written to memory that is there."""
    found: dict[str, Entry] = {}
    for work in works:
        name = work["name"]
        wanted = work["group"].startswith("mimo") and work["task"] == "forward" and work["dtype"] == "float32"
        if not wanted or work["status"] != "timed" or name in found:
            continue
        limits = peers[work["peer"]]["roofline"]
        by_copy = work["bytes"] / limits["bytes_per_second"]
        by_arithmetic = work["flops"] / limits["flops_per_second"][work["dtype"]]
        seconds = work["times"]["tpnumba out="]["seconds"]
        share = max(by_copy, by_arithmetic) / seconds
        judged = work["lmax"] in ROOFLINE_DEGREES
        found[name] = {
            "work": name,
            "seconds": seconds,
            "spread": work["times"]["tpnumba out="]["spread"],
            "bytes": work["bytes"],
            "flops": work["flops"],
            "seconds_of_copy": by_copy,
            "seconds_of_arithmetic": by_arithmetic,
            "share": share,
            "must": ROOFLINE_MUST if judged else None,
            "aim": ROOFLINE_AIM if judged else None,
            "met_must": share >= ROOFLINE_MUST if judged else None,
            "met_aim": share >= ROOFLINE_AIM if judged else None,
        }
    return list(found.values())
