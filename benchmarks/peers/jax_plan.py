"""jax with the plan that tpnumba has: the reference backend, traced and compiled as one, and differentiated by jax.

Without the fusions of XLA that call YNN: with jaxlib 0.10.2 they give wrong gradients in float32 (of the Gaunt product
at L = 2 some columns, at 8,000 samples and more). Not compiled, or without these fusions, the same functions are right.
"""

from __future__ import annotations

import os
from importlib.metadata import version

from benchmarks.peers import Run
from benchmarks.peers.plans import quickest
from benchmarks.product_works import Operands, ProductWork

if tuple(int(part) for part in version("jaxlib").split(".")[:2]) >= (0, 10):  # XLA ends where it knows no such flag
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_experimental_ynn_fusion_type=".strip()

from benchmarks.peers.on_jax import make_run  # after the flags, which jax reads


def prepare(work: ProductWork, operands: Operands) -> Run:
    """See :mod:`benchmarks.peers`."""
    return quickest(work, lambda p: make_run(p, work, operands))
