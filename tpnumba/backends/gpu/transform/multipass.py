"""Multipass programs of transforms and syntheses: operations, a kernel launch each, over arrays of many samples.

For plans whose grid values do not fit into shared memory. Arrays stand in a stretch of memory one after the other,
number by number and within a number sample by sample; their places are in numbers of a sample. ``kernels/multipass.cu``
has the kernels.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tpnumba.backends.gpu import layout
from tpnumba.backends.gpu.tile.tables import read_only
from tpnumba.backends.gpu.transform.passes import passes_of
from tpnumba.backends.lowering.arena import Arena
from tpnumba.backends.lowering.constants import ConstantPool
from tpnumba.backends.lowering.linear_maps import Pass
from tpnumba.backends.lowering.matrices import ConstantMatrix, Floats, Sparse, matrix_factors
from tpnumba.plans.stages import LegendreStage, LinearMap, SparseStage
from tpnumba.plans.synthesis import Synthesis
from tpnumba.plans.transform import Matrices, Transform

#: Numbers of tables beyond which a plan has no program: 256 MiB in float32. The Legendre functions of a Gaunt product
#: of all degrees up to L take about 5 L^3, which is as much at L = 236.
MOST_NUMBERS = 2**26
#: Numbers of a sample that kernels can count, as they do in 32 bits.
MOST_PLACES = 2**31 - 1


@dataclass(frozen=True)
class Load:
    """The rows of the operand, transposed: the operation that an input begins with."""

    to: int
    size: int


@dataclass(frozen=True)
class Clear:
    """Zero ``size`` numbers from ``to`` on."""

    to: int
    size: int


@dataclass(frozen=True)
class Multiply:
    """Dense matrix products; ``columns`` are those of the widest, ``repeat`` rows a thread."""

    source: int
    to: int
    add: bool
    tasks: int
    n_tasks: int
    columns: int
    repeat: int


@dataclass(frozen=True)
class Gather:
    """A sparse matrix product: where its rows begin among the terms, and the terms' places and values."""

    source: int
    to: int
    add: bool
    begin: int
    places: int
    values: int
    rows: int


Operation = Load | Clear | Multiply | Gather


@dataclass(frozen=True)
class PointwiseProduct:
    """Grid values of the first input times those of the second: terms, their factors, and the rings' weights."""

    terms: int
    factors: int
    n_terms: int
    weights: int
    rings: int


@dataclass(frozen=True)
class MatrixProduct:
    """A product of ``n x n`` matrices; ``left``, ``right``: which input, its start, steps of rows and columns."""

    left: tuple[int, int, int, int]
    right: tuple[int, int, int, int]
    n: int
    factor: float
    add: bool


@dataclass(frozen=True)
class Component:
    """One component of the output: the products that make its ``size`` numbers in the domain, from ``start`` on.

    ``back``: the operations that carry these to the output.
    """

    products: tuple[PointwiseProduct | MatrixProduct, ...]
    start: int
    size: int
    back: tuple[Operation, ...]


@dataclass(frozen=True, eq=False)
class MultipassProgram:
    """A program of several passes; hashed by identity, as the programs of plans are cached.

    ``size``: numbers of a sample of all arrays; ``to_domain``: operations that carry an input to the domain; ``output``
    is where the numbers of the result are summed, ``width`` of them.
    """

    size: int
    inputs: tuple[int, ...]
    to_domain: dict[int, tuple[Operation, ...]]
    components: tuple[Component, ...]
    output: int
    width: int
    table: npt.NDArray[np.int32]
    coefficients: npt.NDArray[np.floating[Any]]


def lower(plan: Transform | Synthesis, dtype: str) -> MultipassProgram | None:
    """The program of ``plan``; None if its tables would be too large."""
    maps = plan.maps if isinstance(plan, Transform) else ((plan.linear_map,),)
    # Maps share most of their tables, so this is more than there will be.
    if sum(_numbers(linear_map) for linear_map in {one for own in maps for one in own}) > MOST_NUMBERS:
        return None
    program = _Builder(plan, dtype).program()
    return program if program.size <= MOST_PLACES else None


