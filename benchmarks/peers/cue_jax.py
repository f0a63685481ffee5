"""cuEquivariance on jax: the method that runs without its CUDA kernels."""

from __future__ import annotations

import cuequivariance_jax
import jax

from benchmarks.peers import Run
from benchmarks.peers.cue_polynomials import make_polynomial
from benchmarks.peers.on_jax import make_run
from benchmarks.product_works import Operands, ProductWork


def prepare(work: ProductWork, operands: Operands) -> Run:
    """See :mod:`benchmarks.peers`."""
    polynomial, inputs, result = make_polynomial(work)
    target = jax.ShapeDtypeStruct((work.batch, -1), work.dtype)

    def function(x1: jax.Array, x2: jax.Array, *weights: jax.Array) -> jax.Array:
        return cuequivariance_jax.segmented_polynomial(polynomial, [*weights, x1, x2], [target], method="naive")[0]

    return make_run(function, work, operands, inputs=inputs, result=result)
