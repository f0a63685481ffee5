"""cuEquivariance on jax, with its own indices of operands and result, by the method that runs without CUDA."""

from __future__ import annotations

import cuequivariance_jax
import jax

from benchmarks.edge_works import ConvolutionWork
from benchmarks.peers import Run
from benchmarks.peers.cue_polynomials import make_polynomial
from benchmarks.peers.on_jax import make_run
from benchmarks.product_works import Operands


def prepare(work: ConvolutionWork, operands: Operands) -> Run:
    """See :mod:`benchmarks.peers`."""
    polynomial, inputs, result = make_polynomial(work)
    target = jax.ShapeDtypeStruct((work.nodes, polynomial.outputs[0].size), work.dtype)
    senders, receivers = jax.numpy.asarray(work.edges.senders), jax.numpy.asarray(work.edges.receivers)

    def convolve(x1: jax.Array, x2: jax.Array, weights: jax.Array) -> jax.Array:
        indices = [None, senders, None, receivers]
        return cuequivariance_jax.segmented_polynomial(
            polynomial, [weights, x1, x2], [target], indices, method="naive"
        )[0]

    return make_run(convolve, work, operands, inputs=inputs, result=result)
