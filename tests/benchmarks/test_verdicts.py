"""What the comparison makes of times, and that it notices a peer that computes something else."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmarks import worker
from benchmarks.bars import FULL, GAUNT, PAPER
from benchmarks.kinds import ON_SPHERE
from benchmarks.listing import QUICK, Extent, works
from benchmarks.peers import PEERS, Run, hand_written, numpy_plan, order_of_blocks, order_of_layout, to_theirs
from benchmarks.verdicts import roofline_verdicts, verdicts
from benchmarks.works import Work
from tpnumba import Irreps


def timed(peer: str, seconds: float, **more: object) -> dict[str, object]:
    times = {"tpnumba": {"seconds": 1.0}, peer: {"seconds": seconds}}
    return {"peer": peer, "name": "work", "bars": [FULL.title], "status": "timed", "times": times, **more}


@pytest.mark.parametrize(
    ("peers", "must", "aim", "shortfall"),
    [
        ({"e3nn": 12.0, "numpy": 11.0}, True, True, None),
        ({"e3nn": 6.0, "numpy": 4.5}, True, False, None),  # NumPy has a bar of its own
        ({"e3nn": 4.5, "numpy": 6.0}, False, False, "4.5x of 5x against e3nn"),
        ({"e3nn": 4.0, "numpy": 2.0}, False, False, "2x of 4x against NumPy by hand"),
        ({}, False, False, "no peer was timed"),
    ],
)
def test_verdict(peers: dict[str, float], must: bool, aim: bool, shortfall: str | None) -> None:
    absent = {"peer": "e3j", "name": "work", "bars": [FULL.title], "status": "not offered", "times": {}}
    (entry,) = verdicts([absent, *(timed(peer, seconds) for peer, seconds in peers.items())])
    assert (entry["met_must"], entry["met_aim"], entry["shortfall"]) == (must, aim, shortfall)
    assert entry["fastest"] == min(peers, key=lambda peer: peers[peer], default=None)


def test_a_work_is_held_against_each_of_its_bars_with_the_peers_of_that_bar() -> None:
    seconds = {"numpy": 4.0, "opt-einsum": 3.0, "jax-dense": 7.0, "jax-plan": 0.5}
    bars = [GAUNT.title, PAPER.title]
    first, second = verdicts([timed(peer, time) | {"bars": bars} for peer, time in seconds.items()])
    assert (first["bar"], first["fastest"], first["met_must"], first["met_aim"]) == (
        GAUNT.title,
        "opt-einsum",
        True,
        False,
    )
    assert first["ratios"] == {"numpy": 4.0, "opt-einsum": 3.0}
    assert (second["bar"], second["shortfall"]) == (PAPER.title, "7x of 8x against jax, dense grid")


def test_share_of_the_roofline_is_that_of_the_lower_limit() -> None:
    work = timed("numpy", 9.0, group="mimo-all", task="forward", dtype="float32", lmax=4, bytes=10, flops=40)
    work["times"]["tpnumba out="] = {"seconds": 8.0, "spread": 0.0}
    limits = {"roofline": {"bytes_per_second": 5.0, "flops_per_second": {"float32": 10.0}}}
    (entry,) = roofline_verdicts([work], {"numpy": limits})
    assert entry["share"] == 0.5  # two seconds of copying, four of arithmetic, in eight
    assert entry["met_must"]
    assert entry["met_aim"]


OPTIONS = worker.PeerOptions(
    peer="e3nn", quick=True, patterns=("*",), threads=1, repeats=1, prepare_seconds=60.0, seconds=60.0
)


def test_works_are_asked_of_the_peers_that_do_them() -> None:
    for name, peer in PEERS.items():
        asked = works(QUICK, peer=name)
        assert {work.kind for work in asked} == set(peer.kinds)
        assert all(any(bar.against is None or name in bar.against for bar in work.bars) for work in asked)
    names = [work.name for work in works(Extent())]
    assert len(set(names)) == len(names)


def prepare_someone(work: Work, operands: Any) -> Run:
    """A peer that is right."""
    if work.kind in PEERS["numpy"].kinds:
        return hand_written.prepare(work, operands)
    return numpy_plan.prepare(work, operands) if work.kind in ON_SPHERE else work.ours(operands, 1)


@pytest.mark.parametrize(
    "pattern",
    [
        "mimo-all-2-backward-*",
        "channelwise-32*-both-*",
        "connected-shared-*",
        "gaunt-2-forward-*",
        "gaunt-2-backward-*",
        "matrix-2-forward-*",
        "vector-cross-2-backward-*",
        "harmonics-2-forward-float32",
        "harmonics-2-jacobian-float32",
        "wigner-d-8-forward-float32",
    ],
)
@pytest.mark.parametrize("fault", ["none", "factor", "order", "dtype", "missing"])
def test_a_peer_that_computes_something_else_is_noticed(pattern: str, fault: str) -> None:
    (work,) = works(QUICK, (pattern,))

    def prepare(work, operands):
        run = prepare_someone(work, operands)
        spoil = {
            "none": lambda arrays: arrays,
            "factor": lambda arrays: (*arrays[:-1], arrays[-1] * np.float32(1.001)),
            "order": lambda arrays: (*arrays[:-1], np.roll(arrays[-1], 1, axis=-1)),
            "dtype": lambda arrays: tuple(array.astype("float64") for array in arrays),
            "missing": lambda arrays: arrays[1:],
        }[fault]
        return Run(lambda: spoil(run.call()))

    measure = lambda: worker._measure(replace(work, batch=40), SimpleNamespace(prepare=prepare), OPTIONS)  # noqa: E731
    if fault == "none":
        beside = {"numpy"} if work.kind in PEERS["numpy"].kinds else set()
        assert set(measure()) - {"tpnumba out="} == {"tpnumba", "e3nn"} | beside
    else:
        with pytest.raises(worker._WrongError, match="e3nn"):
            measure()


def test_columns_come_back_from_another_order() -> None:
    ours = [(2, 1, -1), (2, 1, 1), (2, 2, 1), (2, 1, -1)]
    theirs = [(2, 2, 1), (2, 1, -1), (2, 1, -1), (2, 1, 1)]
    order = order_of_blocks(theirs, ours)
    assert order.tolist() == [*range(10, 16), *range(22, 28), *range(10), *range(16, 22)]
    assert order_of_blocks(theirs, ours, scalars=True).tolist() == [2, 3, 6, 7, 0, 1, 4, 5]
    layout = order_of_layout(Irreps("1x0e + 2x1o"))
    assert layout.tolist() == [0, 1, 3, 5, 2, 4, 6]
    row = np.arange(7.0)[None]
    np.testing.assert_array_equal(to_theirs(row, layout)[:, layout], row)
