"""Programs on rows of memory: where rows stand, the results of a batch, and their sum.

Nothing here knows what a program computes, nor of broadcast axes: a batch is ``count`` rows of each array, each row a
fixed number of numbers after the one before.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from math import prod
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tpnumba.backends.base import Job
from tpnumba.backends.cpu import low_rank
from tpnumba.backends.cpu.layout import (
    ADDRESS,
    COLUMN_STRIDE,
    COPY_BYTES,
    ENTRY_KERNEL,
    ENTRY_SAMPLES,
    OUTPUT,
    ROW_STRIDE,
    SHARED,
    SIZE,
    STREAM,
    SUMMED_TILES,
    WORTH_HANDING_OVER,
)
from tpnumba.backends.cpu.lowering import program_of
from tpnumba.backends.cpu.program import Ints, Program
from tpnumba.backends.cpu.runtime.results import empty_result, is_used_again
from tpnumba.backends.cpu.runtime.threads import (
    WORTH_SHARING,
    NativeJob,
    default_threads,
    share,
    share_native,
)
from tpnumba.backends.cpu.runtime.workspace import address_of, workspace
from tpnumba.backends.cpu.specialised.tiers import tier_of
from tpnumba.backends.namespaces import Context
from tpnumba.plans.base import Plan
from tpnumba.plans.harmonics import Harmonics
from tpnumba.plans.low_rank import LowRankContraction

Array = npt.NDArray[np.floating]


def find_rows(array: Array, samples: tuple[int, ...], dtype: npt.DTypeLike) -> tuple[int, int, int] | None:
    """The rows of an array of shape ``(*leading, size)`` whose leading axes broadcast to ``samples``.

    Returns:
        The address of the first row and the strides from row to row and in a row, in numbers; None if the array has to
        be copied to have rows at equal distances, in this dtype.
    """
    if array.dtype != dtype or not array.flags.aligned:
        return None
    item = array.itemsize
    strides = array.strides
    leading = array.shape[:-1]
    stride = strides[0] if samples else 0
    if len(samples) > 1 or leading != samples:
        stride = 0
        spread = (0,) * (len(samples) - len(leading)) + tuple(
            0 if n == 1 else step for n, step in zip(leading, strides[:-1], strict=True)
        )
        rows = 1
        for n, step in zip(reversed(samples), reversed(spread), strict=False):
            if n == 1:
                continue
            if rows == 1:
                stride = step
            elif step != stride * rows:
                return None
            rows *= n
    return address_of(array), stride // item, strides[-1] // item


def find_arrays(
    program: Program,
    arrays: Mapping[int, Array],
    results: Sequence[Array],
    samples: tuple[int, ...],
    count: int,
    shared: Collection[int] = (),
) -> Ints | None:
    """The program's table with the places of ``arrays``, by their record in it, and of ``results`` filled in.

    ``shared``: the records with one row for all ``count`` samples; of a single sample nothing is shared. None
    if an array must be copied to have rows.
    """
    table = program.new_table()
    dtype = program.dtype
    for i, array in (*arrays.items(), *zip(program.outputs, results, strict=False)):
        place = find_rows(array, () if i in shared else samples, dtype)
        if place is None:
            return None
        # Number by number, as a slice takes three times as long.
        table[i, ADDRESS], table[i, ROW_STRIDE], table[i, COLUMN_STRIDE] = place
        if i in shared and count > 1 and not table[i, SHARED]:
            table[i, SHARED] = 1
    return table


def portion_samples(plan: Plan | Harmonics, context: Context) -> int:
    """The most samples to be copied into rows at a time."""
    return max(1, COPY_BYTES // (max(1, plan.row_numbers) * context.itemsize))


def empty(shape: tuple[int, ...], context: Context) -> Array:
    """A new array of the context's dtype."""
    return empty_result(shape, context.dtype)


def rows(array: Array, context: Context) -> Array:
    """A copy of rows that kernels read; the array itself if it needs none."""
    return np.require(array, context.dtype, ("C", "A"))


