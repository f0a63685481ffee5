"""From a contraction to the tables that the kernel reads: what is multiplied, summed and put where."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import prod

import numpy as np
import numpy.typing as npt

from tpnumba.backends.cpu.lanes import (
    ADD,
    AT,
    C_RESULT,
    COLUMN_STRIDE,
    OUTPUT,
    RESULT,
    RESULT_CHANNEL,
    SIZE,
)
from tpnumba.backends.cpu.tiles import LONGEST, STRETCH
from tpnumba.plans.contraction import PAIR, Contraction, Path, channel_extents

Ints = npt.NDArray[np.int64]
LINE = 64
#: A tile of at most so many bytes stays in the second cache; runs are shortened, down to one vector, to keep to it.
_TILE_BYTES = 3 * 2**18
VECTORS = (4, 2, 1)
#: A piece of work takes about so many seconds: long enough to be worth a call, short enough to answer Ctrl-C.
_PIECE_SECONDS = 1e-3
_FLOPS_A_SECOND, _BYTES_A_SECOND = 2e10, 5e9
#: Entries of tables beyond which a plan has no program: they would take longer to read than they save.
_MOST_ENTRIES = 2**22


@dataclass(frozen=True)
class Program:
    """The tables of one contraction in one dtype. Read-only; positions in numbers from the start of the tile."""

    vectors: int
    lanes: int
    tile_size: int
    operands: Ints
    groups: Ints
    channels: Ints
    rows: Ints
    places: npt.NDArray[np.int32]
    values: npt.NDArray[np.floating]
    zeros: Ints
    products: int
    buffer: int
    flops: int

    @cached_property
    def seconds(self) -> float:
        """About how long a sample takes on one core; a rough guess is enough to cut work by."""
        numbers = 1 + int(self.operands[:, SIZE].sum())
        return self.flops / _FLOPS_A_SECOND + numbers * self.values.itemsize / _BYTES_A_SECOND

    @cached_property
    def samples(self) -> int:
        """How many samples make a piece of work, in whole tiles."""
        return max(1, int(_PIECE_SECONDS / self.seconds) // self.lanes) * self.lanes


@dataclass(frozen=True)
class _Role:
    """One operand of a path: where it starts, its steps, and its channel in each combination."""

    start: int
    channel_step: int
    component_step: int
    size: int
    channel: Ints


@lru_cache(maxsize=4096)
def program_of(plan: Contraction, dtype: str) -> Program | None:
    """The program of ``plan``; None if the kernel cannot run it.

    It runs paths of three operands with components and at most one without, whose tables have a reasonable size. The
    plan's ``access`` plays no part.
    """
    fits = all(
        sum(leg is not None for leg in path.legs) == 3 and sum(leg is None for leg in path.legs) <= 1
        for path in plan.paths
    )
    return make_program(plan.with_access(("batch",) * len(plan.operands)), dtype) if fits else None


@lru_cache(maxsize=512)
def make_program(plan: Contraction, dtype: str, vectors: int | None = None) -> Program | None:
    """Build the tables; None if they would be too large. ``vectors``: 64-byte vectors of a run, if not as fits."""
    item = np.dtype(dtype).itemsize
    line = LINE // item
    largest = max((max(path.coupling.shape) ** 2 for path in plan.paths), default=0)
    total = sum(operand.size for operand in plan.operands) + largest
    if vectors is None:
        vectors = next((v for v in VECTORS if total * v * LINE <= _TILE_BYTES), VECTORS[-1])
    lanes = vectors * line
    builder = _Builder(plan, lanes)
    for paths in _alike(plan):
        if not builder.add(paths):
            return None
    return builder.finish(dtype, vectors, line)


def _alike(plan: Contraction) -> list[list[Path]]:
    """Paths that share both factors and their channels: their products are formed once."""
    output = plan.output
    gathered: dict[object, list[Path]] = {}
    for path in plan.paths:
        segments = [plan.operands[i].segments[place] for i, place in enumerate(path.segments) if place is not None]
        if path.segments[output] is None or path.scale == 0 or any(s.mul == 0 for s in segments):
            continue
        left, right, _ = _components(path)
        ranges = tuple(sorted(channel_extents(path, plan.operands).items()))
        key = (path.segments[left], path.segments[right], path.channels, ranges, path.legs)
        alone = output in (left, right) and (len(segments) > 3 or any(s.mul > 1 for s in segments))
        gathered.setdefault((key, path if alone else None), []).append(path)
    return list(gathered.values())


def _components(path: Path) -> list[int]:
    """The operands with components, in order; the last is the one that the others' products are summed into."""
    return [i for i, leg in enumerate(path.legs) if leg is not None]


