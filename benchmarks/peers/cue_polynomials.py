"""What both faces of cuEquivariance have in common: the polynomials, and how their columns stand to ours.

Channels are last within a block (ir_mul), and the natural parity is not always first.
"""

from __future__ import annotations

from typing import NamedTuple

import cuequivariance as cue

from benchmarks.peers import Order, blocks_of, order_of_blocks, order_of_layout
from benchmarks.works import Work


class Polynomial(NamedTuple):
    """With operands (weights,) x1, x2; the orders are those of x1, x2 (, weights)."""

    polynomial: cue.SegmentedPolynomial
    inputs: tuple[Order | None, ...]
    result: Order


def make_polynomial(work: Work) -> Polynomial:
    """The work as cuEquivariance describes it."""
    in1, in2, out = (cue.Irreps(cue.O3, irreps) for irreps in (work.in1, work.in2, work.out))
    kept = [ir for _, ir in out]
    if work.kind == "connected":
        made = cue.descriptors.fully_connected_tensor_product(in1, in2, out)
    elif work.kind == "channelwise":
        made = cue.descriptors.channelwise_tensor_product(in1, in2, kept)
    else:
        made = cue.descriptors.full_tensor_product(in1, in2, kept)
    theirs, ours = made.outputs[0].irreps, work.product.irreps_out
    result = order_of_layout(theirs)[order_of_blocks(blocks_of(theirs), blocks_of(ours))]
    weights = None
    if work.kind == "channelwise":
        weights = order_of_blocks(blocks_of(theirs), blocks_of(ours), scalars=True)
    return Polynomial(made.polynomial, (order_of_layout(in1), order_of_layout(in2), weights), result)
