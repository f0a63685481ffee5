"""What the times of methods say: the exponents with which they grow, and where ``auto`` took a slow one."""

from __future__ import annotations

import math
from typing import Any

from benchmarks.bars import AUTO_MUST, AUTO_SLACK, GROWTH_AIM, GROWTH_MUST
from tpnumba.studies.growth import THEORY, exponent, larger_degrees

Entry = dict[str, Any]


def exponents(cases: list[Entry]) -> list[Entry]:
    """For each product and method, MIMO in float32: the slope of log time against log L, and what theory says.

    Fitted over the larger L, from half of the largest on; at smaller ones transposition and lower orders weigh more.
    """
    lines: dict[tuple[str, str], dict[int, Entry]] = {}
    for case in _timed(cases, "methods"):
        if case["setting"] == "MIMO" and case["dtype"] == "float32":
            for run in case["runs"]:
                lines.setdefault((case["kind"], run["method"]), {})[run["lmax"]] = run
    found = []
    for (kind, method), line in lines.items():
        degrees = sorted(line)
        found.append(
            {
                "kind": kind,
                "method": method,
                "degrees": degrees,
                "seconds": [line[L]["seconds"] for L in degrees],
                "fitted": larger_degrees(degrees),
                "exponent": exponent({L: run["seconds"] for L, run in line.items()}),
                "theory": THEORY["MIMO"][method],
            }
        )
    return found


def growth_verdicts(cases: list[Entry]) -> list[Entry]:
    """The Gaunt product on the grid at high L against the first of them."""
    found = []
    for case in _timed(cases, "growth"):
        first, *others = case["runs"]
        for run in others:
            power = math.log(run["seconds"] / first["seconds"]) / math.log(run["lmax"] / first["lmax"])
            found.append(
                {
                    "from": first["lmax"],
                    "to": run["lmax"],
                    "seconds": (first["seconds"], run["seconds"]),
                    "error": run["error"],
                    "expressivity": run["expressivity"],
                    "exponent": power,
                    "met_must": power <= GROWTH_MUST,
                    "met_aim": power <= GROWTH_AIM,
                }
            )
    return found


def choices(cases: list[Entry]) -> Entry:
    """How often ``auto`` took a method within the slack of the fastest, and every case where it did not."""
    listed = []
    for case in _timed(cases, "methods"):
        seconds = {run["method"]: run["seconds"] for run in case["runs"]}
        fastest = min(seconds, key=lambda method: seconds[method])
        listed.append(
            {
                "name": case["name"],
                "auto": case["auto"],
                "fastest": fastest,
                "slower": seconds[case["auto"]] / seconds[fastest],
                "seconds": seconds,
            }
        )
    misses = sorted((entry for entry in listed if entry["slower"] > AUTO_SLACK), key=lambda entry: -entry["slower"])
    share = 1 - len(misses) / len(listed) if listed else None
    return {
        "cases": len(listed),
        "share": share,
        "met": None if share is None else share >= AUTO_MUST,
        "misses": misses,
    }


def _timed(cases: list[Entry], study: str) -> list[Entry]:
    return [case for case in cases if case["study"] == study and case["status"] == "timed"]