def _numbers(linear_map: LinearMap) -> int:
    """Numbers of the tables that grow with the third power of the degree, found without making them."""
    total = 0
    for stage in linear_map.stages:
        if isinstance(stage, LegendreStage):
            total += stage.n_beta * sum(degree + 1 for degree in stage.degrees if degree <= stage.highest)
        elif isinstance(stage, SparseStage):
            total += 2 * stage.sparse.values.size
    return total


class _Builder:
    """Collects operations, and keeps account of the arrays and tables."""

    def __init__(self, plan: Transform | Synthesis, dtype: str) -> None:
        self.plan, self.dtype = plan, dtype
        self.arena = Arena()
        self.tables = _Tables()
        self.passes: dict[LinearMap, list[Pass]] = {}

    def program(self) -> MultipassProgram:
        plan = self.plan
        width = plan.sizes[plan.output]
        output = self.arena.allocate(width)
        if isinstance(plan, Transform):
            to_domain, components = self._transform(plan, output)
        else:
            to_domain, components = self._synthesis(plan, output)
        return MultipassProgram(
            size=self.arena.end,
            inputs=plan.inputs,
            to_domain=to_domain,
            components=components,
            output=output,
            width=width,
            table=read_only(self.tables.ints.array().astype(np.int32)),
            coefficients=read_only(self.tables.floats.array().astype(self.dtype)),
        )

    def _transform(
        self, plan: Transform, output: int
    ) -> tuple[dict[int, tuple[Operation, ...]], tuple[Component, ...]]:
        to_domain: dict[int, tuple[Operation, ...]] = {}
        values: dict[tuple[int, int], int] = {}
        for i in plan.inputs:
            start = self.arena.allocate(plan.sizes[i])
            operations: list[Operation] = [Load(start, plan.sizes[i])]
            for number, linear_map in enumerate(plan.maps[i]):
                values[i, number] = self._forward(self._passes(linear_map, plan.sizes[i]), start, operations)
            self.arena.release(start)
            to_domain[i] = tuple(operations)
        rings, longitudes = plan.domain.shape
        points = rings * longitudes
        components = []
        for number, linear_map in enumerate(plan.maps[plan.output]):
            terms = [(places, factor) for places, factor in plan.terms if places[plan.output] == number]
            start = self.arena.allocate(points)
            if isinstance(plan.domain, Matrices):
                products: tuple[PointwiseProduct | MatrixProduct, ...] = tuple(_matrix_products(plan, terms, values))
            else:
                own = np.array([[values[i, places[i]] for i in plan.inputs] for places, _ in terms], dtype=np.int64)
                factors = np.array([factor for _, factor in terms])
                weights = self.tables.floats.append(plan.domain.ring_weights)
                at = self.tables.ints.append(own), self.tables.floats.append(factors)
                products = (PointwiseProduct(*at, len(terms), weights, rings),)
            back = self._backward(self._passes(linear_map, plan.sizes[plan.output]), start, output)
            components.append(Component(products, start, points, back))
        return to_domain, tuple(components)

    def _synthesis(
        self, plan: Synthesis, output: int
    ) -> tuple[dict[int, tuple[Operation, ...]], tuple[Component, ...]]:
        """What is loaded is carried forward or back; there is no product."""
        (i,) = plan.inputs
        weights = plan.grid.ring_weights if plan.weighted else None
        # Grid values stand ring by ring.
        passes = list(passes_of(plan.linear_map, plan.sizes[0], (1, plan.grid.n_alpha), weights))
        start = self.arena.allocate(plan.sizes[i])
        if plan.output == 0:
            operations = self._backward(passes, start, output)
        else:
            made: list[Operation] = []
            self._forward(passes, start, made, output)
            operations = tuple(made)
        load: tuple[Operation, ...] = (Load(start, plan.sizes[i]),)
        return {i: load}, (Component((), start, plan.sizes[i], operations),)

    def _passes(self, linear_map: LinearMap, size: int) -> list[Pass]:
        if linear_map not in self.passes:
            self.passes[linear_map] = list(passes_of(linear_map, size))
        return self.passes[linear_map]

    def _forward(self, passes: list[Pass], start: int, operations: list[Operation], end: int | None = None) -> int:
        """From components to grid values, which are added to what is at ``end``, if that is given; returns where."""
        at = start
        for number, own in enumerate(passes):
            last = end is not None and number == len(passes) - 1
            to = end if end is not None and last else self.arena.allocate(own.made)
            operations += self._apply(own.matrices, at, to, own.made, add=last)
            if number > 0:
                self.arena.release(at)
            at = to
        return at

    def _backward(self, passes: list[Pass], start: int, output: int) -> tuple[Operation, ...]:
        """From grid values to components, added to the output."""
        operations: list[Operation] = []
        at = start
        for number, own in reversed(list(enumerate(passes))):
            to = output if number == 0 else self.arena.allocate(passes[number - 1].made)
            operations += self._apply(own.transposed(), at, to, own.taken, add=number == 0)
            self.arena.release(at)
            at = to
        return tuple(operations)

    def _apply(
        self, matrices: tuple[ConstantMatrix, ...] | Sparse, source: int, to: int, size: int, *, add: bool
    ) -> Iterable[Operation]:
        if isinstance(matrices, Sparse):
            begin, places, values = self.tables.sparse(matrices)
            yield Gather(source, to, add, begin, places, values, matrices.shape[0])
            return
        if not add and sum(matrix.to.size * matrix.columns for matrix in matrices) < size:
            yield Clear(to, size)
        repeat = _cheapest_repeat(matrices)
        tasks = self.tables.tasks(matrices, layout.HIGH * repeat)
        yield Multiply(source, to, add, *tasks, max(matrix.columns for matrix in matrices), repeat)


