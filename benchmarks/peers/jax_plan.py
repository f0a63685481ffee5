"""jax with the plan that tpnumba has: the reference backend, traced and compiled as one, and differentiated by jax."""

from __future__ import annotations

from benchmarks.peers import Run
from benchmarks.peers.on_jax import make_run
from benchmarks.peers.plans import quickest
from benchmarks.product_works import Operands, ProductWork


def prepare(work: ProductWork, operands: Operands) -> Run:
    """See :mod:`benchmarks.peers`."""
    return quickest(work, lambda p: make_run(p, work, operands))
