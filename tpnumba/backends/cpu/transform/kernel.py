"""The kernel of products on the sphere and of matrices: a list of steps, each worked for a tile of samples."""

from __future__ import annotations

from tpnumba.backends.cpu.layout import (
    COPY,
    COUNT,
    DENSE,
    KIND,
    LINE,
    MATRICES,
    MEET,
    MULTIPLY,
    OTHER,
    REFLECT,
    SOURCE,
    TO,
    A,
    B,
    C,
    D,
    E,
    F,
    G,
    H,
)
from tpnumba.backends.cpu.runtime.compiler import jit, part
from tpnumba.backends.cpu.simd.memory import fence
from tpnumba.backends.cpu.simd.operands import load_operands, load_shared_operands, store_operands
from tpnumba.backends.cpu.simd.small_products import dense, meet, multiply_into, reflect
from tpnumba.backends.cpu.simd.vectors import fill, mix_runs

_ONE, _TWO, _FOUR, _EIGHT = (0,), (0, 0), (0, 0, 0, 0), (0,) * 8


@jit
def transform(width, tile, operands, steps, places, numbers, buffer, start, stop, stream):
    """Evaluate the steps for the samples from ``start`` to ``stop``; the arguments are as those of ``contract``."""
    lanes = len(width) * LINE // tile.itemsize
    load_shared_operands(width, tile, lanes, operands)
    for first in range(start, stop, lanes):
        count = min(lanes, stop - first)
        load_operands(tile, lanes, operands, first, count, stop - first - count, buffer)
        for s in range(steps.shape[0]):
            _step(width, tile, lanes, steps[s], places, numbers)
        store_operands(width, tile, lanes, operands, first, count, buffer, stream)
    if stream:
        fence()


@part
def _step(width, tile, lanes, step, places, numbers):
    kind, count = step[KIND], step[COUNT]
    side = LINE // tile.itemsize
    if kind == DENSE:
        for i in range(count):
            to, source = step[TO] + i * step[A], step[SOURCE] + i * step[B]
            _dense(width, tile, to, source, places, step[E], step[F], step[C], step[D], numbers, step[G], step[H] != 0)
    elif kind in (MEET, REFLECT):
        for row in range(count):
            for i in range(step[B]):
                away = row * step[E] + i * step[A] * step[C]
                for v in range(0, lanes, side):
                    at = away + v
                    if kind == REFLECT and step[A] == 4:
                        reflect(_EIGHT, tile, step[SOURCE] + at, step[C], step[D])
                    elif kind == REFLECT:
                        reflect(_FOUR, tile, step[SOURCE] + at, step[C], step[D])
                    elif step[A] == 4:
                        meet(_EIGHT, tile, step[TO] + at, step[SOURCE] + at, step[OTHER] + at, step[C], step[D])
                    else:
                        meet(_FOUR, tile, step[TO] + at, step[SOURCE] + at, step[OTHER] + at, step[C], step[D])
    elif kind == MULTIPLY:
        for at in range(0, count * lanes, side):
            multiply_into(tile, step[TO] + at, step[SOURCE] + at, step[OTHER] + at, step[A])
    elif kind == COPY:
        for i in range(count):
            to, source = step[TO] + places[step[A] + i], step[SOURCE] + places[step[B] + i]
            for v in range(lanes):
                tile[to + v] = tile[source + v]
    elif kind == MATRICES:
        for i in range(count):
            to, source = step[TO] + i * count * lanes, step[SOURCE] + i * step[A]
            k = 0
            while k < count:
                other = step[OTHER] + k * step[D]
                if count - k >= 4:
                    mix_runs(
                        *(width, _FOUR, tile, to + k * lanes, lanes, source, step[B], other, step[C], step[D], count),
                        *(-1, 0, False),
                    )
                    k += 4
                else:
                    mix_runs(
                        *(width, _ONE, tile, to + k * lanes, lanes, source, step[B], other, step[C], step[D], count),
                        *(-1, 0, False),
                    )
                    k += 1
    else:
        for i in range(count):
            fill(width, tile, step[TO] + i * lanes, 0.0)


@jit
def _dense(width, tile, to, source, places, results, sources, count, terms, numbers, first, add):
    """A matrix product in blocks of results, as many as registers hold."""
    j = 0
    while j < count:
        at, one, left = results + j, first + j, count - j
        if left >= 8 and len(width) <= 2:
            dense(width, _EIGHT, tile, to, source, places, at, sources, terms, numbers, one, count, add)
            j += 8
        elif left >= 4:
            dense(width, _FOUR, tile, to, source, places, at, sources, terms, numbers, one, count, add)
            j += 4
        elif left >= 2:
            dense(width, _TWO, tile, to, source, places, at, sources, terms, numbers, one, count, add)
            j += 2
        else:
            dense(width, _ONE, tile, to, source, places, at, sources, terms, numbers, one, count, add)
            j += 1
