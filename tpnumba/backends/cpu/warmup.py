"""Compilation of every kernel ahead of its first use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product

import numpy as np
from numba import types

from tpnumba.backends.cpu.evaluation import find_arrays
from tpnumba.backends.cpu.layout import OUTPUT, SIZE, VECTORS
from tpnumba.backends.cpu.lowering import lower_with
from tpnumba.backends.cpu.runtime.matching import evaluate_briefly, fill_tables
from tpnumba.backends.cpu.runtime.threads import compile_sharing
from tpnumba.backends.cpu.runtime.workspace import workspace
from tpnumba.plans.base import Plan
from tpnumba.plans.harmonics import Harmonics


def compile_all(plans: Mapping[str, Plan | Harmonics]) -> Iterator[str]:
    """Compile the kernels in every form they have, or take them from the cache; yields what was made ready.

    ``plans``: one of each kind, by its name, to try them on; which one does not matter.
    """
    for kind, dtype, vectors in product(plans, ("float32", "float64"), VECTORS):
        program = lower_with(plans[kind], dtype, vectors)
        assert program is not None
        sizes = program.arrays[:, SIZE].tolist()
        rows = {i: np.zeros((1, size), dtype=dtype) for i, size in enumerate(sizes) if size}
        table = find_arrays(program, rows, (), (1,), 1)
        assert table is not None
        table[list(program.outputs), OUTPUT] = 1
        program.call(workspace(program.tile_size, program.dtype), table, 0, 1)
        yield f"{kind}, {dtype}, tile width {program.tile_width}"
    for function in (evaluate_briefly, fill_tables):
        function.compile((types.int64,) * 3)
    yield "prepared calls"
    compile_sharing()
    yield "native jobs on several threads"
