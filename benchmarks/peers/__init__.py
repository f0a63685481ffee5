"""The peers: one file each, which imports its library; nothing is imported here.

A file's ``prepare(work, operands)`` returns a :class:`Run` that computes the same numbers as tpnumba, or raises
:class:`NotOfferedError`. The number of threads is set by the environment. What a peer wants in another order is put
into it beforehand, outside the time: that favours the peer, which keeps the layout it likes best.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.kinds import CLEBSCH_GORDAN, ON_SPHERE

Order = npt.NDArray[np.intp]
Block = tuple[int, int, int]  # multiplicity, degree, parity


class NotOfferedError(Exception):
    """The peer has no such operation, or not at this size; the message says why."""


@dataclass(frozen=True)
class Run:
    """A work made ready by a peer.

    Attributes:
        call: does it, waits for it, and returns a tuple of arrays: the result, or the gradients, or both, as asked.
        orders: for each array, where its columns stand in ours: ``ours = theirs[:, order]``; None: in the same place.
        into: does it, with the result written to memory that was there before.
    """

    call: Callable[[], tuple[Any, ...]]
    orders: Sequence[Order | None] = (None, None, None, None)
    into: Callable[[], tuple[Any, ...]] | None = None


@dataclass(frozen=True)
class Peer:
    """Where a peer is found, what it is called in tables, and the packages whose versions are named.

    Attributes:
        kinds: of work that it is asked for.
        share: of the time for a peer.
    """

    module: str
    label: str
    packages: tuple[str, ...]
    kinds: tuple[str, ...] = CLEBSCH_GORDAN
    share: float = 1.0


_BESIDE_GAUNT = tuple(kind for kind in ON_SPHERE if kind != "gaunt")

PEERS = {
    "numpy": Peer("hand_written", "NumPy by hand", ("numpy",), (*CLEBSCH_GORDAN, "gaunt")),
    "numpy-plan": Peer("numpy_plan", "NumPy, same plan", ("numpy",), _BESIDE_GAUNT, share=0.75),
    "opt-einsum": Peer("opt_einsum", "opt_einsum", ("opt-einsum", "numpy"), ("gaunt",), share=0.5),
    "sphericart": Peer("sphericart", "sphericart", ("sphericart",), ("harmonics",), share=0.5),
    "e3nn": Peer("e3nn", "e3nn", ("e3nn", "torch"), (*CLEBSCH_GORDAN, "harmonics", "wigner-d")),
    "e3nn-compile": Peer("e3nn_compile", "e3nn, torch.compile", ("e3nn", "torch")),
    "e3nn-jax": Peer("e3nn_jax", "e3nn-jax", ("e3nn-jax", "jax", "jaxlib")),
    "e3nn-jax-grid": Peer("e3nn_jax_grid", "e3nn-jax, grid", ("e3nn-jax", "jax", "jaxlib"), ("gaunt",), share=0.75),
    "jax-dense": Peer("jax_dense", "jax, dense grid", ("jax", "jaxlib"), ("gaunt",), share=0.5),
    "jax-plan": Peer("jax_plan", "jax, same plan", ("jax", "jaxlib"), tuple(ON_SPHERE)),
    "e3j": Peer("e3j", "e3j", ("e3j", "jax", "jaxlib")),
    "cue-torch": Peer("cue_torch", "cuEquivariance, torch", ("cuequivariance", "cuequivariance-torch", "torch")),
    "cue-jax": Peer("cue_jax", "cuEquivariance, jax", ("cuequivariance", "cuequivariance-jax", "jax", "jaxlib")),
}

#: Peers of the convolution over edges (``python -m benchmarks.convolution``).
CONVOLUTION_PEERS = {
    "e3nn": Peer("edges_e3nn", "e3nn", ("e3nn", "torch")),
    "e3nn-compile": Peer("edges_e3nn_compile", "e3nn, torch.compile", ("e3nn", "torch")),
    "e3nn-jax": Peer("edges_e3nn_jax", "e3nn-jax", ("e3nn-jax", "jax", "jaxlib")),
    "cue-torch": Peer("edges_cue_torch", "cuEquivariance, torch", ("cuequivariance", "cuequivariance-torch", "torch")),
    "cue-jax": Peer("edges_cue_jax", "cuEquivariance, jax", ("cuequivariance", "cuequivariance-jax", "jax", "jaxlib")),
    "generic": Peer("edges_generic", "tpnumba, generic", ("numpy",)),
}


def order_of_blocks(theirs: Iterable[Block], ours: Iterable[Block], *, scalars: bool = False) -> Order:
    """Where the columns of our blocks stand in theirs, where both have the blocks of one irrep in the same sequence.

    ``scalars``: the columns are the weights of the blocks, one a channel.
    """

    def length(mul: int, degree: int) -> int:
        return mul if scalars else mul * (2 * degree + 1)

    places: dict[Block, list[Order]] = {}
    start = 0
    for mul, degree, parity in theirs:
        stop = start + length(mul, degree)
        places.setdefault((mul, degree, parity), []).append(np.arange(start, stop))
        start = stop
    found = [places[block].pop(0) for block in ours]
    assert not any(places.values())
    return np.concatenate(found)


def blocks_of(irreps: Iterable[tuple[int, Any]]) -> list[Block]:
    """The blocks of anyone's irreps."""
    return [(mul, ir.l, ir.p) for mul, ir in irreps]


def order_of_layout(irreps: Iterable[tuple[int, Any]]) -> Order:
    """Where the columns of the layout mul_ir stand in ir_mul."""
    found, start = [], 0
    for mul, ir in irreps:
        block = np.arange(start, start + mul * (2 * ir.l + 1))
        found.append(block.reshape(2 * ir.l + 1, mul).T.ravel())
        start += block.size
    return np.concatenate(found)


def to_theirs(array: npt.NDArray[Any], order: Order | None) -> npt.NDArray[Any]:
    """Our columns in their order."""
    if order is None:
        return array
    theirs = np.empty_like(array)
    theirs[..., order] = array
    return theirs


def gradient_orders(task: str, result: Order | None, inputs: Sequence[Order | None]) -> list[Order | None]:
    """The orders of what a task returns."""
    return {"forward": [result], "backward": [*inputs], "both": [result, *inputs]}[task]
