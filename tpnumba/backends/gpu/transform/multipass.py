"""Programs of transforms and syntheses in steps, a kernel each, over arrays of many samples.

For plans whose fields do not fit into shared memory. Arrays stand in a stretch of memory one after the other, number by
number and within a number sample by sample; their places are in numbers of a sample. ``staged.cu`` has the kernels.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tpnumba.backends.gpu.chains import Link, Sparse, links, matrix_factors
from tpnumba.backends.gpu.program import Floats, Group, Ints
from tpnumba.backends.gpu.space import Space
from tpnumba.plans.stages import LegendreStage, LinearMap, SparseStage
from tpnumba.plans.synthesis import Synthesis
from tpnumba.plans.transform import Matrices, Transform

#: Numbers of tables beyond which a plan has no program: 256 MiB in float32. The Legendre functions of a Gaunt product
#: of all degrees up to L take about 5 L^3, which is as much at L = 236.
MOST_NUMBERS = 2**26
#: Numbers of a sample that kernels can count, as they do in 32 bits.
MOST_PLACES = 2**31 - 1
#: Rows of a matrix product that a thread makes: as the kernel is compiled, and eight threads stand above each other.
REPEATS = (1, 2, 4, 8)
HIGH = 8


@dataclass(frozen=True)
class Load:
    """The rows of the operand, transposed: the step that every chain of an input begins with."""

    to: int
    size: int


@dataclass(frozen=True)
class Clear:
    """Zero so many numbers."""

    to: int
    size: int


@dataclass(frozen=True)
class Multiply:
    """Groups of dense matrix products; ``columns`` are those of the widest group, ``repeat`` rows a thread."""

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


Step = Load | Clear | Multiply | Gather


@dataclass(frozen=True)
class Points:
    """Fields of the first input and the second meet point by point: terms, their factors, and the rings' weights."""

    terms: int
    factors: int
    n_terms: int
    weights: int
    rings: int


@dataclass(frozen=True)
class Product:
    """Fields meet as ``n x n`` matrices; ``left`` and ``right``: which input, its start, steps of rows and columns."""

    left: tuple[int, int, int, int]
    right: tuple[int, int, int, int]
    n: int
    factor: float
    add: bool


@dataclass(frozen=True)
class Component:
    """One component of the output: where its field is made of those of the inputs, and how that is carried back."""

    meetings: tuple[Points | Product, ...]
    field: int
    size: int
    back: tuple[Step, ...]


@dataclass(frozen=True, eq=False)
class Staged:
    """A program in steps; hashed by identity, as the programs of plans are kept.

    ``size``: numbers of a sample of all arrays; ``carry``: steps that carry an input to its fields; ``output`` is where
    the numbers of the result are summed, ``width`` of them.
    """

    size: int
    inputs: tuple[int, ...]
    carry: dict[int, tuple[Step, ...]]
    components: tuple[Component, ...]
    output: int
    width: int
    table: npt.NDArray[np.int32]
    coefficients: npt.NDArray[np.floating[Any]]


def make_staged(plan: Transform | Synthesis, dtype: str) -> Staged | None:
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
    """Collects steps, and keeps account of the arrays and tables."""

    def __init__(self, plan: Transform | Synthesis, dtype: str) -> None:
        self.plan, self.dtype = plan, dtype
        self.space = Space()
        self.tables = _Tables()
        self.chains: dict[LinearMap, list[Link]] = {}

    def program(self) -> Staged:
        plan = self.plan
        width = plan.sizes[plan.output]
        output = self.space.take(width)
        if isinstance(plan, Transform):
            carry, components = self._transform(plan, output)
        else:
            carry, components = self._synthesis(plan, output)
        return Staged(
            size=self.space.end,
            inputs=plan.inputs,
            carry=carry,
            components=components,
            output=output,
            width=width,
            table=_frozen(np.concatenate([np.zeros(0, dtype=np.int64), *self.tables.ints]).astype(np.int32)),
            coefficients=_frozen(np.concatenate([np.zeros(0), *self.tables.floats]).astype(self.dtype)),
        )

    def _transform(self, plan: Transform, output: int) -> tuple[dict[int, tuple[Step, ...]], tuple[Component, ...]]:
        carry: dict[int, tuple[Step, ...]] = {}
        fields: dict[tuple[int, int], int] = {}
        for i in plan.inputs:
            start = self.space.take(plan.sizes[i])
            steps: list[Step] = [Load(start, plan.sizes[i])]
            for number, linear_map in enumerate(plan.maps[i]):
                fields[i, number] = self._there(self._links(linear_map, plan.sizes[i]), start, steps)
            self.space.give(start)
            carry[i] = tuple(steps)
        rings, longitudes = plan.domain.shape
        points = rings * longitudes
        components = []
        for number, linear_map in enumerate(plan.maps[plan.output]):
            terms = [(places, factor) for places, factor in plan.terms if places[plan.output] == number]
            field = self.space.take(points)
            if isinstance(plan.domain, Matrices):
                meetings: tuple[Points | Product, ...] = tuple(_products(plan, terms, fields))
            else:
                own = np.array([[fields[i, places[i]] for i in plan.inputs] for places, _ in terms], dtype=np.int64)
                factors = np.array([factor for _, factor in terms])
                weights = self.tables.add_floats(plan.domain.ring_weights)
                at = self.tables.add_ints(own), self.tables.add_floats(factors)
                meetings = (Points(*at, len(terms), weights, rings),)
            back = self._back(self._links(linear_map, plan.sizes[plan.output]), field, output)
            components.append(Component(meetings, field, points, back))
        return carry, tuple(components)

    def _synthesis(self, plan: Synthesis, output: int) -> tuple[dict[int, tuple[Step, ...]], tuple[Component, ...]]:
        """What is loaded is carried forth or back; nothing meets."""
        (i,) = plan.inputs
        weights = plan.grid.ring_weights if plan.weighted else None
        # The numbers of a field stand ring by ring.
        chain = list(links(plan.linear_map, plan.sizes[0], (1, plan.grid.n_alpha), weights))
        field = self.space.take(plan.sizes[i])
        if plan.output == 0:
            steps = self._back(chain, field, output)
        else:
            made: list[Step] = []
            self._there(chain, field, made, output)
            steps = tuple(made)
        load: tuple[Step, ...] = (Load(field, plan.sizes[i]),)
        return {i: load}, (Component((), field, plan.sizes[i], steps),)

    def _links(self, linear_map: LinearMap, size: int) -> list[Link]:
        if linear_map not in self.chains:
            self.chains[linear_map] = list(links(linear_map, size))
        return self.chains[linear_map]

    def _there(self, chain: list[Link], start: int, steps: list[Step], end: int | None = None) -> int:
        """Steps from components to a field, which is added to what is at ``end``, if that is given; returns where."""
        at = start
        for number, link in enumerate(chain):
            last = end is not None and number == len(chain) - 1
            to = end if end is not None and last else self.space.take(link.made)
            steps += self._step(link.matrix, at + link.start, to, link.made, add=last)
            if number > 0:
                self.space.give(at)
            at = to
        return at

    def _back(self, chain: list[Link], field: int, output: int) -> tuple[Step, ...]:
        """Steps from a field to components, added to the output."""
        steps: list[Step] = []
        at = field
        for number, link in reversed(list(enumerate(chain))):
            to = output if number == 0 else self.space.take(chain[number - 1].made)
            steps += self._step(link.transposed(), at, to + link.start, link.taken, add=number == 0)
            self.space.give(at)
            at = to
        return tuple(steps)

    def _step(
        self, matrix: tuple[Group, ...] | Sparse, source: int, to: int, size: int, *, add: bool
    ) -> Iterable[Step]:
        if isinstance(matrix, Sparse):
            begin, places, values = self.tables.sparse(matrix)
            yield Gather(source, to, add, begin, places, values, matrix.shape[0])
            return
        if not add and sum(group.to.size * group.columns for group in matrix) < size:
            yield Clear(to, size)
        repeat = _cheapest_repeat(matrix)
        tasks = self.tables.tasks(matrix, HIGH * repeat)
        yield Multiply(source, to, add, *tasks, max(group.columns for group in matrix), repeat)


