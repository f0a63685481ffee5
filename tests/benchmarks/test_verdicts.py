"""What the comparison makes of times, and that it notices a peer that computes something else."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import worker
from benchmarks.peers import Run, hand_written, order_of_blocks, order_of_layout, to_theirs
from benchmarks.verdicts import roofline_verdicts, verdicts
from benchmarks.works import FULL, QUICK, works
from tpnumba import Irreps


def timed(peer: str, seconds: float, **more: object) -> dict[str, object]:
    times = {"tpnumba": {"seconds": 1.0}, peer: {"seconds": seconds}}
    return {"peer": peer, "name": "work", "bar": FULL.title, "status": "timed", "times": times, **more}


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
    absent = {"peer": "e3j", "name": "work", "bar": FULL.title, "status": "not offered", "times": {}}
    (entry,) = verdicts([absent, *(timed(peer, seconds) for peer, seconds in peers.items())])
    assert (entry["met_must"], entry["met_aim"], entry["shortfall"]) == (must, aim, shortfall)
    assert entry["fastest"] == min(peers, key=lambda peer: peers[peer], default=None)


def test_share_of_the_roofline_is_that_of_the_lower_limit() -> None:
    work = timed("numpy", 9.0, group="mimo-all", task="forward", dtype="float32", lmax=4, bytes=10, flops=40)
    work["times"]["tpnumba out="] = {"seconds": 8.0, "spread": 0.0}
    limits = {"roofline": {"bytes_per_second": 5.0, "flops_per_second": {"float32": 10.0}}}
    (entry,) = roofline_verdicts([work], {"numpy": limits})
    assert entry["share"] == 0.5  # two seconds of copying, four of arithmetic, in eight
    assert entry["met_must"]
    assert entry["met_aim"]


SETTINGS = worker.Settings("e3nn", True, ("*",), threads=1, repeats=1, prepare_seconds=60.0, peer_seconds=60.0)


@pytest.mark.parametrize("pattern", ["mimo-all-2-backward-*", "channelwise-32*-both-*", "connected-shared-*"])
@pytest.mark.parametrize("fault", ["none", "factor", "order", "dtype", "missing"])
def test_a_peer_that_computes_something_else_is_noticed(pattern: str, fault: str) -> None:
    (work,) = works(QUICK, (pattern,))

    def prepare(work, operands):
        run = hand_written.prepare(work, operands)
        spoil = {
            "none": lambda arrays: arrays,
            "factor": lambda arrays: (*arrays[:-1], arrays[-1] * np.float32(1.001)),
            "order": lambda arrays: (*arrays[:-1], np.roll(arrays[-1], 1, axis=-1)),
            "dtype": lambda arrays: tuple(array.astype("float64") for array in arrays),
            "missing": lambda arrays: arrays[1:],
        }[fault]
        return Run(lambda: spoil(run.call()))

    measure = lambda: worker._measure(replace(work, batch=40), SimpleNamespace(prepare=prepare), SETTINGS)  # noqa: E731
    if fault == "none":
        assert {"tpnumba", "tpnumba out=", "numpy", "e3nn"} >= set(measure()) >= {"tpnumba", "numpy", "e3nn"}
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
