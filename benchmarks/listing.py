"""Which works there are, and in which order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

from benchmarks.bars import DOUBLE, FULL, GRADIENT, GROWTH_DEGREES, SINGLE
from benchmarks.kinds import ON_SPHERE
from benchmarks.peers import PEERS
from benchmarks.point_works import harmonics, rotations
from benchmarks.product_works import channelwise, connected, full, sphere
from benchmarks.works import Task, Work


@dataclass(frozen=True)
class Extent:
    """How far the works go, and the study of methods: every setting to ``methods``, MIMO also at ``beyond``."""

    mimo: int = 8
    single: int = 10
    sphere: int = 8
    gaunt: int = 10
    batch: int = 10_000
    harmonics: tuple[int, ...] = (4, 8, 12)
    points: int = 100_000
    rotations: int = 1_000
    share: float = 1.0  # of the edges and samples of the other works
    methods: int = 8
    beyond: tuple[int, ...] = (10, 12, 16)
    growth: tuple[int, ...] = GROWTH_DEGREES


QUICK = Extent(
    mimo=2,
    single=2,
    sphere=2,
    gaunt=2,
    batch=500,
    harmonics=(2, 4),
    points=1_000,
    rotations=100,
    share=0.05,
    methods=2,
    beyond=(3, 4),
    growth=(2, 3, 4),
)


def works(extent: Extent, patterns: tuple[str, ...] = ("*",), peer: str | None = None) -> list[Work]:
    """The works that match, in the order in which they are run: every bar gets numbers early, small before large.

    Args:
        peer: only what it does, and what some bar asks of it.
    """
    return [
        work
        for work in _all(extent)
        if (peer is None or _is_asked(work, peer)) and any(fnmatchcase(work.name, pattern) for pattern in patterns)
    ]


def _is_asked(work: Work, peer: str) -> bool:
    return work.kind in PEERS[peer].kinds and any(bar.against is None or peer in bar.against for bar in work.bars)


def _all(extent: Extent) -> Iterator[Work]:
    yield from rotations(8, extent.rotations)
    yield from harmonics(extent.harmonics, extent.points)
    for task in (Task.FORWARD, Task.BACKWARD):
        for lmax in range(1, extent.sphere + 1):
            yield from (sphere(kind, lmax, extent.batch, task) for kind in ON_SPHERE)
        for lmax in range(extent.sphere + 1, extent.gaunt + 1) if task is Task.FORWARD else ():
            yield sphere("gaunt", lmax, extent.batch, task)
    yield from channelwise(extent.share)
    yield from connected(extent.share)
    mimo, single = ("mimo-natural", "mimo-all"), ("simo", "siso")
    yield from full(mimo, extent.mimo, extent.batch, Task.FORWARD, "float32", FULL)
    yield from full(single, extent.single, extent.batch, Task.FORWARD, "float32", SINGLE)
    yield from full(mimo, extent.mimo, extent.batch, Task.BACKWARD, "float32", GRADIENT)
    yield from full(single, extent.single, extent.batch, Task.BACKWARD, "float32", GRADIENT)
    yield from full(mimo, extent.mimo, extent.batch, Task.FORWARD, "float64", DOUBLE)
