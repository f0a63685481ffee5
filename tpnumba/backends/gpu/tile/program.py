"""Programs: operations on the tile of a sample, and what the kernel reads of them.

Positions are in numbers of a sample's tile; :mod:`tables` knows how many samples a tile has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

#: As in program.cu.
INPUTS = 3
OP_SIZE = 20
LINEAR, PRODUCT, MATRIX, DENSE = 0, 1, 2, 3
NO_FACTOR, FROM_TILE = -2, -1
#: Terms that are read at once, with the tile in shared memory or not.
AT_ONCE = {True: 4, False: 2}
#: Sums that one thread may keep; more float64 ones than these would spill registers.
REPEATS = {"float32": (1, 2, 4, 8), "float64": (1, 2, 4)}

#: Entries of tables beyond which a plan has no program: they would take longer to read than they save.
MOST_ENTRIES = 2**22
#: Samples of a tile: enough that the threads of a warp differ in nothing else.
MOST_SAMPLES = 32
#: Shared memory, in bytes, that leaves room for as many blocks on a multiprocessor as registers do, three of them on
#: sm_90 and two on sm_80; and what every device from sm_80 on gives to one.
_COMFORTABLE_BYTES, _MOST_BYTES = 72 * 2**10, 96 * 2**10


@dataclass(frozen=True)
class Part:
    """A contribution to one result: ``sum over channels and terms of coefficient * x * y``, times a factor.

    Parts with equal ``key`` are taken together where results are. ``combinations`` says which pairs of channels meet
    (a place in the list of the operation); ``terms`` are places in x and y, shape ``(n, 2)``, with their ``values``;
    ``factor`` is where the factor starts and its step from channel to channel, or None.
    """

    key: object
    combinations: int
    terms: Ints
    values: Floats
    factor: tuple[int, int] | None = None


@dataclass(frozen=True)
class Result:
    """Numbers ``start + step * channel`` of the tile, each a sum of parts; those of equal ``key`` are made together."""

    key: object
    start: int
    step: int
    channels: int
    parts: tuple[Part, ...]


@dataclass
class Rows:
    """An operation that makes results as sums over tables.

    ``combinations``: for each list, where the pairs of every channel begin, and the pairs: the start of x, the start of
    y, and the channel of the factor. ``factor``: NO_FACTOR, FROM_TILE, or the input that is read where it stands.
    """

    results: list[Result] = field(default_factory=list)
    combinations: list[tuple[Ints, Ints]] = field(default_factory=list)
    product: bool = True
    add: bool = False
    to_slots: bool = False
    factor: int = NO_FACTOR


@dataclass
class Matrix:
    """A matrix product ``c[i, k] = scale * sum over j of a[i, j] b[j, k]``; places are starts and steps.

    ``factor``: FROM_TILE, or the input that ``a`` is read from where it stands.
    """

    extents: tuple[int, int, int]
    a: tuple[int, int, int]
    b: tuple[int, int, int]
    c: tuple[int, int, int]
    scale: float = 1.0
    add: bool = False
    to_slots: bool = False
    factor: int = FROM_TILE


@dataclass(frozen=True, eq=False)
class Group:
    """``out[to[m] + c * step_to] = sum over k of matrix[k, m] * in[source[k] + c * step_source]``, ``c < columns``."""

    matrix: Floats
    to: Ints
    source: Ints
    columns: int
    step_to: int
    step_source: int

    def transposed(self) -> Group:
        """What carries back."""
        return Group(self.matrix.T, self.source, self.to, self.columns, self.step_source, self.step_to)


@dataclass(frozen=True)
class Update:
    """What becomes of the numbers of groups: those from ``to`` on are set to them, or ``add``, times a ``factor``.

    ``times``: where numbers stand that they are multiplied with, place by place; None for nothing.
    """

    to: int
    times: int | None = None
    factor: float = 1.0
    add: bool = False


@dataclass
class Dense:
    """Products with dense matrices, none of which write the same numbers; they read from ``start`` on."""

    groups: tuple[Group, ...]
    start: int
    updates: tuple[Update, ...]
    to_slots: bool = False


#: What a chunk does, one after the other.
Operation = Rows | Matrix | Dense


@dataclass
class Phase:
    """Inputs to load and where to, all their columns or those that are picked, and the operations that follow."""

    loads: dict[int, int]
    operations: Sequence[Operation]
    picked: dict[int, Ints] = field(default_factory=dict)


@dataclass
class Chunk:
    """What makes some columns of the result: phases, one after the other, and where the columns stand."""

    phases: list[Phase]
    slots: int
    columns: Ints
    zero: bool
    size: int


@dataclass(frozen=True, eq=False)
class Program:
    """The tables of a plan in one dtype; hashed by identity, as the programs of plans are kept.

    ``samples`` of a tile; ``repeat``: results that a thread makes at a time; ``kinds``: a bit for each kind of
    operation that the kernel has to know; ``tile``: its numbers, and ``shared`` whether they fit into shared memory;
    ``inputs``: the operands in the order of the kernel; ``direct``: the place among them of the one that is read where
    it stands, or -1; ``unrolled``: source to be put before that of the kernel, which has the terms of a small plan as
    code; empty where tables have them.
    """

    samples: int
    repeat: int
    kinds: int
    tile: int
    shared: bool
    inputs: tuple[int, ...]
    direct: int
    chunks: int
    table: npt.NDArray[np.int32]
    coefficients: npt.NDArray[np.floating]
    unrolled: str


def pitch_of(samples: int, *, dense: bool = False) -> int:
    """Numbers from one number of a tile to the next: padded, so that rows are loaded without conflicts of banks.

    ``dense``: not where the threads of a warp read several columns, which should be neighbours.
    """
    return samples + 1 if samples >= (MOST_SAMPLES if dense else 8) else samples


def fitting(size: int, dtype: str, wanted: int, *, dense: bool = False) -> tuple[int, bool]:
    """How many samples a tile of ``size`` numbers each has, and whether it is in shared memory."""
    itemsize = np.dtype(dtype).itemsize
    for most in (_COMFORTABLE_BYTES, _MOST_BYTES):
        # Fewer samples a tile than a quarter of what is wanted, only if there is no other way.
        samples = wanted
        while samples >= max(1, wanted // 4 if most == _COMFORTABLE_BYTES else 1):
            if size * pitch_of(samples, dense=dense) * itemsize <= most:
                return samples, True
            samples //= 2
    return wanted, False


def comfortable_size(dtype: str, samples: int) -> int:
    """Numbers of a tile that leave room for several blocks on a multiprocessor."""
    return _COMFORTABLE_BYTES // (np.dtype(dtype).itemsize * pitch_of(samples))
