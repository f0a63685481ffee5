"""A form written out entry by entry, for users who want the sparse table itself."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt

from tpnumba.irreps import check_degree
from tpnumba.limits import require_memory
from tpnumba.plans.contraction import Contraction, Path, channel_combinations, channel_ranges

if TYPE_CHECKING:
    from scipy.sparse import coo_array


class Coefficients(NamedTuple):
    """The non-zeros of a multilinear form: one row of ``coords`` an operand, entries in row-major order.

    Of a product, the axes are (x1, x2, out), or (x1, x2, weights, out).

    Attributes:
        shape: the length of each axis.
        coords: shape ``(axes, n)``.
        values: shape ``(n,)``.

    Example:
        >>> import tpnumba as tp
        >>> p = tp.GauntTensorProduct(1, 1)
        >>> table = p.coefficients()
        >>> matrix = table.to_scipy()  # a row for each component of the result, a column for each pair (i, j)
        >>> matrix.shape
        (9, 16)
        >>> x1, x2 = np.ones(4), np.arange(4.0)
        >>> bool(np.allclose(matrix @ np.outer(x1, x2).ravel(), p(x1, x2)))
        True
    """

    shape: tuple[int, ...]
    coords: npt.NDArray[np.int64]
    values: npt.NDArray[np.float64]

    def to_dense(self) -> npt.NDArray[np.float64]:
        """The table with its zeros, float64, of shape ``shape``.

        Raises:
            MemoryError: it would not fit; its size is named.
        """
        require_memory(8 * prod(self.shape), f"a dense table of shape {self.shape}")
        dense = np.zeros(self.shape)
        dense[tuple(self.coords)] = self.values
        return dense

    def to_scipy(self, rows: int | tuple[int, ...] | None = -1) -> coo_array:
        """The table as a ``scipy.sparse.coo_array``.

        Args:
            rows: the axis or axes that form the rows of a matrix, by default the last one, the result; the others, in
                their order, form the columns. Several axes are flattened in row-major order: of (x1, x2, out), column
                ``i * dim2 + j`` belongs to ``x1[i] x2[j]``, so that ``to_scipy() @ np.outer(x1, x2).ravel()`` is the
                product. None: an array with all the axes.

        Raises:
            TypeError, ValueError: not an axis, or one twice, or more columns than 64-bit indices count.
            RuntimeError: ``rows=None`` and a scipy before 1.15, which has no sparse arrays of more than two axes.
        """
        from scipy.sparse import coo_array

        if rows is None:
            _require_many_axes(len(self.shape))
            coords: Any = tuple(self.coords.copy())
            return coo_array((self.values.copy(), coords), shape=self.shape)
        row_axes, column_axes = _split_axes(rows, len(self.shape))
        n_rows, row = self._flattened(row_axes)
        n_columns, column = self._flattened(column_axes)
        return coo_array((self.values.copy(), (row, column)), shape=(n_rows, n_columns))

    def _flattened(self, axes: tuple[int, ...]) -> tuple[int, npt.NDArray[np.int64]]:
        """How many places some axes have together, and the place of each entry, row-major."""
        lengths = tuple(self.shape[axis] for axis in axes)
        if prod(lengths) > np.iinfo(np.int64).max:
            raise ValueError(f"axes {axes} of lengths {lengths} have more places than 64-bit indices count")
        flat = np.zeros(self.values.size, dtype=np.int64)
        for axis, length in zip(axes, lengths, strict=True):
            flat = flat * length + self.coords[axis]
        return prod(lengths), flat

    @classmethod
    def from_scipy(
        cls, array: Any, shape: Sequence[int] | None = None, rows: int | tuple[int, ...] | None = -1
    ) -> Coefficients:
        """The table of a sparse array or matrix of any format: the inverse of :meth:`to_scipy`.

        Args:
            array: sparse. Equal coordinates are summed, zeros dropped.
            shape: of the table, where ``array`` is a matrix made from it; None: that of ``array``, axis by axis.
            rows: as for :meth:`to_scipy`; read only if ``shape`` is given.

        Raises:
            TypeError: not sparse, or complex.
            ValueError: ``shape`` and ``rows`` that do not give the shape of ``array``.
        """
        from scipy.sparse import issparse

        if not issparse(array):
            raise TypeError(f"array must be sparse (scipy.sparse), got {type(array).__module__}.{type(array).__name__}")
        array = cast(Any, array)
        if array.dtype.kind not in "fiub":
            raise TypeError(f"array must be real, got dtype {array.dtype}")
        coo = array.tocoo()
        found = tuple(int(n) for n in coo.shape)
        given = coo.coords if hasattr(coo, "coords") else (coo.row, coo.col)
        coords = [np.asarray(places, dtype=np.int64) for places in given]
        if shape is None or rows is None:
            full = found if shape is None else tuple(shape)
            if full != found:
                raise ValueError(f"array must have shape {full}, got {found}")
            return _in_order(full, np.stack(coords), coo.data)
        full = tuple(check_degree("shape", n) for n in shape)
        parts = _split_axes(rows, len(full))
        expected = tuple(prod(full[axis] for axis in axes) for axes in parts)
        if found != expected:
            raise ValueError(f"array must have shape {expected} for a table {full} with rows {rows}, got {found}")
        table = np.empty((len(full), coords[0].size), dtype=np.int64)
        for axes, flat in zip(parts, coords, strict=True):
            rest = flat
            for axis in reversed(axes):
                rest, table[axis] = np.divmod(rest, max(full[axis], 1))
        return _in_order(full, table, coo.data)


def _require_many_axes(count: int) -> None:
    import scipy

    version = tuple(int(part) for part in scipy.__version__.split(".")[:2])
    if count > 2 and version < (1, 15):
        raise RuntimeError(f"sparse arrays of {count} axes need scipy 1.15 or later, this is {scipy.__version__}")


def _split_axes(rows: int | tuple[int, ...], count: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The axes of the rows, and the others."""
    chosen: list[int] = []
    for axis in rows if isinstance(rows, tuple | list) else (rows,):
        if isinstance(axis, bool) or not isinstance(axis, int | np.integer):
            raise TypeError(f"rows must be an axis, a tuple of axes or None, got {rows!r}")
        if not -count <= axis < count or axis % count in chosen:
            raise ValueError(f"rows must name different axes of {count}, got {rows}")
        chosen.append(int(axis) % count)
    return tuple(chosen), tuple(axis for axis in range(count) if axis not in chosen)


