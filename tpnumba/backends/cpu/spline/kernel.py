"""The kernels of a table of cubic polynomials: values of all functions, and the derivative pulled back."""

from __future__ import annotations

import numpy as np

from tpnumba.backends.cpu.runtime.compiler import jit

#: Partial sums of the pulled-back derivative: the numbers of four vectors of float32, so that additions need not wait
#: for each other.
_SUMS = 64


@jit
def values(table, intervals, places, start, stop, out):
    """Write the functions of the points ``start`` to ``stop``; zero where the interval is -1.

    Args:
        table: coefficients, shape (interval, power, function).
        intervals, places: of each point its interval, and its distance from the beginning of that.
        start, stop: the points to work on.
        out: shape (point, function).
    """
    size = table.shape[2]
    for i in range(start, stop):
        row, t, interval = out[i], places[i], intervals[i]
        if interval < 0:
            for j in range(size):
                row[j] = 0
            continue
        c0, c1, c2, c3 = table[interval, 0], table[interval, 1], table[interval, 2], table[interval, 3]
        for j in range(size):
            row[j] = ((c3[j] * t + c2[j]) * t + c1[j]) * t + c0[j]


@jit
def pulled_back(table, intervals, places, start, stop, cotangent, out):
    """Write the sum over the functions of derivative times cotangent; arguments as those of :func:`values`."""
    size = table.shape[2]
    whole = size // _SUMS * _SUMS
    sums = np.zeros(_SUMS, table.dtype)
    for i in range(start, stop):
        g, t, interval = cotangent[i], places[i], intervals[i]
        if interval < 0:
            out[i] = 0
            continue
        c1, c2, c3 = table[interval, 1], table[interval, 2], table[interval, 3]
        t3 = t + t + t
        for j in range(_SUMS):
            sums[j] = 0
        for first in range(0, whole, _SUMS):
            for j in range(_SUMS):
                k = first + j
                sums[j] += ((c3[k] * t3 + c2[k] + c2[k]) * t + c1[k]) * g[k]
        total = sums[0]
        for j in range(whole, size):
            total += ((c3[j] * t3 + c2[j] + c2[j]) * t + c1[j]) * g[j]
        for j in range(1, _SUMS):
            total += sums[j]
        out[i] = total
