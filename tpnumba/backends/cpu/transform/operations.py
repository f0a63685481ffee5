"""A list of operations for the kernel of grid values, and the tile that they work in."""

from __future__ import annotations

import numpy as np

from tpnumba.backends.cpu import layout
from tpnumba.backends.cpu.program import place_arrays
from tpnumba.backends.cpu.transform.program import TransformProgram
from tpnumba.backends.lowering.arena import Arena
from tpnumba.backends.lowering.constants import ConstantPool
from tpnumba.backends.lowering.matrices import Floats, Ints, Sparse
from tpnumba.plans.base import Plan

#: A place, and columns counted from there.
Columns = tuple[int, Ints]


class Operations:
    """Lays out a tile and collects operations; :meth:`finish` makes the program. Places are counted in columns.

    Args:
        plan: what is evaluated.
        line: numbers in 64 bytes.
        vectors: 64-byte vectors of a column.
    """

    def __init__(self, plan: Plan, vector_length: int, vectors: int) -> None:
        self.plan, self.vector_length, self.vectors, self.tile_width = (
            plan,
            vector_length,
            vectors,
            vector_length * vectors,
        )
        self.arena = Arena()
        self.starts = [self.take(size) for size in plan.sizes]
        self.rows: list[list[int]] = []
        self.flops = 0
        self._places, self._numbers = ConstantPool(np.int64), ConstantPool(np.float64)

    def take(self, columns: int) -> int:
        """Room for columns."""
        return self.arena.allocate(columns)

    def add(self, kind: int, count: int, *columns: int) -> None:
        """Append a step as the kernel reads it, in numbers."""
        row = [kind, count, *columns]
        self.rows.append(row + [0] * (layout.OPERATION_COLUMNS - len(row)))

    def fill(self, to: int, columns: int) -> None:
        """Zero columns."""
        self.add(layout.FILL, columns, to * self.tile_width)

    def dense(
        self,
        matrix: Floats,
        results: Ints,
        sources: Ints,
        to: int,
        source: int,
        *,
        add: bool = False,
        times: tuple[int, int, int] = (1, 0, 0),
    ) -> None:
        """``results = sources @ matrix``; the places of both from ``to`` and ``source`` on.

        ``times``: how often, and how far the results and the sources of the next time are.
        """
        terms, count = matrix.shape
        often, to_next, source_next = times
        if count == 0 or often == 0 or (add and terms == 0):
            return
        at = self.places(results), self.places(sources), self._numbers.intern(matrix)
        strides = to_next * self.tile_width, source_next * self.tile_width
        self.add(
            layout.DENSE,
            often,
            to * self.tile_width,
            source * self.tile_width,
            0,
            *strides,
            count,
            terms,
            *at,
            int(add),
        )
        self.flops += 2 * often * terms * count

    def places(self, columns: Ints) -> int:
        """Where a list of columns stands among the places."""
        return self._places.intern(np.asarray(columns, dtype=np.int64) * self.tile_width)

    def products(self, to: Columns, left: Columns, right: Columns, *, add: bool = False) -> None:
        """Products of columns, one by one: each a place, and columns counted from there."""
        (at, results), (first, lefts), (second, rights) = to, left, right
        if len(results) == 0:
            return
        places = (start * self.tile_width for start in (at, first, second))
        lists = (self.places(columns) for columns in (results, lefts, rights))
        self.add(layout.PRODUCTS, len(results), *places, *lists, int(add))
        self.flops += (2 if add else 1) * len(results)

    def sparse(self, matrix: Sparse, to: int, source: int, *, add: bool, factor: float = 1) -> None:
        """A product with a sparse matrix times ``factor``; rows that read the same columns are one dense matrix."""
        begin, columns, values = matrix.by_rows()
        values = values * factor
        rows_by_columns: dict[bytes, list[int]] = {}
        for row in range(matrix.shape[0]):
            rows_by_columns.setdefault(columns[begin[row] : begin[row + 1]].tobytes(), []).append(row)
        for chosen in rows_by_columns.values():
            read = slice(begin[chosen[0]], begin[chosen[0] + 1])
            block = np.stack([values[begin[row] : begin[row + 1]] for row in chosen], axis=1)
            self.dense(block, np.array(chosen), columns[read], to, source, add=add)

    def finish(self, dtype: str) -> TransformProgram:
        """Put the tables together."""
        plan, vector_length, tile_width = self.plan, self.vector_length, self.tile_width
        arena = Arena(self.arena.end * tile_width)
        starts = [start * tile_width for start in self.starts]
        buffer, operands = place_arrays(plan, starts, arena, vector_length)
        operations = np.array(self.rows, dtype=np.int64).reshape(-1, layout.OPERATION_COLUMNS)
        for table in (operands, operations):
            table.flags.writeable = False
        return TransformProgram(
            vectors=self.vectors,
            tile_width=tile_width,
            tile_size=arena.end,
            arrays=operands,
            outputs=(plan.output,),
            buffer=buffer,
            flops=self.flops,
            values=self._numbers.array().astype(dtype),
            operations=operations,
            places=self._places.array().astype(np.int32),
        )
