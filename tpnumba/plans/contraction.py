"""Contraction: a sum of sparse couplings between segments, with channels."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod

import numpy as np
import numpy.typing as npt

from tpnumba.plans.access import Access
from tpnumba.plans.base import Operand, Plan, Segment
from tpnumba.plans.ordering import BATCH, Order, cheapest_order
from tpnumba.tables.clebsch_gordan import SparseTable, clebsch_gordan_sparse

PAIR = "u<v"
_CHANNEL = re.compile(r"u<v|[a-z]")
AXES = "ABCDEFGH"


@dataclass(frozen=True, slots=True)
class Coupling:
    """Sparse coefficients named by their table and degrees; the arrays live in the cache of ``tables``.

    Equality and hash go by the name, never by content.
    """

    table: str
    degrees: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """The number of components of each leg."""
        return tuple(2 * degree + 1 for degree in self.degrees)

    @property
    def sparse(self) -> SparseTable:
        """The non-zeros."""
        return _TABLES[self.table](*self.degrees)


_TABLES = {"clebsch_gordan": clebsch_gordan_sparse}


@dataclass(frozen=True, slots=True)
class Path:
    """One term of the form: the segment of each operand, how channels are multiplied, and the coupling of components.

    Args:
        segments: the segment of each operand; None where the path is free of it, as a path without weights is.
        channels: the pattern of channels, one entry an operand, such as ``"u,v,uvw,w"``. A letter that two operands
            share is the same index; ``u<v`` is the list of pairs with u before v.
        coupling: the coefficients between the components.
        legs: the leg of the coupling that carries the components of each operand; None for an operand without any.
        scale: a factor.
    """

    segments: tuple[int | None, ...]
    channels: str
    coupling: Coupling
    legs: tuple[int | None, ...]
    scale: float

    def letters(self, operand: int) -> tuple[str, ...]:
        """The channel letters of one operand, outermost first."""
        return tuple(_CHANNEL.findall(self.channels.split(",")[operand]))


@dataclass(frozen=True)
class Group:
    """Paths that read the same segments in the same way: evaluated together, their couplings side by side.

    ``inputs`` are the operands read; ``coords`` and ``values`` are the stacked coupling; ``targets`` says which columns
    of the output leg go to which segment of the output.
    """

    inputs: tuple[int, ...]
    segments: tuple[int | None, ...]
    letters: tuple[tuple[str, ...], ...]
    axes: tuple[str | None, ...]
    extents: dict[str, int]
    coords: npt.NDArray[np.int64]
    values: npt.NDArray[np.float64]
    coupling_letters: tuple[str, ...]
    targets: tuple[tuple[int, slice], ...]
    order: Order

    def dense(self) -> npt.NDArray[np.float64]:
        """The stacked coupling as a dense array with one axis a letter of ``coupling_letters``."""
        table = np.zeros([self.extents[letter] for letter in self.coupling_letters])
        table[tuple(self.coords)] = self.values
        return table


def channel_extents(path: Path, operands: tuple[Operand, ...]) -> dict[str, int]:
    """The range of each channel letter of a path.

    Raises:
        ValueError: the multiplicities of the segments contradict the pattern.
    """
    extents: dict[str, int] = {}
    parts = [
        (path.letters(i), operand.segments[place].mul)
        for i, (operand, place) in enumerate(zip(operands, path.segments, strict=True))
        if place is not None
    ]
    for letters, mul in parts:
        if len(letters) == 1 and letters[0] != PAIR and extents.setdefault(letters[0], mul) != mul:
            raise ValueError(f"the channels {path.channels} need equal multiplicities of {letters[0]}")
    if any(PAIR in letters for letters, _ in parts):
        if extents["u"] != extents["v"]:
            raise ValueError(f"the channels {path.channels} need equal multiplicities of both inputs")
        extents[PAIR] = extents["u"] * (extents["u"] - 1) // 2
    for letters, mul in parts:
        if prod(extents[letter] for letter in letters) != mul:
            raise ValueError(f"the channels {path.channels} do not fit the multiplicity {mul}")
    return extents


def channel_ranges(path: Path, operands: tuple[Operand, ...], fixed: Collection[str] = ()) -> dict[str, int]:
    """The ranges of the independent channel letters of a path, sorted, but for those that are ``fixed``."""
    extents = channel_extents(path, operands)
    letters = {letter for i in range(len(operands)) for letter in path.letters(i)} - set(fixed)
    if PAIR in letters:
        letters -= {"u", "v"}
    return {letter: extents[letter] for letter in sorted(letters)}


def channel_combinations(
    path: Path, operands: tuple[Operand, ...], fixed: Collection[str] = ()
) -> dict[int, npt.NDArray[np.int64]]:
    """The channels that a path multiplies with each other.

    Args:
        path: the path.
        operands: those of the form.
        fixed: letters that stay at their first channel.

    Returns:
        For each operand that takes part in the path, its channel in every combination of channels: shape
        ``(combinations,)``, row-major in :func:`channel_ranges`.
    """
    extents, ranges = channel_extents(path, operands), channel_ranges(path, operands, fixed)
    grids = np.meshgrid(*(np.arange(extent) for extent in ranges.values()), indexing="ij")
    index = {letter: grid.ravel() for letter, grid in zip(ranges, grids, strict=True)}
    if PAIR in index:
        index["u"], index["v"] = np.stack(np.triu_indices(extents["u"], 1))[:, index[PAIR]]
    channels = {}
    for i, place in enumerate(path.segments):
        if place is not None:
            channels[i] = np.zeros(prod(ranges.values()), dtype=np.int64)
            for letter in path.letters(i):
                channels[i] = channels[i] * extents[letter] + index.get(letter, 0)
    return channels


@dataclass(frozen=True, repr=False)
class Contraction(Plan):
    """``sum over paths and channels of scale * coupling[a, b, ...] * X[u, a] * Y[v, b] * ...`` as a form.

    Example:
        >>> import tpnumba as tp
        >>> tp.FullTensorProduct("1o", "1o").form
        Contraction(in1: 3 batch, in2: 3 batch -> out: 9 batch | 3 paths, 20 non-zeros)
    """

    paths: tuple[Path, ...]

    __hash__ = Plan.__hash__

    def __repr__(self) -> str:
        nonzeros = sum(path.coupling.sparse.values.size for path in self.paths)
        return self.describe(f"{len(self.paths)} paths, {nonzeros:,} non-zeros")

    def linear_in(self, i: int) -> Contraction:
        """The paths that operand ``i`` takes part in: the part of the form that is linear in it."""
        paths = tuple(path for path in self.paths if path.segments[i] is not None)
        return self if paths == self.paths else replace(self, paths=paths)

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """The paths with something to do, put together where their inputs are the same."""
        gathered: dict[object, list[Path]] = {}
        for number, path in enumerate(self.paths):
            if path.segments[self.output] is None or path.scale == 0 or any(s.mul == 0 for s in self._read(path)):
                continue
            # Only paths whose outputs have components can stand side by side.
            alone = number if path.legs[self.output] is None else None
            read = tuple(path.segments[i] for i in self.inputs)
            gathered.setdefault((read, path.channels, path.legs, alone), []).append(path)
        return tuple(self._group(paths) for paths in gathered.values())

    def _read(self, path: Path) -> list[Segment]:
        return [self.operands[i].segments[place] for i, place in enumerate(path.segments) if place is not None]

    def _group(self, paths: list[Path]) -> Group:
        first = paths[0]
        extents = channel_extents(first, self.operands)
        axes = tuple(None if leg is None else AXES[leg] for leg in first.legs)
        for leg, dim in enumerate(first.coupling.shape):
            extents[AXES[leg]] = dim
        stacked = first.legs[self.output]
        coords, values, targets, start = [], [], [], 0
        for path in paths:
            table = path.coupling.sparse
            moved = table.coords
            width = 1
            if stacked is not None:
                moved = moved.copy()
                moved[stacked] += start
                width = table.shape[stacked]
            target = path.segments[self.output]
            assert target is not None
            coords.append(moved)
            values.append(table.values * path.scale)
            targets.append((target, slice(start, start + width)))
            start += width
        if stacked is not None:
            extents[AXES[stacked]] = start
        letters = tuple(tuple(self._axes_of(i, first.letters(i), axis)) for i, axis in enumerate(axes))
        inputs = tuple(i for i in self.inputs if first.segments[i] is not None)
        coupling_letters = tuple(AXES[: len(first.coupling.degrees)])
        all_coords = np.concatenate(coords, axis=1)
        order = cheapest_order(
            [*(_plain(letters[i]) for i in inputs), coupling_letters],
            _plain(letters[self.output]),
            extents,
            dict(zip(coupling_letters, all_coords, strict=True)),
        )
        return Group(
            inputs=inputs,
            segments=first.segments,
            letters=letters,
            axes=axes,
            extents=extents,
            coords=all_coords,
            values=np.concatenate(values),
            coupling_letters=coupling_letters,
            targets=tuple(targets),
            order=order,
        )

    def _axes_of(self, operand: int, channels: tuple[str, ...], axis: str | None) -> list[str]:
        """The letters of an operand's segment in memory order, the batch first."""
        batch = [] if self.operands[operand].access == Access.SHARED else [BATCH]
        components = [] if axis is None else [axis]
        if self.operands[operand].layout == "mul_ir":
            return [*batch, *channels, *components]
        return [*batch, *components, *channels]

    @cached_property
    def fills_output(self) -> bool:
        """Whether every number of the output is written; the others are zero."""
        reached = {segment for group in self.groups for segment, _ in group.targets}
        segments = self.operands[self.output].segments
        return all(i in reached for i, segment in enumerate(segments) if segment.mul > 0)

    @cached_property
    def flops(self) -> tuple[int, int]:
        """Operations a sample, and operations that are done once for all samples."""
        counts = [group.order.flops for group in self.groups]
        return sum(a for a, _ in counts), sum(b for _, b in counts)

    @cached_property
    def workspace(self) -> int:
        """Numbers a sample that the reference backend keeps besides operands and result."""
        return max((group.order.workspace for group in self.groups), default=0)


def _plain(letters: tuple[str, ...]) -> tuple[str, ...]:
    """The letters with a list of pairs replaced by its two indices."""
    return tuple(part for letter in letters for part in (("u", "v") if letter == PAIR else (letter,)))
