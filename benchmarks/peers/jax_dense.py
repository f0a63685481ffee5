"""The Gaunt product as the reference code of *The Price of Freedom* has it, by jax: dense synthesis, product, analysis.

On its grid that grows with L: Gauss-Legendre, ``2 L + 1`` rings of ``2 (2 L + 1)`` points (its other one, of 100 rings
of 99 points whatever L is, would only be slower).
"""

from __future__ import annotations

import jax

import tpnumba as tp
from benchmarks.peers import Run
from benchmarks.peers.grids import dense_grid
from benchmarks.peers.on_jax import make_run
from benchmarks.product_works import Operands, ProductWork


def prepare(work: ProductWork, operands: Operands) -> Run:
    """See :mod:`benchmarks.peers`."""
    assert work.lmax is not None
    rings = 2 * work.lmax + 1
    in1, in2, out = (jax.numpy.asarray(array) for array in dense_grid(work, tp.Grid(rings, 2 * rings)))
    return make_run(lambda x1, x2: ((x1 @ in1) * (x2 @ in2)) @ out.T, work, operands)
