"""Launches of the kernels of harmonics: how many points a block works on, and what each kind reads and writes."""

from __future__ import annotations

import numpy as np

from tpnumba.backends.gpu import device, sources
from tpnumba.backends.gpu.harmonics.lower import HarmonicsProgram
from tpnumba.backends.gpu.rows import RowsCall
from tpnumba.plans.harmonics import Harmonics

SOURCE = "harmonics.cu"
#: Blocks have so few points that there are this many of them, some for each multiprocessor. Not measured.
ENOUGH_BLOCKS = 512


def launch(program: HarmonicsProgram, plan: Harmonics, call: RowsCall) -> None:
    """Evaluate rows: each result gets a row for each point; points are the first input. They are not summed."""
    rows, count, results, summed, _ = call
    assert not summed
    table, coefficients = device.tables_of(program)
    samples = program.samples
    while samples > device.WARP and count < samples * ENOUGH_BLOCKS:
        samples //= 2
    points, second = rows[0], rows.get(1, rows[0])
    arrays = [points.array, np.int64(points.stride), second.array, np.int64(second.stride)]
    # What a kind has no use for is there as well, and left alone.
    arrays += results if plan.kind in ("vjp", "value_and_jacobian") else [*results, *results]
    device.kernel(sources.assemble(SOURCE), program.name, program.shared_bytes)(
        (min(-(-count // samples), device.MOST_BLOCKS),),
        (program.threads,),
        (
            *(*arrays, coefficients, np.int32(program.ladder), table, np.int32(program.ranges)),
            *(np.int32(plan.lmax), np.int32(plan.normalize), np.int32(samples.bit_length() - 1)),
            *(np.int32(program.pitch), np.int64(count)),
        ),
        shared_mem=program.shared_bytes,
    )
