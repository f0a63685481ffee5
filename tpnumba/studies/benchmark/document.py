"""A run of the benchmark as a file: written whole, read back, gone on with, and set beside another."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from math import inf
from pathlib import Path
from statistics import geometric_mean
from typing import Any, NamedTuple

from tpnumba.outputs import is_of_the_system, write_json
from tpnumba.studies.benchmark.rows import Key, Measurement, Options, subjects
from tpnumba.studies.growth import exponent, larger_degrees, theory
from tpnumba.studies.roofline import Roofline

KIND = "tpnumba benchmark"
#: Of the file; a change of what it holds or means raises it.
VERSION = 1


@dataclass
class Run:
    """What was measured, on what, and how."""

    machine: dict[str, Any]
    options: Options
    roofline: Roofline | None
    rows: list[Measurement] = field(default_factory=list)

    @property
    def is_complete(self) -> bool:
        """Whether everything that the options ask for was measured."""
        return {subject.key for group in subjects(self.options) for subject in group} <= {row.key for row in self.rows}

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it; ``rows`` have the fields of ``tpnumba compare --json``, and more."""
        return {
            "kind": KIND,
            "version": VERSION,
            "machine": self.machine,
            "options": self.options.as_dict(),
            "complete": self.is_complete,
            "roofline": None if self.roofline is None else asdict(self.roofline),
            "rows": [row.as_dict() for row in self.rows],
            "growth": [entry._asdict() for entry in growths(self.rows)],
        }

    def write(self, path: str) -> None:
        """Write it whole."""
        write_json(path, self.as_dict())

    def write_so_far(self, path: str) -> None:
        """Write it, if what is written is replaced by what is written next."""
        if not is_of_the_system(path) and (not Path(path).exists() or Path(path).is_file()):
            self.write(path)


def read_run(option: str, path: str) -> Run:
    """Read what :meth:`Run.write` wrote.

    Raises:
        ValueError: it is not there, is something else, or has another version; ``option`` is named.
    """
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{option} {path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ValueError(f"{option} {path} is no JSON: {error}") from error
    if not isinstance(document, dict) or document.get("kind") != KIND:
        raise ValueError(f"{option} {path} is no file of 'tpnumba benchmark --json'")
    if document.get("version") != VERSION:
        raise ValueError(
            f"{option} {path} has version {document.get('version')!r} of such files, and this tpnumba reads version "
            f"{VERSION}: what its rows mean may differ, so measure anew"
        )
    try:
        roofline = None if document["roofline"] is None else Roofline(**document["roofline"])
        rows = [Measurement.from_dict(row) for row in document["rows"]]
        run = Run(dict(document["machine"]), Options.from_dict(document["options"]), roofline, rows)
        _check_rows(run)
        return run
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{option} {path} is damaged: {error}") from error


def _check_rows(run: Run) -> None:
    """Raise ``ValueError`` if a row is none of those that the options ask for, or its times are no times."""
    asked = {subject.key for group in subjects(run.options) for subject in group}
    for row in run.rows:
        if row.key not in asked:
            raise ValueError(f"its options ask for no row {tuple(row.key)}")
        for name in ("seconds_per_sample", "seconds_spread"):
            seconds = getattr(row, name)
            if seconds is not None and not (isinstance(seconds, int | float) and 0 <= seconds < inf):
                raise ValueError(f"{name} of {tuple(row.key)} is {seconds!r}")
        if row.seconds_per_sample == 0:
            raise ValueError(f"seconds_per_sample of {tuple(row.key)} is 0")


def require_same(option: str, path: str, before: Run, machine: dict[str, Any], options: Options) -> None:
    """Raise ``ValueError`` unless a run can be gone on with: the same machine, packages and options."""
    for what, then, now in (
        ("on another machine or with other packages", before.machine, machine),
        ("with other options", before.options.as_dict(), options.as_dict()),
    ):
        differing = [name for name in {**then, **now} if then.get(name) != now.get(name)]
        if differing:
            listed = "; ".join(f"{name} was {then.get(name)!r} and is {now.get(name)!r}" for name in differing)
            raise ValueError(f"{option} {path} was measured {what}: {listed}")


class Growth(NamedTuple):
    """With which power of L the operations and the time of a sample grow, fitted over the larger L; None: one L."""

    setting: str
    product: str
    method: str
    fitted: list[int]
    flops_exponent: float | None
    seconds_exponent: float | None
    theory: int | None


def growths(rows: Sequence[Measurement]) -> list[Growth]:
    """For each setting, product and method that was timed."""
    lines: dict[tuple[str, str, str], dict[int, Measurement]] = {}
    for row in rows:
        if row.seconds_per_sample is not None:
            lines.setdefault((row.setting, row.product, row.method), {})[row.lmax] = row
    return [
        Growth(
            *names,
            larger_degrees(list(line)),
            exponent({L: float(row.flops) for L, row in line.items()}),
            exponent({L: row.seconds_per_sample or 0.0 for L, row in line.items()}),
            theory(*names),
        )
        for names, line in lines.items()
    ]


class Ratio(NamedTuple):
    """One row of two runs: ``ratio`` is how many times as long the other one took."""

    key: Key
    seconds: float
    seconds_there: float
    ratio: float


def ratios(rows: Sequence[Measurement], there: Sequence[Measurement]) -> list[Ratio]:
    """The rows that two runs have in common, and timed."""
    others = {row.key: row.seconds_per_sample for row in there}
    found = []
    for row in rows:
        here, other = row.seconds_per_sample, others.get(row.key)
        if here is not None and other is not None:
            found.append(Ratio(row.key, here, other, other / here))
    return found


def mean_ratios(listed: Sequence[Ratio]) -> dict[tuple[str, str, str], float]:
    """The geometric mean over L, for each setting, product and method."""
    together: dict[tuple[str, str, str], list[float]] = {}
    for entry in listed:
        together.setdefault((entry.key.setting, entry.key.product, entry.key.method), []).append(entry.ratio)
    return {names: geometric_mean(values) for names, values in together.items()}
