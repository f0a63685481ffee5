"""The Gaunt product by e3nn-jax's transforms to and from a grid, separable.

Along the longitudes by matrices, as the reference code of *The Price of Freedom* calls it: at L = 4 and 8 quicker here
than its Fourier transforms, at L = 2 a third slower.
"""

from __future__ import annotations

import e3nn_jax
import jax
import numpy as np

from benchmarks.peers import Run
from benchmarks.peers.grids import smallest_grid
from benchmarks.peers.on_jax import make_run
from benchmarks.product_works import Operands, ProductWork

#: Its signals are the functions times the root of 4 pi, so their product has the factor twice, and keeps one.
_SCALE = (4 * np.pi) ** -0.5


def prepare(work: ProductWork, operands: Operands) -> Run:
    """See :mod:`benchmarks.peers`."""
    in1, in2, out = (e3nn_jax.Irreps(irreps) for irreps in (work.in1, work.in2, work.out))
    grid = smallest_grid(work)

    def synthesise(irreps: e3nn_jax.Irreps, x: jax.Array) -> e3nn_jax.SphericalSignal:
        given = e3nn_jax.IrrepsArray(irreps, x)
        return e3nn_jax.to_s2grid(given, *grid.shape, quadrature="gausslegendre", p_val=1, p_arg=-1, fft=False)

    def multiply(x1: jax.Array, x2: jax.Array) -> jax.Array:
        product = synthesise(in1, x1) * synthesise(in2, x2)
        return e3nn_jax.from_s2grid(product, out, fft=False).array * _SCALE

    return make_run(multiply, work, operands)
