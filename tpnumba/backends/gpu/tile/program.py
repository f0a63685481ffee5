"""Programs: operations on the tile of a sample, and what the kernel reads of them.

Positions are in numbers of a sample's tile; :mod:`tables` knows how many samples a tile has, and its pitch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tpnumba.backends.gpu import device
from tpnumba.backends.gpu.layout import MOST_SAMPLES, Factor
from tpnumba.backends.lowering.matrices import ConstantMatrix, Floats, Ints

#: Entries of tables beyond which a plan has no program: they would take longer to read than they save.
MOST_ENTRIES = 2**22
#: Samples of a tile from which on its pitch is padded.
_PADDED_SAMPLES = 8


@dataclass(frozen=True)
class Part:
    """A contribution to one result: ``sum over channels and terms of coefficient * x * y``, times a factor.

    Parts with equal ``key`` are taken together where results are. ``combinations`` says which pairs of channels are
    multiplied (a place in the list of the operation); ``terms`` are places in x and y, shape ``(n, 2)``, with their
    ``values``; ``factor`` is where the factor starts and its step from channel to channel, or None.
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
class Sums:
    """An operation that makes results as sums over tables.

    ``combinations``: for each list, where the pairs of every channel begin, and the pairs: the start of x, the start of
    y, and the channel of the factor. ``factor``: NO_FACTOR, FROM_TILE, or the input that is read where it stands.
    """

    results: list[Result] = field(default_factory=list)
    combinations: list[tuple[Ints, Ints]] = field(default_factory=list)
    product: bool = True
    add: bool = False
    to_output: bool = False
    factor: int = Factor.NO_FACTOR


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
    to_output: bool = False
    factor: int = Factor.FROM_TILE


@dataclass(frozen=True)
class Update:
    """What becomes of the numbers that matrices make: they are stored from ``to`` on, or added there, times ``factor``.

    ``times``: where numbers stand that they are multiplied with, place by place; None for nothing.
    """

    to: int
    times: int | None = None
    factor: float = 1.0
    add: bool = False


@dataclass
class Dense:
    """Products with dense matrices, none of which write the same numbers; they read from ``start`` on."""

    matrices: tuple[ConstantMatrix, ...]
    start: int
    updates: tuple[Update, ...]
    to_output: bool = False


#: What a section does, one after the other.
Operation = Sums | Matrix | Dense


@dataclass
class Phase:
    """Inputs to load and where to, all their columns or those that are picked, and the operations that follow."""

    loads: dict[int, int]
    operations: Sequence[Operation]
    picked: dict[int, Ints] = field(default_factory=dict)


@dataclass
class Section:
    """What makes some ``columns`` of the result: phases, one after the other.

    ``output_start``: where these columns stand in the tile; ``zero``: whether they start as zero; ``size``: numbers of
    a sample's tile.
    """

    phases: list[Phase]
    output_start: int
    columns: Ints
    zero: bool
    size: int


@dataclass(frozen=True, eq=False)
class Program:
    """The tables of a plan in one dtype; hashed by identity, as the programs of plans are cached.

    ``samples`` of a tile; ``repeat``: results that a thread makes at a time; ``kinds``: a bit for each kind of
    operation that the kernel has to know; ``tile``: its numbers, and ``shared`` whether they fit into shared memory;
    ``inputs``: the operands in the order of the kernel; ``direct``: the place among them of the one that is read where
    it stands, or -1; ``sections`` of the result, which blocks along y share; ``terms``: source to be put before that of
    the kernel, with the terms of a small plan as code; empty where tables have them.
    """

    samples: int
    repeat: int
    kinds: int
    tile: int
    shared: bool
    inputs: tuple[int, ...]
    direct: int
    sections: int
    table: npt.NDArray[np.int32]
    coefficients: npt.NDArray[np.floating]
    terms: str


def pitch_of(samples: int, *, dense: bool = False) -> int:
    """Numbers from one number of a tile to the next: padded, so that rows are loaded without conflicts of banks.

    ``dense``: not where the threads of a warp read several columns, which should be neighbours.
    """
    return samples + 1 if samples >= (MOST_SAMPLES if dense else _PADDED_SAMPLES) else samples


def fitting(size: int, dtype: str, wanted: int, *, dense: bool = False) -> tuple[int, bool]:
    """How many samples, at most ``wanted``, a tile of ``size`` numbers each has; and whether it is in shared memory."""
    itemsize = np.dtype(dtype).itemsize
    for most in (device.COMFORTABLE_BYTES, device.MOST_SHARED_BYTES):
        # Fewer samples a tile than a quarter of what is wanted, only if there is no other way.
        samples = wanted
        while samples >= max(1, wanted // 4 if most == device.COMFORTABLE_BYTES else 1):
            if size * pitch_of(samples, dense=dense) * itemsize <= most:
                return samples, True
            samples //= 2
    return wanted, False


def comfortable_size(dtype: str, samples: int) -> int:
    """Numbers of a tile that leave room for several blocks on a multiprocessor."""
    return device.COMFORTABLE_BYTES // (np.dtype(dtype).itemsize * pitch_of(samples))
