"""e3nn-jax, jitted as a whole: gather, product, weights, and a sum over sorted segments."""

from __future__ import annotations

import e3nn_jax
import jax

from benchmarks.edge_works import ConvolutionWork
from benchmarks.peers import Run, blocks_of, order_of_blocks
from benchmarks.peers.on_jax import make_run
from benchmarks.product_works import Operands


def prepare(work: ConvolutionWork, operands: Operands) -> Run:
    """See :mod:`benchmarks.peers`."""
    in1, in2 = e3nn_jax.Irreps(work.in1), e3nn_jax.Irreps(work.in2)
    kept = [ir for _, ir in e3nn_jax.Irreps(work.out)]
    options = {"filter_ir_out": kept, "irrep_normalization": "component", "regroup_output": False}
    senders, receivers = jax.numpy.asarray(work.edges.senders), jax.numpy.asarray(work.edges.receivers)

    def convolve(x1: jax.Array, x2: jax.Array, weights: jax.Array) -> jax.Array:
        sent, attributes = e3nn_jax.IrrepsArray(in1, x1[senders]), e3nn_jax.IrrepsArray(in2, x2)
        messages = (e3nn_jax.tensor_product(sent, attributes, **options) * weights).array
        return jax.ops.segment_sum(messages, receivers, work.nodes, indices_are_sorted=True)

    theirs, ours = blocks_of(e3nn_jax.tensor_product(in1, in2, **options)), blocks_of(work.product.irreps_out)
    weights = order_of_blocks(theirs, ours, scalars=True)
    result = order_of_blocks(theirs, ours)
    return make_run(convolve, work, operands, inputs=(None, None, weights), result=result)