def _matrix_products(
    plan: Transform, terms: list[tuple[tuple[int, ...], float]], values: dict[tuple[int, int], int]
) -> Iterable[MatrixProduct]:
    """The derivative of ``Tr(X Y Z^T)`` with respect to the output, a product for each term."""
    n = plan.domain.shape[0]
    for number, (places, factor) in enumerate(terms):
        left, right = ((i, values[i, places[i]], row, column) for i, row, column in matrix_factors(plan.output, n))
        yield MatrixProduct(left, right, n, factor, add=number > 0)


def _cheapest_repeat(matrices: tuple[ConstantMatrix, ...]) -> int:
    """How many rows a thread should make: a term costs a multiplication a row and a column, and reads of both."""

    def price(repeat: int) -> int:
        tall = layout.HIGH * repeat
        tiles = sum(-(-own.to.size // tall) * own.source.size * own.columns for own in matrices)
        return tiles * (repeat + 1)

    return min(layout.MULTIPASS_REPEATS, key=price)


class _Tables:
    """Integers and coefficients, in the layout that ``multipass.cu`` reads; equal arrays in memory stand there once."""

    def __init__(self) -> None:
        self.ints, self.floats = ConstantPool(np.int64), ConstantPool(np.float64)

    def matrix(self, array: Floats) -> int:
        """Append a matrix, unless it is there; returns where."""
        return self.floats.intern(array, (array.__array_interface__["data"][0], array.shape, array.strides))

    def tasks(self, matrices: tuple[ConstantMatrix, ...], tall: int) -> tuple[int, int]:
        """Append tasks of ``tall`` rows of a matrix each; returns where they are and how many."""
        tasks = []
        for own in matrices:
            place = self.matrix(own.values)
            to, source = self.ints.append(own.to), self.ints.append(own.source)
            tasks += [
                layout.record(
                    layout.TaskRecord,
                    MATRIX=place,
                    ROWS=own.to.size,
                    DEPTH=own.source.size,
                    TO=to,
                    FROM=source,
                    N_COLUMNS=own.columns,
                    STEP_TO=own.step_to,
                    STEP_FROM=own.step_source,
                    FIRST=first,
                )
                for first in range(0, own.to.size, tall)
            ]
        return self.ints.append(np.array(tasks, dtype=np.int64)), len(tasks)

    def sparse(self, matrix: Sparse) -> tuple[int, int, int]:
        """Append a sparse matrix by rows: where these begin, the terms' places, and their values."""
        begin, columns, values = matrix.by_rows()
        return self.ints.append(begin), self.ints.append(columns), self.floats.append(values)
