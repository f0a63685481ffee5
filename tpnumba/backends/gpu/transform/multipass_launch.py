"""From rows to launches of the kernels of a program in steps: pieces of a batch, and sums over samples."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np

from tpnumba.backends.gpu.device import C_TYPES, kernel, tables_of
from tpnumba.backends.gpu.launch import THREADS
from tpnumba.backends.gpu.staged import REPEATS, Clear, Gather, Load, Multiply, Points, Product, Staged, Step
from tpnumba.backends.namespaces import Context

Array = Any

SOURCE = "staged.cu"
#: As in staged.cu.
_SIDE, _COLUMNS, _HIGH, _WIDE, _SLICE, _SQUARE = 32, 128, 8, 4, 16, 4
#: Bytes of the arrays of a piece of the batch, unless a single sample takes more: less than the second-level cache of
#: the devices from sm_80 on that are for computing (40 and 50 MB), and with ``launch.COPY_BYTES`` below 64 MiB.
WORK_BYTES = 2**25
#: Samples of a piece are a multiple of this, so that every row of an array begins at a whole line of the caches.
_ALIGNED = 32


@lru_cache(maxsize=2)
def instances(dtype: str) -> tuple[str, ...]:
    """Every instance that programs of a dtype may ask for: one module, compiled in about a second."""
    plain = ("take_rows", "put_rows", "gather", "meet", "multiply_matrices", "sum_samples")
    return (
        *(_instance(name, dtype) for name in plain),
        *(_instance("multiply", dtype, repeat) for repeat in REPEATS),
    )


def _instance(name: str, dtype: str, repeat: int | None = None) -> str:
    return f"{name}<{C_TYPES[dtype]}{'' if repeat is None else f', {repeat}'}>"


@dataclass(frozen=True)
class _Frame:
    """The arrays of so many samples."""

    numbers: Array
    samples: int

    def __getitem__(self, place: int) -> Array:
        """The array that starts there, and what follows."""
        return self.numbers[place * self.samples :]


def evaluate(
    program: Staged,
    context: Context,
    rows: Mapping[int, tuple[Array, int]],
    count: int,
    target: Array,
    *,
    summed: bool,
) -> None:
    """``target`` gets a row for every sample, or a single one, their sum; ``rows`` as of :mod:`launch`."""
    xp, _, dtype = context
    launches = _Launches(program, context)
    meets = any(component.meetings for component in program.components)
    # Operands that are one for all samples are carried to the domain once.
    alone = {i for i in program.inputs if meets and rows[i][1] == 0 and count > 1}
    sizes = [component.size for component in program.components] if summed else []
    besides = (program.size if alone or summed else 0) + sum(sizes)
    most = max(1, (WORK_BYTES // context.itemsize - besides) // program.size)
    most -= most % _ALIGNED if most > _ALIGNED else 0
    most = min(most, count)
    work = xp.empty(program.size * most, dtype=dtype)
    single = _Frame(xp.empty(program.size if alone or summed else 0, dtype=dtype), 1)
    sums = xp.zeros(sum(sizes), dtype=dtype)
    starts = [sum(sizes[:number]) for number in range(len(sizes))]
    for i in alone:
        launches.steps(program.carry[i], single, rows[i])
    for first in range(0, count, most):
        number = min(most, count - first)
        frame = _Frame(work[: program.size * number], number)
        for i in program.inputs:
            if i not in alone:
                launches.steps(program.carry[i], frame, rows[i], first)
        if not summed:
            launches.steps([Clear(program.output, program.width)], frame)
        for place, component in enumerate(program.components):
            for meeting in component.meetings:
                launches.meet(meeting, component.field, component.size, frame, single, alone)
            if summed:
                launches.sum(frame[component.field], sums[starts[place] :], component.size, number)
            else:
                launches.steps(component.back, frame)
        if not summed:
            launches.store(frame, target, first)
    if summed:
        launches.steps([Clear(program.output, program.width)], single)
        for place, component in enumerate(program.components):
            end = component.field + component.size
            single.numbers[component.field : end] = sums[starts[place] : starts[place] + component.size]
            launches.steps(component.back, single)
        launches.store(single, target, 0)


class _Launches:
    """Launches the kernels of a program's steps on the current device."""

    def __init__(self, program: Staged, context: Context) -> None:
        self.program, self.dtype, self.itemsize = program, context.dtype_name, context.itemsize
        self.table, self.coefficients = tables_of(program)

    def steps(
        self, steps: Iterable[Step], frame: _Frame, rows: tuple[Array, int] | None = None, first: int = 0
    ) -> None:
        """Launch steps; ``rows`` of an operand, the first of which belongs to the sample ``first``."""
        samples = np.int32(frame.samples)
        for step in steps:
            match step:
                case Load():
                    assert rows is not None
                    array, stride = rows
                    places = np.int64(first * stride), np.int64(stride)
                    run = self._tiles("take_rows", step.size, frame.samples)
                    run((array, *places, frame[step.to], np.int32(step.size), samples))
                case Clear():
                    frame.numbers[step.to * frame.samples : (step.to + step.size) * frame.samples] = 0.0
                case Multiply():
                    across = -(-step.columns * frame.samples // _COLUMNS)
                    shared = _SLICE * (_HIGH * step.repeat + _COLUMNS) * self.itemsize
                    numbers = (np.int32(step.tasks), np.int32(step.n_tasks), samples, np.int32(step.add))
                    arguments = (frame[step.source], frame[step.to], self.table, self.coefficients, *numbers)
                    self._kernel("multiply", step.n_tasks * across, shared, step.repeat)(arguments)
                case Gather():
                    blocks = -(-step.rows * -(-frame.samples // _WIDE) // THREADS)
                    table = map(np.int32, (step.begin, step.places, step.values, step.rows))
                    arguments = (frame[step.source], frame[step.to], self.table, self.coefficients, *table)
                    self._kernel("gather", blocks)((*arguments, samples, np.int32(step.add)))

    def meet(
        self, meeting: Points | Product, field: int, size: int, frame: _Frame, single: _Frame, alone: set[int]
    ) -> None:
        """Multiply fields; those of inputs that are ``alone`` stand in ``single``."""
        samples = np.int32(frame.samples)
        if isinstance(meeting, Points):
            inputs = [((single if i in alone else frame).numbers, np.int32(i in alone)) for i in self.program.inputs]
            table = (meeting.terms, meeting.factors, meeting.n_terms, meeting.weights, meeting.rings, size)
            operands = (*inputs[0], *inputs[1], frame[field], self.table, self.coefficients)
            blocks = -(-size * frame.samples // THREADS)
            self._kernel("meet", blocks)((*operands, *map(np.int32, table), samples))
            return
        factors = []
        for i, start, *steps in (meeting.left, meeting.right):
            own = (single if i in alone else frame)[start]
            factors += [own, np.int32(i in alone), *map(np.int32, steps)]
        scale = np.dtype(self.dtype).type(meeting.factor)
        blocks = -(-((-(-meeting.n // _SQUARE)) ** 2) * frame.samples // THREADS)
        arguments = (*factors, frame[field], np.int32(meeting.n), samples, scale, np.int32(meeting.add))
        self._kernel("multiply_matrices", blocks)(arguments)

    def sum(self, field: Array, sums: Array, size: int, samples: int) -> None:
        """Add each number's sum over the samples."""
        run = self._kernel("sum_samples", -(-size // _HIGH), THREADS * self.itemsize)
        run((field, sums, np.int32(size), np.int32(samples)))

    def store(self, frame: _Frame, target: Array, first: int) -> None:
        """Write the output into rows of the result."""
        width = self.program.width
        numbers = (np.int64(first * width), np.int32(width), np.int32(frame.samples))
        self._tiles("put_rows", width, frame.samples)((frame[self.program.output], target, *numbers))

    def _tiles(self, name: str, width: int, samples: int) -> Callable[[tuple[Any, ...]], None]:
        blocks = -(-width // _SIDE) * -(-samples // _SIDE)
        return self._kernel(name, blocks, _SIDE * (_SIDE + 1) * self.itemsize)

    def _kernel(
        self, name: str, blocks: int, shared: int = 0, repeat: int | None = None
    ) -> Callable[[tuple[Any, ...]], None]:
        instance = _instance(name, self.dtype, repeat)
        function = kernel(instance, shared, file=SOURCE, together=instances(self.dtype))
        return partial(function, (blocks,), (THREADS,), shared_mem=shared)
