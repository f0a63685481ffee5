"""Linear maps as passes on a device: where a Fourier sum is cut in two."""

from __future__ import annotations

from collections.abc import Iterator

from tpnumba.backends.lowering import linear_maps
from tpnumba.backends.lowering.linear_maps import Axis, Pass, Steps
from tpnumba.backends.lowering.matrices import Floats
from tpnumba.plans.stages import LinearMap

#: Multiply-adds that a device does in the time in which it moves a number, in a kernel of this kind. From data sheets:
#: at full rate 40 for float32 on an H100 (33.5e12 a second, 3.35e12 bytes a second), 25 on an A100, and for float64
#: about the same; matrix products through shared memory reach about half. Not measured.
BALANCE = 20


def passes_of(
    linear_map: LinearMap, size: int, steps: Steps | None = None, weights: Floats | None = None
) -> Iterator[Pass]:
    """As :func:`tpnumba.backends.lowering.linear_maps.passes_of`, with Fourier sums in as many passes as are quickest.

    In two passes these are the same kernel as everything else, the same bits however samples are shared out, which
    cuFFT does not promise, and take no work areas besides.
    """
    return linear_maps.passes_of(linear_map, size, steps, weights, first_factor=first_factor)


def first_factor(axis: Axis) -> int:
    """The factor n1 of the quickest sum in two passes; 1 if one pass is quicker."""
    n, k = axis.count, axis.waves.size

    def price(n1: int) -> tuple[float, int]:
        # Multiply-adds of a pass, and numbers read and written.
        steps = [(k * n, k + n)] if n1 == 1 else [(2 * k * n // n1, k + 2 * n), (2 * n * n1, 3 * n)]
        return sum(max(work / BALANCE, moved) for work, moved in steps), sum(work for work, _ in steps)

    return min((n1 for n1 in range(1, n // 2 + 1) if n % n1 == 0), key=price, default=1)
