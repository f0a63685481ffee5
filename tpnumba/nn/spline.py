"""Radial functions as a table: cubic polynomials on equal intervals of the distance, with a measured error."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from tpnumba.backends.cpu.runtime.threads import default_threads, share
from tpnumba.backends.namespaces import Context, check_out
from tpnumba.backends.registry import resolve_threads
from tpnumba.nn.checks import check_number, context_of, require_numpy
from tpnumba.nn.kernels import kernels_of
from tpnumba.nn.rows import BLOCK_ROWS
from tpnumba.products.form import require_shape

Array = Any

_FEWEST_INTERVALS, _MOST_INTERVALS = 32, 2**14

#: Points of a chunk of a thread: 0.1 ms for 400 functions.
_CHUNK = 1024


class SplineTable:
    """A cubic spline in place of radial functions that depend on the distance alone, up to a stated error.

    The functions are interpolated at equidistant knots (with the not-a-knot condition at both ends: de Boor, *A
    Practical Guide to Splines*, chapter IV), and the number of intervals is doubled until the error is within the
    tolerance. It is measured at three points inside each interval, not estimated. The derivative is that of the spline,
    so that forces stay those of the energy.

    Args:
        function: takes distances of shape ``(m,)``, float64, and gives values ``(m, size)``; for instance a radial
            embedding followed by an :class:`MLP`.
        cutoff: the end of the table; beyond it the spline is zero.
        tolerance: the largest error that is allowed, over the largest value of ``|function|`` between ``start`` and
            ``cutoff``.
        start: the beginning of the table.
        breaks: distances between these at which the functions are less smooth than elsewhere, as where an envelope
            begins, in ascending order: each part is a spline of its own, with its own number of intervals.

    Attributes:
        error: the largest that was found, over the largest value.
        num_intervals: the number of intervals.
        size: the number of functions.

    For 416 functions of 5,600 distances in float32 the kernel took 0.5 ms on one core of a Xeon that had other work,
    and the network that they came from ([8, 64, 64, 416]) 4.9 ms.

    A frozen object of arrays: equal, and of the same hash, if its numbers are.

    Raises:
        TypeError, ValueError: arguments that are malformed, or values that are not finite.
        ArithmeticError: 16,384 intervals do not reach the tolerance; the error of these is named.

    Example:
        >>> import numpy as np
        >>> table = SplineTable(lambda r: np.sin(r)[:, None], 3.0, tolerance=1e-6)
        >>> table.num_intervals, table.error < 1e-6
        (32, True)
        >>> table(np.array([1.0, 3.5])).round(5)
        array([[0.84147],
               [0.     ]])
    """

    cutoff: float
    start: float
    breaks: tuple[float, ...]
    tolerance: float
    error: float
    num_intervals: int
    size: int

    def __init__(
        self,
        function: Callable[[Array], Array],
        cutoff: float,
        *,
        tolerance: float,
        start: float = 0.0,
        breaks: Sequence[float] = (),
    ) -> None:
        if not callable(function):
            raise TypeError(f"function must be callable, got {function!r}")
        cutoff, start = check_number("cutoff", cutoff, positive=True), check_number("start", start)
        tolerance = check_number("tolerance", tolerance, positive=True)
        if not 0 <= start < cutoff:
            raise ValueError(f"start must be at least 0 and below the cutoff {cutoff}, got {start}")
        ends = (start, *(check_number(f"breaks[{i}]", at) for i, at in enumerate(breaks)), cutoff)
        if any(a >= b for a, b in pairwise(ends)):
            raise ValueError(f"breaks must ascend from {start} to {cutoff}, got {ends[1:-1]}")
        parts, error, largest = [], 0.0, 0.0
        for a, b in pairwise(ends):
            coefficients, missed, size = _refine(function, a, b, tolerance, largest)
            parts.append(coefficients)
            error, largest = max(error, missed), max(largest, size)
        counts = [len(part) for part in parts]
        coefficients = np.concatenate(parts) if len(parts) > 1 else parts[0]
        coefficients.flags.writeable = False
        fields = {
            "cutoff": cutoff,
            "start": start,
            "breaks": ends[1:-1],
            "tolerance": tolerance,
            "error": error / (largest or 1.0),
            "num_intervals": sum(counts),
            "size": coefficients.shape[2],
            "_parts": tuple(zip(ends, ends[1:], counts, strict=False)),
            "_tables": {"float64": coefficients},
        }
        self.__dict__.update(fields)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"SplineTable is frozen; cannot set {name!r}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SplineTable) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        return (
            f"SplineTable({self.size} functions on {self.start} to {self.cutoff}, {self.num_intervals} intervals,"
            f" error {self.error:.1e})"
        )

    @property
    def _key(self) -> tuple[tuple[tuple[float, float, int], ...], bytes]:
        return self.__dict__["_parts"], self._table("float64").tobytes()

    def _table(self, dtype: str) -> Array:
        """Coefficients of shape (interval, power, function)."""
        tables = self.__dict__["_tables"]
        if dtype not in tables:
            narrow = tables["float64"].astype(dtype)
            narrow.flags.writeable = False
            tables[dtype] = narrow
        return tables[dtype]

    def __call__(self, r: Array, *, out: Array | None = None, num_threads: int | None = None) -> Array:
        """The functions of distances.

        Args:
            r: NumPy array of any shape, float32 or float64, not below ``start``.
            out: a contiguous array of the result's shape and dtype to write into; must not overlap ``r``.
            num_threads: that share the distances; by default ``TPNUMBA_NUM_THREADS``, or all cores.

        Returns:
            Shape ``(*r.shape, size)``, of the dtype of ``r``.

        Raises:
            TypeError: not such an array.
            ValueError: a distance below ``start``; it is named.
        """
        context = self._check({"r": r})
        shape = (*r.shape, self.size)
        if out is not None:
            check_out(out, shape, context, {"r": r})
            if not out.flags.c_contiguous:
                raise ValueError(f"out must be contiguous, got strides {out.strides} for shape {shape}")
        threads = resolve_threads(num_threads) or default_threads()
        result = np.empty(shape, context.dtype) if out is None else out
        rows, flat, table = result.reshape(-1, self.size), r.reshape(-1), self._table(context.dtype_name)
        if kernels := kernels_of("spline.kernel"):
            intervals, places = self._find(context, flat)
            _share(flat.size, threads, lambda a, b: kernels.values(table, intervals, places, a, b, rows))
            return result
        for some in _blocks(flat.size):
            c, t, inside = self._gather(context, flat[some])
            rows[some] = (((c[:, 3] * t + c[:, 2]) * t + c[:, 1]) * t + c[:, 0]) * inside
        return result

    def derivative(self, r: Array) -> Array:
        """The derivatives of the spline by the distance, shape ``(*r.shape, size)``."""
        context = self._check({"r": r})
        result = np.empty((*r.shape, self.size), context.dtype)
        flat, rows = r.reshape(-1), result.reshape(-1, self.size)
        for some in _blocks(flat.size):
            rows[some] = self._slopes(context, flat[some])
        return result

    def vjp(self, r: Array, cotangent: Array, *, num_threads: int | None = None) -> Array:
        """The gradient of ``<cotangent, table(r)>`` by the distances.

        Args:
            r, num_threads: as for the call.
            cotangent: shape ``(*r.shape, size)``.

        Returns:
            Of the shape of ``r``.

        Raises:
            TypeError, ValueError: as the call.
        """
        context = self._check({"r": r, "cotangent": cotangent})
        require_shape("cotangent", cotangent, (*r.shape, self.size))
        threads = resolve_threads(num_threads) or default_threads()
        result = np.empty(r.shape, context.dtype)
        flat, found = r.reshape(-1), result.reshape(-1)
        g = np.ascontiguousarray(cotangent.reshape(-1, self.size), context.dtype)
        if kernels := kernels_of("spline.kernel"):
            intervals, places = self._find(context, flat)
            table = self._table(context.dtype_name)
            _share(flat.size, threads, lambda a, b: kernels.pulled_back(table, intervals, places, a, b, g, found))
            return result
        for some in _blocks(flat.size):
            found[some] = np.sum(self._slopes(context, flat[some]) * g[some], axis=1)
        return result

    def _slopes(self, context: Context, r: Array) -> Array:
        c, t, inside = self._gather(context, r)
        return ((3 * c[:, 3] * t + 2 * c[:, 2]) * t + c[:, 1]) * inside

    def _check(self, named: dict[str, Array]) -> Context:
        context = context_of(named)
        require_numpy("SplineTable", context)
        r = named["r"]
        if r.size and (wrong := np.flatnonzero(r < self.start)).size:
            raise ValueError(f"r must not be below {self.start}, got {r.reshape(-1)[wrong[0]]} at number {wrong[0]}")
        return context

    def _find(self, context: Context, r: Array) -> tuple[Array, Array]:
        """Of each distance its interval, -1 beyond the table, and its place in that; NaN is in the first one."""
        r = r.astype(np.float64)  # in float32 the place within an interval would lose the digits of its number
        inside = np.clip(np.nan_to_num(r, nan=self.start), self.start, self.cutoff)
        intervals, begins = np.empty(r.shape, np.int64), np.empty(r.shape)
        first = 0
        for start, end, count in self.__dict__["_parts"]:
            # All of the first part, and of each other one what has got that far.
            some = slice(None) if first == 0 else inside >= start
            step = (end - start) / count
            number = np.minimum((inside[some] - start) / step, count - 1).astype(np.int64)
            intervals[some], begins[some] = first + number, start + number * step
            first += count
        beyond = r >= self.cutoff
        return np.where(beyond, -1, intervals), np.where(beyond, 0.0, r - begins).astype(context.dtype)

    def _gather(self, context: Context, r: Array) -> tuple[Array, Array, Array]:
        """Of each distance the coefficients, its place, and 1 within the table or 0 beyond."""
        intervals, places = self._find(context, r)
        table = self._table(context.dtype_name)
        return table[intervals], places[:, None], (intervals >= 0).astype(context.dtype)[:, None]


def _blocks(count: int) -> list[slice]:
    return [slice(a, a + BLOCK_ROWS) for a in range(0, count, BLOCK_ROWS)]


def _share(count: int, threads: int, work: Callable[[int, int], None]) -> None:
    """Share points by threads, in chunks; each result depends on its point alone."""
    chunks = -(-count // _CHUNK)
    share(lambda i: work(i * _CHUNK, min((i + 1) * _CHUNK, count)), chunks, threads)


def _refine(
    function: Callable[[Array], Array], start: float, end: float, tolerance: float, largest: float
) -> tuple[Array, float, float]:
    """Coefficients of as many intervals as are needed, their error, and the largest value; ``largest``: so far."""
    count = _FEWEST_INTERVALS
    while True:
        coefficients, error, size = _interpolate(function, start, end, count)
        largest = max(largest, size)
        if error <= tolerance * largest:
            return coefficients, error, largest
        if count == _MOST_INTERVALS:
            found = error / largest
            raise ArithmeticError(f"{count} intervals leave an error of {found:.1e}, above tolerance {tolerance}")
        count *= 2


def _interpolate(
    function: Callable[[Array], Array], start: float, end: float, count: int
) -> tuple[Array, float, float]:
    """Coefficients (interval, power, function), the largest error, and the largest value."""
    from scipy.interpolate import CubicSpline

    knots = np.linspace(start, end, count + 1)
    values = _values(function, knots)
    spline = CubicSpline(knots, values)
    between = np.concatenate([knots[:-1] + part * (knots[1] - knots[0]) for part in (0.25, 0.5, 0.75)])
    exact = _values(function, between)
    largest = max(float(np.max(np.abs(values), initial=0.0)), float(np.max(np.abs(exact), initial=0.0)))
    error = float(np.max(np.abs(spline(between) - exact), initial=0.0))
    return np.ascontiguousarray(np.transpose(spline.c[::-1], (1, 0, 2))), error, largest


def _values(function: Callable[[Array], Array], r: Array) -> Array:
    values = function(r)
    if not isinstance(values, np.ndarray) or values.ndim != 2 or values.shape[0] != r.size:
        got = getattr(values, "shape", type(values).__name__)
        raise ValueError(f"function must give an array of shape ({r.size}, size) for {r.size} distances, got {got}")
    if not np.all(np.isfinite(values)):
        raise ValueError(f"function must be finite from start to cutoff, got {values.min()} to {values.max()}")
    return values.astype(np.float64, copy=False)
