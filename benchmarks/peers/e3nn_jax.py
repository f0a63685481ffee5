"""e3nn-jax. It sorts the natural parity first, so blocks change places."""

from __future__ import annotations

from typing import Any

import e3nn_jax
import jax

from benchmarks.peers import Run, blocks_of, order_of_blocks
from benchmarks.peers.on_jax import make_run
from benchmarks.product_works import Operands, ProductWork


def prepare(work: ProductWork, operands: Operands) -> Run:
    """See :mod:`benchmarks.peers`."""
    if work.kind == "connected":
        return _connected(work, operands)
    in1, in2 = e3nn_jax.Irreps(work.in1), e3nn_jax.Irreps(work.in2)
    kept = [ir for _, ir in e3nn_jax.Irreps(work.out)]
    options = {"filter_ir_out": kept, "irrep_normalization": "component", "regroup_output": False}

    def multiply(x1: jax.Array, x2: jax.Array) -> Any:
        first, second = e3nn_jax.IrrepsArray(in1, x1), e3nn_jax.IrrepsArray(in2, x2)
        return e3nn_jax.tensor_product(first, second, **options)

    def weigh(x1: jax.Array, x2: jax.Array, weights: jax.Array) -> jax.Array:
        return (multiply(x1, x2) * weights).array

    theirs = blocks_of(e3nn_jax.tensor_product(in1, in2, **options))
    ours = blocks_of(work.product.irreps_out)
    result = order_of_blocks(theirs, ours)
    if work.kind == "full":
        return make_run(lambda x1, x2: multiply(x1, x2).array, work, operands, result=result)
    weights = order_of_blocks(theirs, ours, scalars=True)
    return make_run(weigh, work, operands, inputs=(None, None, weights), result=result)


def _connected(work: ProductWork, operands: Operands) -> Run:
    from e3nn_jax.legacy import FunctionalFullyConnectedTensorProduct

    product = FunctionalFullyConnectedTensorProduct(
        work.in1, work.in2, work.out, irrep_normalization="component", path_normalization="element"
    )
    in1, in2 = e3nn_jax.Irreps(work.in1), e3nn_jax.Irreps(work.in2)

    def one(x1: jax.Array, x2: jax.Array, weights: jax.Array) -> jax.Array:
        return product.left_right(weights, e3nn_jax.IrrepsArray(in1, x1), e3nn_jax.IrrepsArray(in2, x2)).array

    return make_run(jax.vmap(one, (0, 0, None if work.weights == "shared" else 0)), work, operands)
