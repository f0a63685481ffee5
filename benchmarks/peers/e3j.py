"""e3j, by its own choice for CPUs: gather, multiply and scatter in jax.

It sorts the natural parity first, so blocks change places, and has channels last.
"""

from __future__ import annotations

import e3j
import jax
import numpy as np

from benchmarks.peers import NotOfferedError, Run, blocks_of, order_of_blocks, order_of_layout
from benchmarks.peers.on_jax import make_run
from benchmarks.product_works import Operands, ProductWork

#: It makes one number a sample for every coefficient; above this many bytes a work would swap, not compute.
_LIMIT = 2**31


def prepare(work: ProductWork, operands: Operands) -> Run:
    """See :mod:`benchmarks.peers`."""
    if work.kind == "connected":
        raise NotOfferedError("it has no product of all channels with weights in one operation")
    channels = work.product.irreps_in1[0].mul
    in1 = " + ".join(f"1x{ir}" for _, ir in work.product.irreps_in1)
    layout = "LEADING_CHANNELS" if work.kind == "full" else "TRAILING_CHANNELS"
    product = e3j.core.TensorProduct((in1, work.in2), work.out, normalization="SQRT_DIM_OUT", layout=layout)
    size = product.nnz * channels * work.batch * np.dtype(work.dtype).itemsize
    if size > _LIMIT:
        raise NotOfferedError(f"it makes one number a sample for each coefficient, {size / 2**30:.1f} GiB here")
    # Coefficients in float64 would make the whole product float64.
    coefficients = jax.experimental.sparse.BCOO(
        (product.coef.data.astype(work.dtype), product.coef.indices), shape=product.coef.shape
    )
    target = [(1, ir) for mul, ir in product.target for _ in range(mul)]
    theirs, ours = blocks_of(target), blocks_of(work.product.irreps_out)
    if work.kind == "full":
        result = order_of_blocks(theirs, ours)
        return make_run(lambda x1, x2: product(x1, x2, coefficients), work, operands, result=result)

    mixing = e3j.core.ScalarMixing(product.target, layout=layout)

    def weigh(x1: jax.Array, x2: jax.Array, weights: jax.Array) -> jax.Array:
        return mixing(weights, product(x1, x2, coefficients))

    wide = [(channels, degree, parity) for _, degree, parity in theirs]
    place, weights = order_of_blocks(wide, ours), order_of_blocks(wide, ours, scalars=True)
    in_layout = order_of_layout(work.product.irreps_in1)
    out_layout = order_of_layout([(channels, ir) for _, ir in target])
    return make_run(
        weigh,
        work,
        operands,
        inputs=(in_layout, None, weights),
        result=out_layout[place],
        shapes=((-1, channels), None, (-1, channels)),
    )