class _Builder:
    def __init__(self, plan: Contraction, lanes: int) -> None:
        self.plan, self.lanes = plan, lanes
        starts = np.cumsum([0, *(operand.size for operand in plan.operands)]) * lanes
        self.starts = [int(start) for start in starts]
        self.groups: list[list[int]] = []
        self.channels: list[Ints] = []
        self.rows: list[Ints] = []
        self.places: list[Ints] = []
        self.values: list[npt.NDArray[np.float64]] = []
        self.n_channels = self.n_rows = self.n_terms = 0
        self.largest = 0
        self.flops = 0

    def add(self, paths: list[Path]) -> bool:
        """Append a group; False if the tables would grow too large."""
        output = self.plan.output
        left, right, third = _components(paths[0])
        roles = [self._roles(path) for path in paths]
        combinations = roles[0][left].channel.size
        if combinations == 0:
            return True
        summed = output in (left, right)  # products cannot be formed first: one of the two is what is asked for
        first_row = self.n_rows
        if summed:
            self._sums(paths, roles, left, right, third)
        else:
            for path, role in zip(paths, roles, strict=True):
                self._products(path, role, left, right, third)
        weight = next((i for i, leg in enumerate(paths[0].legs) if leg is None), None)
        role = roles[0]
        zero = np.zeros(combinations, dtype=np.int64)
        second = zero if weight is None or paths[0].segments[weight] is None else role[weight].channel
        if summed:
            other = right if output == left else left
            table = [role[third].channel, zero, role[other].channel, second, role[output].channel]
            group = [self.starts[third], role[third].channel_step, 0, 0, 0, 0, 0, -1]
        else:
            if output == third:
                table = [role[left].channel, role[right].channel, zero, second, role[third].channel]
            else:  # the gradient of weights: the third operand is a factor
                table = [role[left].channel, role[right].channel, role[third].channel, zero, role[output].channel]
            group = [
                *(role[left].start, role[left].channel_step, role[left].component_step, role[left].size),
                *(role[right].start, role[right].channel_step, role[right].component_step, role[right].size),
            ]
            self.largest = max(self.largest, role[left].size * role[right].size)
            self.flops += role[left].size * role[right].size * combinations
        self.channels.append(np.stack(table, axis=1))
        group += [self.n_channels, self.n_channels + combinations, first_row, self.n_rows]
        self.n_channels += combinations
        self.groups.append(group)
        return self.n_terms + self.n_channels + self.n_rows <= _MOST_ENTRIES

    def _roles(self, path: Path) -> dict[int, _Role]:
        """Each operand of a path: letters to channel numbers, for every combination of channels."""
        extents = channel_extents(path, self.plan.operands)
        letters = {letter for i in range(len(self.plan.operands)) for letter in path.letters(i)}
        if PAIR in letters:
            letters -= {"u", "v"}
        order = sorted(letters)
        grids = np.meshgrid(*(np.arange(extents[letter]) for letter in order), indexing="ij")
        index = {letter: grid.ravel() for letter, grid in zip(order, grids, strict=True)}
        count = prod(extents[letter] for letter in order)
        if PAIR in index:
            index["u"], index["v"] = np.stack(np.triu_indices(extents["u"], 1))[:, index[PAIR]]
        roles = {}
        for i, (operand, place) in enumerate(zip(self.plan.operands, path.segments, strict=True)):
            if place is None:
                continue
            segment = operand.segments[place]
            channel = np.zeros(count, dtype=np.int64)
            for letter in path.letters(i):
                channel = channel * extents[letter] + index[letter]
            channel_step, component_step = (segment.dim, 1) if operand.layout == "mul_ir" else (1, segment.mul)
            start = self.starts[i] + segment.offset * self.lanes
            roles[i] = _Role(start, channel_step * self.lanes, component_step * self.lanes, segment.dim, channel)
        return roles

    def _products(self, path: Path, role: dict[int, _Role], left: int, right: int, third: int) -> None:
        """A row for each component of the third operand: the sum of products, times a weight."""
        table, legs = path.coupling.sparse, path.legs
        a, b, k = (table.coords[self._leg(legs, i)] for i in (left, right, third))
        order = np.lexsort((b, a, k))
        terms = (a * role[right].size + b)[order] * self.lanes
        component, begin = np.unique(k[order], return_index=True)
        rows = self._append(terms, table.values[order] * path.scale, begin)
        output = self.plan.output
        at = component * role[third].component_step
        weight = next((i for i, leg in enumerate(legs) if leg is None and path.segments[i] is not None), None)
        if output == third:
            if weight is not None:
                rows[:, 4], rows[:, 5] = role[weight].start, role[weight].channel_step
            rows[:, RESULT] = role[third].start + at
        else:
            rows[:, 2], rows[:, 3] = role[third].start + at, role[third].channel_step
            rows[:, RESULT] = role[output].start
        rows[:, RESULT_CHANNEL] = role[output].channel_step
        self.flops += (2 * terms.size + (weight is not None) * len(rows)) * role[left].channel.size

    def _sums(self, paths: list[Path], roles: list[dict[int, _Role]], left: int, right: int, third: int) -> None:
        """A row for each pair of components of the two factors: a sum of components of the third, times the other.

        Several paths, which have one channel each, share a row: their terms follow each other.
        """
        output = self.plan.output
        other = right if output == left else left
        role, legs = roles[0], paths[0].legs
        pairs, terms, values = [], [], []
        for path, own in zip(paths, roles, strict=True):
            table = path.coupling.sparse
            to, by, k = (table.coords[self._leg(path.legs, i)] for i in (output, other, third))
            pairs.append(to * role[other].size + by)
            terms.append(own[third].start - self.starts[third] + k * own[third].component_step)
            values.append(table.values * path.scale)
        order = np.lexsort((np.concatenate(terms), np.concatenate(pairs)))
        ordered = np.concatenate(terms)[order]
        pair, begin = np.unique(np.concatenate(pairs)[order], return_index=True)
        rows = self._append(ordered, np.concatenate(values)[order], begin)
        rows[:, 2] = role[other].start + pair % role[other].size * role[other].component_step
        rows[:, 3] = role[other].channel_step
        weight = next((i for i, leg in enumerate(legs) if leg is None and paths[0].segments[i] is not None), None)
        if weight is not None:
            rows[:, 4], rows[:, 5] = role[weight].start, role[weight].channel_step
        rows[:, RESULT] = role[output].start + pair // role[other].size * role[output].component_step
        rows[:, RESULT_CHANNEL] = role[output].channel_step
        self.flops += (2 * ordered.size + 2 * len(rows)) * role[left].channel.size

    @staticmethod
    def _leg(legs: tuple[int | None, ...], i: int) -> int:
        leg = legs[i]
        assert leg is not None
        return leg

    def _append(self, terms: Ints, values: npt.NDArray[np.float64], begin: Ints) -> Ints:
        """New rows over new terms, each from one of ``begin`` to the next."""
        rows = np.zeros((begin.size, 9), dtype=np.int64)
        rows[:, 0] = self.n_terms + begin
        rows[:, 1] = self.n_terms + np.append(begin[1:], terms.size)
        rows[:, 2] = rows[:, 4] = -1
        self.places.append(terms)
        self.values.append(values)
        self.rows.append(rows)
        self.n_terms += terms.size
        self.n_rows += begin.size
        return rows

    def finish(self, dtype: str, vectors: int, line: int) -> Program:
        """Put the tables together, and find out which results are added to and which must be zero before."""
        plan, lanes = self.plan, self.lanes
        groups = np.array(self.groups, dtype=np.int64).reshape(-1, 12)
        channels = np.concatenate([np.zeros((0, 5), dtype=np.int64), *self.channels])
        rows = np.concatenate([np.zeros((0, 9), dtype=np.int64), *self.rows])
        start, size = self.starts[plan.output], plan.operands[plan.output].size
        writers = np.zeros(size, dtype=np.int64)
        targets = []
        for group in groups:
            mine = rows[group[10] : group[11]]
            channel = channels[group[8] : group[9], C_RESULT]
            target = (mine[:, RESULT, None] + channel * mine[:, RESULT_CHANNEL, None] - start) // lanes
            np.add.at(writers, target.ravel(), 1)
            targets.append(target)
        alone = np.zeros(size, dtype=bool)
        for group, target in zip(groups, targets, strict=True):
            adds = (writers[target] > 1).any(axis=1)
            rows[group[10] : group[11], ADD] = adds
            alone[target[~adds].ravel()] = True
        edges = np.flatnonzero(np.diff(np.concatenate([[0], ~alone, [0]]).astype(np.int8))).reshape(-1, 2)
        products = self.starts[-1]
        buffer = products + self.largest * lanes
        totals = buffer + line * max(STRETCH * line, min(-(-size // line) * line, LONGEST))
        operands = np.zeros((len(plan.operands), 7), dtype=np.int64)
        operands[:, AT] = self.starts[:-1]
        operands[:, SIZE] = [operand.size for operand in plan.operands]
        operands[:, COLUMN_STRIDE] = 1
        operands[plan.output, OUTPUT] = totals
        tables = (operands, groups, channels, rows, start + edges * lanes)
        for table in tables:
            table.flags.writeable = False
        return Program(
            vectors=vectors,
            lanes=lanes,
            tile_size=totals + size,
            operands=operands,
            groups=groups,
            channels=channels,
            rows=rows,
            places=np.concatenate([np.zeros(0, dtype=np.int64), *self.places]).astype(np.int32),
            values=np.concatenate([np.zeros(0), *self.values]).astype(dtype),
            zeros=np.ascontiguousarray(start + edges * lanes),
            products=products,
            buffer=buffer,
            flops=self.flops,
        )
