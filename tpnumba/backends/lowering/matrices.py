"""Constant matrices that programs multiply with: dense ones between places, and sparse ones."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tpnumba.plans.stages import SparseStage

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

#: The derivative of ``Tr(X Y Z^T)`` with respect to an operand is ``Z Y^T``, ``X^T Z`` or ``X Y``: which operands are
#: multiplied, and whether as they stand or transposed.
_FACTORS = {0: ((2, True), (1, False)), 1: ((0, False), (2, True)), 2: ((0, True), (1, True))}


def matrix_factors(output: int, n: int) -> list[tuple[int, int, int]]:
    """The factors of the product of ``n x n`` matrices that an output is: operands, their steps of rows and columns."""
    return [(i, n, 1) if plain else (i, 1, n) for i, plain in _FACTORS[output]]


@dataclass(frozen=True, eq=False)
class ConstantMatrix:
    """``out[to[m] + c * step_to] = sum over k of values[k, m] * in[source[k] + c * step_source]``, ``c < columns``."""

    values: Floats
    to: Ints
    source: Ints
    columns: int
    step_to: int
    step_source: int

    def transposed(self) -> ConstantMatrix:
        """The matrix of the transposed map."""
        return ConstantMatrix(self.values.T, self.source, self.to, self.columns, self.step_source, self.step_to)


@dataclass(frozen=True, eq=False)
class Sparse:
    """A sparse matrix; zeros may be among the values, so that rows that read the same columns can be seen.

    Attributes:
        shape: the numbers that it makes, and those that it takes.
        rows, columns, values: of each entry, in any order.
    """

    shape: tuple[int, int]
    rows: Ints
    columns: Ints
    values: Floats

    @classmethod
    def of(cls, matrices: Iterable[ConstantMatrix], shape: tuple[int, int]) -> Sparse:
        """What dense matrices do together."""
        found = []
        for own in matrices:
            c, k, m = np.indices((own.columns, *own.values.shape))
            rows, columns = own.to[m] + c * own.step_to, own.source[k] + c * own.step_source
            found.append((rows.ravel(), columns.ravel(), np.broadcast_to(own.values, m.shape).ravel()))
        return cls(shape, *(np.concatenate(arrays) for arrays in zip(*found, strict=True)))

    @classmethod
    def of_stage(cls, stage: SparseStage, size: int, places: Ints, factors: Floats) -> Sparse:
        """The matrix of a stage that reads its numbers at ``places`` of ``size``, times ``factors``."""
        table = stage.sparse
        rows, columns = table.coords
        return cls((table.shape[0], size), rows, places[columns], table.values * factors[columns])

    def transposed(self) -> Sparse:
        """The transpose."""
        return Sparse(self.shape[::-1], self.columns, self.rows, self.values)

    def by_rows(self) -> tuple[Ints, Ints, Floats]:
        """Compressed rows: where each begins, with the end of the last, and the columns and values of the entries.

        The columns of a row ascend, so that rows that read the same columns have equal lists of them.
        """
        order = np.lexsort((self.columns, self.rows))
        begin = np.searchsorted(self.rows[order], np.arange(self.shape[0] + 1))
        return begin, self.columns[order], self.values[order]