class Work(NamedTuple):
    """What is done for a job, once for all calls with arrays of such strides.

    Attributes:
        program: what is run.
        table: its table of arrays, with their addresses.
        samples: how many.
        threads: how many take part at most.
        is_sum: whether the result is the sum over samples, whose address is not in the table.
    """

    program: Program
    table: Ints
    samples: int
    threads: int
    is_sum: bool

    @property
    def chunk(self) -> int:
        """The samples of a chunk, if it is not a sum."""
        return self.program.chunk_samples if self.threads == 1 else self.program.chunk(self.samples, self.threads)

    @property
    def is_whole(self) -> bool:
        """Whether it is one call of the kernel."""
        return not self.is_sum and self.chunk >= self.samples


def find_work(job: Job, program: Program) -> Work | None:
    """The work of a job, by a program of its plan; None if an array must be copied to have rows."""
    plan, arrays, samples, results, _, num_threads, fresh = job
    count = samples[0] if len(samples) == 1 else prod(samples)
    # With one sample a result is its own sum, and there is nothing to add up.
    is_sum = count > 1 and plan.sums_samples
    table = find_arrays(program, arrays, () if is_sum else results, samples, count, plan.shared_operands)
    if table is None:
        return None
    tier_of(program)  # which may find code on disk
    threads = 1
    if program.seconds * count > (WORTH_SHARING if is_sum else WORTH_HANDING_OVER):
        threads = default_threads() if num_threads is None else num_threads
        threads = min(threads, program.most_threads)
    if not is_sum:
        for i, result in zip(program.outputs, results, strict=True):
            table[i, OUTPUT] = 1
            if program.is_streamed(result.nbytes, fresh=fresh and not is_used_again(result)):
                table[i, STREAM] = 1
    return Work(program, table, count, threads, is_sum)


def do_work(work: Work, results: Sequence[Array], kept: object) -> None:
    """Do work that is not whole; ``kept``: what must live as long as it takes, the arrays whose addresses it has."""
    program, table, count, threads, is_sum = work
    if is_sum:
        results[0][...] = sum_samples(program, table, kept, count, threads)
        return
    chunk = work.chunk
    job = NativeJob(
        function=int(program.entry[ENTRY_KERNEL]),
        table=address_of(table),
        chunk=chunk,
        samples=count,
        chunks=-(-count // chunk),
        tile_bytes=program.tile_bytes,
        wakes=program.seconds * count > WORTH_SHARING,
        keep=(program, table, kept, results),
    )
    share_native(job, threads)
    program.entry[ENTRY_SAMPLES] += count
    tier_of(program).ask_if_it_pays()


def evaluate_rows(job: Job) -> bool:
    """See :class:`tpnumba.backends.base.Evaluation`."""
    if isinstance(job.plan, LowRankContraction):
        return low_rank.evaluate_rows(job, evaluate_rows, portion_samples(job.plan, job.context))
    program = program_of(job.plan, job.context.dtype_name)
    assert program is not None  # asked for before the plan came here
    work = find_work(job, program)
    if work is None:
        return False
    if work.is_whole:  # here, as it is one frame less for most calls
        if program.call(workspace(program.tile_size, program.dtype), work.table, 0, work.samples):
            tier_of(program).ask_if_it_pays()
    else:
        do_work(work, job.results, job.arrays)
    return True


def sum_samples(program: Program, table: Ints, arrays: object, count: int, threads: int) -> Array:
    """The sum of the results of ``count`` samples.

    Chunks depend on ``count`` alone, and their sums are added in their order, so that any number of threads gives the
    same bits. ``table``: where arrays stand, see :func:`find_arrays`; ``arrays``: those whose
    addresses stand in it, which must live as long as the call.
    """
    (output,) = program.outputs
    size = int(table[output, SIZE])
    table[output, SHARED] = 1
    first = int(table[output, OUTPUT])
    most = max(1, COPY_BYTES // (size * program.dtype.itemsize))
    samples = max(SUMMED_TILES, -(-count // (program.tile_width * most))) * program.tile_width
    chunks = -(-count // samples)
    partial = np.empty((chunks, size), dtype=program.dtype)

    def sum_chunk(i: int, _: object = arrays) -> None:
        tile = workspace(program.tile_size, program.dtype)
        tile[first : first + size] = 0.0
        program.call(tile, table, i * samples, min(count, (i + 1) * samples))
        partial[i] = tile[first : first + size]

    share(sum_chunk, chunks, threads)
    total: Array = np.sum(partial, axis=0)
    return total