def _products(
    plan: Transform, terms: list[tuple[tuple[int, ...], float]], fields: dict[tuple[int, int], int]
) -> Iterable[Product]:
    """The derivative of ``Tr(X Y Z^T)`` with respect to the output, a product for each term."""
    n = plan.domain.shape[0]
    for number, (places, factor) in enumerate(terms):
        left, right = ((i, fields[i, places[i]], row, column) for i, row, column in matrix_factors(plan.output, n))
        yield Product(left, right, n, factor, add=number > 0)


def _cheapest_repeat(groups: tuple[Group, ...]) -> int:
    """How many rows a thread should make: a term costs a multiplication a row and a column, and reads of both."""

    def price(repeat: int) -> int:
        tiles = sum(-(-group.to.size // (HIGH * repeat)) * group.source.size * group.columns for group in groups)
        return tiles * (repeat + 1)

    return min(REPEATS, key=price)


class _Tables:
    """Integers and coefficients, in the layout that ``staged.cu`` reads; what is the same array stands there once."""

    def __init__(self) -> None:
        self.ints: list[Ints] = []
        self.floats: list[Floats] = []
        self.n_ints = self.n_floats = 0
        # By memory and shape; the array is held on to, so that no other can take its place.
        self._matrices: dict[object, tuple[int, Floats]] = {}

    def add_ints(self, array: Ints) -> int:
        """Append; returns where."""
        start = self.n_ints
        self.ints.append(np.asarray(array, dtype=np.int64).ravel())
        self.n_ints += array.size
        return start

    def add_floats(self, array: Floats) -> int:
        """Append; returns where."""
        start = self.n_floats
        self.floats.append(array.ravel())
        self.n_floats += array.size
        return start

    def matrix(self, array: Floats) -> int:
        """Append a matrix, unless it is there."""
        key = array.__array_interface__["data"][0], array.shape, array.strides
        if key not in self._matrices:
            self._matrices[key] = self.add_floats(array), array
        return self._matrices[key][0]

    def tasks(self, groups: tuple[Group, ...], tall: int) -> tuple[int, int]:
        """Append so many rows of a group a task; returns where they are and how many."""
        tasks = []
        for group in groups:
            own = self.matrix(group.matrix), group.to.size, group.source.size
            places = self.add_ints(group.to), self.add_ints(group.source)
            steps = group.columns, group.step_to, group.step_source
            tasks += [(*own, *places, *steps, first) for first in range(0, group.to.size, tall)]
        return self.add_ints(np.array(tasks, dtype=np.int64)), len(tasks)

    def sparse(self, matrix: Sparse) -> tuple[int, int, int]:
        """Append a sparse matrix by rows: where these begin, the terms' places, and their values."""
        order = np.lexsort((matrix.columns, matrix.rows))
        begin = np.searchsorted(matrix.rows[order], np.arange(matrix.shape[0] + 1))
        return (
            self.add_ints(begin),
            self.add_ints(matrix.columns[order]),
            self.add_floats(matrix.values[order]),
        )


def _frozen(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    array.flags.writeable = False
    return array
