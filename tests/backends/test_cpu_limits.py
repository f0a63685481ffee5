"""What the compiled kernels leave to the reference: plans whose tables or tiles would take too much memory."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

import tpnumba as tp
from tpnumba.backends.cpu.layout import MOST_BYTES
from tpnumba.backends.cpu.lowering import program_of

MANY = {
    "outputs": tp.FullTensorProduct("300x3e", "300x3e"),
    "channels": tp.TensorProduct("4000x0e", "4000x0e", "4000x0e", [(0, 0, 0, "uvu", False)]),
    "weights": tp.FullyConnectedTensorProduct("64x0e + 64x1o", "16x0e + 16x1o", "64x0e + 64x1o").adjoint(2),
}


@pytest.mark.parametrize("name", MANY)
def test_a_program_is_refused_before_its_tables_are_made(name):
    tracemalloc.start()
    program = program_of(MANY[name].plan, "float32")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**25
    assert program is None or program.tile_size * 4 <= MOST_BYTES


def test_tiles_of_all_threads_together_stay_small():
    """However many threads are asked for: a large tile is had by few of them."""
    p = tp.ChannelwiseTensorProduct("2000x0e + 2000x1o", "0e + 1o")
    x, y = (np.ones((400, irreps.dim), dtype=np.float32) for irreps in (p.irreps_in1, p.irreps_in2))
    weights = np.ones(p.weight_numel, dtype=np.float32)
    tracemalloc.start()
    result = p(x, y, weights, backend="cpu", num_threads=40)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak - result.nbytes < 64 * 2**20
