"""Launches of the kernels of a multipass program: samples in parts that fit the caches, and sums over samples."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np

from tpnumba.backends.gpu import device, layout, sources
from tpnumba.backends.gpu.layout import EDGE, HIGH, THREADS, WIDE
from tpnumba.backends.gpu.rows import Rows, RowsCall
from tpnumba.backends.gpu.transform import multipass
from tpnumba.backends.namespaces import Context

Array = Any

SOURCE = "multipass.cu"
#: Bytes of the arrays of a chunk of the batch, unless a single sample takes more: less than the second-level cache of
#: the devices from sm_80 on that are for computing (40 and 50 MB), and with ``launch.COPY_BYTES`` below 64 MiB.
WORK_BYTES = 2**25


@lru_cache(maxsize=2)
def instances(dtype: str) -> tuple[str, ...]:
    """Every instance that programs of a dtype may ask for: one module, compiled in about a second."""
    plain = ("take_rows", "put_rows", "gather", "multiply_pointwise", "multiply_matrices", "sum_samples")
    return (
        *(_instance(name, dtype) for name in plain),
        *(_instance("multiply", dtype, repeat) for repeat in layout.MULTIPASS_REPEATS),
    )


def _instance(name: str, dtype: str, repeat: int | None = None) -> str:
    return sources.instance(name, (dtype,), *(() if repeat is None else (repeat,)))


@dataclass(frozen=True)
class _Frame:
    """The arrays of ``samples`` samples."""

    numbers: Array
    samples: int

    def __getitem__(self, place: int) -> Array:
        """The array that starts there, and what follows."""
        return self.numbers[place * self.samples :]


def launch(program: multipass.MultipassProgram, call: RowsCall) -> None:
    """Evaluate rows: the result, one array, gets a row for each sample, or a single one, their sum."""
    rows, count, (target,), summed, context = call
    xp, _, dtype = context
    launches = _Launches(program, context)
    multiplies = any(component.products for component in program.components)
    # Operands that are one for all samples are carried to the domain once.
    alone = {i for i in program.inputs if multiplies and rows[i].stride == 0 and count > 1}
    sizes = [component.size for component in program.components] if summed else []
    besides = (program.size if alone or summed else 0) + sum(sizes)
    most = max(1, (WORK_BYTES // context.itemsize - besides) // program.size)
    most -= most % layout.ALIGNED_SAMPLES if most > layout.ALIGNED_SAMPLES else 0
    most = min(most, count)
    work = xp.empty(program.size * most, dtype=dtype)
    single = _Frame(xp.empty(program.size if alone or summed else 0, dtype=dtype), 1)
    sums = xp.zeros(sum(sizes), dtype=dtype)
    starts = [sum(sizes[:number]) for number in range(len(sizes))]
    for i in alone:
        launches.apply(program.to_domain[i], single, rows[i])
    for first in range(0, count, most):
        number = min(most, count - first)
        frame = _Frame(work[: program.size * number], number)
        for i in program.inputs:
            if i not in alone:
                launches.apply(program.to_domain[i], frame, rows[i], first)
        if not summed:
            launches.apply([multipass.Clear(program.output, program.width)], frame)
        for place, component in enumerate(program.components):
            for product in component.products:
                launches.multiply(product, component, frame, single, alone)
            if summed:
                launches.sum(frame[component.start], sums[starts[place] :], component.size, number)
            else:
                launches.apply(component.back, frame)
        if not summed:
            launches.store(frame, target, first)
    if summed:
        launches.apply([multipass.Clear(program.output, program.width)], single)
        for place, component in enumerate(program.components):
            end = component.start + component.size
            single.numbers[component.start : end] = sums[starts[place] : starts[place] + component.size]
            launches.apply(component.back, single)
        launches.store(single, target, 0)


class _Launches:
    """Launches the kernels of a program's operations on the current device."""

    def __init__(self, program: multipass.MultipassProgram, context: Context) -> None:
        self.program, self.dtype, self.itemsize = program, context.dtype_name, context.itemsize
        self.table, self.coefficients = device.tables_of(program)

    def apply(
        self, operations: Iterable[multipass.Operation], frame: _Frame, rows: Rows | None = None, first: int = 0
    ) -> None:
        """Launch operations; of ``rows``, those of an operand, that of the sample ``first`` is the first loaded."""
        samples = np.int32(frame.samples)
        for own in operations:
            match own:
                case multipass.Load():
                    assert rows is not None
                    array, stride = rows
                    places = np.int64(first * stride), np.int64(stride)
                    launch = self._tiles("take_rows", own.size, frame.samples)
                    launch((array, *places, frame[own.to], np.int32(own.size), samples))
                case multipass.Clear():
                    frame.numbers[own.to * frame.samples : (own.to + own.size) * frame.samples] = 0.0
                case multipass.Multiply():
                    across = -(-own.columns * frame.samples // layout.TILE_COLUMNS)
                    shared = layout.DEPTH_AT_ONCE * (HIGH * own.repeat + layout.TILE_COLUMNS) * self.itemsize
                    numbers = (np.int32(own.tasks), np.int32(own.n_tasks), samples, np.int32(own.add))
                    arguments = (frame[own.source], frame[own.to], self.table, self.coefficients, *numbers)
                    self._kernel("multiply", own.n_tasks * across, shared, own.repeat)(arguments)
                case multipass.Gather():
                    blocks = -(-own.rows * -(-frame.samples // WIDE) // THREADS)
                    table = map(np.int32, (own.begin, own.places, own.values, own.rows))
                    arguments = (frame[own.source], frame[own.to], self.table, self.coefficients, *table)
                    self._kernel("gather", blocks)((*arguments, samples, np.int32(own.add)))

    def multiply(
        self,
        product: multipass.PointwiseProduct | multipass.MatrixProduct,
        component: multipass.Component,
        frame: _Frame,
        single: _Frame,
        alone: set[int],
    ) -> None:
        """Launch a product in the domain; values of inputs that are ``alone`` stand in ``single``."""
        samples, result = np.int32(frame.samples), frame[component.start]
        if isinstance(product, multipass.PointwiseProduct):
            inputs = [((single if i in alone else frame).numbers, np.int32(i in alone)) for i in self.program.inputs]
            table = (product.terms, product.factors, product.n_terms, product.weights, product.rings, component.size)
            operands = (*inputs[0], *inputs[1], result, self.table, self.coefficients)
            blocks = -(-component.size * frame.samples // THREADS)
            self._kernel("multiply_pointwise", blocks)((*operands, *map(np.int32, table), samples))
            return
        factors = []
        for i, start, *steps in (product.left, product.right):
            own = (single if i in alone else frame)[start]
            factors += [own, np.int32(i in alone), *map(np.int32, steps)]
        scale = np.dtype(self.dtype).type(product.factor)
        blocks = -(-((-(-product.n // layout.SQUARE)) ** 2) * frame.samples // THREADS)
        arguments = (*factors, result, np.int32(product.n), samples, scale, np.int32(product.add))
        self._kernel("multiply_matrices", blocks)(arguments)

    def sum(self, values: Array, sums: Array, size: int, samples: int) -> None:
        """Add each number's sum over the samples."""
        launch = self._kernel("sum_samples", -(-size // HIGH), THREADS * self.itemsize)
        launch((values, sums, np.int32(size), np.int32(samples)))

    def store(self, frame: _Frame, target: Array, first: int) -> None:
        """Write the output into rows of the result."""
        width = self.program.width
        numbers = (np.int64(first * width), np.int32(width), np.int32(frame.samples))
        self._tiles("put_rows", width, frame.samples)((frame[self.program.output], target, *numbers))

    def _tiles(self, name: str, width: int, samples: int) -> Callable[[tuple[Any, ...]], None]:
        blocks = -(-width // EDGE) * -(-samples // EDGE)
        return self._kernel(name, blocks, EDGE * (EDGE + 1) * self.itemsize)

    def _kernel(
        self, name: str, blocks: int, shared: int = 0, repeat: int | None = None
    ) -> Callable[[tuple[Any, ...]], None]:
        instance = _instance(name, self.dtype, repeat)
        function = device.kernel(sources.assemble(SOURCE), instance, shared, instances(self.dtype))
        return partial(function, (blocks,), (THREADS,), shared_mem=shared)
