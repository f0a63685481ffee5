"""Launches of the kernel that reads a tile program: blocks, the work buffer, and sums over samples."""

from __future__ import annotations

import numpy as np

from tpnumba.backends.gpu import device, sources
from tpnumba.backends.gpu.layout import INPUTS, THREADS
from tpnumba.backends.gpu.rows import Rows, RowsCall
from tpnumba.backends.gpu.tile.program import Program

SOURCE = "tile.cu"
#: Bytes of work buffers: slabs of tiles that are not in shared memory, and sums of blocks of samples.
SLAB_BYTES, SUM_BYTES = 2**25, 2**24
#: Blocks that sum samples, each over its own; then their sums are added. The number of samples alone decides on it.
MOST_SUMMING = 256


def instance(dtype: str, repeat: int, shared: bool, kinds: int) -> str:
    """The instance of the kernel for programs of ``repeat`` results a thread, with their tile in shared memory or not.

    ``kinds``: a bit for each kind of operation.
    """
    return sources.instance("evaluate", (dtype,), repeat, shared, kinds)


def add_instance(dtype: str) -> str:
    """The instance of the kernel that adds rows."""
    return sources.instance("add_rows", (dtype,))


def launch(program: Program, call: RowsCall) -> None:
    """Evaluate rows: the result, one array, gets a row for each sample, or a single one, their sum."""
    rows, count, (target,), summed, context = call
    xp, _, dtype = context
    item, width = context.itemsize, target.shape[-1]
    table, coefficients = device.tables_of(program)
    tiles = -(-count // program.samples)
    most = device.MOST_BLOCKS
    if not program.shared:
        most = min(most, max(1, SLAB_BYTES // (program.tile * item * program.sections)))
    if summed:
        most = min(most, MOST_SUMMING, max(1, SUM_BYTES // (width * item)))
    across = min(tiles, most)
    made = xp.empty((across, width), dtype=dtype) if summed and across > 1 else target
    work = target if program.shared else xp.empty(across * program.sections * program.tile, dtype=dtype)
    found = [rows[i] for i in program.inputs] + [Rows(coefficients, 0)] * (INPUTS - len(program.inputs))
    shared_bytes = program.tile * item if program.shared else 0
    name = instance(context.dtype_name, program.repeat, program.shared, program.kinds)
    device.kernel(sources.assemble(SOURCE, program.terms), name, shared_bytes)(
        (across, program.sections),
        (THREADS,),
        (
            *(own.array for own in found),
            *(np.int64(own.stride) for own in found),
            np.int32(program.direct),
            *(made, table, coefficients, work),
            *(np.int64(program.tile), np.int64(count), np.int32(summed)),
        ),
        shared_mem=shared_bytes,
    )
    if made is not target:
        add = device.kernel(sources.assemble(SOURCE), add_instance(context.dtype_name))
        add((-(-width // THREADS),), (THREADS,), (made, target, np.int32(across), np.int32(width)))
