"""A list of operations for the kernel of grid values, and the tile that they work in."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tpnumba.backends.cpu import layout
from tpnumba.backends.cpu.transform.program import TransformProgram
from tpnumba.plans.base import Plan
from tpnumba.plans.stages import SparseStage

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


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
        self.end = 0
        self.starts = [self.take(size) for size in plan.sizes]
        self.rows: list[list[int]] = []
        self.flops = 0
        self._places, self._numbers = _ConstantPool(), _ConstantPool()

    def take(self, columns: int) -> int:
        """Room for columns."""
        start = self.end
        self.end += columns
        return start

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
        at = self.places(results), self.places(sources), self._numbers.place(np.ascontiguousarray(matrix).ravel())
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
        return self._places.place(np.asarray(columns, dtype=np.int64) * self.tile_width)

    def sparse(
        self, stage: SparseStage, to: int, source: int, *, transposed: bool, add: bool, factor: float = 1
    ) -> None:
        """A sparse matrix or its transpose: rows with non-zeros in the same places share what they read."""
        table = stage.sparse
        axis = int(transposed)
        rows, columns = table.coords[axis], table.coords[1 - axis]
        order = np.lexsort((columns, rows))
        rows, columns, values = rows[order], columns[order], table.values[order] * factor
        begin = np.searchsorted(rows, np.arange(table.shape[axis] + 1))
        rows_by_columns: dict[bytes, list[int]] = {}
        for row in range(table.shape[axis]):
            rows_by_columns.setdefault(columns[begin[row] : begin[row + 1]].tobytes(), []).append(row)
        for chosen in rows_by_columns.values():
            read = slice(begin[chosen[0]], begin[chosen[0] + 1])
            matrix = np.stack([values[begin[row] : begin[row + 1]] for row in chosen], axis=1)
            self.dense(matrix, np.array(chosen), columns[read], to, source, add=add)

    def finish(self, dtype: str) -> TransformProgram:
        """Put the tables together."""
        plan, vector_length, tile_width = self.plan, self.vector_length, self.tile_width
        size = plan.sizes[plan.output]
        buffer = self.end * tile_width
        totals = buffer + vector_length * max(
            layout.STRETCH * vector_length, min(-(-size // vector_length) * vector_length, layout.LONGEST)
        )
        operands = np.zeros((len(plan.operands), layout.ARRAY_COLUMNS), dtype=np.int64)
        operands[:, layout.AT] = np.array(self.starts) * tile_width
        operands[:, layout.SIZE] = plan.sizes
        operands[:, layout.COLUMN_STRIDE] = 1
        operands[plan.output, layout.OUTPUT] = totals
        operations = np.array(self.rows, dtype=np.int64).reshape(-1, layout.OPERATION_COLUMNS)
        for table in (operands, operations):
            table.flags.writeable = False
        return TransformProgram(
            vectors=self.vectors,
            tile_width=tile_width,
            tile_size=totals + size,
            arrays=operands,
            outputs=(plan.output,),
            buffer=buffer,
            flops=self.flops,
            values=self._numbers.array().astype(dtype),
            operations=operations,
            places=self._places.array().astype(np.int32),
        )


class _ConstantPool:
    """Arrays one after the other, each once."""

    def __init__(self) -> None:
        self._parts: list[npt.NDArray[Any]] = [np.zeros(0)]
        self._found: dict[bytes, int] = {}
        self._size = 0

    def place(self, part: npt.NDArray[Any]) -> int:
        """Where an array stands."""
        key = part.tobytes()
        if key not in self._found:
            self._found[key] = self._size
            self._parts.append(part)
            self._size += part.size
        return self._found[key]

    def array(self) -> npt.NDArray[Any]:
        """All of them."""
        return np.concatenate(self._parts)
