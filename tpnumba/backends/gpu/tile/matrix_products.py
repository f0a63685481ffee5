"""Matrix products of every sample: how the threads of a block share them, by the steps that the memories need.

A thread makes a few rows and columns of the result, so that what it reads serves several multiplications. Which ones,
and which of two factors is the first, is chosen from the plan: of all ways the one with the lowest price.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import product
from typing import NamedTuple

import numpy as np

from tpnumba.backends.gpu.device import BANKS, SECTOR_BYTES, WARP
from tpnumba.backends.gpu.layout import MATRIX_COLUMNS, MATRIX_ROWS, MATRIX_WIDE, THREADS, Factor, Sharing
from tpnumba.backends.gpu.tile.program import Matrix
from tpnumba.backends.lowering.matrices import Ints

#: Numbers of a sector: those of float32.
_SECTOR = SECTOR_BYTES // 4
#: Between the rows of an operand of two samples in the device's memory: far, and a multiple of sectors.
_FAR = 2**24
#: What a step of a thread waits for the device's memory or the tile, and a barrier, in steps of the memories: with two
#: steps on the way and as many blocks on a multiprocessor. Not measured.
_WAIT, _WAIT_TILE, _BARRIER = 125.0, 8.0, 15.0

Places = tuple[int, int, int]


class Way(NamedTuple):
    """One way to share a product.

    ``groups`` of rows and of columns, each made by a thread; ``splits`` of the sum, each made by threads of its own;
    ``along``: four numbers of a row of the first factor at a time; ``together``: the rows of a thread are neighbours,
    read at once, and else as far from each other as there are groups; ``turned``: sums start where no other row's does.
    """

    groups: tuple[int, int]
    splits: int
    along: bool
    together: bool
    turned: bool


def matrix_record(operation: Matrix, pitch: int) -> list[int]:
    """What the kernel reads of a product, in the order of ``layout.PRODUCT_FIELDS``."""
    n_i, n_j, n_k = operation.extents
    in_tile = operation.factor == Factor.FROM_TILE
    a: Places = tuple(place * (pitch if in_tile else 1) for place in operation.a)  # type: ignore[assignment]
    b, c = (tuple(place * pitch for place in places) for places in (operation.b, operation.c))
    price, way = _cheapest((n_i, n_j, n_k), _start(a), _start(b), _start(c), pitch, in_tile)
    if in_tile:  # C = A B is C^T = B^T A^T
        turned = (b[0], b[2], b[1]), (a[0], a[2], a[1]), (c[0], c[2], c[1])
        other_price, other = _cheapest((n_k, n_j, n_i), *map(_start, turned), pitch, in_tile)
        if other_price < price:
            way, (a, b, c), n_i, n_k = other, turned, n_k, n_i
    sharing = Sharing.ALONG * way.along | Sharing.TOGETHER * way.together | Sharing.TURNED * way.turned
    sharing |= Sharing.IS_WIDE * _wide(way, (n_i, n_j), a)
    return [n_i, n_j, n_k, way.splits, *a, way.groups[0], *b, way.groups[1], *c, sharing]


def _start(places: tuple[int, ...]) -> Places:
    """As far as the price depends on it."""
    return places[0] % BANKS, places[1], places[2]


def _wide(way: Way, extents: tuple[int, int], a: Places) -> bool:
    """Whether four numbers of the first factor may be read at once; the kernel looks at the address as well."""
    if way.along:
        return a[2] == 1 and a[0] % MATRIX_WIDE == 0 and a[1] % MATRIX_WIDE == 0 and extents[1] % MATRIX_WIDE == 0
    return (
        way.together
        and a[1] == 1
        and a[0] % MATRIX_WIDE == 0
        and a[2] % MATRIX_WIDE == 0
        and extents[0] % MATRIX_WIDE == 0
    )


@lru_cache(maxsize=1024)
def _cheapest(
    extents: tuple[int, int, int], a: Places, b: Places, c: Places, pitch: int, in_tile: bool
) -> tuple[float, Way]:
    """The way with the lowest price."""
    return min(ways(extents, (a, b, c), 1 << (pitch.bit_length() - 1), in_tile))


def ways(
    extents: tuple[int, int, int], places: tuple[Places, Places, Places], samples: int, in_tile: bool
) -> Iterator[tuple[float, Way]]:
    """Every way to share a product among threads, and its price in steps of the memories."""
    n_i, n_j, n_k = extents
    a = places[0]
    for along, together, turned in product((False, True), repeat=3):
        if (along and together) or (turned and not in_tile):
            continue
        wide = _wide(Way((1, 1), 1, along, together, turned), (n_i, n_j), a)
        # Along rows of the device's memory also number by number: the sector is there after the first.
        if (along or together) and not wide and not (along and a[2] == 1 and not in_tile):
            continue
        rows = {-(-n_i // most) for most in range(MATRIX_WIDE if together else 1, MATRIX_ROWS[along] + 1)}
        columns = {-(-n_k // most) for most in range(1, MATRIX_COLUMNS[along] + 1)}
        length = -(-n_j // MATRIX_WIDE) if along else n_j
        for groups in product(sorted(rows), sorted(columns)):
            tasks = samples * groups[0] * groups[1]
            warps = -(-tasks // WARP)
            way = Way(groups, 1, along, together, turned)
            reads, writes = _steps(way, extents, places, samples, in_tile)
            for splits in (1, 2, 4, 8):
                if splits > 1 and (splits > length or tasks * splits > THREADS):
                    break
                wait = -(-length // splits) * (_WAIT_TILE if in_tile else _WAIT) * -(-tasks // THREADS)
                price = warps * (length * reads + (2 * splits - 1) * writes) + wait + (splits - 1) * _BARRIER
                yield price, way._replace(splits=splits)


def _steps(
    way: Way, extents: tuple[int, int, int], places: tuple[Places, Places, Places], samples: int, in_tile: bool
) -> tuple[float, float]:
    """Those of a warp: for reads of one step of a sum, and to write what it makes."""
    (n_i, n_j, n_k), (a, b, c) = extents, places
    groups_i, groups_k = way.groups
    lane = np.arange(min(WARP, samples * groups_i * groups_k))
    sample, place = lane % samples, lane // samples
    i, k = place % groups_i, place // groups_i
    first = i * (-(-n_i // groups_i) if way.together else 1)
    length = -(-n_j // MATRIX_WIDE) if way.along else n_j
    j = (i % length if way.turned else 0 * i) * (MATRIX_WIDE if way.along else 1)
    from_a = a[0] + first * a[1] + j * a[2] + sample * (1 if in_tile else _FAR)
    rows, columns = n_i / groups_i, n_k / groups_k
    wide = _wide(way, (n_i, n_j), a)
    reads = _served(from_a, MATRIX_WIDE if wide else 1, in_tile) * (1 if way.together else rows)
    reads *= 1 if wide or not way.along else MATRIX_WIDE
    reads += _served(b[0] + j * b[1] + k * b[2] + sample, 1, True) * columns * (MATRIX_WIDE if way.along else 1)
    return reads, _served(c[0] + first * c[1] + k * c[2] + sample, 1, True) * rows * columns


def _served(places: Ints, wide: int, shared: bool) -> int:
    """Steps of a request: numbers of the fullest bank, or sectors."""
    numbers = np.unique(places[:, None] + np.arange(wide))
    return int(np.bincount(numbers % BANKS).max()) if shared else int(np.unique(numbers // _SECTOR).size)