def _in_order(shape: tuple[int, ...], coords: npt.NDArray[np.int64], values: npt.NDArray[Any]) -> Coefficients:
    """Entries in row-major order, those of equal coordinates summed, without zeros."""
    order = np.lexsort(coords[::-1])
    coords, values = coords[:, order], values[order].astype(np.float64)
    if values.size:
        new = np.concatenate([[True], (coords[:, 1:] != coords[:, :-1]).any(axis=0)])
        starts = np.flatnonzero(new)
        coords, values = coords[:, starts], np.add.reduceat(values, starts)
    keep = values != 0
    return Coefficients(shape, np.ascontiguousarray(coords[:, keep]), values[keep])


def entries(form: Contraction, axes: tuple[int, ...]) -> Coefficients:
    """All coefficients of ``form``, with its operands in the order ``axes``.

    Raises:
        MemoryError: the table would not fit.
    """
    numbers = [
        prod(channel_ranges(path, form.operands).values()) * path.coupling.sparse.values.size for path in form.paths
    ]
    # coordinates and values, and as much again twice while they are sorted
    require_memory(3 * 8 * (len(axes) + 1) * sum(numbers), "the table of coefficients")
    free = {i for path in form.paths for i, segment in enumerate(path.segments) if segment is None}
    shape = tuple(form.operands[i].size + (i in free) for i in axes)
    parts = [_entries_of(path, form, axes) for path in form.paths]
    coords = np.concatenate([np.zeros((len(axes), 0), dtype=np.int64), *(c for c, _ in parts)], axis=1)
    values = np.concatenate([np.zeros(0), *(v for _, v in parts)])
    return _in_order(shape, coords, values)


def _entries_of(
    path: Path, form: Contraction, axes: tuple[int, ...]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    table = path.coupling.sparse
    channels = channel_combinations(path, form.operands)
    rows = []
    shape = channels[0].size, table.values.size
    for i in axes:
        place = path.segments[i]
        operand = form.operands[i]
        if place is None:
            rows.append(np.full(shape, operand.size))
            continue
        segment = operand.segments[place]
        leg = path.legs[i]
        component = np.zeros(table.values.size, dtype=np.int64) if leg is None else table.coords[leg]
        stride_u, stride_m = (segment.dim, 1) if operand.layout == "mul_ir" else (1, segment.mul)
        places = segment.offset + channels[i][:, None] * stride_u + component * stride_m
        rows.append(np.broadcast_to(places, shape))
    values = np.broadcast_to(table.values * path.scale, shape)
    return np.stack([row.ravel() for row in rows]).astype(np.int64), values.ravel()
